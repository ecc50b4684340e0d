"""Zeros of weights: counted from every way of storing them, followed back through what prepares them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from efficiency_cli.errors import ModelError, UsageError
from efficiency_cli.graph.effective import Weights, Zeros
from efficiency_cli.graph.read import read_model
from efficiency_cli.roofline.effective import effective
from efficiency_cli.roofline.estimate import count

VWW = (
    Path(__file__).resolve().parents[3]
    / "shared"
    / "data"
    / "mcu"
    / "models"
    / ("mlperf_tiny__vww_mobilenetv1_025_96.onnx")
)


def saved(path: Path, nodes, initializers, shape=(1, 4, 6, 6), **settings) -> str:
    """A model of `nodes` from x (`shape`) to y."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path, **settings)
    return str(path)


def weights(dtype=np.float32, dead=(1, 5), zeros=7) -> np.ndarray:
    """(8, 4, 3, 3) without zeros but in whole channels `dead`, and `zeros` single ones."""
    values = (np.arange(8 * 4 * 3 * 3) % 6 + 1).astype(dtype).reshape(8, 4, 3, 3)
    for channel in dead:
        values[channel] = 0
    values[0].reshape(-1)[:zeros] = 0
    return values


KNOWN = Zeros(8 * 4 * 9, 2 * 4 * 9 + 7, 8, frozenset({1, 5}))


def first(path: str, op: str = "Conv") -> Zeros | tuple[Zeros, ...] | str | None:
    model = read_model(path)
    found = Weights(model)
    zeros = next(found.zeros(n, model.graph) for n in model.graph.nodes if n.op == op)
    return zeros[0] if isinstance(zeros, tuple) and len(zeros) == 1 else zeros


def conv(*names: str, **attributes):
    return helper.make_node("Conv", ["x", *names], ["y"], kernel_shape=[3, 3], **attributes)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, np.int8, np.uint8, np.int32])
def test_raw_values(tmp_path, dtype):
    path = saved(
        tmp_path / "m.onnx",
        [helper.make_node("Cast", ["w"], ["f"], to=1), conv("f")],
        [numpy_helper.from_array(weights(dtype), "w")],
    )
    assert first(path) == KNOWN


def test_negative_zero_is_zero(tmp_path):
    values = weights()
    values[values == 0] = -0.0
    assert first(saved(tmp_path / "m.onnx", [conv("w")], [numpy_helper.from_array(values, "w")])) == KNOWN


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT8, TensorProto.FLOAT16])
def test_values_in_lists(tmp_path, kind):
    tensor = helper.make_tensor("w", kind, (8, 4, 3, 3), weights().ravel().tolist())
    assert not tensor.raw_data
    path = saved(tmp_path / "m.onnx", [helper.make_node("Cast", ["w"], ["f"], to=1), conv("f")], [tensor])
    assert first(path) == KNOWN


def test_bfloat16(tmp_path):
    values = -weights()  # its zeros are negative ones
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    tensor = helper.make_tensor("w", TensorProto.BFLOAT16, values.shape, bits.tobytes(), raw=True)
    path = saved(tmp_path / "m.onnx", [helper.make_node("Cast", ["w"], ["f"], to=1), conv("f")], [tensor])
    assert first(path) == KNOWN


def test_a_constant_node_and_external_data(tmp_path):
    constant = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weights(), "ignored"))
    assert first(saved(tmp_path / "m.onnx", [constant, conv("w")], [])) == KNOWN
    path = saved(
        tmp_path / "e.onnx",
        [conv("w")],
        [numpy_helper.from_array(weights(), "w")],
        save_as_external_data=True,
        location="e.bin",
        size_threshold=0,
    )
    assert (tmp_path / "e.bin").is_file()
    assert first(path) == KNOWN


@pytest.mark.parametrize("zero", [0, 3])
def test_quantised_zeros_are_zero_points(tmp_path, zero):
    quantised = (weights(np.int64) + zero).astype(np.uint8)
    parts = [
        numpy_helper.from_array(quantised, "q"),
        numpy_helper.from_array(np.float32(0.1), "s"),
        numpy_helper.from_array(np.uint8(zero), "z"),
    ]
    nodes = [helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"]), conv("w")]
    assert first(saved(tmp_path / "m.onnx", nodes, parts)) == KNOWN


def test_a_zero_point_for_each_channel(tmp_path):
    points = np.arange(8, dtype=np.int8) - 4
    quantised = (weights(np.int64) + points.reshape(8, 1, 1, 1)).astype(np.int8)
    parts = [
        numpy_helper.from_array(quantised, "q"),
        numpy_helper.from_array(np.full(8, 0.1, np.float32), "s"),
        numpy_helper.from_array(points, "z"),
    ]
    nodes = [helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0), conv("w")]
    assert first(saved(tmp_path / "m.onnx", nodes, parts)) == KNOWN


def test_four_bits(tmp_path):
    packed = helper.make_tensor("q", TensorProto.INT4, (8, 4, 3, 3), weights(np.int8).ravel().tolist())
    parts = [packed, numpy_helper.from_array(np.float32(0.1), "s")]
    nodes = [helper.make_node("DequantizeLinear", ["q", "s"], ["w"]), conv("w")]
    assert first(saved(tmp_path / "m.onnx", nodes, parts)) == KNOWN


@pytest.mark.parametrize("transposed", [0, 1])
def test_columns_of_a_matrix_product(tmp_path, transposed):
    matrix = np.ones((6, 5), np.float32)
    matrix[:, 2] = 0
    matrix[0, 0] = 0
    expected = Zeros(30, 7, 5, frozenset({2}))
    stored = numpy_helper.from_array(matrix.T.copy() if transposed else matrix, "w")
    gemm = helper.make_node("Gemm", ["x", "w"], ["y"], transB=transposed)
    assert first(saved(tmp_path / "g.onnx", [gemm], [stored], (3, 6)), "Gemm") == expected
    turn = [helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0])] if transposed else []
    product = helper.make_node("MatMul", ["x", "t" if transposed else "w"], ["y"])
    assert first(saved(tmp_path / "m.onnx", [*turn, product], [stored], (3, 6)), "MatMul") == expected


def test_values_are_read_in_chunks(tmp_path, monkeypatch):
    path = saved(tmp_path / "m.onnx", [conv("w")], [numpy_helper.from_array(weights(), "w")])
    monkeypatch.setattr("efficiency_cli.graph.payloads.CHUNK", 24)
    assert first(path) == KNOWN


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda t: t.ClearField("raw_data"), "no values"),
        (lambda t: setattr(t, "raw_data", t.raw_data[:-4]), "1,148 bytes where its shape needs 1,152"),
        (lambda t: setattr(t, "data_type", TensorProto.FLOAT8E8M0), "data type is not read"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, change, part):
    tensor = numpy_helper.from_array(weights(), "w")
    path = Path(saved(tmp_path / "m.onnx", [conv("w")], [tensor]))
    model = read_model(str(path))
    proto = onnx.load(path)
    change(proto.graph.initializer[0])
    onnx.save(proto, path)
    reason = Weights(model).zeros(model.graph.nodes[0], model.graph)
    assert isinstance(reason, str)
    assert part in reason


def external(tmp_path: Path, location: str) -> Path:
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    tensor = TensorProto(name="w", dims=(8, 4, 3, 3), data_type=1, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return Path(saved(folder / "m.onnx", [conv("w")], [tensor]))


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "a/../../secret.bin", "link.bin", "dir/s.bin"])
def test_nothing_outside_the_models_folder_is_opened(tmp_path, location, monkeypatch):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(weights().tobytes())
    path = external(tmp_path, location)
    (path.parent / "link.bin").symlink_to(secret)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "s.bin").write_bytes(weights().tobytes())
    (path.parent / "dir").symlink_to(tmp_path / "elsewhere")
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: opened.append(self) or real(self, *a, **k))
    with pytest.raises(ModelError, match="outside the model's folder"):
        Weights(read_model(str(path)))
    assert all(p.resolve().is_relative_to(path.parent.resolve()) for p in opened)


def test_external_data_that_is_odd(tmp_path):
    path = external(tmp_path, "w.bin")
    assert "not there" in first(str(path))
    os.mkfifo(path.parent / "w.bin")
    assert "not there" in first(str(path))
    (path.parent / "w.bin").unlink()
    (path.parent / "w.bin").write_bytes(b"123")
    assert "3 bytes" in first(str(path))


def test_standard_input_has_no_weights(tmp_path):
    from msgspec.structs import replace

    path = saved(tmp_path / "m.onnx", [conv("w")], [numpy_helper.from_array(weights(), "w")])
    with pytest.raises(UsageError, match="needs a file"):
        Weights(replace(read_model(path), path="-"))


# --- effective MACs -----------------------------------------------------------------------------------


def test_dead_channels_are_not_computed_nor_read_on(tmp_path):
    """Conv 4 -> 8 with 2 dead channels, Relu, depthwise, Conv 8 -> 2: dead channels stay dead on the way."""
    depthwise, last = np.ones((8, 1, 1, 1), np.float32), np.ones((2, 8, 1, 1), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "d"], ["c"], group=8, kernel_shape=[1, 1]),
        helper.make_node("Conv", ["c", "l"], ["y"], kernel_shape=[1, 1]),
    ]
    arrays = {"w": weights(), "d": depthwise, "l": last}
    path = saved(tmp_path / "m.onnx", nodes, [numpy_helper.from_array(a, n) for n, a in arrays.items()])
    network = count(read_model(path))
    found = effective(network)
    places = 4 * 4
    assert sum(n.macs for n in network.nodes) == places * (8 * 4 * 9 + 8 + 2 * 8)
    assert found.macs == places * (6 * 4 * 9 + 6 + 2 * 6)
    assert found.macs_nonzero == places * (8 * 4 * 9 - (2 * 4 * 9 + 7) + 8 + 2 * 8)
    assert (found.channels, found.zero_channels) == (8 + 8 + 2, 2)
    assert (found.elements, found.zero_elements) == (8 * 4 * 9 + 8 + 16, 2 * 4 * 9 + 7)


def test_what_is_added_to_a_dead_channel_makes_it_live(tmp_path):
    """A Gemm's C that is computed: its columns are not constant."""
    matrix = np.ones((6, 6), np.float32)
    matrix[:, 2] = 0
    square = numpy_helper.from_array(np.ones((6, 6), np.float32), "v")
    for added, live in (("b", 5), ("x", 6)):
        nodes = [helper.make_node("Gemm", ["x", "w", added], ["h"]), helper.make_node("Gemm", ["h", "v"], ["y"])]
        parts = [numpy_helper.from_array(matrix, "w"), square, numpy_helper.from_array(np.ones(6, np.float32), "b")]
        path = saved(tmp_path / "m.onnx", nodes, parts, (6, 6))
        assert effective(count(read_model(path))).macs == 6 * 6 * 5 + 6 * live * 6


def test_a_network_without_zeros_keeps_its_macs(tmp_path):
    path = saved(tmp_path / "m.onnx", [conv("w")], [numpy_helper.from_array(weights(dead=(), zeros=0), "w")])
    network = count(read_model(path))
    found = effective(network)
    assert found.macs == found.macs_nonzero == sum(n.macs for n in network.nodes)


@pytest.mark.skipif(not VWW.exists(), reason="the model is not here")
def test_the_visual_wake_words_network():
    """971 all-zero channels; runtimes that skip them compute 3.74 M of 7.49 M MACs."""
    found = effective(count(read_model(str(VWW))))
    assert found.zero_channels == 971
    assert found.macs == pytest.approx(3.74e6, rel=1e-3)
    assert found.unread == ()


@pytest.mark.parametrize("dims", [(2**40, 0, 3, 3), (2**24, 1, 1, 1), (2**63 - 1, 2, 1, 1)])
def test_absurd_shapes_take_no_memory(tmp_path, dims):
    path = Path(saved(tmp_path / "m.onnx", [conv("w")], [numpy_helper.from_array(weights(), "w")]))
    model = read_model(str(path))
    proto = onnx.load(path)
    tensor = proto.graph.initializer[0]
    del tensor.dims[:]
    tensor.dims.extend(dims)
    tensor.raw_data = bytes(2**24) if dims[0] == 2**24 else b""
    tensor.data_type = TensorProto.INT8
    onnx.save(proto, path)
    assert isinstance(Weights(model).zeros(model.graph.nodes[0], model.graph), str)
