from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListManifestsRequest(_message.Message):
    __slots__ = ("product", "since_epoch")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    SINCE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    product: str
    since_epoch: int
    def __init__(self, product: _Optional[str] = ..., since_epoch: _Optional[int] = ...) -> None: ...

class Manifests(_message.Message):
    __slots__ = ("manifests",)
    MANIFESTS_FIELD_NUMBER: _ClassVar[int]
    manifests: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, manifests: _Optional[_Iterable[str]] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Term(_message.Message):
    __slots__ = ("scenario", "consent_issuers", "calls_per_day", "valid_until")
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    CONSENT_ISSUERS_FIELD_NUMBER: _ClassVar[int]
    CALLS_PER_DAY_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_FIELD_NUMBER: _ClassVar[int]
    scenario: str
    consent_issuers: _containers.RepeatedScalarFieldContainer[str]
    calls_per_day: int
    valid_until: str
    def __init__(self, scenario: _Optional[str] = ..., consent_issuers: _Optional[_Iterable[str]] = ..., calls_per_day: _Optional[int] = ..., valid_until: _Optional[str] = ...) -> None: ...

class AnswerCode(_message.Message):
    __slots__ = ("code", "label")
    CODE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    code: int
    label: str
    def __init__(self, code: _Optional[int] = ..., label: _Optional[str] = ...) -> None: ...

class Product(_message.Message):
    __slots__ = ("name", "operator", "operator_version", "suite", "key_form", "pair", "answer_bytes", "codes", "requires_consent", "terms", "epoch", "epoch_ends", "serving", "problem")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_VERSION_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    KEY_FORM_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    ANSWER_BYTES_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    REQUIRES_CONSENT_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    EPOCH_ENDS_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    name: str
    operator: str
    operator_version: int
    suite: str
    key_form: str
    pair: bool
    answer_bytes: int
    codes: _containers.RepeatedCompositeFieldContainer[AnswerCode]
    requires_consent: bool
    terms: _containers.RepeatedCompositeFieldContainer[Term]
    epoch: int
    epoch_ends: str
    serving: bool
    problem: str
    def __init__(self, name: _Optional[str] = ..., operator: _Optional[str] = ..., operator_version: _Optional[int] = ..., suite: _Optional[str] = ..., key_form: _Optional[str] = ..., pair: _Optional[bool] = ..., answer_bytes: _Optional[int] = ..., codes: _Optional[_Iterable[_Union[AnswerCode, _Mapping]]] = ..., requires_consent: _Optional[bool] = ..., terms: _Optional[_Iterable[_Union[Term, _Mapping]]] = ..., epoch: _Optional[int] = ..., epoch_ends: _Optional[str] = ..., serving: _Optional[bool] = ..., problem: _Optional[str] = ...) -> None: ...

class Description(_message.Message):
    __slots__ = ("name", "time_ms", "version", "products", "continuity")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    CONTINUITY_FIELD_NUMBER: _ClassVar[int]
    name: str
    time_ms: int
    version: str
    products: _containers.RepeatedCompositeFieldContainer[Product]
    continuity: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., time_ms: _Optional[int] = ..., version: _Optional[str] = ..., products: _Optional[_Iterable[_Union[Product, _Mapping]]] = ..., continuity: _Optional[_Iterable[str]] = ...) -> None: ...

class RotateRequest(_message.Message):
    __slots__ = ("product",)
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    product: str
    def __init__(self, product: _Optional[str] = ...) -> None: ...

class RotateReply(_message.Message):
    __slots__ = ("epoch",)
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    def __init__(self, epoch: _Optional[int] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ProductStatus(_message.Message):
    __slots__ = ("product", "pid", "restarts", "building", "sessions")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    BUILDING_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    product: Product
    pid: int
    restarts: int
    building: int
    sessions: int
    def __init__(self, product: _Optional[_Union[Product, _Mapping]] = ..., pid: _Optional[int] = ..., restarts: _Optional[int] = ..., building: _Optional[int] = ..., sessions: _Optional[int] = ...) -> None: ...

class JobStatus(_message.Message):
    __slots__ = ("id", "operator", "scenario", "requester", "state", "pid", "stage", "done", "total")
    ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    id: str
    operator: str
    scenario: str
    requester: str
    state: str
    pid: int
    stage: str
    done: int
    total: int
    def __init__(self, id: _Optional[str] = ..., operator: _Optional[str] = ..., scenario: _Optional[str] = ..., requester: _Optional[str] = ..., state: _Optional[str] = ..., pid: _Optional[int] = ..., stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class NodeStatus(_message.Message):
    __slots__ = ("name", "time_ms", "version", "address", "products", "coordinator", "coordinator_problem", "policy_problem", "jobs")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    POLICY_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    name: str
    time_ms: int
    version: str
    address: str
    products: _containers.RepeatedCompositeFieldContainer[ProductStatus]
    coordinator: str
    coordinator_problem: str
    policy_problem: str
    jobs: _containers.RepeatedCompositeFieldContainer[JobStatus]
    def __init__(self, name: _Optional[str] = ..., time_ms: _Optional[int] = ..., version: _Optional[str] = ..., address: _Optional[str] = ..., products: _Optional[_Iterable[_Union[ProductStatus, _Mapping]]] = ..., coordinator: _Optional[str] = ..., coordinator_problem: _Optional[str] = ..., policy_problem: _Optional[str] = ..., jobs: _Optional[_Iterable[_Union[JobStatus, _Mapping]]] = ...) -> None: ...
