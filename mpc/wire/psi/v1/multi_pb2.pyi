from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class MultiTerms(_message.Message):
    __slots__ = ("version", "suite", "form", "parties", "leader", "reveal_to", "size", "nonce", "key")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    REVEAL_TO_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    version: int
    suite: str
    form: str
    parties: _containers.RepeatedScalarFieldContainer[str]
    leader: str
    reveal_to: str
    size: int
    nonce: bytes
    key: bytes
    def __init__(self, version: _Optional[int] = ..., suite: _Optional[str] = ..., form: _Optional[str] = ..., parties: _Optional[_Iterable[str]] = ..., leader: _Optional[str] = ..., reveal_to: _Optional[str] = ..., size: _Optional[int] = ..., nonce: _Optional[bytes] = ..., key: _Optional[bytes] = ...) -> None: ...

class OpprfHint(_message.Message):
    __slots__ = ("first", "seed")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    first: int
    seed: bytes
    def __init__(self, first: _Optional[int] = ..., seed: _Optional[bytes] = ...) -> None: ...

class MultiMatches(_message.Message):
    __slots__ = ("total",)
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    total: int
    def __init__(self, total: _Optional[int] = ...) -> None: ...
