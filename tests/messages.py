"""Message types for tests of the engine, so that these need no protocol's messages.

Each has one field, ``number`` (``text`` in Text), and the arrays that its line below declares.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from mpc.wire.wire.v1 import message_pb2

_ARRAYS: dict[str, tuple[tuple[str, str, str, int], ...]] = {
    "Word": (),
    "Text": (),
    "Points": (("points", "u1", "n 32", 32 * 1024),),
    "Block": (("rows", "u1", "rows 16", 1 << 30),),
    "Pair": (("left", "u8", "n", 1 << 20), ("right", "f8", "n 2", 1 << 20)),
    "Proof": (("points", "u1", "m 32", 32 * 1024), ("proof", "u1", "p", 64)),
}


def _make() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(
        name="unseen/test/v1/messages.proto", package="unseen.test.v1", syntax="proto3"
    )
    file.dependency.append(message_pb2.DESCRIPTOR.name)
    for name, arrays in _ARRAYS.items():
        message = file.message_type.add(name=name)
        field, kind = (
            ("text", descriptor_pb2.FieldDescriptorProto.TYPE_BYTES)
            if name == "Text"
            else ("number", descriptor_pb2.FieldDescriptorProto.TYPE_UINT64)
        )
        message.field.add(name=field, number=1, type=kind, label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
        for array, dtype, shape, limit in arrays:
            message.options.Extensions[message_pb2.array].add(name=array, dtype=dtype, shape=shape, max_bytes=limit)
    pool = descriptor_pool.Default()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"unseen.test.v1.{name}")) for name in _ARRAYS
    }


_TYPES = _make()
Word, Text, Points, Block, Pair, Proof = (_TYPES[name] for name in ("Word", "Text", "Points", "Block", "Pair", "Proof"))
