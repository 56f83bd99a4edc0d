from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FitTerms(_message.Message):
    __slots__ = ("version", "parties", "label_party", "compute", "suite", "method", "family", "penalty_c", "max_iter", "tol", "fit_intercept", "class_weight", "reveal_model", "sample_rows", "rows", "columns", "seed", "weighted", "weight_exponent", "target_exponent", "saved")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    LABEL_PARTY_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    PENALTY_C_FIELD_NUMBER: _ClassVar[int]
    MAX_ITER_FIELD_NUMBER: _ClassVar[int]
    TOL_FIELD_NUMBER: _ClassVar[int]
    FIT_INTERCEPT_FIELD_NUMBER: _ClassVar[int]
    CLASS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    REVEAL_MODEL_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_ROWS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    WEIGHTED_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_EXPONENT_FIELD_NUMBER: _ClassVar[int]
    TARGET_EXPONENT_FIELD_NUMBER: _ClassVar[int]
    SAVED_FIELD_NUMBER: _ClassVar[int]
    version: int
    parties: _containers.RepeatedScalarFieldContainer[str]
    label_party: str
    compute: _containers.RepeatedScalarFieldContainer[str]
    suite: str
    method: str
    family: str
    penalty_c: float
    max_iter: int
    tol: float
    fit_intercept: bool
    class_weight: str
    reveal_model: str
    sample_rows: int
    rows: int
    columns: int
    seed: bytes
    weighted: bool
    weight_exponent: int
    target_exponent: int
    saved: _containers.RepeatedCompositeFieldContainer[SavedFit]
    def __init__(self, version: _Optional[int] = ..., parties: _Optional[_Iterable[str]] = ..., label_party: _Optional[str] = ..., compute: _Optional[_Iterable[str]] = ..., suite: _Optional[str] = ..., method: _Optional[str] = ..., family: _Optional[str] = ..., penalty_c: _Optional[float] = ..., max_iter: _Optional[int] = ..., tol: _Optional[float] = ..., fit_intercept: _Optional[bool] = ..., class_weight: _Optional[str] = ..., reveal_model: _Optional[str] = ..., sample_rows: _Optional[int] = ..., rows: _Optional[int] = ..., columns: _Optional[int] = ..., seed: _Optional[bytes] = ..., weighted: _Optional[bool] = ..., weight_exponent: _Optional[int] = ..., target_exponent: _Optional[int] = ..., saved: _Optional[_Iterable[_Union[SavedFit, _Mapping]]] = ...) -> None: ...

class SavedFit(_message.Message):
    __slots__ = ("attempt", "step")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    attempt: bytes
    step: int
    def __init__(self, attempt: _Optional[bytes] = ..., step: _Optional[int] = ...) -> None: ...
