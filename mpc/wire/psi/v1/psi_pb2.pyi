from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Terms(_message.Message):
    __slots__ = ("operators", "suite", "security", "form", "learners", "size", "nonce", "bound", "minimum", "sender")
    class OperatorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    LEARNERS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    operators: _containers.ScalarMap[str, int]
    suite: str
    security: str
    form: str
    learners: _containers.RepeatedScalarFieldContainer[str]
    size: int
    nonce: bytes
    bound: int
    minimum: int
    sender: str
    def __init__(self, operators: _Optional[_Mapping[str, int]] = ..., suite: _Optional[str] = ..., security: _Optional[str] = ..., form: _Optional[str] = ..., learners: _Optional[_Iterable[str]] = ..., size: _Optional[int] = ..., nonce: _Optional[bytes] = ..., bound: _Optional[int] = ..., minimum: _Optional[int] = ..., sender: _Optional[str] = ...) -> None: ...

class Matches(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
