from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class StrictStart(_message.Message):
    __slots__ = ("version", "weight_exponent", "target_exponent", "key")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_EXPONENT_FIELD_NUMBER: _ClassVar[int]
    TARGET_EXPONENT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    version: int
    weight_exponent: int
    target_exponent: int
    key: bytes
    def __init__(self, version: _Optional[int] = ..., weight_exponent: _Optional[int] = ..., target_exponent: _Optional[int] = ..., key: _Optional[bytes] = ...) -> None: ...

class StrictHistograms(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StrictSides(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StrictRound(_message.Message):
    __slots__ = ("more", "rounds")
    MORE_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    more: bool
    rounds: int
    def __init__(self, more: _Optional[bool] = ..., rounds: _Optional[int] = ...) -> None: ...
