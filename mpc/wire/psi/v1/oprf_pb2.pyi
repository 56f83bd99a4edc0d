from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class OprfCommitment(_message.Message):
    __slots__ = ("commitment",)
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    commitment: bytes
    def __init__(self, commitment: _Optional[bytes] = ...) -> None: ...

class OprfTable(_message.Message):
    __slots__ = ("first", "seed", "coin")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    COIN_FIELD_NUMBER: _ClassVar[int]
    first: int
    seed: bytes
    coin: bytes
    def __init__(self, first: _Optional[int] = ..., seed: _Optional[bytes] = ..., coin: _Optional[bytes] = ...) -> None: ...

class OprfOpening(_message.Message):
    __slots__ = ("opening",)
    OPENING_FIELD_NUMBER: _ClassVar[int]
    opening: bytes
    def __init__(self, opening: _Optional[bytes] = ...) -> None: ...
