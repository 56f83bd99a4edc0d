from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class BinningTerms(_message.Message):
    __slots__ = ("version", "suite", "mode", "minimum_cell", "tell_iv", "rows")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_CELL_FIELD_NUMBER: _ClassVar[int]
    TELL_IV_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    version: int
    suite: str
    mode: str
    minimum_cell: int
    tell_iv: bool
    rows: int
    def __init__(self, version: _Optional[int] = ..., suite: _Optional[str] = ..., mode: _Optional[str] = ..., minimum_cell: _Optional[int] = ..., tell_iv: _Optional[bool] = ..., rows: _Optional[int] = ...) -> None: ...

class BinningFeatures(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class BinningGroups(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BinningValues(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
