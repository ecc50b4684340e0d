"""Transposes and Casts that a runtime does not execute, and those that it does."""

from __future__ import annotations

import pytest
from onnx_text import graph_of, read

from efficiency_cli.graph.execution import execution_of
from efficiency_cli.graph.fusion import arranged, kernels_of
from efficiency_cli.roofline.estimate import count

INPUTS = "float[1,6,6,8] x, float[1,6,6,8] z, float[1,8,6,6] c"
CONSTANTS = "float[8,8,1,1] w, float half = {0.5}, float[8] v, int64[3] flat = {1, 8, 36}"
FIRST, LAST = "Transpose<perm = [0, 3, 1, 2]>", "Transpose<perm = [0, 2, 3, 1]>"


def text(nodes: str) -> str:
    outputs = ", ".join(f"float[] {name}" for name in ("y", "y2") if f"{name} =" in nodes)
    return f"g ({INPUTS}) => ({outputs}) <{CONSTANTS}> {{ {nodes} }}"


def kernels(nodes: str, *patterns: str) -> list[str]:
    g = graph_of(text(nodes), 18)
    return ["+".join(g.nodes[k].op for k in group) for group in kernels_of(g, execution_of(g), patterns)]


PAIRS = [
    (f"a = {FIRST}(x) b = {LAST}(a) y = Neg(b)", ["Neg"]),
    ("a = Transpose<perm = [0, 2, 1, 3]>(x) b = Transpose<perm = [0, 2, 1, 3]>(a) y = Neg(b)", ["Neg"]),
    # around what does not care
    (f"n = Neg(x) a = {FIRST}(n) r = Relu(a) b = {LAST}(r) y = Neg(b)", ["Neg", "Relu", "Neg"]),
    (f"n = Neg(x) a = {FIRST}(n) r = Mul(a, half) e = Exp(r) b = {LAST}(e) y = Neg(b)", ["Neg", "Mul", "Exp", "Neg"]),
    (
        f"a = {FIRST}(x) d = {FIRST}(z) s = Add(a, d) b = {LAST}(s) y = Neg(b)",
        ["Add", "Neg"],
    ),
    # the first one has another use
    (f"a = {FIRST}(x) b = {LAST}(a) y = Neg(b) y2 = Neg(a)", ["Transpose", "Neg", "Neg"]),
]
NO_PAIRS = [
    f"a = {FIRST}(x) b = {FIRST}(a) y = Neg(b)",
    f"a = {FIRST}(x) r = Relu(a) b = {LAST}(r) y = Neg(b) y2 = Neg(r)",
    f"a = {FIRST}(x) s = Add(a, c) b = {LAST}(s) y = Neg(b)",
    f"a = {FIRST}(x) r = Softmax(a) b = {LAST}(r) y = Neg(b)",
    f"y2 = {FIRST}(x) r = Relu(y2) b = {LAST}(r) y = Neg(b)",
    f"a = {FIRST}(x) y = {LAST}(a)",
]


@pytest.mark.parametrize(("nodes", "left"), PAIRS)
def test_transposes_that_cancel(nodes: str, left: list[str]) -> None:
    assert kernels(nodes, "transpose-pairs") == left
    assert "Transpose" in kernels(nodes)


@pytest.mark.parametrize("nodes", NO_PAIRS)
def test_transposes_that_stay(nodes: str) -> None:
    assert kernels(nodes, "transpose-pairs") == kernels(nodes)


def test_bytes_without_them() -> None:
    model = read(text(f"n = Neg(x) a = {FIRST}(n) r = Relu(a) b = {LAST}(r) y = Neg(b)"), 18)
    size = 6 * 6 * 8 * 4
    assert [k.bytes_moved for k in count(model).kernels(["transpose-pairs"])] == [2 * size] * 3
    assert [k.bytes_moved for k in count(model).kernels()] == [2 * size] * 5


LAYOUTS = [
    (f"a = {FIRST}(x) b = Conv(a, w) d = {LAST}(b) y = Neg(d)", ["Conv", "Neg"]),
    (f"a = {FIRST}(x) b = Relu(a) p = MaxPool<kernel_shape = [2, 2]>(b) y = Neg(p)", ["Relu", "MaxPool", "Neg"]),
    # positions in a row, as in a vision transformer's patches
    ("b = Conv(c, w) f = Reshape(b, flat) d = Transpose<perm = [0, 2, 1]>(f) y = Neg(d)", ["Conv", "Neg"]),
    # what leaves the graph is written in its place at once
    (f"b = Conv(c, w) y = {LAST}(b)", ["Conv"]),
]
NO_LAYOUTS = [
    f"a = {FIRST}(x) y = Neg(a)",
    f"b = Conv(c, w) d = {FIRST}(b) y = Neg(d)",
    "b = Conv(c, w) d = Transpose<perm = [0, 1, 3, 2]>(b) y = Neg(d)",
    f"y2 = Conv(c, w) y = {LAST}(y2)",
]


@pytest.mark.parametrize(("nodes", "left"), LAYOUTS)
def test_layouts_that_an_nhwc_runtime_does_not_have(nodes: str, left: list[str]) -> None:
    assert kernels(nodes, "layout") == left
    assert "Transpose" in kernels(nodes)


@pytest.mark.parametrize("nodes", NO_LAYOUTS)
def test_layouts_that_stay(nodes: str) -> None:
    assert kernels(nodes, "layout") == kernels(nodes)


def test_a_result_that_leaves_is_written_once() -> None:
    (kernel,) = count(read(text(f"b = Conv(c, w) y = {LAST}(b)"), 18)).kernels(["layout"])
    assert kernel.writes == {"graph:y": 6 * 6 * 8 * 4}


def test_casts_to_the_type_that_is_there() -> None:
    assert kernels("a = Cast<to = 1>(x) y = Neg(a)", "casts") == ["Neg"]
    assert kernels("a = Cast<to = 11>(x) y = Neg(a)", "casts") == ["Cast", "Neg"]
    assert kernels("n = Neg(x) y = Cast<to = 1>(n)", "casts") == ["Neg"]
    # an input that leaves unchanged is copied
    assert kernels("y = Cast<to = 1>(x)", "casts") == ["Cast"]


def test_without_such_nodes_the_execution_stays_as_it_is() -> None:
    g = graph_of(text("y = Neg(x)"), 18)
    execution = execution_of(g)
    assert arranged(g, execution, frozenset({"layout", "transpose-pairs", "casts"})) is execution
