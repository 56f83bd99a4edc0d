from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Agreement(_message.Message):
    __slots__ = ("version", "ring_bits", "scheme", "compute", "inputs", "suite", "method", "fraction", "truncation")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RING_BITS_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_FIELD_NUMBER: _ClassVar[int]
    version: int
    ring_bits: int
    scheme: str
    compute: _containers.RepeatedScalarFieldContainer[str]
    inputs: _containers.RepeatedScalarFieldContainer[str]
    suite: str
    method: str
    fraction: int
    truncation: str
    def __init__(self, version: _Optional[int] = ..., ring_bits: _Optional[int] = ..., scheme: _Optional[str] = ..., compute: _Optional[_Iterable[str]] = ..., inputs: _Optional[_Iterable[str]] = ..., suite: _Optional[str] = ..., method: _Optional[str] = ..., fraction: _Optional[int] = ..., truncation: _Optional[str] = ...) -> None: ...
