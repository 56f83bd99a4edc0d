from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class HorizontalJoin(_message.Message):
    __slots__ = ("version", "family", "features", "intercept", "penalty", "standardise", "class_weight", "max_iter", "tolerance", "minimum", "minimum_cell", "suite", "leavers", "weighted", "offset", "minimum_rows")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    INTERCEPT_FIELD_NUMBER: _ClassVar[int]
    PENALTY_FIELD_NUMBER: _ClassVar[int]
    STANDARDISE_FIELD_NUMBER: _ClassVar[int]
    CLASS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_ITER_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_CELL_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    LEAVERS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTED_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_ROWS_FIELD_NUMBER: _ClassVar[int]
    version: int
    family: str
    features: int
    intercept: bool
    penalty: float
    standardise: bool
    class_weight: str
    max_iter: int
    tolerance: float
    minimum: int
    minimum_cell: int
    suite: str
    leavers: str
    weighted: bool
    offset: bool
    minimum_rows: int
    def __init__(self, version: _Optional[int] = ..., family: _Optional[str] = ..., features: _Optional[int] = ..., intercept: _Optional[bool] = ..., penalty: _Optional[float] = ..., standardise: _Optional[bool] = ..., class_weight: _Optional[str] = ..., max_iter: _Optional[int] = ..., tolerance: _Optional[float] = ..., minimum: _Optional[int] = ..., minimum_cell: _Optional[int] = ..., suite: _Optional[str] = ..., leavers: _Optional[str] = ..., weighted: _Optional[bool] = ..., offset: _Optional[bool] = ..., minimum_rows: _Optional[int] = ...) -> None: ...

class HorizontalBegin(_message.Message):
    __slots__ = ("silos",)
    SILOS_FIELD_NUMBER: _ClassVar[int]
    silos: int
    def __init__(self, silos: _Optional[int] = ...) -> None: ...

class HorizontalCount(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HorizontalSum(_message.Message):
    __slots__ = ("zero", "one")
    ZERO_FIELD_NUMBER: _ClassVar[int]
    ONE_FIELD_NUMBER: _ClassVar[int]
    zero: float
    one: float
    def __init__(self, zero: _Optional[float] = ..., one: _Optional[float] = ...) -> None: ...

class HorizontalSpread(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HorizontalEvaluate(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HorizontalFitted(_message.Message):
    __slots__ = ("intercept", "penalty", "rows", "converged", "separated", "collinear", "constant", "silos")
    INTERCEPT_FIELD_NUMBER: _ClassVar[int]
    PENALTY_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    CONVERGED_FIELD_NUMBER: _ClassVar[int]
    SEPARATED_FIELD_NUMBER: _ClassVar[int]
    COLLINEAR_FIELD_NUMBER: _ClassVar[int]
    CONSTANT_FIELD_NUMBER: _ClassVar[int]
    SILOS_FIELD_NUMBER: _ClassVar[int]
    intercept: float
    penalty: float
    rows: int
    converged: bool
    separated: bool
    collinear: bool
    constant: _containers.RepeatedScalarFieldContainer[int]
    silos: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, intercept: _Optional[float] = ..., penalty: _Optional[float] = ..., rows: _Optional[int] = ..., converged: _Optional[bool] = ..., separated: _Optional[bool] = ..., collinear: _Optional[bool] = ..., constant: _Optional[_Iterable[int]] = ..., silos: _Optional[_Iterable[str]] = ...) -> None: ...

class HorizontalRefused(_message.Message):
    __slots__ = ("code", "columns")
    CODE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    code: str
    columns: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, code: _Optional[str] = ..., columns: _Optional[_Iterable[int]] = ...) -> None: ...
