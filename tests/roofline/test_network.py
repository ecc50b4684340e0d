"""Kernels and what crosses their borders, by hand; bodies, their repeats and what they capture."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import read
from some_networks import models

from efficiency_cli.costs.control_flow import Choices
from efficiency_cli.graph.model import DType, Model, OpClass
from efficiency_cli.roofline.labels import op_label
from efficiency_cli.roofline.network import Kernel, Network

F = 4  # bytes of a float32
PATTERNS = ["bias", "activation", "add", "pad", "fold-batchnorm", "pointwise", "movement"]


def network(text: str, opset: int = 17, choices: Choices | None = None) -> Network:
    return Network(read(text, opset), choices)


def only(text: str, opset: int = 17) -> Kernel:
    (kernel,) = network(text, opset).kernels()
    return kernel


def borders(kernel: Kernel) -> tuple[int, int, int]:
    return kernel.weight_bytes, kernel.read_bytes, kernel.written_bytes


# --- one kernel ---


def test_a_convolution_with_bias_and_relu() -> None:
    kernel = only(
        """g (float[1,3,8,8] x) => (float[] y) <float[4,3,3,3] w, float[4] b> {
            c = Conv<pads = [1, 1, 1, 1]>(x, w, b)  y = Relu(c)
        }"""
    )
    outputs = 4 * 8 * 8
    assert kernel.macs == outputs * 3 * 3 * 3
    assert kernel.ops == 2 * outputs * 27 + outputs + outputs
    assert borders(kernel) == ((4 * 27 + 4) * F, 3 * 8 * 8 * F, outputs * F)
    assert (kernel.reads, kernel.writes) == ({"graph:x": 3 * 8 * 8 * F}, {"graph:y": outputs * F})
    assert kernel.weights == {"w": 4 * 27 * F, "b": 4 * F}
    assert (kernel.op, kernel.op_class, kernel.unit, kernel.dtype) == (
        "Conv 3x3",
        OpClass.DENSE,
        "matrix",
        DType.FLOAT32,
    )
    assert kernel.arithmetic_intensity == kernel.ops / sum(borders(kernel))
    assert (kernel.nodes, kernel.ops_named) == (("Conv_0", "Relu_1"), ("Conv", "Relu"))


def test_a_residual_sum_reads_the_other_branch() -> None:
    kernel = only("g (float[1,8,4,4] x) => (float[] y) <float[8,8,1,1] w> { c = Conv(x, w) a = Add(c, x) y = Relu(a) }")
    # x is operand of the convolution and of the sum, and read once
    assert borders(kernel) == (8 * 8 * F, 8 * 16 * F, 8 * 16 * F)
    two = only(
        "g (float[1,8,4,4] x, float[1,8,4,4] z) => (float[] y) <float[8,8,1,1] w> { c = Conv(x, w) y = Add(c, z) }"
    )
    assert borders(two) == (8 * 8 * F, 2 * 8 * 16 * F, 8 * 16 * F)


def test_the_same_operand_twice_is_read_once() -> None:
    assert borders(only("g (float[4] x) => (float[] y) { y = Mul(x, x) }")) == (0, 4 * F, 4 * F)


def test_what_leaves_besides_the_result_is_written() -> None:
    # both the sum and the activation of it leave; the convolution's own result does not
    text = """g (float[1,8,4,4] x) => (float[] y, float[] a) <float[8,8,1,1] w> {
        c = Conv(x, w)  a = Add(c, x)  y = Relu(a)
    }"""
    first, second = network(text).kernels()
    assert (first.writes, second.reads) == ({"graph:a": 8 * 16 * F}, {"graph:a": 8 * 16 * F})


def test_views_are_no_kernels_and_hand_on_what_they_view() -> None:
    text = "g (float[2,3,4] x) => (float[] y) { f = Flatten(x) r = Relu(f) i = Identity(r) y = Neg(i) }"
    first, second = network(text).kernels()
    assert (first.reads, first.writes) == ({"graph:x": 24 * F}, {"graph:r": 24 * F})
    assert (second.reads, second.writes) == ({"graph:r": 24 * F}, {"graph:y": 24 * F})


def test_an_embedding_reads_only_its_rows() -> None:
    kernel = only("g (int64[1,5] ids) => (float[] y) <float[1000,16] table> { y = Gather(table, ids) }")
    assert borders(kernel) == (5 * 16 * F, 5 * 8, 5 * 16 * F)


def test_weights_used_by_two_kernels_are_read_by_both() -> None:
    text = "g (float[2,4] x) => (float[] y) <float[4,4] w> { a = MatMul(x, w) b = Exp(a) y = MatMul(b, w) }"
    assert [k.weight_bytes for k in network(text).kernels()] == [16 * F, 0, 16 * F]


def test_a_quantised_convolution_moves_narrow_bytes() -> None:
    kernel = only(
        """g (int8[1,3,8,8] x) => (int8[] y) <float s = {0.5}, int8 z = {0}, int8[4,3,1,1] w, float[4] ws, int32[4] b> {
            d = DequantizeLinear(x, s, z)  e = DequantizeLinear<axis = 0>(w, ws)  f = DequantizeLinear<axis = 0>(b, ws)
            c = Conv(d, e, f)  r = Relu(c)  y = QuantizeLinear(r, s, z)
        }""",
        19,
    )
    assert (kernel.reads, kernel.writes) == ({"graph:x": 3 * 64}, {"graph:y": 4 * 64})
    assert kernel.weights == {"w": 4 * 3, "ws": 4 * F, "b": 4 * 4}
    assert (kernel.dtype, kernel.macs) == (DType.INT8, 4 * 64 * 3)
    # the operator, its bias and Relu; (de)quantising is part of the integer kernel
    assert kernel.ops == 2 * kernel.macs + 4 * 64 + 4 * 64


def test_weight_only_quantisation_reads_narrow_and_computes_wide() -> None:
    text = """g (float[1,3,8,8] x) => (float[] y) <int8[4,3,1,1] w, float[4] ws> {
        e = DequantizeLinear<axis = 0>(w, ws)  y = Conv(x, e)
    }"""
    kernel = only(text, 19)
    assert (kernel.weights, kernel.dtype) == ({"w": 4 * 3, "ws": 4 * F}, DType.FLOAT32)


def test_the_anchor_names_a_kernel() -> None:
    text = """g (float[1,8,4,4] x) => (float[] y) <float[8,8,1,1] w, int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}> {
        [first] a = Pad(x, p)  [mine] c = Conv(a, w)  [last] y = Relu(c)
    }"""
    kernel = only(text, 18)
    assert (kernel.name, kernel.op, kernel.nodes) == ("mine", "Conv pointwise", ("first", "mine", "last"))


@pytest.mark.parametrize(
    ("weight", "attributes", "label"),
    [
        ("8,8,1,1", "", "Conv pointwise"),
        ("8,8,3,3", "", "Conv 3x3"),
        ("8,8,1,3", "", "Conv 1x3"),
        ("8,1,3,3", "<group = 8>", "Conv depthwise"),
        ("8,4,3,3", "<group = 2>", "Conv 3x3"),
    ],
)
def test_labels_of_convolutions(weight: str, attributes: str, label: str) -> None:
    text = f"g (float[1,8,4,4] x) => (float[] y) <float[{weight}] w> {{ y = Conv{attributes}(x, w) }}"
    assert only(text).op == label


def test_labels_of_odd_and_other_operators() -> None:
    graph = read("g (float[2,3] x) => (float[] y) { t = custom.Convolve(x) y = custom.Conv(x, t) }").graph
    assert [op_label(node, graph, OpClass.MOVEMENT) for node in graph.nodes] == ["Convolve", "Conv"]
    assert only("g (float[2,3] x) => (float[] y) { y = Softmax(x) }").op == "Softmax"


# --- bodies ---

LOOP = """g (float[2,4] x) => (float[] y) <int64 n = {{{trips}}}, float[4,4] w> {{
    y = Loop (n, , x) <body = b (int64 i, bool c, float[2,4] v) => (bool d, float[] u) {{
        d = Identity(c)  m = MatMul(v, w)  u = Exp(m)
    }}>
}}"""


@pytest.mark.parametrize("trips", [0, 1, 7])
def test_a_loop_repeats_its_body(trips: int) -> None:
    product, exponential = network(LOOP.format(trips=trips)).kernels()
    assert (product.repeat, product.macs, product.ops) == (trips, trips * 2 * 4 * 4, trips * 2 * 2 * 4 * 4)
    assert borders(product) == (trips * 16 * F, trips * 8 * F, trips * 8 * F)
    # by tensor: one run
    assert (product.weights, sum(product.reads.values())) == ({"w": 16 * F}, 8 * F)
    assert exponential.written_bytes == trips * 8 * F


def test_loops_in_loops_multiply() -> None:
    text = """g (float[2,4] x) => (float[] y) <int64 n = {3}, int64 k = {5}, float[4,4] w> {
        y = Loop (n, , x) <body = b (int64 i, bool c, float[2,4] v) => (bool d, float[] u) {
            d = Identity(c)
            u = Loop (k, , v) <body = e (int64 j, bool f, float[2,4] s) => (bool h, float[] t) {
                h = Identity(f)  t = MatMul(s, w)
            }>
        }>
    }"""
    kernel = only(text)
    assert (kernel.repeat, kernel.macs) == (3 * 5, 3 * 5 * 2 * 4 * 4)
    assert kernel.weights == {"w": 16 * F}


def test_a_scan_runs_once_an_element() -> None:
    text = """g (float[4] a, float[7,4] x) => (float[] y, float[] s) {
        y, s = Scan<num_scan_inputs = 1, body = b (float[4] v, float[4] e) => (float[] w, float[] o) {
            w = Add(v, e)  o = Exp(w)
        }> (a, x)
    }"""
    assert [(k.op, k.repeat, k.read_bytes) for k in network(text).kernels()] == [
        ("Add", 7, 7 * 2 * 4 * F),
        ("Exp", 7, 7 * 4 * F),
    ]


def test_unknown_trips_count_once_and_say_so() -> None:
    made = network(LOOP.format(trips=0).replace("int64 n = {0}, ", "").replace("x)", "x, int64 n)", 1))
    assert [k.repeat for k in made.kernels()] == [1, 1]
    assert made.notes == ["'Loop_0' (Loop): trip count unknown, 1 counted: a lower bound"]
    chosen = network(
        LOOP.format(trips=0).replace("int64 n = {0}, ", "").replace("x)", "x, int64 n)", 1),
        choices=Choices(trips={"Loop_0": 9}),
    )
    assert ([k.repeat for k in chosen.kernels()], chosen.notes) == ([9, 9], ["'Loop_0' (Loop): 9 trips, as asked"])


IF = """g (bool c, float[2,4] x) => (float[] y) <float[4,4] small, float[4,4] v> {{
    [choose] y = If ({condition}) <
        then_branch = t () => (float[] p) {{ p = MatMul(x, small) }},
        else_branch = e () => (float[] q) {{ m = MatMul(x, v)  q = MatMul(m, small) }}>
}}"""


@pytest.mark.parametrize(
    ("branch", "products", "note"),
    [
        ("max", 2, "'choose' (If): its costliest branch, else, counts"),
        ("then", 1, "'choose': the then branch, as asked"),
        ("else", 2, "'choose': the else branch, as asked"),
    ],
)
def test_one_branch_of_an_if_counts(branch: str, products: int, note: str) -> None:
    made = network(IF.format(condition="c"), choices=Choices(branch=branch))
    assert [k.macs for k in made.kernels()] == [2 * 4 * 4] * products
    assert made.notes == [note]


@pytest.mark.parametrize(("value", "products"), [(1, 1), (0, 2)])
def test_a_constant_condition_decides(value: int, products: int) -> None:
    text = IF.format(condition="k").replace("<float", f"<bool k = {{{value}}}, float", 1)
    made = network(text, choices=Choices(branch="then"))
    assert (len(made.kernels()), made.notes) == (products, [])


def test_a_captured_tensor_is_the_one_outside() -> None:
    text = """g (bool c, float[2,4] x) => (float[] y) {
        [outer] r = Exp(x)  f = Flatten(r)
        y = If (c) <then_branch = t () => (float[] p) { p = Neg(f) }, else_branch = e () => (float[] q) { q = Abs(r) }>
    }"""
    made = network(text, choices=Choices(branch="then"))
    outer, inner = made.kernels()
    assert outer.writes == inner.reads == {"graph:r": 8 * F}
    assert inner.writes == {"graph/If_2.then_branch:p": 8 * F}
    assert made.key_of("f") == "graph:r"


def test_nodes_of_bodies_follow_the_node_that_holds_them() -> None:
    made = network(LOOP.format(trips=3))
    assert [(n.node.op, n.path, n.repeat) for n in made.nodes] == [
        ("Loop", "graph", 1),
        ("Identity", "graph/Loop_0.body", 3),
        ("MatMul", "graph/Loop_0.body", 3),
        ("Exp", "graph/Loop_0.body", 3),
    ]
    assert sum(n.macs for n in made.nodes) == 3 * 2 * 4 * 4


def test_valid_counts_leave_padding_out() -> None:
    text = "g (float[1,1,3,3] x) => (float[] y) <float[1,1,3,3] w> { y = Conv<pads = [1, 1, 1, 1]>(x, w) }"
    # corners see 4 taps, edges 6, the middle 9
    assert [network(text, choices=Choices(count=c)).kernels()[0].macs for c in ("dense", "valid")] == [
        9 * 9,
        4 * 4 + 4 * 6 + 9,
    ]


# --- laws ---


def everything(kernels: tuple[Kernel, ...]) -> tuple[int, int]:
    return sum(k.macs for k in kernels), sum(k.ops for k in kernels)


@settings(max_examples=60, deadline=None)
@given(models(), st.sets(st.sampled_from(PATTERNS)))
def test_the_parts_sum_to_the_whole(model: Model, patterns: set[str]) -> None:
    made = Network(model)
    kernels = made.kernels(patterns)
    assert everything(kernels) == (sum(n.macs for n in made.nodes), sum(n.ops for n in made.nodes))
    for k in kernels:
        assert k.read_bytes == sum(k.reads.values())
        assert k.written_bytes == sum(k.writes.values())
        assert k.weight_bytes == sum(k.weights.values())


@settings(max_examples=60, deadline=None)
@given(models(), st.sets(st.sampled_from(PATTERNS)), st.sampled_from(PATTERNS))
def test_fusing_more_moves_no_more(model: Model, patterns: set[str], more: str) -> None:
    made = Network(model)
    before, after = made.kernels(patterns), made.kernels(patterns | {more})
    assert sum(k.bytes_moved for k in after) <= sum(k.bytes_moved for k in before)
    assert everything(before) == everything(after)


@settings(max_examples=60, deadline=None)
@given(models(), st.sets(st.sampled_from(PATTERNS)))
def test_what_is_read_was_written_or_came_in(model: Model, patterns: set[str]) -> None:
    made = Network(model)
    known = {made.key_of(name): model.graph.tensors[name].bytes for name in model.graph.inputs}
    for k in made.kernels(patterns):
        assert all(known[key] >= size for key, size in k.reads.items())
        known.update(k.writes)
    assert {made.key_of(name) for name in model.graph.outputs} <= set(known)


@settings(max_examples=30, deadline=None)
@given(models())
def test_the_same_model_has_the_same_kernels(model: Model) -> None:
    assert Network(model).kernels() == Network(model).kernels()
