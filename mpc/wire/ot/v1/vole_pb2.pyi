from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class SilentRequest(_message.Message):
    __slots__ = ("kind", "count", "security")
    KIND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    kind: str
    count: int
    security: str
    def __init__(self, kind: _Optional[str] = ..., count: _Optional[int] = ..., security: _Optional[str] = ...) -> None: ...

class SilentTrees(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SilentChallenge(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SilentAnswer(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SilentChoices(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
