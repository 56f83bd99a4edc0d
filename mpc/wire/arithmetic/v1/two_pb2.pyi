from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class TwoStart(_message.Message):
    __slots__ = ("version", "first", "method")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    version: int
    first: bool
    method: str
    def __init__(self, version: _Optional[int] = ..., first: _Optional[bool] = ..., method: _Optional[str] = ...) -> None: ...

class TwoStep(_message.Message):
    __slots__ = ("step", "operation", "program")
    STEP_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    step: int
    operation: str
    program: int
    def __init__(self, step: _Optional[int] = ..., operation: _Optional[str] = ..., program: _Optional[int] = ...) -> None: ...
