from mpc.wire.wire.v1 import message_pb2 as _message_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class Rr22Tags(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
