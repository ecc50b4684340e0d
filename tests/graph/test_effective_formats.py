"""Zeros of weights in the rarer ways of storing them: float8, 2 bits, blocks, packed blobs, recurrent gates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from efficiency_cli.graph.effective import Weights, Zeros
from efficiency_cli.graph.read import read_model
from efficiency_cli.roofline.effective import NodeEffective, effective
from efficiency_cli.roofline.estimate import count


def saved(path: Path, nodes, initializers, shape, outputs=("y",)) -> str:
    """A model of `nodes` from x (`shape`)."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    made = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
    graph = helper.make_graph(nodes, "g", [x], made, initializers)
    opsets = [helper.make_opsetid("", 25), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=12), path)
    return str(path)


def found(path: str, op: str) -> tuple[Zeros, ...] | str | None:
    model = read_model(path)
    weights = Weights(model)
    return next(weights.zeros(n, model.graph) for n in model.graph.nodes if n.op == op)


def left(path: str, op: str) -> NodeEffective:
    """What is left of the one node of this operator."""
    network = count(read_model(path))
    name = next(n.node.name for n in network.nodes if n.node.op == op)
    return effective(network).nodes[name]


def array(values, name: str) -> TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(values), name)


# (6, 5) with a dead column and 3 zeros elsewhere
MATRIX = np.ones((6, 5), np.float32)
MATRIX[:, 2] = 0
MATRIX[(0, 4, 5), (0, 1, 3)] = 0
KNOWN = Zeros(6 * 5, 6 + 3, 5, frozenset({2}))

NARROW = [
    TensorProto.FLOAT8E4M3FN,
    TensorProto.FLOAT8E4M3FNUZ,
    TensorProto.FLOAT8E5M2,
    TensorProto.FLOAT8E5M2FNUZ,
    TensorProto.FLOAT4E2M1,
    TensorProto.INT2,
    TensorProto.UINT2,
    TensorProto.INT4,
    TensorProto.UINT4,
]


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("kind", NARROW)
def test_narrow_types(tmp_path, kind, raw):
    tensor = helper.make_tensor("q", kind, MATRIX.shape, MATRIX.ravel().tolist())
    if raw:
        data = bytes(v & 0xFF for v in tensor.int32_data)
        tensor.ClearField("int32_data")
        tensor.raw_data = data
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=1),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    path = saved(tmp_path / "m.onnx", nodes, [tensor, array(np.ones(5, np.float32), "s")], (3, 6))
    assert found(path, "MatMul") == (KNOWN,)


@pytest.mark.parametrize(
    ("kind", "zeros"),
    [
        # 0x00 is zero in all; 0x80 is -0, but no number in the fnuz types; 0x01 is the least there is
        (TensorProto.FLOAT8E4M3FN, 2),
        (TensorProto.FLOAT8E5M2, 2),
        (TensorProto.FLOAT8E4M3FNUZ, 1),
        (TensorProto.FLOAT8E5M2FNUZ, 1),
    ],
)
def test_negative_zeros(tmp_path, kind, zeros):
    tensor = helper.make_tensor("q", kind, (4, 1), bytes([0x00, 0x80, 0x01, 0x81]), raw=True)
    nodes = [helper.make_node("Cast", ["q"], ["w"], to=1), helper.make_node("MatMul", ["x", "w"], ["y"])]
    assert found(saved(tmp_path / "m.onnx", nodes, [tensor], (3, 4)), "MatMul") == (Zeros(4, zeros, 1, frozenset()),)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("chunk", [1 << 20, 3])
def test_a_zero_point_for_each_block(tmp_path, axis, chunk, monkeypatch):
    """(6, 4) in blocks of 2 along `axis`; each element is its block's zero point, but for those that are added to."""
    monkeypatch.setattr("efficiency_cli.graph.effective.elements.MAX_ELEMENTS", chunk)
    shape = (3, 4) if axis == 0 else (6, 2)
    points = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    live = np.zeros((6, 4), np.uint8)
    live[1, 0] = live[2, 0] = live[5, 3] = 1
    values = np.repeat(points, 2, axis) + live
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=axis, block_size=2),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    parts = [array(values, "q"), array(np.ones(shape, np.float32), "s"), array(points, "z")]
    path = saved(tmp_path / "m.onnx", nodes, parts, (3, 6))
    assert found(path, "MatMul") == (Zeros(24, 24 - 3, 4, frozenset({1, 2})),)


def test_zero_points_that_do_not_fit(tmp_path):
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0, block_size=2),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    parts = [array(np.ones((6, 4), np.uint8), "q"), array(np.ones((3, 4), np.float32), "s")]
    path = Path(saved(tmp_path / "m.onnx", nodes, [*parts, array(np.ones((3, 4), np.uint8), "z")], (3, 6)))
    model = read_model(str(path))
    proto = onnx.load(path)
    proto.graph.initializer[2].CopyFrom(array(np.ones((2, 4), np.uint8), "z"))
    onnx.save(proto, path)
    assert "do not fit" in Weights(model).zeros(model.graph.nodes[-1], model.graph)


# --- MatMulNBits ---------------------------------------------------------------------------------


def packed(values: np.ndarray, bits: int) -> np.ndarray:
    """The low bits of a byte hold the first value."""
    each = 8 // bits
    parts = values.reshape(*values.shape[:-1], -1, each).astype(np.uint8)
    return (parts << (np.arange(each, dtype=np.uint8) * bits)).sum(-1).astype(np.uint8)


def blob(tmp_path: Path, live, bits: int, block: int, points=None, stored=None, width: int | None = None) -> str:
    """x (3, K) · Bᵀ with the values `live` (N, K) above `points` (N, blocks), filled up with live padding."""
    rows, given = live.shape
    blocks = -(-given // block)
    half = np.full((rows, blocks), 1 << (bits - 1))
    padded = np.ones((rows, blocks * block), int)
    padded[:, :given] = live
    values = padded + np.repeat(half if points is None else points, block, 1)
    parts = [array(packed(values.reshape(rows, blocks, block), bits), "b"), array(np.ones(rows * blocks, "f4"), "s")]
    names = ["x", "b", "s"]
    if stored is not None:
        parts.append(array(stored, "z"))
        names.append("z")
    settings = {"K": width or given, "N": rows, "bits": bits, "block_size": block}
    node = helper.make_node("MatMulNBits", names, ["y"], domain="com.microsoft", **settings)
    return saved(tmp_path / "m.onnx", [node], parts, (3, given))


def sparse(rows: int, width: int) -> np.ndarray:
    """Row 1 is dead, row 0 has 5 zeros; all else is 1."""
    live = np.ones((rows, width), int)
    live[1] = 0
    live[0, :5] = 0
    return live


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("width", [32, 40])
def test_bits_without_zero_points(tmp_path, bits, width):
    """Half of the range stands for zero; what fills the last block up does not count."""
    path = blob(tmp_path, sparse(6, width), bits, 16)
    assert found(path, "MatMulNBits") == (Zeros(6 * width, width + 5, 6, frozenset({1})),)
    node = left(path, "MatMulNBits")
    assert node.macs == 3 * 5 * width
    assert node.macs_nonzero == 3 * (6 * width - width - 5)


@pytest.mark.parametrize(("bits", "chunk"), [(2, 1 << 20), (4, 1 << 20), (4, 8), (8, 1 << 20)])
def test_packed_zero_points(tmp_path, bits, chunk, monkeypatch):
    """Three blocks a row: with 4 bits, half a byte of each row's zero points is padding."""
    monkeypatch.setattr("efficiency_cli.graph.effective.elements.MAX_ELEMENTS", chunk)
    points = np.arange(6 * 3).reshape(6, 3) % ((1 << bits) - 1)
    filled = np.full((6, -(-3 * bits // 8) * 8 // bits), 1)
    filled[:, :3] = points
    path = blob(tmp_path, sparse(6, 40), bits, 16, points, packed(filled, bits).ravel())
    assert found(path, "MatMulNBits") == (Zeros(6 * 40, 40 + 5, 6, frozenset({1})),)


def test_zero_points_in_float(tmp_path):
    points = np.arange(6 * 2).reshape(6, 2) % 7
    path = blob(tmp_path, sparse(6, 32), 4, 16, points, points.astype(np.float32).ravel())
    assert found(path, "MatMulNBits") == (Zeros(6 * 32, 32 + 5, 6, frozenset({1})),)


def test_a_zero_point_between_two_values(tmp_path):
    """7.5 is no value: nothing is zero."""
    path = blob(tmp_path, sparse(6, 32), 4, 16, stored=np.full(12, 7.5, np.float32))
    assert found(path, "MatMulNBits") == (Zeros(6 * 32, 0, 6, frozenset()),)


def test_a_blob_that_does_not_fit(tmp_path):
    assert "bytes where its shape needs" in found(blob(tmp_path, sparse(6, 32), 4, 16, width=64), "MatMulNBits")


# --- recurrent layers ----------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_gates(tmp_path, op, gates, directions):
    """Rows of W (I each) and of R (H each) that are zero need no product."""
    steps, batch, features, hidden = 7, 2, 5, 3
    w = np.ones((directions, gates * hidden, features), np.float32)
    r = np.ones((directions, gates * hidden, hidden), np.float32)
    w[0, 1] = 0
    w[0, 0, :2] = 0
    r[directions - 1, 0] = 0
    r[0, 2, 1] = 0
    settings = {"hidden_size": hidden, "direction": "bidirectional" if directions == 2 else "forward"}
    node = helper.make_node(op, ["x", "w", "r"], ["y"], **settings)
    path = saved(tmp_path / "m.onnx", [node], [array(w, "w"), array(r, "r")], (steps, batch, features))
    rows = directions * gates * hidden
    assert found(path, op) == (
        Zeros(rows * features, features + 2, rows, frozenset({1})),
        Zeros(rows * hidden, hidden + 1, rows, frozenset({(directions - 1) * gates * hidden})),
    )
    node = left(path, op)
    assert node.macs == steps * batch * ((rows - 1) * features + (rows - 1) * hidden)
    assert node.macs_nonzero == steps * batch * (rows * (features + hidden) - (features + 2) - (hidden + 1))
    assert (node.zeros.channels, node.zeros.zero_elements) == (2 * rows, features + 2 + hidden + 1)


@pytest.mark.parametrize("points", [[3, 5], [[3] * 8, [5] * 8]])
def test_a_quantised_lstm(tmp_path, points):
    """Weights (directions, I, 4 H): its columns are the rows of the gates."""
    steps, features, hidden = 4, 3, 2
    zero = np.array([3, 5], np.uint8).reshape(2, 1, 1)
    w = np.ones((2, features, 4 * hidden), np.uint8) + zero
    r = np.ones((2, hidden, 4 * hidden), np.uint8) + zero
    w[1, :, 6] = zero[1]
    r[0, 0, 0] = 3
    parts = [array(w, "w"), array(r, "r"), array(np.ones(2, np.float32), "s"), array(np.array(points, np.uint8), "z")]
    names = ["x", "w", "r", "", "", "", "", "", "s", "z", "s", "z"]
    node = helper.make_node(
        "DynamicQuantizeLSTM", names, ["y"], domain="com.microsoft", hidden_size=hidden, direction="bidirectional"
    )
    path = saved(tmp_path / "m.onnx", [node], parts, (steps, 1, features))
    assert found(path, "DynamicQuantizeLSTM") == (
        Zeros(2 * features * 8, features, 16, frozenset({8 + 6})),
        Zeros(2 * hidden * 8, 1, 16, frozenset()),
    )
    node = left(path, "DynamicQuantizeLSTM")
    assert node.macs == steps * (15 * features + 16 * hidden)
    assert node.macs_nonzero == steps * (16 * (features + hidden) - features - 1)


# --- others --------------------------------------------------------------------------------------


def test_a_transposed_convolution(tmp_path):
    weight = np.ones((3, 4, 2, 2), np.float32)
    weight[:, 1] = 0
    weight[0, 0, 0, 0] = 0
    for group, node in ((1, left), (3, None)):
        nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=group)]
        path = saved(tmp_path / "m.onnx", nodes, [array(weight, "w")], (1, 3, 5, 5))
        if node is None:
            assert "grouped ConvTranspose" in found(path, "ConvTranspose")
            continue
        assert found(path, "ConvTranspose") == (Zeros(48, 3 * 4 + 1, 4, frozenset({1})),)
        assert node(path, "ConvTranspose").macs == 5 * 5 * 3 * 3 * 2 * 2


def test_the_projection_of_an_attention(tmp_path):
    """Only the projection multiplies by the weight; the scores stay whole."""
    tokens, width, heads = 5, 8, 2
    weight = np.ones((width, 3 * width), np.float32)
    weight[:, :4] = 0
    weight[0, 10] = 0
    names = ["x", "w", "b"]
    node = helper.make_node("Attention", names, ["y"], domain="com.microsoft", num_heads=heads)
    parts = [array(weight, "w"), array(np.ones(3 * width, np.float32), "b")]
    node = left(saved(tmp_path / "m.onnx", [node], parts, (1, tokens, width)), "Attention")
    scores = 2 * tokens * tokens * width
    assert node.macs == tokens * width * (3 * width - 4) + scores
    assert node.macs_nonzero == tokens * (width * 3 * width - 4 * width - 1) + scores


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Einsum", ["x", "w"], ["y"], equation="ij,jk->ik"),
        helper.make_node("MatMul", ["w", "x"], ["y"]),
    ],
)
def test_weights_that_are_not_read_are_named(tmp_path, node):
    path = saved(tmp_path / "m.onnx", [node], [array(np.zeros((6, 6), np.float32), "w")], (6, 6))
    result = effective(count(read_model(path)))
    assert result.macs == result.macs_nonzero == 6 * 6 * 6
    assert len(result.unread) == 1
    assert f"'w': weights of {node.op_type} are not read there" in result.unread[0]


def test_memory_does_not_grow_with_the_weights(tmp_path):
    """24 MiB of 4-bit weights, 48 M elements: less than two numbers of 64 bits for each of 1 M at once."""
    import tracemalloc

    width, rows, block = 4096, 12288, 32
    size = rows * width // 2
    with (tmp_path / "b.bin").open("wb") as file:
        file.truncate(size)
    stored = TensorProto(name="b", data_type=TensorProto.UINT8, data_location=TensorProto.EXTERNAL)
    stored.dims.extend((rows, width // block, block // 2))
    stored.external_data.add(key="location", value="b.bin")
    settings = {"K": width, "N": rows, "bits": 4, "block_size": block}
    node = helper.make_node("MatMulNBits", ["x", "b", "s"], ["y"], domain="com.microsoft", **settings)
    path = saved(tmp_path / "m.onnx", [node], [stored, array(np.ones(1, np.float32), "s")], (1, width))
    model = read_model(path)
    tracemalloc.start()
    try:
        weights = Weights(model)
        assert weights.zeros(model.graph.nodes[0], model.graph) == (Zeros(rows * width, 0, rows, frozenset()),)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * 8 << 20
