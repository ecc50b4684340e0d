"""Invented weights and inputs: in their places, of their types, harmless to the time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, load, numpy_helper, save

from efficiency_cli.errors import ModelError
from efficiency_cli.graph.read import read_model
from efficiency_cli.measure.host.inputs import inputs_of
from efficiency_cli.measure.host.weights import absent_weights, random_files


def model_of(folder: Path, nodes, inputs, weights, outputs=("y",), opset=17) -> Path:
    """A model whose weights (name -> array) are said to be in weights.bin, which is not there."""
    tensors, place = [], 0
    for name, array in weights.items():
        tensor = numpy_helper.from_array(array, name)
        size = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights.bin"), ("offset", place), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        tensors.append(tensor)
        place += size
    values = [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()]
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    graph = helper.make_graph(nodes, "g", values, results, tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path = folder / "m.onnx"
    save(made, path)
    return path


FLOATS = np.zeros((16, 8), np.float32)


@pytest.fixture
def product(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["y"]),
    ]
    weights = {"w": FLOATS, "b": np.zeros(8, np.float32)}
    return model_of(tmp_path, nodes, {"x": (TensorProto.FLOAT, [1, 16])}, weights)


def test_what_is_absent(product):
    found = absent_weights(str(product), read_model(str(product)))
    assert [(a.name, a.location, a.start, a.size) for a in found] == [
        ("w", "weights.bin", 0, 16 * 8 * 4),
        ("b", "weights.bin", 16 * 8 * 4, 8 * 4),
    ]


def test_a_model_with_weights_lacks_none():
    path = Path(__file__).resolve().parents[2] / "samples" / "kws_dscnn_float.onnx"
    inside = absent_weights(str(path), read_model(str(path)))
    assert all(a.location for a in inside)


def test_random_weights_are_no_denormals_and_keep_the_size_of_sums(product):
    model = read_model(str(product))
    files = random_files(absent_weights(str(product), model), model, most_bytes=1 << 20)
    values = files["weights.bin"].view(np.float32)
    assert len(values) == 16 * 8 + 8
    assert np.abs(values).min() > 1e-3
    # the variance of a uniform law in ±√(3 / n) is 1 / n: sums of n products keep theirs
    assert np.abs(values[: 16 * 8]).max() <= np.sqrt(3 / 16)
    again = random_files(absent_weights(str(product), model), model, most_bytes=1 << 20)
    assert (again["weights.bin"] == files["weights.bin"]).all()


def test_weights_that_do_not_fit_are_refused(product):
    model = read_model(str(product))
    with pytest.raises(ModelError, match="the weights take"):
        random_files(absent_weights(str(product), model), model, most_bytes=100)


def test_scales_are_positive_and_zero_points_and_indices_zero(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("Gather", ["d", "index"], ["y"]),
    ]
    weights = {
        "scale": np.zeros(4, np.float32),
        "zero": np.zeros(4, np.uint8),
        "index": np.zeros(40, np.int64),
    }
    path = model_of(tmp_path, nodes, {"x": (TensorProto.FLOAT, [1, 4])}, weights)
    model = read_model(str(path))
    found = random_files(absent_weights(str(path), model), model, most_bytes=1 << 20)["weights.bin"]
    assert (found[:16].view(np.float32) > 0).all()
    assert not found[16:].any()


def test_inputs_have_the_shapes_and_types_of_the_graph(product):
    (x,) = inputs_of(read_model(str(product))).values()
    assert (x.shape, x.dtype) == ((1, 16), np.float32)
    assert np.abs(x).min() >= 0.01


def test_indices_stay_inside_their_table(tmp_path):
    nodes = [
        helper.make_node("Unsqueeze", ["ids", "axes"], ["u"]),
        helper.make_node("Gather", ["table", "u"], ["y"], axis=0),
    ]
    weights = {"table": np.zeros((11, 8), np.float32)}
    path = model_of(tmp_path, nodes, {"ids": (TensorProto.INT64, [1, 500]), "axes": (TensorProto.INT64, [1])}, weights)
    ids = inputs_of(read_model(str(path)))["ids"]
    assert ids.min() >= 0
    assert ids.max() == 10


def test_masks_let_all_through(tmp_path):
    nodes = [helper.make_node("Cast", ["mask"], ["y"], to=TensorProto.FLOAT)]
    path = model_of(tmp_path, nodes, {"mask": (TensorProto.INT64, [1, 6])}, {})
    assert inputs_of(read_model(str(path)))["mask"].tolist() == [[1] * 6]


def test_no_two_weights_are_alike(tmp_path):
    # a runtime may keep equal tensors once, and what is read once is in a cache
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("MatMul", ["h", "b"], ["y"])]
    square = np.zeros((16, 16), np.float32)
    path = model_of(tmp_path, nodes, {"x": (TensorProto.FLOAT, [1, 16])}, {"a": square, "b": square})
    model = read_model(str(path))
    (content,) = random_files(absent_weights(str(path), model), model, most_bytes=1 << 20).values()
    one, two = content[: 16 * 16 * 4], content[16 * 16 * 4 :]
    assert not np.array_equal(one, two)


def test_invented_scales_of_biases_are_those_of_the_product(tmp_path):
    # where they are not, onnxruntime keeps the product in float32
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "sx"], ["dx"]),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["dw"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "sb"], ["db"], axis=0),
        helper.make_node("Conv", ["dx", "dw", "db"], ["y"]),
    ]
    weights = {
        "w": np.zeros((4, 2, 1, 1), np.int8),
        "b": np.zeros(4, np.int32),
        "sw": np.zeros(4, np.float32),
        "sb": np.zeros(4, np.float32),
    }
    path = model_of(tmp_path, nodes, {"x": (TensorProto.FLOAT, [1, 2, 3, 3])}, weights)
    whole = load(path, load_external_data=False)
    whole.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "sx"))
    save(whole, path)
    model = read_model(str(path))
    absent = absent_weights(str(path), model)
    (content,) = random_files(absent, model, most_bytes=1 << 20).values()
    places = {a.name: slice(a.start, a.start + a.size) for a in absent}
    scale, bias = (content[places[name]].view(np.float32) for name in ("sw", "sb"))
    assert scale[0] > 0
    assert bias == pytest.approx(0.5 * scale)
