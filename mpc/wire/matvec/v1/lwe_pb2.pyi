from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class LweHolder(_message.Message):
    __slots__ = ("rows", "bins", "method")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BINS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    rows: int
    bins: int
    method: str
    def __init__(self, rows: _Optional[int] = ..., bins: _Optional[int] = ..., method: _Optional[str] = ...) -> None: ...

class LweOwner(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    def __init__(self, rows: _Optional[int] = ...) -> None: ...

class LweQuery(_message.Message):
    __slots__ = ("vectors",)
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    vectors: int
    def __init__(self, vectors: _Optional[int] = ...) -> None: ...

class LweRows(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LweOffers(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class IdealLweVectors(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class IdealLweShare(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
