from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class BoostedBatch(_message.Message):
    __slots__ = ("version", "rows", "parties", "label_party", "model", "training", "trees", "classes", "cuts", "shared")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    LABEL_PARTY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    TREES_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    CUTS_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    version: int
    rows: int
    parties: _containers.RepeatedScalarFieldContainer[str]
    label_party: str
    model: str
    training: str
    trees: int
    classes: int
    cuts: _containers.RepeatedScalarFieldContainer[float]
    shared: bool
    def __init__(self, version: _Optional[int] = ..., rows: _Optional[int] = ..., parties: _Optional[_Iterable[str]] = ..., label_party: _Optional[str] = ..., model: _Optional[str] = ..., training: _Optional[str] = ..., trees: _Optional[int] = ..., classes: _Optional[int] = ..., cuts: _Optional[_Iterable[float]] = ..., shared: _Optional[bool] = ...) -> None: ...

class BoostedLeaves(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BoostedShares(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BoostedSplit(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
