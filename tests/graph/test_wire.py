"""Payloads go, everything else stays byte for byte; damaged files end in WireError and nothing else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, helper

from efficiency_cli.graph import wire
from efficiency_cli.graph.source import FileBytes
from efficiency_cli.graph.wire import KEEP_BYTES, Bytes, WireError, strip_payloads

BIG = 4 * KEEP_BYTES
PAYLOAD_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def strip(model: ModelProto) -> ModelProto:
    return ModelProto.FromString(strip_payloads(Bytes(model.SerializeToString())))


def raw(name: str, size: int) -> TensorProto:
    return TensorProto(name=name, dims=[size], data_type=TensorProto.UINT8, raw_data=bytes(size))


def sparse(size: int) -> SparseTensorProto:
    indices = TensorProto(name="i", dims=[size], data_type=TensorProto.INT64, int64_data=range(size))
    return SparseTensorProto(values=raw("v", size), indices=indices, dims=[10 * size])


def holding(graph: GraphProto) -> ModelProto:
    """A small model around `graph`, so that something small follows the payload."""
    model = ModelProto(ir_version=9, producer_name="tester", graph=graph)
    model.opset_import.add(domain="", version=17)
    return model


def node(**attribute: object) -> NodeProto:
    made = NodeProto(name="n", op_type="Constant", output=["c"])
    made.attribute.append(AttributeProto(name="a", **attribute))
    return made


def tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor of a graph, those in sparse tensors, attributes and bodies included."""
    yield from graph.initializer
    for s in graph.sparse_initializer:
        yield from (s.values, s.indices)
    for n in graph.node:
        yield from node_tensors(n)


def node_tensors(n: NodeProto) -> Iterator[TensorProto]:
    for a in n.attribute:
        yield from attribute_tensors(a)


def attribute_tensors(a: AttributeProto) -> Iterator[TensorProto]:
    yield from (*([a.t] if a.HasField("t") else ()), *a.tensors)
    for s in (*([a.sparse_tensor] if a.HasField("sparse_tensor") else ()), *a.sparse_tensors):
        yield from (s.values, s.indices)
    for g in (*([a.g] if a.HasField("g") else ()), *a.graphs):
        yield from tensors(g)


def model_tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from tensors(model.graph)
    for function in model.functions:
        for n in function.node:
            yield from node_tensors(n)
        for a in function.attribute_proto:
            yield from attribute_tensors(a)


def payload(tensor: TensorProto) -> int:
    return sum(len(getattr(tensor, field)) for field in PAYLOAD_FIELDS)


def without_payloads(model: ModelProto) -> ModelProto:
    """A copy whose tensors of over KEEP_BYTES in one field say EXTERNAL: what stripping ought to give."""
    bare = ModelProto()
    bare.CopyFrom(model)
    for tensor in model_tensors(bare):
        for field in PAYLOAD_FIELDS:
            only = TensorProto(**{field: getattr(tensor, field)})
            header = 3  # tag and a length of two bytes, for payloads from 128 bytes to 16 KiB
            if only.ByteSize() - header > KEEP_BYTES:
                tensor.ClearField(field)
                tensor.data_location = TensorProto.EXTERNAL
    return bare


# --- what is dropped ---


@pytest.mark.parametrize("field", PAYLOAD_FIELDS)
def test_every_payload_field_is_dropped(field: str) -> None:
    values = bytes(BIG) if field == "raw_data" else [1] * BIG
    tensor = TensorProto(name="w", dims=[BIG], data_type=TensorProto.FLOAT, doc_string="kept", **{field: values})
    (kept,) = strip(holding(GraphProto(name="g", initializer=[tensor]))).graph.initializer
    assert kept == TensorProto(
        name="w", dims=[BIG], data_type=TensorProto.FLOAT, doc_string="kept", data_location=TensorProto.EXTERNAL
    )


PLACES: dict[str, Callable[[], ModelProto]] = {
    "initializer": lambda: holding(GraphProto(initializer=[raw("w", BIG)])),
    "sparse initializer": lambda: holding(GraphProto(sparse_initializer=[sparse(BIG)])),
    "Constant": lambda: holding(GraphProto(node=[node(type=AttributeProto.TENSOR, t=raw("w", BIG))])),
    "list of tensors": lambda: holding(GraphProto(node=[node(tensors=[raw("v", BIG), raw("w", BIG)])])),
    "sparse Constant": lambda: holding(GraphProto(node=[node(sparse_tensor=sparse(BIG))])),
    "list of sparse tensors": lambda: holding(GraphProto(node=[node(sparse_tensors=[sparse(BIG)])])),
    "body": lambda: holding(GraphProto(node=[node(g=GraphProto(initializer=[raw("w", BIG)]))])),
    "list of bodies": lambda: holding(GraphProto(node=[node(graphs=[GraphProto(initializer=[raw("w", BIG)])])])),
    "body in a body": lambda: holding(
        GraphProto(node=[node(g=GraphProto(node=[node(g=GraphProto(initializer=[raw("w", BIG)]))]))])
    ),
    "function": lambda: with_function(node=[node(t=raw("w", BIG))]),
    "default of a function's attribute": lambda: with_function(
        attribute_proto=[AttributeProto(name="a", type=AttributeProto.TENSOR, t=raw("w", BIG))]
    ),
}


def with_function(**parts: object) -> ModelProto:
    model = holding(GraphProto(name="g"))
    model.functions.append(onnx.FunctionProto(name="f", domain="d", **parts))
    return model


@pytest.mark.parametrize("place", PLACES)
def test_payloads_are_dropped_wherever_they_are(place: str) -> None:
    model = PLACES[place]()
    kept = strip(model)
    assert kept == without_payloads(model)
    assert [payload(t) for t in model_tensors(kept)] == [0 for _ in model_tensors(model)] != []
    assert kept.ByteSize() < 200


@pytest.mark.parametrize(
    "model",
    [
        holding(GraphProto(doc_string="x" * BIG)),
        ModelProto(ir_version=9, doc_string="x" * BIG, graph=GraphProto(name="g")),
        holding(GraphProto(node=[NodeProto(op_type="Relu", doc_string="x" * BIG)])),
        holding(GraphProto(node=[node(type=AttributeProto.STRING, s=b"x" * BIG)])),
        with_function(doc_string="x" * BIG),
    ],
    ids=["graph", "model", "node", "string attribute", "function"],
)
def test_long_texts_are_dropped(model: ModelProto) -> None:
    assert strip(model).ByteSize() < 100


def test_the_limit_is_exact() -> None:
    graph = GraphProto(initializer=[raw("kept", KEEP_BYTES), raw("dropped", KEEP_BYTES + 1)])
    kept, dropped = strip(holding(graph)).graph.initializer
    assert (len(kept.raw_data), kept.data_location) == (KEEP_BYTES, TensorProto.DEFAULT)
    assert (len(dropped.raw_data), dropped.data_location) == (0, TensorProto.EXTERNAL)


def test_a_model_without_large_payloads_is_passed_on_byte_for_byte() -> None:
    small = [raw(f"w{k}", KEEP_BYTES) for k in range(20)]
    data = holding(GraphProto(name="g", initializer=small)).SerializeToString()
    assert len(data) > BIG
    assert strip_payloads(Bytes(data)) == data


def test_text_elements_are_kept() -> None:
    words = TensorProto(name="s", dims=[2], data_type=TensorProto.STRING, string_data=[b"a" * BIG, b"b"])
    model = holding(GraphProto(initializer=[words]))
    assert strip(model) == model


@pytest.mark.parametrize(
    ("number", "wire_type", "element"),
    [(4, 5, b"\0\0\x80\x3f"), (7, 0, b"\x05"), (10, 1, b"\0" * 7 + b"\x40")],
    ids=["float_data", "int64_data", "double_data"],
)
def test_unpacked_elements_are_left_to_the_parser(number: int, wire_type: int, element: bytes) -> None:
    # proto2 writers put one element a field; a parser must take both forms
    unpacked = (bytes([number << 3 | wire_type]) + element) * BIG
    tensor = raw("w", 1).SerializeToString() + unpacked
    data = field(7, field(5, tensor))
    assert strip_payloads(Bytes(data)) == data
    assert payload(ModelProto.FromString(data).graph.initializer[0]) == 1 + BIG


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


class Guarded(Bytes):
    """Bytes whose payload must not be looked at."""

    def __init__(self, data: bytes, secret: bytes) -> None:
        super().__init__(data)
        self.start = data.index(secret)
        self.end = self.start + len(secret)

    def byte(self, pos: int) -> int:
        assert not self.start <= pos < self.end
        return super().byte(pos)

    def slice(self, start: int, end: int) -> bytes:
        assert end <= self.start or self.end <= start
        return super().slice(start, end)


def test_a_payload_is_never_looked_at() -> None:
    secret = os.urandom(BIG)
    tensor = TensorProto(name="w", dims=[BIG], data_type=TensorProto.UINT8, raw_data=secret)
    data = holding(GraphProto(name="g", initializer=[tensor])).SerializeToString()
    assert secret not in strip_payloads(Guarded(data, secret))


# --- laws over random models ---

names = st.text("abc/é", max_size=5)
sizes = st.sampled_from([0, 1, 100, KEEP_BYTES - 1, KEEP_BYTES, KEEP_BYTES + 1, BIG])


@st.composite
def some_tensors(draw: st.DrawFn) -> TensorProto:
    tensor = TensorProto(name=draw(names), data_type=draw(st.sampled_from([1, 2, 3, 7, 11])), dims=[draw(sizes)])
    count = draw(sizes)
    match draw(st.sampled_from(PAYLOAD_FIELDS)):
        case "raw_data":
            tensor.raw_data = bytes(count)
        case other:
            getattr(tensor, other).extend([1] * count)
    return tensor


def some_attributes(graphs: st.SearchStrategy[GraphProto] | None) -> st.SearchStrategy[AttributeProto]:
    kinds = [
        st.builds(AttributeProto, name=names, t=some_tensors()),
        st.builds(AttributeProto, name=names, tensors=st.lists(some_tensors(), max_size=2)),
        st.builds(AttributeProto, name=names, ints=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9)),
        st.builds(AttributeProto, name=names, f=st.floats(width=32, allow_nan=False), i=st.integers(0, 99)),
        st.builds(AttributeProto, name=names, s=st.binary(max_size=9)),
    ]
    return st.one_of(*kinds, *([st.builds(AttributeProto, name=names, g=graphs)] if graphs is not None else ()))


def some_graphs(inner: st.SearchStrategy[GraphProto] | None = None) -> st.SearchStrategy[GraphProto]:
    nodes = st.builds(
        NodeProto,
        name=names,
        op_type=names,
        input=st.lists(names, max_size=3),
        output=st.lists(names, max_size=2),
        attribute=st.lists(some_attributes(inner), max_size=3),
    )
    return st.builds(
        GraphProto,
        name=names,
        node=st.lists(nodes, max_size=3),
        initializer=st.lists(some_tensors(), max_size=3),
    )


MODELS = st.builds(holding, some_graphs(some_graphs(some_graphs())))


@settings(max_examples=60, deadline=None)
@given(MODELS)
def test_only_large_payloads_are_missing(model: ModelProto) -> None:
    assert strip(model) == without_payloads(model)


@settings(max_examples=30, deadline=None)
@given(MODELS)
def test_stripping_twice_changes_nothing_more(model: ModelProto) -> None:
    once = strip_payloads(Bytes(model.SerializeToString()))
    assert strip_payloads(Bytes(once)) == once


@settings(max_examples=20, deadline=None)
@given(some_graphs(), st.integers(2, 50))
def test_what_is_kept_does_not_grow_with_the_payload(graph: GraphProto, times: int) -> None:
    sizes = []
    for size in (BIG, times * BIG):
        model = holding(graph)
        model.graph.initializer.append(raw("w", size))
        model.graph.initializer[-1].ClearField("dims")
        sizes.append(len(strip_payloads(Bytes(model.SerializeToString()))))
    assert sizes[0] == sizes[1]


@settings(max_examples=25, deadline=None)
@given(MODELS, st.sampled_from([1, 7, 64, 1 << 16]))
def test_a_file_gives_the_same_as_bytes(model: ModelProto, window: int) -> None:
    data = model.SerializeToString()
    assert from_file(data, window) == strip_payloads(Bytes(data))


def from_file(data: bytes, window: int) -> bytes:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        source = FileBytes(file.fileno(), len(data))
        source.WINDOW = window  # type: ignore[misc]
        return strip_payloads(source)


# --- damaged files ---


def damaged_result(data: bytes) -> ModelProto | WireError | DecodeError:
    """What reading `data` ends in; any other exception is a failure of the test."""
    try:
        kept = strip_payloads(Bytes(data))
    except WireError as error:
        return error
    assert len(kept) <= len(data) + 1000
    try:
        return ModelProto.FromString(kept)
    except DecodeError as error:
        return error


def small_model() -> bytes:
    body = GraphProto(name="b", node=[node(t=raw("w", KEEP_BYTES + 1))], initializer=[two_floats()])
    graph = GraphProto(name="g", node=[node(g=body), node(ints=[1, -1])], initializer=[raw("v", 3)])
    return holding(graph).SerializeToString()


def two_floats() -> TensorProto:
    return TensorProto(name="s", dims=[2], data_type=TensorProto.FLOAT, float_data=[1.0, 2.0])


def test_a_model_cut_at_any_byte_is_an_error_or_a_whole_prefix() -> None:
    data = small_model()
    results = [damaged_result(data[:end]) for end in range(len(data))]
    # a cut between top-level fields leaves a smaller but valid message; everywhere else it shows
    whole = [end for end, result in enumerate(results) if isinstance(result, ModelProto)]
    assert whole == [end for end in range(len(data)) if end in top_level_ends(data)]
    assert not any(isinstance(result, DecodeError) for result in results)


def top_level_ends(data: bytes) -> set[int]:
    """Where fields of the outermost message end, from protobuf's own serialisation of each part."""
    model, ends, position = ModelProto.FromString(data), {0}, 0
    for number, _ in model.ListFields():
        single = ModelProto()
        single.MergeFrom(model)
        for other, _ in model.ListFields():
            if other.name != number.name:
                single.ClearField(other.name)
        position += single.ByteSize()
        ends.add(position)
    return ends


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_flipped_bytes_never_raise_anything_else(data: st.DataObject) -> None:
    bytes_ = bytearray(small_model())
    # payload bytes would hide most hits: aim at the head, where the structure is
    for _ in range(data.draw(st.integers(1, 4))):
        bytes_[data.draw(st.integers(0, 120))] = data.draw(st.integers(0, 255))
    result = damaged_result(bytes(bytes_))
    assert not isinstance(result, WireError) or 0 <= result.offset <= len(bytes_)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(data: bytes) -> None:
    damaged_result(data)
    damaged_result(field(7, data + bytes(KEEP_BYTES)))


@pytest.mark.parametrize(
    ("data", "message", "offset"),
    [
        (b"\x3a\xff\xff\xff\xff\x0f", "a part claims 4,294,967,295 bytes where 0 are left", 0),
        (b"\x08\x07\x3a\x05ab", "a part claims 5 bytes where 2 are left", 2),
        (b"\x08\x80", "the file ends inside a number", 2),
        (b"\x08" + b"\xff" * 11, "a number is malformed", 11),
        (b"\x0d\x00\x00", "the file ends inside a number", 1),
        (b"\x00", "this is not a protobuf message", 1),
        (b"\x0b", "this is not a protobuf message", 1),
    ],
    ids=["length", "short", "varint", "long varint", "fixed", "field 0", "group"],
)
def test_each_damage_is_named_at_its_place(data: bytes, message: str, offset: int) -> None:
    with pytest.raises(WireError) as caught:
        strip_payloads(Bytes(data))
    assert (str(caught.value), caught.value.offset) == (message, offset)


def nested(depth: int) -> bytes:
    """Bodies `depth` deep around a payload, made inside out: protobuf refuses to parse so deep a message."""
    data = GraphProto(initializer=[raw("w", BIG)]).SerializeToString()
    for _ in range(depth):
        data = field(1, field(5, field(6, data)))  # graph.node.attribute.g
    return field(7, data)


def test_nesting_has_a_limit() -> None:
    # a graph, a node and an attribute a level, on top of the model's own graph and initializer
    deepest = (wire.MAX_DEPTH - 2) // 3
    assert len(strip_payloads(Bytes(nested(deepest)))) < 20 * deepest
    with pytest.raises(WireError, match="nested more than 100 deep"):
        strip_payloads(Bytes(nested(deepest + 1)))


def test_a_graph_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = holding(GraphProto(initializer=[raw("w", KEEP_BYTES)] * 5)).SerializeToString()
    assert len(strip_payloads(Bytes(data))) > 5 * KEEP_BYTES
    monkeypatch.setattr(wire, "MAX_KEPT_BYTES", 5 * KEEP_BYTES)
    with pytest.raises(WireError, match="without its weights is over"):
        strip_payloads(Bytes(data))


def test_a_graph_of_too_many_parts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\x08\x07" * 100  # ir_version, a hundred times
    assert strip_payloads(Bytes(data)) == data
    monkeypatch.setattr(wire, "MAX_FIELDS", 99)
    with pytest.raises(WireError, match="more parts than a network can have"):
        strip_payloads(Bytes(data))


def test_real_weights(tmp_path: Path) -> None:
    """onnx's own writer, read back through a file: shapes survive, 4 MB of weights do not."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1000, 1000], bytes(4_000_000), raw=True)
    path = tmp_path / "m.onnx"
    onnx.save(holding(GraphProto(name="g", initializer=[weight])), path)
    with path.open("rb") as file:
        kept = strip_payloads(FileBytes(file.fileno(), path.stat().st_size))
    assert list(ModelProto.FromString(kept).graph.initializer[0].dims) == [1000, 1000]
    assert len(kept) < 100
