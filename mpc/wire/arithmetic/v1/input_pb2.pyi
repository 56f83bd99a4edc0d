from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Array(_message.Message):
    __slots__ = ("step", "kind", "fraction", "shape", "use", "parties")
    STEP_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    USE_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    step: int
    kind: str
    fraction: int
    shape: _containers.RepeatedScalarFieldContainer[int]
    use: str
    parties: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, step: _Optional[int] = ..., kind: _Optional[str] = ..., fraction: _Optional[int] = ..., shape: _Optional[_Iterable[int]] = ..., use: _Optional[str] = ..., parties: _Optional[_Iterable[str]] = ...) -> None: ...

class Words(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Bits(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
