from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BoostingTerms(_message.Message):
    __slots__ = ("version", "parties", "label_party", "suite", "method", "training", "rows", "seed", "weighted", "saved")
    class TrainingEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    LABEL_PARTY_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    WEIGHTED_FIELD_NUMBER: _ClassVar[int]
    SAVED_FIELD_NUMBER: _ClassVar[int]
    version: int
    parties: _containers.RepeatedScalarFieldContainer[str]
    label_party: str
    suite: str
    method: str
    training: _containers.ScalarMap[str, str]
    rows: int
    seed: bytes
    weighted: bool
    saved: _containers.RepeatedCompositeFieldContainer[SavedBoosting]
    def __init__(self, version: _Optional[int] = ..., parties: _Optional[_Iterable[str]] = ..., label_party: _Optional[str] = ..., suite: _Optional[str] = ..., method: _Optional[str] = ..., training: _Optional[_Mapping[str, str]] = ..., rows: _Optional[int] = ..., seed: _Optional[bytes] = ..., weighted: _Optional[bool] = ..., saved: _Optional[_Iterable[_Union[SavedBoosting, _Mapping]]] = ...) -> None: ...

class SavedBoosting(_message.Message):
    __slots__ = ("attempt", "round")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    attempt: bytes
    round: int
    def __init__(self, attempt: _Optional[bytes] = ..., round: _Optional[int] = ...) -> None: ...

class BoostingHistograms(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BoostingSplits(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BoostingSides(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BoostingRound(_message.Message):
    __slots__ = ("more", "rounds")
    MORE_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    more: bool
    rounds: int
    def __init__(self, more: _Optional[bool] = ..., rounds: _Optional[int] = ...) -> None: ...
