from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Hello(_message.Message):
    __slots__ = ("wire_version", "session", "operator", "operator_version", "suite", "parameters", "product", "scenario", "resume")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_VERSION_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    session: str
    operator: str
    operator_version: int
    suite: str
    parameters: bytes
    product: str
    scenario: str
    resume: bool
    def __init__(self, wire_version: _Optional[int] = ..., session: _Optional[str] = ..., operator: _Optional[str] = ..., operator_version: _Optional[int] = ..., suite: _Optional[str] = ..., parameters: _Optional[bytes] = ..., product: _Optional[str] = ..., scenario: _Optional[str] = ..., resume: _Optional[bool] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("lane", "seq", "ack", "credit", "kind", "last", "payload")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Frame.Kind]
        HELLO: _ClassVar[Frame.Kind]
        DATA: _ClassVar[Frame.Kind]
        CONTROL: _ClassVar[Frame.Kind]
        CLOSE: _ClassVar[Frame.Kind]
    KIND_UNSPECIFIED: Frame.Kind
    HELLO: Frame.Kind
    DATA: Frame.Kind
    CONTROL: Frame.Kind
    CLOSE: Frame.Kind
    LANE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    lane: str
    seq: int
    ack: int
    credit: int
    kind: Frame.Kind
    last: bool
    payload: bytes
    def __init__(self, lane: _Optional[str] = ..., seq: _Optional[int] = ..., ack: _Optional[int] = ..., credit: _Optional[int] = ..., kind: _Optional[_Union[Frame.Kind, str]] = ..., last: _Optional[bool] = ..., payload: _Optional[bytes] = ...) -> None: ...
