"""Bombs that are one before they are a model: what parsing takes, or a name, or a list."""

from __future__ import annotations

from fuzz_bombs import STRING, bomb, field, model, node, value, with_graph
from onnx import GraphProto, TensorProto, ValueInfoProto


@bomb
def initializers_a_million() -> bytes:
    tensors = b"".join(field(5, field(8, b"w%d" % k), b"\x10\x01\x08\x01") for k in range(10**6))
    return with_graph(tensors)


@bomb
def initializers_empty_3_million() -> bytes:
    return with_graph(field(5) * (3 * 10**6))


@bomb
def nodes_empty_3_million() -> bytes:
    return with_graph(field(1) * (3 * 10**6))


@bomb
def values_a_million() -> bytes:
    return with_graph(b"".join(field(13, field(1, b"v%d" % k)) for k in range(10**6)))


@bomb
def attributes_empty_50_million() -> bytes:
    """Messages too small to be looked into, full of messages: 2 bytes each here, a hundred once parsed."""
    return with_graph(field(1, field(5) * 1000) * 50_000)


@bomb
def tensors_empty_50_million() -> bytes:
    return with_graph(field(1, field(5, field(10) * 900)) * 50_000)


@bomb
def list_of_10_million_ints() -> bytes:
    return _with_ints(field(8, b"\x01" * 10**7))


@bomb
def list_of_10_million_ints_unpacked() -> bytes:
    return _with_ints(b"\x40\x01" * 10**7)


@bomb
def list_of_200_million_ints() -> bytes:
    return _with_ints(field(8, b"\x01" * (2 * 10**8)))


@bomb
def list_of_10_million_strings() -> bytes:
    return _with_ints(field(9) * 10**7)


def _with_ints(payload: bytes) -> bytes:
    attribute = field(5, field(1, b"axes"), b"\xa0\x01\x07", payload)
    return with_graph(field(1, field(1, b"x"), field(2, b"z"), field(4, b"Relu"), attribute))


@bomb
def name_of_100_mb() -> bytes:
    return with_graph(field(1, field(1, b"x"), field(2, b"z"), field(4, b"Relu"), field(3, b"n" * 10**8)))


@bomb
def operator_of_100_mb() -> bytes:
    return with_graph(field(1, field(1, b"x"), field(2, b"z"), field(4, b"R" * 10**8)))


@bomb
def tensor_name_of_100_mb() -> bytes:
    name = b"n" * 10**8
    return with_graph(field(1, field(1, b"x"), field(2, name), field(4, b"Relu")), field(12, field(1, name)))


@bomb
def strings_of_100_mb() -> bytes:
    attribute = field(5, field(1, b"value"), b"\xa0\x01\x03", field(4, b"s" * 10**8))
    return with_graph(field(1, field(2, b"z"), field(4, b"Constant"), attribute), field(10, b"d" * 10**8))


@bomb
def string_tensor_of_a_million() -> bytes:
    tensor = TensorProto(name="s", data_type=STRING, dims=[10**6], string_data=[b"a"] * 10**6)
    return model([node("Identity", ["s"])], weights=[tensor])


@bomb
def metadata_a_million() -> bytes:
    return with_graph() + field(14, field(1, b"k"), field(2, b"v")) * 10**6


@bomb
def groups_nested_200_deep() -> bytes:
    """Unknown fields inside each other, in a message too small to be looked into."""
    deep = b""
    for _ in range(200):
        deep = field(30, deep)
    return with_graph(deep)


@bomb
def graphs_nested_40_deep() -> bytes:
    """As deep as protobuf reads."""
    graph = GraphProto(
        name="b", node=[node("Relu", ["x"], ["b"])], output=[ValueInfoProto(name="b")]
    ).SerializeToString()
    for _ in range(40):
        attribute = field(1, b"then_branch") + b"\xa0\x01\x05" + field(6, graph)
        graph = field(1, field(1, b"x"), field(2, b"b"), field(4, b"If"), field(5, attribute)) + field(
            12, field(1, b"b")
        )
    return b"\x08\x0a" + field(7, graph, field(11, value("x").SerializeToString())) + field(8, b"\x10\x15")


@bomb
def long_varints() -> bytes:
    return with_graph(b"\x40" + b"\x80" * 10**6)
