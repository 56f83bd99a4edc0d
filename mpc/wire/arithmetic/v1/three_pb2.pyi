from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ThreeStart(_message.Message):
    __slots__ = ("version", "compute", "suite")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    version: int
    compute: _containers.RepeatedScalarFieldContainer[str]
    suite: str
    def __init__(self, version: _Optional[int] = ..., compute: _Optional[_Iterable[str]] = ..., suite: _Optional[str] = ...) -> None: ...

class ThreeStep(_message.Message):
    __slots__ = ("step", "operation", "program")
    STEP_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    step: int
    operation: str
    program: int
    def __init__(self, step: _Optional[int] = ..., operation: _Optional[str] = ..., program: _Optional[int] = ...) -> None: ...
