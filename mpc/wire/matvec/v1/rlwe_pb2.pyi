from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class MatvecQuery(_message.Message):
    __slots__ = ("rows", "cols", "transpose", "vectors", "bits")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLS_FIELD_NUMBER: _ClassVar[int]
    TRANSPOSE_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    cols: int
    transpose: bool
    vectors: int
    bits: int
    def __init__(self, rows: _Optional[int] = ..., cols: _Optional[int] = ..., transpose: _Optional[bool] = ..., vectors: _Optional[int] = ..., bits: _Optional[int] = ...) -> None: ...

class MatvecBlocks(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MatvecReplies(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ElementwiseQuery(_message.Message):
    __slots__ = ("count", "terms", "small")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    SMALL_FIELD_NUMBER: _ClassVar[int]
    count: int
    terms: int
    small: bool
    def __init__(self, count: _Optional[int] = ..., terms: _Optional[int] = ..., small: _Optional[bool] = ...) -> None: ...

class ElementwiseFactors(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ElementwiseReplies(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class IdealVectors(_message.Message):
    __slots__ = ("rows", "cols", "transpose")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLS_FIELD_NUMBER: _ClassVar[int]
    TRANSPOSE_FIELD_NUMBER: _ClassVar[int]
    rows: int
    cols: int
    transpose: bool
    def __init__(self, rows: _Optional[int] = ..., cols: _Optional[int] = ..., transpose: _Optional[bool] = ...) -> None: ...

class IdealShare(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
