from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class CorrelationTerms(_message.Message):
    __slots__ = ("version", "what", "suite", "parties", "to", "decimals", "rows", "columns", "names", "tells_own")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    DECIMALS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    TELLS_OWN_FIELD_NUMBER: _ClassVar[int]
    version: int
    what: str
    suite: str
    parties: _containers.RepeatedScalarFieldContainer[str]
    to: _containers.RepeatedScalarFieldContainer[str]
    decimals: int
    rows: int
    columns: int
    names: _containers.RepeatedScalarFieldContainer[str]
    tells_own: bool
    def __init__(self, version: _Optional[int] = ..., what: _Optional[str] = ..., suite: _Optional[str] = ..., parties: _Optional[_Iterable[str]] = ..., to: _Optional[_Iterable[str]] = ..., decimals: _Optional[int] = ..., rows: _Optional[int] = ..., columns: _Optional[int] = ..., names: _Optional[_Iterable[str]] = ..., tells_own: _Optional[bool] = ...) -> None: ...

class CorrelationPieces(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CorrelationOwn(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
