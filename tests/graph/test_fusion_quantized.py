"""Q/DQ as onnxruntime fuses it: which operators run in integers, which stay in float32, and what they move."""

from __future__ import annotations

import pytest
from onnx_text import graph_of, read

from efficiency_cli.graph.execution import execution_of
from efficiency_cli.graph.fusion import arranged, kernels_of
from efficiency_cli.graph.model import Graph
from efficiency_cli.roofline.estimate import count
from efficiency_cli.roofline.network import Kernel

X86 = ("qdq-units", "qdq-unsigned")
ARM = ("qdq-units",)
CONSTANTS = """float s = {0.1}, float s2 = {0.2}, uint8 u = {0}, uint8 mid = {128}, int8 i = {0}, int8 low = {-128},
    uint16 h = {0}, int8[8,8,1,1] w, uint8[8,8,1,1] wu, int32[8] b, int32 zero = {0}, float[8] fb, float[1,8,6,6] other,
    int8[8,4] m, int64[2] flat = {1, 288}, int8[288,8] g, float lo = {0}, float hi = {6}, float tight = {100},
    int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}, int64[4] first = {1, 8, 36, 1}"""


def text(nodes: str) -> str:
    outputs = ", ".join(f"float[] {name}" for name in ("y", "y2") if f"{name} =" in nodes)
    return f"g (float[1,8,6,6] x, float[1,8,6,6] z) => ({outputs}) <{CONSTANTS}> {{ {nodes} }}"


def q(name: str, to: str, zero: str = "u", scale: str = "s") -> str:
    """`to` is `name` through a QuantizeLinear and a DequantizeLinear; the integers are `to`q."""
    return f"{to}q = QuantizeLinear({name}, {scale}, {zero}) {to} = DequantizeLinear({to}q, {scale}, {zero}) "


WEIGHTS = "wd = DequantizeLinear(w, s, i) bd = DequantizeLinear(b, s, zero) "


def conv(zero: str, after: str = "") -> str:
    """x, quantised, convolved, quantised: y."""
    return f"{q('x', 'a', zero)}{WEIGHTS}c = Conv(a, wd, bd) {after}{q('c' if not after else 'r', 'y', zero)}"


def kernels(nodes: str, patterns: tuple[str, ...] = X86) -> list[str]:
    """'Conv int8', 'DequantizeLinear float32' … in order; 'Conv+Relu int8' for several nodes."""
    found = count(read(text(nodes), 18)).kernels(patterns)
    return ["+".join(k.ops_named) + (" int8" if k.dtype is not None and k.dtype.is_integer else "") for k in found]


Q, DQ = "QuantizeLinear", "DequantizeLinear"
ends = [Q, DQ]


@pytest.mark.parametrize("zero", ["u", "i"])
def test_a_convolution_between_q_and_dq_of_one_type_is_one_integer_kernel(zero: str) -> None:
    """Q of the input, QLinearConv, DQ of the output; int8 that one DQ reads is uint8."""
    assert sorted(kernels(conv(zero))) == sorted([Q, "Conv int8", DQ])


def test_sixteen_bits_have_no_integer_products() -> None:
    """Q, DQ of data, weights and bias, Conv, Q, DQ."""
    assert sorted(kernels(conv("h"))) == sorted([Q, DQ, DQ, DQ, "Conv", Q, DQ])


def two_readers(zero: str) -> str:
    """x is quantised and read by two convolutions: onnxruntime copies the DQ, so the Q has two readers."""
    one = f"wd = DequantizeLinear(w, s, i) c = Conv(a, wd) {q('c', 'y', zero)}"
    return f"{q('x', 'a', zero)}{one} e = Conv(a, wd) {q('e', 'y2', zero)}"


def test_int8_with_two_readers_stays_int8_which_x86_has_no_products_of() -> None:
    assert kernels(two_readers("i")).count("Conv") == 2
    assert kernels(two_readers("i"), ARM).count("Conv int8") == 2
    assert kernels(two_readers("u")).count("Conv int8") == 2


@pytest.mark.parametrize("through", ["a", "d", "d2"])
def test_readers_in_floating_point_have_a_dq_each_also_past_a_cast_that_is_spared(through: str) -> None:
    casts = "d = Cast<to = 1>(a) d2 = Cast<to = 1>(d) "
    found = kernels(f"{q('x', 'a', 'h')}{casts}y = Tanh(a) y2 = Erf({through})", (*X86, "casts"))
    assert sorted(found) == sorted([Q, DQ, "Tanh", "", "Erf"])  # a copy is none of the nodes


def test_a_q_without_zero_point_or_that_leaves_stays_int8() -> None:
    a = "aq = QuantizeLinear(x, s, i) a = DequantizeLinear(aq, s, i) "
    outputs = "float[] y, int8[] aq"
    nodes = f"{a} wd = DequantizeLinear(w, s, i) c = Conv(a, wd) {q('c', 'y', 'i')}"
    g = graph_of(f"g (float[1,8,6,6] x) => ({outputs}) <{CONSTANTS}> {{ {nodes} }}", 18)
    assert not arranged(g, execution_of(g), frozenset(X86)).dtype
    assert arranged(g, execution_of(g), frozenset(ARM)).dtype


# operator, what x86 does with uint8 between, and with int8 that is read once on both sides
OPERATORS = [
    ("AveragePool<kernel_shape = [2, 2]>(a)", True),
    ("GlobalAveragePool(a)", True),
    ("MaxPool<kernel_shape = [2, 2]>(a)", True),
    ("LeakyRelu(a)", True),
    ("Sigmoid(a)", True),
    ("Softmax(a)", True),
    ("Transpose(a)", True),
    ("Add(a, a2)", True),
    ("Mul(a, a2)", True),
    ("Concat<axis = 1>(a, a2)", True),
    ("Sub(a, a2)", False),
    ("Tanh(a)", False),
    ("HardSwish(a)", False),
    ("ReduceMean(a)", False),
    ("Pad(a, p)", False),
    ("ConvTranspose(a, wd)", False),
    ("Add(a, other)", False),
    ("Erf(a)", False),
]


@pytest.mark.parametrize(("step", "integer"), OPERATORS, ids=[s for s, _ in OPERATORS])
def test_operators_with_integer_kernels(step: str, integer: bool) -> None:
    weights = "wd = DequantizeLinear(w, s, i) " if "wd" in step else ""
    second = q("z", "a2") if "a2" in step else ""
    found = kernels(f"{q('x', 'a')}{second}{weights}c = {step} {q('c', 'y')}")
    name = step.partition("(")[0].partition("<")[0]
    assert (f"{name} int8" in found, name in found) == (integer, not integer)
    # what is not fused has a DQ for each of its operands, and all have the one of the output
    operands = 0 if integer else 1 + bool(second) + bool(weights)
    assert found.count(DQ) == operands + 1
    assert found.count(Q) == 1 + bool(second) + (not integer)


def test_types_of_both_sides_must_be_one() -> None:
    mixed = f"{q('x', 'a', 'u')}{q('z', 'a2', 'i')}c = Add(a, a2) {q('c', 'y', 'u')}"
    assert "Add" in kernels(mixed, ARM)
    # on x86 both are uint8
    assert "Add int8" in kernels(mixed)
    assert "Sigmoid" in kernels(f"{q('x', 'a', 'u')}c = Sigmoid(a) {q('c', 'y', 'h')}")


def test_movement_and_maxima_keep_scale_and_zero_point() -> None:
    for step in ("Transpose(a)", "MaxPool<kernel_shape = [2, 2]>(a)"):
        name = step.partition("(")[0].partition("<")[0]
        assert f"{name} int8" in kernels(f"{q('x', 'a')}c = {step} {q('c', 'y')}")
        assert name in kernels(f"{q('x', 'a')}c = {step} {q('c', 'y', scale='s2')}")
    # sixteen bits can be moved but not compared
    assert "Transpose int8" in kernels(f"{q('x', 'a', 'h')}c = Transpose(a) {q('c', 'y', 'h')}")
    assert "MaxPool" in kernels(f"{q('x', 'a', 'h')}c = MaxPool<kernel_shape = [2, 2]>(a) {q('c', 'y', 'h')}")


def test_a_convolution_needs_its_result_quantised_and_a_matrix_product_does_not() -> None:
    assert "Conv" in kernels(f"{q('x', 'a')}{WEIGHTS} y = Conv(a, wd, bd)")
    rows = f"{q('x', 'a')}md = DequantizeLinear(m, s, i) t = Transpose<perm = [0, 2, 3, 1]>(a) {q('t', 'a2')}"
    assert "MatMul int8" in kernels(f"{rows} y = MatMul(a2, md)")
    flat = f"f = Reshape(x, flat) {q('f', 'a')}gd = DequantizeLinear(g, s, i) "
    assert "Gemm int8" in kernels(f"{flat} y = Gemm(a, gd)")
    # QGemm has int8 with int8, the other products have not
    signed = f"f = Reshape(x, flat) {q('f', 'a', 'i')}y2 = Neg(a) gd = DequantizeLinear(g, s, i) "
    assert "Gemm int8" in kernels(f"{signed} y = Gemm(a, gd)")
    assert "MatMul" in kernels(f"{signed} y = MatMul(a, gd)")
    assert "MatMul int8" in kernels(f"{signed} y = MatMul(a, gd)", ARM)


def test_what_else_reads_the_result_keeps_it_in_float() -> None:
    assert "Conv" in kernels(f"{q('x', 'a')}{WEIGHTS} c = Conv(a, wd, bd) {q('c', 'y')} y2 = Neg(c)")


def test_biases() -> None:
    """In int32, or constant in float: onnxruntime quantises that."""
    assert "Conv int8" in kernels(f"{q('x', 'a')}{WEIGHTS}c = Conv(a, wd, fb) {q('c', 'y')}")
    wide = "e = DequantizeLinear(w8b, s, i) "
    nodes = f"{q('x', 'a')}{WEIGHTS}{wide}c = Conv(a, wd, e) {q('c', 'y')}"
    g = text(nodes).replace("int8[8,4] m", "int8[8,4] m, int8[8] w8b")
    assert "Conv" in ["+".join(k.ops_named) for k in count(read(g, 18)).kernels(X86) if not k.dtype.is_integer]


def test_activations_that_quantisation_does_anyway_are_part_of_the_kernel_before() -> None:
    assert "Conv+Relu int8" in kernels(conv("u", "r = Relu(c) "))
    # the range of uint8 from 128 reaches below zero
    assert "Relu" in kernels(f"{q('x', 'a', 'mid')}{WEIGHTS}c = Conv(a, wd, bd) r = Relu(c) {q('r', 'y', 'mid')}")
    assert "Conv+Relu int8" in kernels(conv("low", "r = Relu(c) "))
    assert "Conv" in kernels(conv("i", "r = Relu(c) "))
    # 0.1 · 255 = 25.5
    assert "Conv+Clip int8" in kernels(conv("u", "r = Clip(c, lo, tight) "))
    assert "Conv" in kernels(conv("u", "r = Clip(c, lo, hi) "))


def test_views_between() -> None:
    """Reshape takes Q/DQ through: the product behind it has its own; Flatten does not."""
    for view, integer in (("Reshape(a, flat)", True), ("Flatten(a)", False)):
        found = kernels(f"{q('x', 'a')}gd = DequantizeLinear(g, s, i) v = {view} c = MatMul(v, gd) {q('c', 'y')}")
        assert ("MatMul int8" in found) is integer, view
    # on both sides
    assert "Conv int8" in kernels(f"{q('x', 'a')}{WEIGHTS}c = Conv(a, wd, bd) v = Reshape(c, first) {q('v', 'y')}")
    assert "Conv" in kernels(f"{q('x', 'a')}{WEIGHTS}c = Conv(a, wd, bd) v = Flatten(c) {q('v', 'y')}")


def test_weights_alone_stay_packed_in_matrix_products_and_not_in_convolutions() -> None:
    """MatMulNBits takes them; a Conv has them dequantised at each run."""
    rows = "t = Transpose<perm = [0, 2, 3, 1]>(x) md = DequantizeLinear(m, s, i) y = MatMul(t, md)"
    assert kernels(rows) == ["Transpose", "MatMul"]
    # what else reads the weights or their scale keeps them from it
    for other in ("y2 = DequantizeLinear(mid, s2, u)", "y2 = DequantizeLinear(mid, s, u)", "y2 = MatMul(t, md)"):
        assert kernels(f"{rows} {other}").count("MatMul") == 1 + ("MatMul" in other)
        assert (DQ in kernels(f"{rows} {other}")) is ("s2" not in other), other
    assert kernels("wd = DequantizeLinear(w, s, i) y = Conv(x, wd)") == [DQ, "Conv"]
    assert kernels("wd = DequantizeLinear(w, s, i) y = Conv(x, wd)", ()) == ["Conv"]


def test_bytes_of_a_product_in_float_between_q_and_dq() -> None:
    found: dict[str, Kernel] = {k.name: k for k in count(read(text(conv("h")), 18)).kernels(X86)}
    named = {k.ops_named[0] + "/" + next(iter(k.writes)): k for k in found.values()}
    image, weights = 8 * 6 * 6, 8 * 8
    weight = named["DequantizeLinear/graph:wd"]
    # int8 with its scale and zero point, to float32
    assert (weight.weight_bytes, weight.read_bytes, weight.written_bytes) == (weights + 4 + 1, 0, 4 * weights)
    product = named["Conv/graph:c"]
    assert product.reads == {"graph:a": 4 * image, "graph:wd": 4 * weights, "graph:bd": 4 * 8}
    assert (product.weight_bytes, product.written_bytes) == (0, 4 * image)
    assert named["QuantizeLinear/graph:yq"].written_bytes == 2 * image
    assert product.macs == 8 * 8 * 36


def test_plain_counting_and_other_runtimes_do_not_change() -> None:
    nodes = conv("h")
    assert sorted(kernels(nodes, ())) == sorted(kernels(nodes, ("tensorrt",))) == sorted([Q, "Conv int8", DQ])


def test_without_q_dq_the_execution_stays_as_it_is() -> None:
    g: Graph = graph_of(text("y = Relu(x)"), 18)
    execution = execution_of(g)
    assert arranged(g, execution, frozenset(X86)) is execution
    assert kernels_of(g, execution, X86) == [(0,)]


# --- dynamic quantisation ---

DYNAMIC = """aq, as, az = DynamicQuantizeLinear(x) sc = Mul(as, s) i32 = MatMulInteger(aq, m8, az, i)
    f = Cast<to = 1>(i32) o = Mul(f, sc) """


def dynamic(nodes: str) -> list[str]:
    found = text(nodes).replace("int8[8,4] m", "int8[6,6] m8, float[6] row, int8[8,4] m")
    return ["+".join(k.ops_named) for k in count(read(found, 18)).kernels(["dynamic-quantize"])]


WHOLE = "DynamicQuantizeLinear+Mul+MatMulInteger+Cast+Mul"


def test_a_dynamically_quantised_product() -> None:
    assert dynamic(f"{DYNAMIC} y = Neg(o)") == [WHOLE, "Neg"]
    assert dynamic(f"{DYNAMIC} y = Add(o, row)") == [f"{WHOLE}+Add"]
    assert dynamic(f"{DYNAMIC} y = Add(row, o)") == [f"{WHOLE}+Add"]
    assert dynamic(f"{DYNAMIC} y = Add(o, z)") == [WHOLE, "Add"]


def test_activations_that_two_products_read_are_quantised_once() -> None:
    second = "j = MatMulInteger(aq, m8, az, i) g2 = Cast<to = 1>(j) sc2 = Mul(as, s2) y2 = Mul(g2, sc2)"
    product = "Mul+MatMulInteger+Cast+Mul"
    assert sorted(dynamic(f"{DYNAMIC} y = Neg(o) {second}")) == sorted(
        ["DynamicQuantizeLinear", product, "Neg", "MatMulInteger+Cast+Mul+Mul"]
    )
