from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class PayloadTerms(_message.Message):
    __slots__ = ("version", "suite", "size", "width", "salt")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    version: int
    suite: str
    size: int
    width: int
    salt: bytes
    def __init__(self, version: _Optional[int] = ..., suite: _Optional[str] = ..., size: _Optional[int] = ..., width: _Optional[int] = ..., salt: _Optional[bytes] = ...) -> None: ...
