"""Small files that ask for much: time, memory or stack out of proportion to their size.

Each bomb is a function that returns the bytes of one model. Here are the register of them and the words they are
written in; the bombs themselves are in `bombs_of_sizes`, `bombs_of_structure` and `bombs_of_bytes`. Large ones are
written as protobuf by hand (`field`), so that making them costs little memory itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

Build = Callable[[], bytes]
BOMBS: dict[str, Build] = {}
MANY = 100_000
# nodes of graphs that are just not too large to be analysed
NODES = 39_999
FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def bomb(build: Build) -> Build:
    BOMBS[build.__name__] = build
    return build


def all_bombs() -> dict[str, Build]:
    """Every bomb by its name."""
    for part in ("sizes", "structure", "bytes"):
        import_module(f"bombs_of_{part}")
    return BOMBS


def value(name: str, dims: Sequence[int | str] | None = (2, 3), elem: int = FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, elem, dims)


def ints(name: str, values: Sequence[int]) -> TensorProto:
    return TensorProto(name=name, data_type=INT64, dims=[len(values)], int64_data=values)


def scalar(name: str, number: int) -> TensorProto:
    return TensorProto(name=name, data_type=INT64, int64_data=[number])


def model(
    nodes: Iterable[NodeProto],
    *,
    inputs: Sequence[ValueInfoProto] | None = None,
    outputs: Sequence[str] = ("y",),
    weights: Sequence[TensorProto] = (),
    opset: int = 21,
) -> bytes:
    graph = GraphProto(name="g", node=nodes, initializer=weights)
    graph.input.extend([value("x")] if inputs is None else inputs)
    graph.output.extend(ValueInfoProto(name=o) for o in outputs)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("f", 1)]
    return bytes(ModelProto(ir_version=10, graph=graph, opset_import=imports).SerializeToString())


def node(op: str, inputs: Sequence[str] = ("x",), outputs: Sequence[str] = ("y",), **attributes: Any) -> NodeProto:
    return helper.make_node(op, inputs, outputs, **attributes)


def chain(op: str, length: int, extra: Sequence[str] = (), **attributes: Any) -> list[NodeProto]:
    """x → 0 → 1 → … → y, each `op` with the `extra` operands."""
    names = ["x", *(str(k) for k in range(length - 1)), "y"]
    return [node(op, [a, *extra], [b], **attributes) for a, b in pairwise(names)]


def field(number: int, *parts: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return _varint(number << 3 | 2) + _varint(sum(map(len, parts))) + b"".join(parts)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def with_graph(*parts: bytes) -> bytes:
    """A model whose graph holds an input, an output of it, and `parts`."""
    ends = GraphProto(input=[value("x")], output=[value("x")]).SerializeToString()
    return b"\x08\x0a" + field(7, ends, *parts) + field(8, b"\x10\x15")
