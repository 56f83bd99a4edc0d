from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ThresholdTerms(_message.Message):
    __slots__ = ("operator", "version", "suite", "form", "asker", "sources", "compute", "tolerance_bp", "limit_bp", "applicants", "salt")
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    ASKER_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_BP_FIELD_NUMBER: _ClassVar[int]
    LIMIT_BP_FIELD_NUMBER: _ClassVar[int]
    APPLICANTS_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    operator: str
    version: int
    suite: str
    form: str
    asker: str
    sources: _containers.RepeatedScalarFieldContainer[str]
    compute: _containers.RepeatedScalarFieldContainer[str]
    tolerance_bp: int
    limit_bp: int
    applicants: int
    salt: bytes
    def __init__(self, operator: _Optional[str] = ..., version: _Optional[int] = ..., suite: _Optional[str] = ..., form: _Optional[str] = ..., asker: _Optional[str] = ..., sources: _Optional[_Iterable[str]] = ..., compute: _Optional[_Iterable[str]] = ..., tolerance_bp: _Optional[int] = ..., limit_bp: _Optional[int] = ..., applicants: _Optional[int] = ..., salt: _Optional[bytes] = ...) -> None: ...

class ThresholdApplicants(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
