from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class PaillierVectors(_message.Message):
    __slots__ = ("version", "rows", "cols", "transpose", "vectors")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLS_FIELD_NUMBER: _ClassVar[int]
    TRANSPOSE_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    version: int
    rows: int
    cols: int
    transpose: bool
    vectors: int
    def __init__(self, version: _Optional[int] = ..., rows: _Optional[int] = ..., cols: _Optional[int] = ..., transpose: _Optional[bool] = ..., vectors: _Optional[int] = ...) -> None: ...

class PaillierProducts(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
