from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SilosJoin(_message.Message):
    __slots__ = ("version", "training", "names", "suite", "saved")
    class TrainingEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    SAVED_FIELD_NUMBER: _ClassVar[int]
    version: int
    training: _containers.ScalarMap[str, str]
    names: _containers.RepeatedScalarFieldContainer[str]
    suite: str
    saved: _containers.RepeatedCompositeFieldContainer[SilosPoint]
    def __init__(self, version: _Optional[int] = ..., training: _Optional[_Mapping[str, str]] = ..., names: _Optional[_Iterable[str]] = ..., suite: _Optional[str] = ..., saved: _Optional[_Iterable[_Union[SilosPoint, _Mapping]]] = ...) -> None: ...

class SilosPoint(_message.Message):
    __slots__ = ("attempt", "round")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    attempt: bytes
    round: int
    def __init__(self, attempt: _Optional[bytes] = ..., round: _Optional[int] = ...) -> None: ...

class SilosBegin(_message.Message):
    __slots__ = ("silos", "run", "attempt", "begun")
    SILOS_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    BEGUN_FIELD_NUMBER: _ClassVar[int]
    silos: int
    run: bytes
    attempt: bytes
    begun: SilosPoint
    def __init__(self, silos: _Optional[int] = ..., run: _Optional[bytes] = ..., attempt: _Optional[bytes] = ..., begun: _Optional[_Union[SilosPoint, _Mapping]] = ...) -> None: ...

class SilosCount(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SilosCells(_message.Message):
    __slots__ = ("level",)
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    level: int
    def __init__(self, level: _Optional[int] = ...) -> None: ...

class SilosBins(_message.Message):
    __slots__ = ("base_score", "rows")
    BASE_SCORE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    base_score: float
    rows: int
    def __init__(self, base_score: _Optional[float] = ..., rows: _Optional[int] = ...) -> None: ...

class SilosRound(_message.Message):
    __slots__ = ("number",)
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    number: int
    def __init__(self, number: _Optional[int] = ...) -> None: ...

class SilosGrow(_message.Message):
    __slots__ = ("output", "gradient_bits", "hessian_bits")
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_BITS_FIELD_NUMBER: _ClassVar[int]
    HESSIAN_BITS_FIELD_NUMBER: _ClassVar[int]
    output: int
    gradient_bits: int
    hessian_bits: int
    def __init__(self, output: _Optional[int] = ..., gradient_bits: _Optional[int] = ..., hessian_bits: _Optional[int] = ...) -> None: ...

class SilosTree(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SilosMetric(_message.Message):
    __slots__ = ("training", "validation")
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    training: float
    validation: float
    def __init__(self, training: _Optional[float] = ..., validation: _Optional[float] = ...) -> None: ...

class SilosFitted(_message.Message):
    __slots__ = ("rounds", "silos")
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    SILOS_FIELD_NUMBER: _ClassVar[int]
    rounds: int
    silos: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rounds: _Optional[int] = ..., silos: _Optional[_Iterable[str]] = ...) -> None: ...

class SilosRefused(_message.Message):
    __slots__ = ("code", "columns")
    CODE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    code: str
    columns: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, code: _Optional[str] = ..., columns: _Optional[_Iterable[int]] = ...) -> None: ...
