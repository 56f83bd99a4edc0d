from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Terms(_message.Message):
    __slots__ = ("version", "method", "suite", "security", "kind", "fraction", "shape", "weight", "minimum", "threshold", "max_dropout", "max_corrupt", "reveal_to", "run")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MAX_DROPOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_CORRUPT_FIELD_NUMBER: _ClassVar[int]
    REVEAL_TO_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    version: int
    method: str
    suite: str
    security: str
    kind: str
    fraction: int
    shape: _containers.RepeatedScalarFieldContainer[int]
    weight: str
    minimum: int
    threshold: int
    max_dropout: int
    max_corrupt: int
    reveal_to: str
    run: str
    def __init__(self, version: _Optional[int] = ..., method: _Optional[str] = ..., suite: _Optional[str] = ..., security: _Optional[str] = ..., kind: _Optional[str] = ..., fraction: _Optional[int] = ..., shape: _Optional[_Iterable[int]] = ..., weight: _Optional[str] = ..., minimum: _Optional[int] = ..., threshold: _Optional[int] = ..., max_dropout: _Optional[int] = ..., max_corrupt: _Optional[int] = ..., reveal_to: _Optional[str] = ..., run: _Optional[str] = ...) -> None: ...

class Join(_message.Message):
    __slots__ = ("terms", "signature")
    TERMS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    terms: Terms
    signature: bytes
    def __init__(self, terms: _Optional[_Union[Terms, _Mapping]] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Roster(_message.Message):
    __slots__ = ("parties", "neighbours", "nonce", "signatures", "own")
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    parties: _containers.RepeatedScalarFieldContainer[str]
    neighbours: _containers.RepeatedScalarFieldContainer[int]
    nonce: bytes
    signatures: _containers.RepeatedScalarFieldContainer[bytes]
    own: bool
    def __init__(self, parties: _Optional[_Iterable[str]] = ..., neighbours: _Optional[_Iterable[int]] = ..., nonce: _Optional[bytes] = ..., signatures: _Optional[_Iterable[bytes]] = ..., own: _Optional[bool] = ...) -> None: ...

class Shares(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Relayed(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Turn(_message.Message):
    __slots__ = ("parties",)
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    parties: int
    def __init__(self, parties: _Optional[int] = ...) -> None: ...

class Piece(_message.Message):
    __slots__ = ("first",)
    FIRST_FIELD_NUMBER: _ClassVar[int]
    first: int
    def __init__(self, first: _Optional[int] = ...) -> None: ...

class Survivors(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Vote(_message.Message):
    __slots__ = ("signature",)
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    signature: bytes
    def __init__(self, signature: _Optional[bytes] = ...) -> None: ...

class Votes(_message.Message):
    __slots__ = ("voters", "signatures")
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    voters: _containers.RepeatedScalarFieldContainer[int]
    signatures: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, voters: _Optional[_Iterable[int]] = ..., signatures: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TooFew(_message.Message):
    __slots__ = ("left", "needed")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    NEEDED_FIELD_NUMBER: _ClassVar[int]
    left: int
    needed: int
    def __init__(self, left: _Optional[int] = ..., needed: _Optional[int] = ...) -> None: ...

class Deposit(_message.Message):
    __slots__ = ("terms",)
    TERMS_FIELD_NUMBER: _ClassVar[int]
    terms: Terms
    def __init__(self, terms: _Optional[_Union[Terms, _Mapping]] = ...) -> None: ...

class Held(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Offer(_message.Message):
    __slots__ = ("terms",)
    TERMS_FIELD_NUMBER: _ClassVar[int]
    terms: Terms
    def __init__(self, terms: _Optional[_Union[Terms, _Mapping]] = ...) -> None: ...

class Deposited(_message.Message):
    __slots__ = ("terms", "parties")
    TERMS_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    terms: Terms
    parties: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, terms: _Optional[_Union[Terms, _Mapping]] = ..., parties: _Optional[_Iterable[str]] = ...) -> None: ...

class Expand(_message.Message):
    __slots__ = ("survivors",)
    SURVIVORS_FIELD_NUMBER: _ClassVar[int]
    survivors: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, survivors: _Optional[_Iterable[str]] = ...) -> None: ...

class Closed(_message.Message):
    __slots__ = ("survivors", "dropped")
    SURVIVORS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    survivors: _containers.RepeatedScalarFieldContainer[str]
    dropped: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, survivors: _Optional[_Iterable[str]] = ..., dropped: _Optional[_Iterable[str]] = ...) -> None: ...
