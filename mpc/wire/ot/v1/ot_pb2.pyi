from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class BaseOffer(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BaseChoice(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Trees(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TreeCheck(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Corrections(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Challenge(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Response(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Flips(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Masked(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Offsets(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Dealt(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...
