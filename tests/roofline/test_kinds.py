"""Operators and types that a runtime tells apart within a class: the finest kind that it knows counts."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import pytest
from machines import kernel, machine, profile, q
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from efficiency_cli.costs import Product
from efficiency_cli.errors import ProfileError
from efficiency_cli.graph.model import DType, OpClass
from efficiency_cli.graph.read import read_model
from efficiency_cli.hardware.kinds import kinds_of
from efficiency_cli.hardware.load import load_profile
from efficiency_cli.hardware.profile import Dispatch
from efficiency_cli.roofline.estimate import estimate
from efficiency_cli.roofline.latency import Timer

MOVING = kernel(read=7, written=3, op_class=OpClass.MOVEMENT)


def with_runtime(**changes):
    plain = profile(peaks={"float32": 100.0, "int8": 400.0}, overlap=0)
    return replace(plain, runtimes=(replace(plain.runtimes[0], **changes),))


def expected_s(machine_profile, k):
    return Timer(machine(machine_profile), k.weight_bytes).time(k).times.expected_s


def test_kinds_are_tried_from_the_finest():
    assert kinds_of("dense", "gemm", "MatMul", "int8") == (
        *("int8-gemm", "int8-MatMul", "int8-dense"),
        *("gemm", "MatMul", "dense"),
    )


def test_unsigned_weights_are_a_finer_kind():
    kinds = kinds_of("dense", "gemm", "MatMul", "int8", unsigned=True)
    assert kinds == (
        *("uint8-gemm", "uint8-MatMul", "uint8-dense"),
        *kinds_of("dense", "gemm", "MatMul", "int8"),
    )
    given = with_runtime(efficiency={"int8-gemm": q(0.5), "uint8-gemm": q(0.25)})
    work = replace(kernel(ops=400, dtype=DType.INT8), variant="gemm")
    assert expected_s(given, work) == pytest.approx(400 / (400 * 0.5))
    assert expected_s(given, replace(work, unsigned=True)) == pytest.approx(400 / (400 * 0.25))


def kernel_of(tmp_path, nodes, x, **weights):
    """The one kernel of the network from x to y; weights are types and shapes."""
    tensors = []
    for name, (dtype, dims) in weights.items():
        bits = 4 if dtype == TensorProto.UINT4 else 8 * helper.tensor_dtype_to_np_dtype(dtype).itemsize
        zeros = bytes(-(-math.prod(dims) * bits // 8))
        tensors.append(helper.make_tensor(name, dtype, dims, zeros, raw=True))
    result = [helper.make_tensor_value_info("y", x[0], None)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", *x)], result, tensors)
    opset = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "m.onnx")
    (found,) = estimate(read_model(str(tmp_path / "m.onnx"))).kernels
    return found


@pytest.mark.parametrize(("dtype", "unsigned"), [(TensorProto.UINT8, True), (TensorProto.INT8, False)])
def test_which_products_have_unsigned_weights(tmp_path, dtype, unsigned):
    """A vector of zero points is no matrix of weights."""
    nodes = [helper.make_node("QLinearConv", ["x", "s", "xz", "w", "ws", "wz", "s", "xz"], ["y"])]
    weights = {"w": (dtype, (8, 8, 3, 3)), "wz": (dtype, (8,)), "xz": (TensorProto.UINT8, ())}
    scales = {"s": (TensorProto.FLOAT, ()), "ws": (TensorProto.FLOAT, (8,))}
    assert kernel_of(tmp_path, nodes, (TensorProto.UINT8, [1, 8, 6, 6]), **weights, **scales).unsigned is unsigned


@pytest.mark.parametrize(
    ("stored", "rows", "variant"), [(TensorProto.INT8, 4, "packed8-gemm"), (TensorProto.UINT4, 1, "packed-gemv")]
)
def test_weights_that_a_product_unpacks(tmp_path, stored, rows, variant):
    """As with MatMulNBits, which is the same in one operator."""
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["d"]), helper.make_node("MatMul", ["x", "d"], ["y"])]
    weights = {"w": (stored, (64, 32)), "s": (TensorProto.FLOAT, ())}
    found = kernel_of(tmp_path, nodes, (TensorProto.FLOAT, [rows, 64]), **weights)
    assert (found.variant, found.dtype, found.unsigned) == (variant, DType.FLOAT32, False)


def test_a_quantised_operator_is_the_operator_in_its_type():
    assert kinds_of("elementwise", "", "QLinearAdd", "int8")[0] == kinds_of("elementwise", "", "Add", "int8")[0]


def test_convolutions_of_one_and_three_axes_are_as_those_of_two_where_nothing_else_is_said():
    assert kinds_of("dense", "convolution-3d", "Conv", "") == ("convolution-3d", "convolution", "Conv", "dense")
    given = with_runtime(efficiency={"convolution": q(0.5), "convolution-1d": q(0.25)})
    seconds = {v: expected_s(given, replace(kernel(ops=100), variant=v)) for v in ("convolution-3d", "convolution-1d")}
    assert seconds == {"convolution-3d": 100 / (100 * 0.5), "convolution-1d": 100 / (100 * 0.25)}


@pytest.mark.parametrize(
    ("op_class", "variant", "product", "share"),
    [
        (OpClass.DEPTHWISE, "", Product(48, 9, 1, 9), 0.5),
        (OpClass.DEPTHWISE, "depthwise-3d", Product(40, 9, 1, 27), 0.1),
        (OpClass.DENSE, "grouped", Product(4, 9, 16, 9 * 32), 0.8),
        (OpClass.DENSE, "grouped", Product(4, 9, 16, 9 * 24), 0.2),
        (OpClass.DENSE, "grouped", Product(4, 9, 24, 9 * 32), 0.2),
        (OpClass.DENSE, "convolution", Product(1, 9, 24, 9 * 24), 0.8),
    ],
)
def test_channels_that_do_not_fill_the_blocks_of_a_layout(op_class, variant, product, share):
    efficiency = {"depthwise": 0.5, "unblocked-depthwise": 0.1, "dense": 0.8, "unblocked-grouped": 0.2}
    given = with_runtime(efficiency={k: q(v) for k, v in efficiency.items()}, channel_block=q(16))
    work = replace(kernel(ops=100, weights=1, op_class=op_class), variant=variant, product=product)
    given = replace(given, memory=tuple(replace(m, bandwidth=q(1e30)) for m in given.memory))
    assert expected_s(given, work) == pytest.approx(100 / (100 * share))


@pytest.mark.parametrize(("weights", "share"), [(1, 0.8), (0, 0.4)])
def test_weights_that_are_no_constants_are_in_no_blocked_layout(weights, share):
    efficiency = {"convolution": q(0.8), "unblocked-convolution": q(0.4), "gemm": q(0.7)}
    given = with_runtime(efficiency=efficiency, channel_block=q(16))
    given = replace(given, memory=tuple(replace(m, bandwidth=q(1e30)) for m in given.memory))
    conv = replace(kernel(ops=100, weights=weights), variant="convolution", product=Product(1, 9, 16, 144))
    assert expected_s(given, conv) == pytest.approx(100 / (100 * share))
    gemm = replace(kernel(ops=100), variant="gemm", product=Product(1, 9, 16, 144))
    assert expected_s(given, gemm) == pytest.approx(100 / (100 * 0.7))


@pytest.mark.parametrize(
    ("traffic", "share"),
    [({}, 1.0), ({"movement": 0.5}, 0.5), ({"movement": 0.5, "Transpose": 0.1}, 0.1), ({"softmax": 0.5}, 1.0)],
)
def test_the_bandwidth_that_an_operator_reaches(traffic, share):
    transpose = replace(MOVING, op="Transpose")
    given = with_runtime(traffic={k: q(v) for k, v in traffic.items()})
    assert expected_s(given, transpose) == pytest.approx((7 + 3) / (10 * share))


def test_traffic_stands_before_the_share_of_all():
    given = with_runtime(efficiency={"memory": q(0.1)}, traffic={"movement": q(0.5)})
    assert expected_s(given, MOVING) == pytest.approx(10 / (10 * 0.5))
    assert expected_s(given, kernel(read=10)) == pytest.approx(10 / (10 * 0.1))


@pytest.mark.parametrize(("dtype", "seconds"), [(DType.FLOAT32, 600 / (100 * 0.5)), (DType.INT8, 600 / (400 * 0.25))])
def test_a_type_may_have_an_efficiency_of_its_own(dtype, seconds):
    given = with_runtime(efficiency={"dense": q(0.5), "int8-dense": q(0.25)})
    assert expected_s(given, kernel(ops=600, dtype=dtype)) == pytest.approx(seconds)


def test_an_operator_may_take_its_time_to_start():
    given = with_runtime(dispatch=Dispatch(q(1.0), None, {"movement": q(2.0), "Transpose": q(3.0)}))
    by_op = {op: expected_s(given, replace(kernel(op_class=OpClass.MOVEMENT), op=op)) for op in ("Transpose", "Slice")}
    assert by_op == {"Transpose": 3.0, "Slice": 2.0}


def test_profiles_name_operators_and_not_any_word(tmp_path):
    text = Path(load_profile("ryzen-7-5800x").path).read_text(encoding="utf-8")
    half = "{value: 0.5, source: ort, kind: derived}"
    good = tmp_path / "good.yaml"
    good.write_text(
        text.replace("    efficiency:\n", f"    efficiency:\n      Gelu: {half}\n      int8-gemm: {half}\n")
    )
    runtime = load_profile(str(good)).runtime()
    assert runtime.compute_share(("Gelu", "elementwise")) == 0.5
    assert runtime.compute_share(kinds_of("dense", "gemm", "MatMul", "int8")) == 0.5
    bad = tmp_path / "bad.yaml"
    bad.write_text(text.replace("    efficiency:\n", f"    efficiency:\n      convolutoin: {half}\n"))
    with pytest.raises(ProfileError) as caught:
        load_profile(str(bad))
    assert "did you mean 'convolution'?" in " ".join(caught.value.where)


def test_a_runtime_may_leave_out_taps_on_padding(tmp_path):
    import numpy as np

    weight = numpy_helper.from_array(np.ones((8, 2, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], "one", pads=[1, 1, 1, 1])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 4, 4])],
        [weight],
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, ir_version=8).SerializeToString())
    model = read_model(str(path))
    # along an axis of 4 with a window of 3: 2 + 3 + 3 + 2 of the 12 taps are inside
    dense, valid = 8 * 2 * 12**2, 8 * 2 * 10**2
    assert estimate(model, with_runtime()).times[0].compute_s == pytest.approx(2 * dense / 100)
    assert estimate(model, with_runtime(skips="padding")).times[0].compute_s == pytest.approx(2 * valid / 100)
