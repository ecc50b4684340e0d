"""A network as if its values had other types: bytes and types by hand, everything else as it was."""

from __future__ import annotations

import math
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from onnx_text import named, read

from efficiency_cli.errors import MissingDimension
from efficiency_cli.graph.model import DType, Graph, Model
from efficiency_cli.graph.read import read_model
from efficiency_cli.graph.retype import CHOICES, TYPE_OF_BITS, Types, retyped
from efficiency_cli.hardware.load import load_profile
from efficiency_cli.roofline.estimate import Estimate, estimate

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT.parent / "shared" / "models"

CONV = """g (float[1,8,6,6] x, int64[2] rows) => (float[1,16,4,4] y, float[2,5] e)
    <float[16,8,3,3] w, float[16] b, float[100,5] table> { c = Conv(x, w, b)  y = Relu(c)  e = Gather(table, rows) }"""

MACS = 16 * 4 * 4 * 8 * 3 * 3
WEIGHTS, BIAS, TABLE = 16 * 8 * 3 * 3, 16, 100 * 5
INPUT, OUTPUT = 8 * 6 * 6, 16 * 4 * 4


def as_if(text: str, weights: DType | None, activations: DType | None, opset: int = 19) -> Estimate:
    return estimate(retyped(read(text, opset), Types(weights, activations)))


def types_of(graph: Graph, *names: str) -> list[str]:
    return [graph.tensors[n].dtype.value for n in names]


@pytest.mark.parametrize(
    ("dtype", "weight_bytes", "bias_bytes", "activation_bytes"),
    [
        (DType.FLOAT16, 2, 2, 2),
        (DType.FLOAT32, 4, 4, 4),
        (DType.INT8, 1, 4, 1),  # a bias is added to int32 sums
        (DType.INT4, 0.5, 4, 0.5),
    ],
)
def test_one_type_for_all(dtype: DType, weight_bytes: float, bias_bytes: int, activation_bytes: float) -> None:
    found = as_if(CONV, dtype, dtype)
    totals = found.totals
    assert totals.weight_bytes == (WEIGHTS + TABLE) * weight_bytes + BIAS * bias_bytes
    # the image, what Conv and Relu make of it, two rows of the table; their int64 indices stay
    rows = 2 * 5
    assert totals.activation_bytes == (INPUT + OUTPUT + rows) * activation_bytes + 2 * 8
    assert (totals.macs, totals.parameters) == (MACS, WEIGHTS + BIAS + TABLE)
    assert totals.ops_by_dtype == {dtype.value: 2 * MACS + OUTPUT + OUTPUT}
    assert found.dtype == dtype.value


def test_weights_alone_leave_the_arithmetic() -> None:
    totals = as_if(CONV, DType.INT4, None).totals
    assert totals.weight_bytes == (WEIGHTS + TABLE) / 2 + BIAS * 4
    assert set(totals.ops_by_dtype) == {"float32"}
    half = as_if(CONV, DType.INT4, DType.FLOAT16).totals
    assert half.weight_bytes == (WEIGHTS + TABLE) / 2 + BIAS * 2
    assert set(half.ops_by_dtype) == {"float16"}


def test_activations_alone_leave_the_weights() -> None:
    totals = as_if(CONV, None, DType.INT8).totals
    assert totals.weight_bytes == 4 * (WEIGHTS + TABLE + BIAS)
    assert totals.activation_bytes == INPUT + OUTPUT + 2 * 5 + 2 * 8


def test_nothing_asked_is_the_same_model() -> None:
    model = read(CONV)
    assert retyped(model, Types()) is model


def test_it_is_pure_and_said() -> None:
    model = read(CONV)
    before = dict(model.graph.tensors)
    changed = retyped(model, Types(DType.INT8, DType.INT8))
    assert model.graph.tensors == before
    assert changed.notes == ("counted as if in other types than stored: weights int8, activations int8",)
    assert changed.assumptions == model.assumptions


QDQ = """g (float[1,8,4,4] x) => (float[1,8,4,4] y)
    <float s = {0.5}, int8 z = {0}, int8[8,8,1,1] w, float[8] ws, int8[8] wz, int32[8] b, float[8] bs, int32[8] bz> {
    wd = DequantizeLinear<axis = 0>(w, ws, wz)  bd = DequantizeLinear<axis = 0>(b, bs, bz)
    q = QuantizeLinear(x, s, z)  p = MaxPool<kernel_shape = [1, 1]>(q)  d = DequantizeLinear(p, s, z)
    c = Conv(d, wd, bd)  r = QuantizeLinear(c, s, z)  y = DequantizeLinear(r, s, z)
}"""


def test_between_quantize_and_dequantize_is_what_is_meant() -> None:
    model = retyped(read(QDQ, 19), Types(DType.FLOAT16, DType.FLOAT16))
    assert types_of(model.graph, "x", "q", "p", "d", "w", "wd", "b", "c", "r", "y") == ["float16"] * 10
    assert {named(model.graph, n).op for n in ("q", "d", "r", "y", "wd", "bd")} == {"Identity"}
    totals = estimate(model).totals
    assert totals.weight_bytes == 2 * (8 * 8 + 8)
    # bias and MaxPool's one-element windows beside the products; no scaling is left
    assert totals.ops == 2 * (8 * 16 * 8) + 8 * 16 + 8 * 16
    assert totals.macs == estimate(read(QDQ, 19)).totals.macs == 8 * 16 * 8


def test_the_quantised_type_again_is_nearly_what_is_there() -> None:
    stored, again = (estimate(m) for m in (read(QDQ, 19), retyped(read(QDQ, 19), Types(DType.INT8, DType.INT8))))
    assert (again.dtype, again.totals.macs) == (stored.dtype, stored.totals.macs) == ("int8", 8 * 16 * 8)
    # 8 scales and zero points of w, as many of b, and one pair of activations; gone are the borders in float too
    assert again.totals.weight_bytes == 8 * 8 + 8 * 4
    assert stored.totals.weight_bytes == 8 * 8 + 8 * 4 + 8 * (4 + 1) + 8 * (4 + 4) + (4 + 1)


def test_weights_alone_of_a_quantised_network() -> None:
    model = retyped(read(QDQ, 19), Types(DType.INT4, None))
    assert types_of(model.graph, "w", "q", "d", "x", "b") == ["int4", "int8", "float32", "float32", "int32"]
    assert [named(model.graph, n).op for n in ("q", "d", "r")] == [
        "QuantizeLinear", "DequantizeLinear", "QuantizeLinear",
    ]  # fmt: skip
    assert estimate(model).dtype == "int8"


def test_casts_between_floats_are_views_and_others_stay() -> None:
    text = """g (float[4] x, int64[4] i) => (float16[4] y, float16[4] j) {
        y = Cast<to = 10>(x)  j = Cast<to = 10>(i) }"""
    graph = retyped(read(text), Types(DType.FLOAT16, DType.FLOAT16)).graph
    assert (named(graph, "y").op, named(graph, "j").op) == ("Identity", "Cast")
    assert types_of(graph, "x", "y", "i", "j") == ["float16", "float16", "int64", "float16"]


def test_images_in_bytes_stay() -> None:
    text = "g (uint8[1,3,4,4] x) => (float[1,3,4,4] y) { f = Cast<to = 1>(x)  y = Relu(f) }"
    graph = retyped(read(text), Types(DType.FLOAT16, DType.FLOAT16)).graph
    assert types_of(graph, "x", "f", "y") == ["uint8", "float16", "float16"]


def test_weights_that_an_operator_unpacks_stay_and_are_told() -> None:
    text = """g (float[1,32] x) => (float[1,8] y) <uint8[8,1,16] w, float[8] s> {
        y = com.microsoft.MatMulNBits<K = 32, N = 8, bits = 4, block_size = 32>(x, w, s) }"""
    model = retyped(read(text), Types(DType.FLOAT16, DType.FLOAT16))
    assert types_of(model.graph, "w", "x") == ["uint8", "float16"]
    assert model.notes[-1] == "weights of 1 node are quantised by the operator itself and stay so"


def test_bodies_see_what_is_around_them() -> None:
    text = """g (float[2,2] x, bool c) => (float[2,2] y) <float[2,2] w> {
        y = If(c) <then_branch = t () => (float[2,2] a) { a = MatMul(x, w) },
                   else_branch = e () => (float[2,2] b) { b = Relu(x) }> }"""
    model = retyped(read(text), Types(DType.INT8, DType.FLOAT16))
    body = named(model.graph, "y").graphs["then_branch"]
    assert types_of(body, "x", "w", "a") == ["float16", "int8", "float16"]
    assert estimate(model).totals.weight_bytes == 2 * 2


def test_labels() -> None:
    assert Types(DType.INT8, DType.INT8).label == "int8"
    assert Types(DType.INT4, DType.FLOAT16).label == "int4/float16"
    assert (Types(DType.INT4).label, Types(None, DType.INT8).label, Types().label) == ("int4/stored", "stored/int8", "")
    assert all(dtype.bits == bits for bits, dtype in TYPE_OF_BITS.items())
    assert set(TYPE_OF_BITS.values()) <= set(CHOICES)


def _shared() -> list[Path]:
    return sorted(MODELS.glob("*.onnx")) if MODELS.is_dir() else []


@pytest.mark.parametrize("path", _shared()[::6], ids=lambda p: p.stem)
def test_networks_of_real_exporters(path: Path) -> None:
    """Products and parameters stay; narrower types need no more bytes than float32."""
    model = _read(path)
    machine = load_profile("a100")
    stored = estimate(model, machine).totals
    sizes = []
    for dtype in (DType.INT8, DType.FLOAT16, DType.FLOAT32):
        totals = estimate(retyped(model, Types(dtype, dtype)), machine).totals
        assert totals.macs == stored.macs
        assert totals.parameters == stored.parameters
        sizes.append(totals.weight_bytes)
    int8, half, single = sizes
    assert half <= single
    # vectors are int32 beside int8
    assert int8 <= single


def _read(path: Path) -> Model:
    """With 16 for every size that is left open."""
    try:
        return read_model(str(path))
    except MissingDimension as error:
        words = shlex.split(error.hint)
        open_sizes = [word.rpartition("=")[0] for before, word in pairwise(words) if before == "--dim"]
    # one cached position for each of the new ones: sums of both follow
    return read_model(str(path), dims={name: 32 if "+" in name or "total" in name else 16 for name in open_sizes})


def test_bytes_of_odd_counts_are_whole() -> None:
    text = "g (float[3] x) => (float[3] y) { y = Relu(x) }"
    assert as_if(text, DType.INT4, DType.INT4).totals.activation_bytes == 2 * math.ceil(3 / 2)
