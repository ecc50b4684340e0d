"""Operators that exporters write as several nodes: each form is one kernel under its pattern, and its twins are not."""

from __future__ import annotations

import pytest
from onnx_text import graph_of

from efficiency_cli.graph.execution import execution_of
from efficiency_cli.graph.fusion import kernels_of
from efficiency_cli.graph.fusion.decompositions import BY_ROOT
from efficiency_cli.graph.fusion.expression import parse
from efficiency_cli.graph.patterns import PATTERNS, SETS, expanded

CONSTANTS = """float[8] v, float[8] v2, float[8,8] w, float eps = {0.00001}, float half = {0.5}, float one = {1},
    float two = {2}, float three = {3}, float six = {6}, float sixth = {0.1666667}, float zero = {0},
    float r2 = {1.4142135}, float ir2 = {0.70710677}, float k = {0.044715}, float r2pi = {0.7978846},
    float s17 = {1.702}, int64[1] last = {-1}, int8[8,8] wi, int8 zp = {0}, float scale = {0.1}, float seven = {7}"""
MEAN = "m = ReduceMean(x, last) d = Sub(x, m) p = Pow(d, two) q = ReduceMean(p, last) e = Add(q, eps) s = Sqrt(e)"
ROOT = "p = Pow(x, two) q = ReduceMean(p, last) e = Add(q, eps) s = Sqrt(e)"

FORMS = [
    ("silu", "s = Sigmoid(x) y = Mul(x, s)"),
    ("silu", "s = Sigmoid(x) y = Mul(s, x)"),
    ("silu", "a = Mul(x, s17) s = Sigmoid(a) y = Mul(x, s)"),
    ("hardswish", "s = HardSigmoid(x) y = Mul(x, s)"),
    ("hardswish", "a = Add(x, three) c = Clip(a, zero, six) p = Mul(x, c) y = Div(p, six)"),
    ("hardswish", "a = Add(three, x) c = Clip(a, zero, six) p = Mul(c, x) y = Mul(p, sixth)"),
    ("hardswish", "a = Add(x, three) c = Clip(a, zero, six) p = Div(c, six) y = Mul(x, p)"),
    ("gelu", "a = Div(x, r2) e = Erf(a) b = Add(e, one) p = Mul(x, b) y = Mul(p, half)"),
    ("gelu", "a = Mul(x, ir2) e = Erf(a) b = Add(one, e) p = Mul(half, x) y = Mul(p, b)"),
    ("gelu", "a = Div(x, r2) e = Erf(a) b = Add(e, one) p = Mul(half, b) y = Mul(x, p)"),
    (
        "gelu",
        "c = Pow(x, three) g = Mul(c, k) a = Add(x, g) b = Mul(a, r2pi) t = Tanh(b) o = Add(t, one) h = Mul(x, half) "
        "y = Mul(h, o)",
    ),
    (
        "gelu",
        "xx = Mul(x, x) c = Mul(xx, x) g = Mul(k, c) a = Add(x, g) b = Mul(r2pi, a) t = Tanh(b) o = Add(one, t) "
        "h = Mul(half, x) y = Mul(h, o)",
    ),
    ("layernorm", f"{MEAN} n = Div(d, s) g = Mul(n, v) y = Add(g, v2)"),
    ("layernorm", f"{MEAN} n = Div(d, s) y = Mul(v, n)"),
    ("layernorm", f"{MEAN} y = Div(d, s)"),
    ("layernorm", f"{MEAN.replace('Pow(d, two)', 'Mul(d, d)')} r = Reciprocal(s) n = Mul(d, r) y = Mul(n, v)"),
    ("rmsnorm", f"{ROOT} r = Reciprocal(s) n = Mul(x, r) y = Mul(v, n)"),
    ("rmsnorm", f"{ROOT} n = Div(x, s) y = Mul(n, v)"),
    ("rmsnorm", f"{ROOT.replace('Pow(x, two)', 'Mul(x, x)')} r = Div(one, s) y = Mul(x, r)"),
    ("rmsnorm-division", f"{ROOT} n = Div(x, s) y = Mul(n, v)"),
    ("softmax", "m = ReduceMax(x, last) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, last) y = Div(e, s)"),
    ("softmax", "e = Exp(x) s = ReduceSum(e, last) y = Div(e, s)"),
    ("dynamic-quantize", "i = MatMulInteger(x8, wi) f = Cast<to=1>(i) g = Mul(xs, scale) y = Mul(f, g)"),
    ("scale", "a = Mul(x, half) y = MatMul(a, z)"),
    ("scale", "a = Mul(half, x) b = Mul(z, two) y = MatMul(a, b)"),
    ("scale", "a = MatMul(x, z) y = Div(a, two)"),
    ("transpose-matmul", "a = Transpose<perm = [0, 2, 1]>(z) y = MatMul(x, a)"),
    ("matmul-add", "a = MatMul(x, w) y = Add(v, a)"),
    ("simple-activation", "a = Gemm(row, w, v) y = Relu(a)"),
    ("add-layernorm", "a = Add(x, z) y = LayerNormalization(a, v, v2)"),
    ("add-layernorm-shared", "a = Add(x, z) y = LayerNormalization(a, v, v2)"),
    ("add-layernorm-shared", "a = Add(x, z) y = RMSNormalization(a, v)"),
    ("add-layernorm-shared", "a = Add(row, row) y = LayerNormalization(a, v, v2)"),
    ("reduction", "a = Exp(x) y = ReduceSum(a, last)"),
    ("reduction", "a = Softmax(x) y = Mul(a, z)"),
]
INPUTS = "float[8,8,8] x, float[8,8,8] z, int8[8,8,8] x8, float xs, float[8,8] row"


def kernels(nodes: str, *patterns: str) -> list[str]:
    """'Sigmoid+Mul' for each kernel, in order."""
    outputs = ", ".join(f"float[] {name}" for name in ("y", "y2") if f"{name} =" in nodes)
    g = graph_of(f"g ({INPUTS}) => ({outputs}) <{CONSTANTS}> {{ {nodes} }}", 23)
    return ["+".join(g.nodes[k].op for k in group) for group in kernels_of(g, execution_of(g), patterns)]


def names(nodes: str) -> list[str]:
    return [word.partition("(")[0].partition("<")[0] for word in nodes.split() if word[0].isupper()]


@pytest.mark.parametrize(("pattern", "nodes"), FORMS, ids=[f"{p} {' '.join(names(n))}"[:60] for p, n in FORMS])
def test_a_form_is_one_kernel_under_its_pattern(pattern: str, nodes: str) -> None:
    operators = names(nodes)
    # what is no part of the form is made before: the scale of a quantised product is
    assert kernels(nodes, pattern) == ["+".join(operators)]
    assert kernels(nodes) == operators
    related = {pattern, "rmsnorm", "rmsnorm-division", "layernorm", "reduction", "pointwise"}
    related |= {"add-layernorm", "add-layernorm-shared"}
    others = set(PATTERNS) - related - {"bias", "activation", "scale", "gelu"}
    assert kernels(nodes, *others) == operators


@pytest.mark.parametrize(
    ("pattern", "nodes"), [f for f in FORMS if len(names(f[1])) > 2], ids=lambda value: str(value)[:40]
)
def test_what_somebody_else_reads_stays_apart(pattern: str, nodes: str) -> None:
    """Every result inside in turn has a second reader: the whole then is no whole any more."""
    inside = [word for word, after in zip(nodes.split(), nodes.split()[1:], strict=False) if after == "="]
    for name in inside[:-1]:
        assert "+".join(names(nodes)) not in kernels(f"{nodes} y2 = Neg({name})", pattern)


@pytest.mark.parametrize(
    ("pattern", "nodes"),
    [
        ("silu", "s = Sigmoid(x) y = Mul(z, s)"),
        ("silu", "a = Mul(x, half) s = Sigmoid(a) y = Mul(x, s)"),
        ("hardswish", "a = Add(x, two) c = Clip(a, zero, six) p = Mul(x, c) y = Div(p, six)"),
        ("hardswish", "a = Add(x, three) c = Clip(a, zero, six) p = Mul(z, c) y = Div(p, six)"),
        ("hardswish", "a = Add(x, three) c = Clip(a, zero, six) p = Mul(x, c) y = Div(p, seven)"),
        ("gelu", "a = Div(x, r2) e = Erf(a) b = Add(e, one) p = Mul(z, b) y = Mul(p, half)"),
        ("gelu", "a = Div(x, two) e = Erf(a) b = Add(e, one) p = Mul(x, b) y = Mul(p, half)"),
        ("gelu", "a = Div(x, r2) e = Erf(a) b = Add(e, two) p = Mul(x, b) y = Mul(p, half)"),
        ("layernorm", f"{MEAN.replace('Sub(x, m)', 'Sub(z, m)')} y = Div(d, s)"),
        ("layernorm", f"{MEAN.replace('Pow(d, two)', 'Pow(d, three)')} y = Div(d, s)"),
        ("layernorm", f"{MEAN} y = Div(x, s)"),
        ("rmsnorm", f"{ROOT} y = Div(z, s)"),
        ("rmsnorm-division", f"{ROOT} r = Reciprocal(s) y = Mul(x, r)"),
        ("softmax", "e = Exp(x) f = Exp(z) s = ReduceSum(f, last) y = Div(e, s)"),
        ("scale", "a = Mul(x, z) y = MatMul(a, z)"),
        ("scale", "a = Mul(x, v) y = MatMul(a, z)"),
        ("transpose-matmul", "a = Transpose<perm = [1, 0, 2]>(z) y = MatMul(x, a)"),
        ("matmul-add", "a = MatMul(x, z) y = Add(v, a)"),
        ("matmul-add", "a = MatMul(x, w) y = Add(w, a)"),
        ("simple-activation", "a = MatMul(x, z) y = Relu(a)"),
        ("simple-activation", "a = Add(x, z) y = Relu(a)"),
        ("add-layernorm", "a = Add(row, row) y = LayerNormalization(a, v, v2)"),
        ("add-layernorm", "a = Add(x, row) y = LayerNormalization(a, v, v2)"),
        ("add-layernorm", "a = Add(x, z) y = RMSNormalization(a, v)"),
        ("add-layernorm", "a = Mul(x, z) y = LayerNormalization(a, v, v2)"),
        ("add-layernorm", "y2 = Add(x, z) y = LayerNormalization(y2, v, v2)"),
        ("reduction", "a = Exp(x) y = ReduceSum(a, last) y2 = Neg(a)"),
    ],
)
def test_what_only_looks_alike(pattern: str, nodes: str) -> None:
    assert kernels(nodes, pattern) == names(nodes)


def test_a_cast_on_the_way() -> None:
    """Half precision exports normalise in single precision."""
    root = ROOT.replace("x", "h")
    nodes = f"h = Cast<to = 1>(c0) {root} r = Reciprocal(s) n = Mul(h, r) o = Cast<to = 10>(n) y = Mul(o, c1)"
    text = f"g (float16[8,8,8] c0) => (float16[] y) <{CONSTANTS}, float16[8] c1> {{ {nodes} }}"
    g = graph_of(text, 23)
    groups = [[g.nodes[k].op for k in group] for group in kernels_of(g, execution_of(g), ["rmsnorm"])]
    assert groups == [["Cast"], ["Pow", "ReduceMean", "Add", "Sqrt", "Reciprocal", "Mul", "Cast", "Mul"]]


def test_a_sum_that_others_read_is_normalised_with_its_sum_where_the_runtime_writes_both() -> None:
    nodes = "a = Add(x, z) y = LayerNormalization(a, v, v2) y2 = Neg(a)"
    assert kernels(nodes, "add-layernorm") == ["Add", "LayerNormalization", "Neg"]
    assert kernels(nodes, "add-layernorm-shared") == ["Add+LayerNormalization", "Neg"]


GAP = "a = Slice(x, zero1, four1, axis) b = Slice(x, zero1, four1, axis) y = Mul(a, b)"


def test_slices_of_one_tensor() -> None:
    nodes = """a = Slice(x, zero1, four1, axis) b = Slice(x, four1, eight1, axis) c = Slice(z, zero1, four1, axis)
        d = Slice(x, zero1, four1, other) e = Mul(a, b) f = Mul(e, c) y = Add(f, one) y2 = Neg(d)"""
    more = (
        ", int64[1] zero1 = {0}, int64[1] four1 = {4}, int64[1] eight1 = {8}, int64[1] axis = {2}, int64[1] other = {1}"
    )
    g = graph_of(f"g ({INPUTS}) => (float[] y, float[] y2) <{CONSTANTS}{more}> {{ {nodes} }}", 23)
    groups = kernels_of(g, execution_of(g), ["slices"])
    # of x along its last axis; the halves of another tensor and axis are not all of it
    assert groups[:3] == [(0, 1), (2,), (3,)]
    gap = graph_of(f"g ({INPUTS}) => (float[] y) <{CONSTANTS}{more}> {{ {GAP} }}", 23)
    assert kernels_of(gap, execution_of(gap), ["slices"])[:2] == [(0,), (1,)]


def test_products_of_one_tensor() -> None:
    nodes = "a = MatMul(x, w) b = MatMul(x, w2) c = MatMul(z, w) d = Add(b, v) e = Add(a, d) y = Add(e, c)"
    assert kernels(nodes.replace("w2", "w"), "shared-gemm") == ["MatMul+MatMul", "MatMul", "Add", "Add", "Add"]
    assert kernels(nodes.replace("w2", "w"), "shared-gemm", "bias") == ["MatMul+MatMul+Add", "MatMul", "Add", "Add"]


def test_a_gelu_keeps_its_factor_from_the_product_behind() -> None:
    nodes = "a = Div(x, r2) e = Erf(a) b = Add(e, one) p = Mul(x, b) g = Mul(p, half) y = MatMul(g, z)"
    assert kernels(nodes, "gelu", "scale") == ["Div+Erf+Add+Mul+Mul", "MatMul"]
    assert kernels(nodes, "scale") == ["Div", "Erf", "Add", "Mul", "Mul+MatMul"]


def test_an_activation_that_is_several_nodes_joins_the_product_before() -> None:
    nodes = "c = MatMul(x, w) a = Div(c, r2) e = Erf(a) b = Add(e, one) p = Mul(c, b) y = Mul(p, half)"
    assert kernels(nodes, "gelu") == ["MatMul", "Div+Erf+Add+Mul+Mul"]
    assert kernels(nodes, "gelu", "activation") == ["MatMul+Div+Erf+Add+Mul+Mul"]


def test_sets_are_their_patterns() -> None:
    assert expanded(["onnxruntime", "movement"]) == {*SETS["onnxruntime"], "movement"}
    assert {p for patterns in SETS.values() for p in patterns} <= set(PATTERNS)
    assert {d.pattern for these in BY_ROOT.values() for d in these} <= set(PATTERNS)
    assert not set(SETS) & set(PATTERNS)


@pytest.mark.parametrize("text", ["Mul(x", "Mul(x,)x", "Mul x", "d:x", "Mul(x, %)"])
def test_an_expression_that_is_none(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse(text)
