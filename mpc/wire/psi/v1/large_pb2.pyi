from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Resume(_message.Message):
    __slots__ = ("run", "state", "bucket_rows", "complete")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BUCKET_ROWS_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    run: str
    state: bytes
    bucket_rows: int
    complete: bool
    def __init__(self, run: _Optional[str] = ..., state: _Optional[bytes] = ..., bucket_rows: _Optional[int] = ..., complete: _Optional[bool] = ...) -> None: ...

class Buckets(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
