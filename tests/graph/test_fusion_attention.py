"""Attention written as products around a softmax: one kernel whose scores never leave the chip."""

from __future__ import annotations

import pytest
from onnx_text import graph_of, read

from efficiency_cli.graph.execution import execution_of
from efficiency_cli.graph.fusion import kernels_of
from efficiency_cli.graph.model import OpClass
from efficiency_cli.roofline.estimate import count
from efficiency_cli.roofline.network import Kernel

# 4 heads of 16, 32 positions
INPUTS = "float[1,4,32,16] q, float[1,4,32,16] k, float[1,4,32,16] v, float[1,1,32,32] mask, float[1,32,4,16] k4"
CONSTANTS = "float scale = {0.25}, float zero = {0}, float low = {-10000}, float[16,32] w"
SCORES, HEADS = 4 * 32 * 32, 4 * 32 * 16
PLAIN = "t = Transpose<perm = [0, 1, 3, 2]>(k) s = MatMul(q, t) a = Mul(s, scale) p = Softmax(a) y = MatMul(p, v)"


def text(nodes: str) -> str:
    outputs = ", ".join(f"float[] {name}" for name in ("y", "y2") if f"{name} =" in nodes)
    return f"g ({INPUTS}) => ({outputs}) <{CONSTANTS}> {{ {nodes} }}"


def groups(nodes: str) -> list[str]:
    g = graph_of(text(nodes), 18)
    return ["+".join(g.nodes[k].op for k in group) for group in kernels_of(g, execution_of(g), ["attention"])]


def kernels(nodes: str, *patterns: str) -> tuple[Kernel, ...]:
    return count(read(text(nodes), 18)).kernels(patterns)


FORMS = {
    "scaled scores": PLAIN,
    "divided scores": PLAIN.replace("Mul(s, scale)", "Div(s, scale)"),
    "no scale": PLAIN.replace("a = Mul(s, scale) p = Softmax(a)", "p = Softmax(s)"),
    "mask": PLAIN.replace("p = Softmax(a)", "m = Add(a, mask) p = Softmax(m)"),
    "mask before": PLAIN.replace("p = Softmax(a)", "m = Add(mask, a) p = Softmax(m)"),
    "scaled operands": """c = Mul(q, scale) t = Transpose<perm = [0, 1, 3, 2]>(k) d = Mul(scale, t) s = MatMul(c, d)
        p = Softmax(s) y = MatMul(p, v)""",
    "rows without a key": PLAIN.replace("y = MatMul(p, v)", "n = IsNaN(p) w0 = Where(n, zero, p) y = MatMul(w0, v)"),
    "capped scores": PLAIN.replace("p = Softmax(a)", "c = Tanh(a) e = Mul(c, scale) p = Softmax(e)"),
    "heads in order": """h = Transpose<perm = [0, 2, 3, 1]>(k4) s = MatMul(q, h) p = Softmax(s) o = MatMul(p, v)
        y = Transpose<perm = [0, 2, 1, 3]>(o)""",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_one_kernel(form: str) -> None:
    (group,) = groups(FORMS[form])
    assert group.count("MatMul") == 2
    (kernel,) = kernels(FORMS[form], "attention")
    assert (kernel.op, kernel.op_class) == ("Attention", OpClass.ATTENTION)
    # QKᵀ and AV
    assert kernel.macs == 2 * SCORES * 16
    # queries, keys, values and the result; the mask where there is one: no scores
    mask = 32 * 32 if "mask" in form else 0
    assert kernel.read_bytes == (3 * HEADS + mask) * 4
    assert kernel.written_bytes == HEADS * 4


def test_alone_the_scores_cross_memory() -> None:
    alone = kernels(PLAIN)
    # K is read and written in another order; scores are written and read three times; and the scale
    assert sum(k.bytes_moved for k in alone) == (2 * HEADS + 2 * HEADS + 6 * SCORES + 2 * HEADS + 1) * 4
    assert sum(k.ops for k in alone) == sum(k.ops for k in kernels(PLAIN, "attention"))


def test_one_query() -> None:
    nodes = "s = MatMul(one, kt) p = Softmax(s) y = MatMul(p, v)"
    model = read(f"g (float[1,4,1,16] one, float[1,4,16,32] kt, float[1,4,32,16] v) => (float[] y) {{ {nodes} }}", 18)
    (kernel,) = count(model).kernels(["attention"])
    assert kernel.variant == "decode-attention"


def test_expanded_keys_are_shared() -> None:
    """Grouped queries: 2 heads of keys and values for 4 of queries are read once."""
    nodes = """e = Expand(kt, to) ke = Reshape(e, four) f = Expand(vv, tov) ve = Reshape(f, fourv)
        s = MatMul(q, ke) p = Softmax(s) y = MatMul(p, ve)"""
    shapes = """int64[5] to = {1, 2, 2, 16, 32}, int64[4] four = {1, 4, 16, 32}, int64[5] tov = {1, 2, 2, 32, 16},
        int64[4] fourv = {1, 4, 32, 16}"""
    inputs = "float[1,4,32,16] q, float[1,2,1,16,32] kt, float[1,2,1,32,16] vv"
    (kernel,) = count(read(f"g ({inputs}) => (float[] y) <{shapes}> {{ {nodes} }}", 18)).kernels(["attention"])
    assert kernel.read_bytes == (HEADS + 2 * HEADS // 2) * 4


@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        # the weights or the scores are wanted outside
        (f"{PLAIN} y2 = Neg(p)", ["Transpose", "MatMul", "Mul", "Softmax", "MatMul", "Neg"]),
        (f"{PLAIN} y2 = Neg(a)", ["Transpose", "MatMul", "Mul", "Softmax", "MatMul", "Neg"]),
        # weights of a layer, not values
        (PLAIN.replace("MatMul(p, v)", "MatMul(p, wv)"), ["Transpose", "MatMul", "Mul", "Softmax", "MatMul"]),
        (PLAIN.replace("MatMul(q, t)", "MatMul(q, w)"), ["Transpose", "MatMul", "Mul", "Softmax", "MatMul"]),
        # no softmax between
        (PLAIN.replace("Softmax(a)", "Relu(a)"), ["Transpose", "MatMul", "Mul", "Relu", "MatMul"]),
        # keys that others read too stay outside
        (f"{PLAIN} y2 = Neg(t)", ["Transpose", "MatMul+Mul+Softmax+MatMul", "Neg"]),
    ],
)
def test_what_is_no_attention(nodes: str, left: list[str]) -> None:
    nodes = nodes.replace("wv", "w32")
    g = graph_of(text(nodes).replace("float[16,32] w", "float[16,32] w, float[32,16] w32"), 18)
    found = ["+".join(g.nodes[k].op for k in group) for group in kernels_of(g, execution_of(g), ["attention"])]
    assert [f for f in found if f != "Transpose"] == [f for f in left if f != "Transpose"]
