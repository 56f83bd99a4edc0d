from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProductState(_message.Message):
    __slots__ = ("name", "operator", "operator_version", "suite", "key_form", "epoch", "serving", "problem")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_VERSION_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    KEY_FORM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    name: str
    operator: str
    operator_version: int
    suite: str
    key_form: str
    epoch: int
    serving: bool
    problem: str
    def __init__(self, name: _Optional[str] = ..., operator: _Optional[str] = ..., operator_version: _Optional[int] = ..., suite: _Optional[str] = ..., key_form: _Optional[str] = ..., epoch: _Optional[int] = ..., serving: _Optional[bool] = ..., problem: _Optional[str] = ...) -> None: ...

class Announcement(_message.Message):
    __slots__ = ("address", "version", "products")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    address: str
    version: str
    products: _containers.RepeatedCompositeFieldContainer[ProductState]
    def __init__(self, address: _Optional[str] = ..., version: _Optional[str] = ..., products: _Optional[_Iterable[_Union[ProductState, _Mapping]]] = ...) -> None: ...

class Announced(_message.Message):
    __slots__ = ("time_ms", "heartbeat_s", "crl_number")
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_S_FIELD_NUMBER: _ClassVar[int]
    CRL_NUMBER_FIELD_NUMBER: _ClassVar[int]
    time_ms: int
    heartbeat_s: int
    crl_number: int
    def __init__(self, time_ms: _Optional[int] = ..., heartbeat_s: _Optional[int] = ..., crl_number: _Optional[int] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Party(_message.Message):
    __slots__ = ("name", "address", "version", "products", "seen_ms", "alive")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    SEEN_MS_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    version: str
    products: _containers.RepeatedCompositeFieldContainer[ProductState]
    seen_ms: int
    alive: bool
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., version: _Optional[str] = ..., products: _Optional[_Iterable[_Union[ProductState, _Mapping]]] = ..., seen_ms: _Optional[int] = ..., alive: _Optional[bool] = ...) -> None: ...

class Directory(_message.Message):
    __slots__ = ("time_ms", "parties")
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    time_ms: int
    parties: _containers.RepeatedCompositeFieldContainer[Party]
    def __init__(self, time_ms: _Optional[int] = ..., parties: _Optional[_Iterable[_Union[Party, _Mapping]]] = ...) -> None: ...

class GetCrlRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Crl(_message.Message):
    __slots__ = ("pem",)
    PEM_FIELD_NUMBER: _ClassVar[int]
    pem: bytes
    def __init__(self, pem: _Optional[bytes] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("document", "signature", "certificate", "signer")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    document: bytes
    signature: bytes
    certificate: bytes
    signer: str
    def __init__(self, document: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., certificate: _Optional[bytes] = ..., signer: _Optional[str] = ...) -> None: ...

class FirstManifest(_message.Message):
    __slots__ = ("same", "first")
    SAME_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    same: bool
    first: Manifest
    def __init__(self, same: _Optional[bool] = ..., first: _Optional[_Union[Manifest, _Mapping]] = ...) -> None: ...

class ListEvidenceRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Contradiction(_message.Message):
    __slots__ = ("node", "product", "epoch", "first", "other", "shown_by", "shown_ms")
    NODE_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    SHOWN_BY_FIELD_NUMBER: _ClassVar[int]
    SHOWN_MS_FIELD_NUMBER: _ClassVar[int]
    node: str
    product: str
    epoch: int
    first: Manifest
    other: Manifest
    shown_by: str
    shown_ms: int
    def __init__(self, node: _Optional[str] = ..., product: _Optional[str] = ..., epoch: _Optional[int] = ..., first: _Optional[_Union[Manifest, _Mapping]] = ..., other: _Optional[_Union[Manifest, _Mapping]] = ..., shown_by: _Optional[str] = ..., shown_ms: _Optional[int] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("contradictions",)
    CONTRADICTIONS_FIELD_NUMBER: _ClassVar[int]
    contradictions: _containers.RepeatedCompositeFieldContainer[Contradiction]
    def __init__(self, contradictions: _Optional[_Iterable[_Union[Contradiction, _Mapping]]] = ...) -> None: ...

class JobSubmission(_message.Message):
    __slots__ = ("papers",)
    PAPERS_FIELD_NUMBER: _ClassVar[int]
    papers: JobPapers
    def __init__(self, papers: _Optional[_Union[JobPapers, _Mapping]] = ...) -> None: ...

class JobPapers(_message.Message):
    __slots__ = ("job", "grant", "request")
    JOB_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    job: str
    grant: str
    request: str
    def __init__(self, job: _Optional[str] = ..., grant: _Optional[str] = ..., request: _Optional[str] = ...) -> None: ...

class JobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class Jobs(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[JobState]
    def __init__(self, jobs: _Optional[_Iterable[_Union[JobState, _Mapping]]] = ...) -> None: ...

class JobProgress(_message.Message):
    __slots__ = ("stage", "done", "total")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class JobSize(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: int
    def __init__(self, name: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...

class PartyReport(_message.Message):
    __slots__ = ("learned", "sizes", "bytes_sent", "bytes_received", "rounds", "seconds", "protocol")
    LEARNED_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    BYTES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    learned: _containers.RepeatedScalarFieldContainer[str]
    sizes: _containers.RepeatedCompositeFieldContainer[JobSize]
    bytes_sent: int
    bytes_received: int
    rounds: int
    seconds: float
    protocol: str
    def __init__(self, learned: _Optional[_Iterable[str]] = ..., sizes: _Optional[_Iterable[_Union[JobSize, _Mapping]]] = ..., bytes_sent: _Optional[int] = ..., bytes_received: _Optional[int] = ..., rounds: _Optional[int] = ..., seconds: _Optional[float] = ..., protocol: _Optional[str] = ...) -> None: ...

class JobParty(_message.Message):
    __slots__ = ("party", "state", "code", "reason", "progress", "report")
    PARTY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    party: str
    state: str
    code: str
    reason: str
    progress: JobProgress
    report: PartyReport
    def __init__(self, party: _Optional[str] = ..., state: _Optional[str] = ..., code: _Optional[str] = ..., reason: _Optional[str] = ..., progress: _Optional[_Union[JobProgress, _Mapping]] = ..., report: _Optional[_Union[PartyReport, _Mapping]] = ...) -> None: ...

class JobState(_message.Message):
    __slots__ = ("id", "requester", "job", "state", "code", "reason", "submitted_ms", "started_ms", "ended_ms", "parties")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_MS_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_MS_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    id: str
    requester: str
    job: str
    state: str
    code: str
    reason: str
    submitted_ms: int
    started_ms: int
    ended_ms: int
    parties: _containers.RepeatedCompositeFieldContainer[JobParty]
    def __init__(self, id: _Optional[str] = ..., requester: _Optional[str] = ..., job: _Optional[str] = ..., state: _Optional[str] = ..., code: _Optional[str] = ..., reason: _Optional[str] = ..., submitted_ms: _Optional[int] = ..., started_ms: _Optional[int] = ..., ended_ms: _Optional[int] = ..., parties: _Optional[_Iterable[_Union[JobParty, _Mapping]]] = ...) -> None: ...

class JobNews(_message.Message):
    __slots__ = ("jobs",)
    class One(_message.Message):
        __slots__ = ("id", "state", "code", "reason", "progress", "report")
        ID_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        CODE_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        PROGRESS_FIELD_NUMBER: _ClassVar[int]
        REPORT_FIELD_NUMBER: _ClassVar[int]
        id: str
        state: str
        code: str
        reason: str
        progress: JobProgress
        report: PartyReport
        def __init__(self, id: _Optional[str] = ..., state: _Optional[str] = ..., code: _Optional[str] = ..., reason: _Optional[str] = ..., progress: _Optional[_Union[JobProgress, _Mapping]] = ..., report: _Optional[_Union[PartyReport, _Mapping]] = ...) -> None: ...
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[JobNews.One]
    def __init__(self, jobs: _Optional[_Iterable[_Union[JobNews.One, _Mapping]]] = ...) -> None: ...

class JobOrders(_message.Message):
    __slots__ = ("jobs", "again_ms")
    class Peer(_message.Message):
        __slots__ = ("party", "address")
        PARTY_FIELD_NUMBER: _ClassVar[int]
        ADDRESS_FIELD_NUMBER: _ClassVar[int]
        party: str
        address: str
        def __init__(self, party: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...
    class One(_message.Message):
        __slots__ = ("id", "wanted", "reason", "papers", "peers", "state", "code")
        ID_FIELD_NUMBER: _ClassVar[int]
        WANTED_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        PAPERS_FIELD_NUMBER: _ClassVar[int]
        PEERS_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        CODE_FIELD_NUMBER: _ClassVar[int]
        id: str
        wanted: str
        reason: str
        papers: JobPapers
        peers: _containers.RepeatedCompositeFieldContainer[JobOrders.Peer]
        state: str
        code: str
        def __init__(self, id: _Optional[str] = ..., wanted: _Optional[str] = ..., reason: _Optional[str] = ..., papers: _Optional[_Union[JobPapers, _Mapping]] = ..., peers: _Optional[_Iterable[_Union[JobOrders.Peer, _Mapping]]] = ..., state: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...
    JOBS_FIELD_NUMBER: _ClassVar[int]
    AGAIN_MS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[JobOrders.One]
    again_ms: int
    def __init__(self, jobs: _Optional[_Iterable[_Union[JobOrders.One, _Mapping]]] = ..., again_ms: _Optional[int] = ...) -> None: ...
