"""Which constants are parameters, each counted once, and what is auxiliary, generated or unused."""

from __future__ import annotations

import pytest
from onnx_text import graph_of, named

from efficiency_cli.graph.constants import Stored, is_folded, stored_constants
from efficiency_cli.graph.model import DType, Graph, Kind

FLOAT, INT8, HALF = 4, 1, 2  # bytes an element


def stored(graph: Graph) -> dict[str, Stored]:
    return {s.tensor.name: s for s in stored_constants(graph)[0]}


def counts(graph: Graph) -> dict[str, tuple[int, int, int]]:
    """Parameters, auxiliary elements and stored bytes of each constant."""
    return {name: (s.parameters, s.auxiliary, s.bytes) for name, s in stored(graph).items()}


def folded(graph: Graph) -> set[str]:
    return {node.outputs[0] for node in graph.nodes if is_folded(node, graph)}


# --- what becomes a constant ---


@pytest.mark.parametrize(
    ("nodes", "weight", "size"),
    [
        ("y = MatMul(x, w)", "float[3,4] w", FLOAT * 12),
        ("t = Transpose(w) y = MatMul(x, t)", "float[4,3] w", FLOAT * 12),
        ("c = Cast<to = 1>(w) y = MatMul(x, c)", "float16[3,4] w", HALF * 12),
        ("t = Transpose(w) c = Cast<to = 1>(t) i = Identity(c) y = MatMul(x, i)", "float16[4,3] w", HALF * 12),
        ("r = Reshape(w, s) y = MatMul(x, r)", "float[12] w", FLOAT * 12),
        ("d = DequantizeLinear(w, k) y = MatMul(x, d)", "int8[3,4] w", INT8 * 12),
        ("d = DequantizeLinear(w, k) t = Transpose(d) y = MatMul(x, t)", "int8[4,3] w", INT8 * 12),
        ("y = Gemm(x, w)", "float[3,4] w", FLOAT * 12),
    ],
)
def test_a_weight_stays_one_through_what_is_folded(nodes: str, weight: str, size: int) -> None:
    text = f"g (float[2,3] x) => (float[] y) <{weight}, int64[2] s = {{3, 4}}, float k = {{0.5}}> {{ {nodes} }}"
    graph = graph_of(text)
    assert counts(graph)["w"] == (3 * 4, 0, size)
    assert folded(graph) == {node.outputs[0] for node in graph.nodes if node.outputs[0] != "y"}
    assert all(graph.tensors[name].kind is Kind.WEIGHT for name in folded(graph))


@pytest.mark.parametrize(
    "nodes",
    [
        "r = RandomNormal<shape = [3, 4]>() y = MatMul(x, r)",
        "b = Bernoulli(w) y = MatMul(x, b)",
        "r = Relu(x) y = MatMul(r, w)",
        "z = custom.Thing() y = MatMul(x, w)",
    ],
)
def test_what_is_new_at_every_run_is_not_folded(nodes: str) -> None:
    assert folded(graph_of(f"g (float[2,3] x) => (float[] y) <float[3,4] w> {{ {nodes} }}")) == set()


def test_the_shape_of_a_static_input_is_constant() -> None:
    text = "g (float[{n},3] x) => (int64[] y) {{ s = Shape(x) r = Relu(x) t = Shape(r) y = Add(s, t) }}"
    assert folded(graph_of(text.format(n=2))) == {"s", "t", "y"}
    assert folded(graph_of(text.format(n="n"))) == set()


def test_the_shape_of_something_data_dependent_is_not() -> None:
    text = "g (float[2,3] x) => (int64[] y) { i = NonZero(x) y = Shape(i) }"
    assert folded(graph_of(text)) == set()


# --- once each ---


def test_tied_weights_count_once() -> None:
    text = """g (int64[2,5] ids) => (float[] y) <float[100,8] table> {
        e = Gather(table, ids)  t = Transpose(table)  y = MatMul(e, t)
    }"""
    assert counts(graph_of(text)) == {"table": (100 * 8, 0, FLOAT * 100 * 8)}


def test_a_weight_in_both_roles_is_a_parameter() -> None:
    # the vector is BatchNormalization's mean (auxiliary) and bias of an addition (a parameter)
    text = """g (float[2,8] x) => (float[] y) <float[8] v, float[8] a, float[8] b, float[8] c> {
        n = BatchNormalization(x, a, b, v, c)  y = Add(n, v)
    }"""
    assert {k: v[:2] for k, v in counts(graph_of(text)).items()} == {"v": (8, 0), "a": (8, 0), "b": (8, 0), "c": (0, 8)}


# --- what is a parameter ---


def test_auxiliary_operands() -> None:
    text = """g (float[1,3,8,8] x) => (float[] y) <float[4,3,3,3] w, float[4] b, float[4] g0, float[4] b0,
        float[4] m, float[4] v, int64[2] s = {1, 144}, float lo = {0}, float hi = {6}> {
        c = Conv(x, w, b)  n = BatchNormalization(c, g0, b0, m, v)  r = Clip(n, lo, hi)  y = Reshape(r, s)
    }"""
    parameters = {k: v[0] for k, v in counts(graph_of(text)).items()}
    assert parameters == {"w": 4 * 3 * 9, "b": 4, "g0": 4, "b0": 4, "m": 0, "v": 0, "s": 0, "lo": 0, "hi": 0}
    auxiliary = {k: v[1] for k, v in counts(graph_of(text)).items() if v[1]}
    assert auxiliary == {"m": 4, "v": 4, "s": 2, "lo": 1, "hi": 1}


def test_scales_and_zero_points_are_auxiliary() -> None:
    text = """g (int8[1,3,4,4] x) => (float[] y) <int8[8,3,1,1] w, float[8] ws, int8[8] wz, int32[8] b, float[8] bs,
        float xs = {0.5}, int8 xz = {0}> {
        xd = DequantizeLinear(x, xs, xz)  wd = DequantizeLinear<axis = 0>(w, ws, wz)
        bd = DequantizeLinear<axis = 0>(b, bs)  y = Conv(xd, wd, bd)
    }"""
    assert counts(graph_of(text, 19)) == {
        "w": (8 * 3, 0, 8 * 3), "b": (8, 0, 8 * 4),
        "ws": (0, 8, 8 * 4), "wz": (0, 8, 8), "bs": (0, 8, 8 * 4), "xs": (0, 1, 4), "xz": (0, 1, 1),
    }  # fmt: skip


def test_packed_weights_count_what_is_in_them() -> None:
    text = """g (float[1,64] x, int64[5] i) => (float[] y, float[] z) <uint8[96,2,16] w, float[192] s,
        uint8[50,16] t, float[50,1] ts, uint4[50,32] u, float[50,1] us> {
        y = com.microsoft.MatMulNBits<K = 64, N = 96, bits = 4, block_size = 32>(x, w, s)
        p = com.microsoft.GatherBlockQuantized<bits = 4, block_size = 32>(t, i, ts)
        q = com.microsoft.GatherBlockQuantized<bits = 4, block_size = 32>(u, i, us)
        z = Add(p, q)
    }"""
    assert {k: v for k, v in counts(graph_of(text)).items() if len(k) == 1 and k != "s"} == {
        "w": (64 * 96, 0, 96 * 2 * 16),
        "t": (50 * 32, 0, 50 * 16),
        "u": (50 * 32, 0, 50 * 32 // 2),
    }


def test_generated_weights_are_parameters_without_bytes() -> None:
    text = """g (float[2,3] x) => (float[] y) <int64[2] s = {3, 4}> {
        w = ConstantOfShape(s)  t = Identity(w)  y = MatMul(x, t)
    }"""
    graph = graph_of(text)
    assert counts(graph) == {"s": (0, 2, 16), "w": (3 * 4, 0, 0)}
    assert [name for name, s in stored(graph).items() if s.generated] == ["w"]


def test_constants_in_nodes_are_stored_too() -> None:
    text = """g (float[2,3] x) => (float[] y) {
        w = Constant<value = float[3,2] {1, 2, 3, 4, 5, 6}>()  k = Constant<value_float = 2.0>()
        m = MatMul(x, w)  y = Mul(m, k)
    }"""
    assert counts(graph_of(text)) == {"w": (6, 0, 24), "k": (0, 1, 4)}
    assert not any(s.generated for s in stored(graph_of(text)).values())


@pytest.mark.parametrize(
    ("constant", "nodes"), [("int64[3,4] k", "y = Gather(x, k)"), ("bool[2,3] k", "y = Where(k, x, x)")]
)
def test_indices_and_masks_are_not_parameters(constant: str, nodes: str) -> None:
    graph = graph_of(f"g (float[2,3] x) => (float[] y) <{constant}> {{ {nodes} }}")
    (only,) = stored(graph).values()
    assert (only.parameters, only.auxiliary) == (0, only.tensor.numel)


def test_unused_constants_are_named_and_not_counted() -> None:
    text = "g (float[2,3] x) => (float[] y) <float[3,4] w, float[9,9] dead> { y = MatMul(x, w) }"
    found, unused = stored_constants(graph_of(text))
    assert ([s.tensor.name for s in found], unused) == (["w"], ["dead"])


def test_a_constant_that_leaves_the_graph_is_used() -> None:
    text = "g (float[2] x) => (float[] y, float[] k) <float[9] k> { y = Relu(x) }"
    assert stored_constants(graph_of(text))[1] == []


# --- bodies ---

IF = """g (bool c, float[2,3] x) => (float[] y) <float[3,4] shared> {
    y = If (c) <then_branch = t () => (float[] p) <float[4,4] w> { a = MatMul(x, shared)  p = MatMul(a, w) },
                else_branch = e () => (float[] q) <float[3,5] w, float[5,4] v> { b = MatMul(x, w)  q = MatMul(b, v) }>
}"""


def test_weights_of_bodies_count_and_captured_ones_once() -> None:
    parameters = [(s.tensor.name, s.parameters) for s in stored_constants(graph_of(IF))[0]]
    # two branches have a weight of the same name: these are two weights
    assert sorted(parameters) == sorted([("shared", 3 * 4), ("w", 4 * 4), ("w", 3 * 5), ("v", 5 * 4)])
    assert stored_constants(graph_of(IF))[1] == []


def test_a_captured_weight_is_one_in_the_body_too() -> None:
    graph = graph_of(IF)
    body = named(graph, "y").graphs["then_branch"]
    assert body.tensors["shared"].kind is graph.tensors["shared"].kind is Kind.WEIGHT


def test_what_a_body_folds_from_outside_is_folded() -> None:
    text = """g (bool c, float[2,3] x) => (float[] y) <float16[3,4] w> {
        o = Cast<to = 1>(w)
        y = If (c) <then_branch = t () => (float[] p) { i = Identity(o)  p = MatMul(x, i) },
                    else_branch = e () => (float[] q) { q = MatMul(x, o) }>
    }"""
    graph = graph_of(text)
    assert counts(graph) == {"w": (12, 0, 24)}
    assert folded(named(graph, "y").graphs["then_branch"]) == {"i"}


def test_a_packed_weight_that_a_body_captures() -> None:
    text = """g (bool c, float[1,64] x) => (float[] y) <uint8[96,2,16] w, float[192] s> {
        y = If (c) <then_branch = t () => (float[] p) {
                        p = com.microsoft.MatMulNBits<K = 64, N = 96, bits = 4, block_size = 32>(x, w, s) },
                    else_branch = e () => (float[] q) { z = Concat<axis = 1>(x, x)  q = Relu(z) }>
    }"""
    assert counts(graph_of(text))["w"] == (64 * 96, 0, 96 * 2 * 16)


def test_types_are_those_stored() -> None:
    text = "g (float[2,3] x) => (float[] y) <float16[3,4] w> { c = Cast<to = 1>(w) y = MatMul(x, c) }"
    assert stored(graph_of(text))["w"].dtype is DType.FLOAT16
