from mpc.wire.lookup.v1 import table_pb2 as _table_pb2
from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Partial(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Batch(_message.Message):
    __slots__ = ("rows", "asker", "parties", "cuts", "training", "compute")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ASKER_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    CUTS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    rows: int
    asker: str
    parties: _containers.RepeatedScalarFieldContainer[str]
    cuts: _containers.RepeatedScalarFieldContainer[float]
    training: str
    compute: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rows: _Optional[int] = ..., asker: _Optional[str] = ..., parties: _Optional[_Iterable[str]] = ..., cuts: _Optional[_Iterable[float]] = ..., training: _Optional[str] = ..., compute: _Optional[_Iterable[str]] = ...) -> None: ...

class TermsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Terms(_message.Message):
    __slots__ = ("model", "job", "label_party", "release", "cuts", "key_form", "nodes", "classes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    LABEL_PARTY_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    CUTS_FIELD_NUMBER: _ClassVar[int]
    KEY_FORM_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    model: str
    job: str
    label_party: str
    release: str
    cuts: _containers.RepeatedScalarFieldContainer[float]
    key_form: str
    nodes: _containers.RepeatedScalarFieldContainer[int]
    classes: int
    def __init__(self, model: _Optional[str] = ..., job: _Optional[str] = ..., label_party: _Optional[str] = ..., release: _Optional[str] = ..., cuts: _Optional[_Iterable[float]] = ..., key_form: _Optional[str] = ..., nodes: _Optional[_Iterable[int]] = ..., classes: _Optional[int] = ...) -> None: ...

class Ask(_message.Message):
    __slots__ = ("scenario", "keys")
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    scenario: str
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, scenario: _Optional[str] = ..., keys: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Scores(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _table_pb2.SignedDocument
    def __init__(self, receipt: _Optional[_Union[_table_pb2.SignedDocument, _Mapping]] = ...) -> None: ...
