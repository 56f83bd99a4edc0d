from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class PaillierVector(_message.Message):
    __slots__ = ("version", "rows", "columns", "transpose")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    TRANSPOSE_FIELD_NUMBER: _ClassVar[int]
    version: int
    rows: int
    columns: int
    transpose: bool
    def __init__(self, version: _Optional[int] = ..., rows: _Optional[int] = ..., columns: _Optional[int] = ..., transpose: _Optional[bool] = ...) -> None: ...

class PaillierProduct(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
