from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Stages(_message.Message):
    __slots__ = ("run", "done", "nonce")
    RUN_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    done: int
    nonce: bytes
    def __init__(self, run: _Optional[bytes] = ..., done: _Optional[int] = ..., nonce: _Optional[bytes] = ...) -> None: ...
