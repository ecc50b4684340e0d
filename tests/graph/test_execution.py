"""What runs and in which type: views, folded BatchNormalization, fused Q/DQ; and their twins that stay."""

from __future__ import annotations

import pytest
from onnx_text import graph_of, named

from efficiency_cli.graph.execution import Execution, compute_type, execution_of, narrow_bytes
from efficiency_cli.graph.model import DType, Graph, Node, Tensor

# scales, zero points and weights that the Q/DQ models below share
CONSTANTS = """float s = {0.5}, float s2 = {0.25}, int8 z = {0}, int8[8,8,1,1] w, float[8] ws, int8[8] wz, int32[8] b,
    float[8,8,1,1] wf, float[8] a0, float[8] a1, float[8] a2, float[8] a3, float lo = {0}, float hi = {6}"""
WEIGHTS = "wd = DequantizeLinear<axis = 0>(w, ws, wz) bd = DequantizeLinear<axis = 0>(b, ws)"


def run(nodes: str, inputs: str = "float[1,8,4,4] x", opset: int = 19) -> tuple[Graph, Execution]:
    outputs = ", ".join(f"float[] {name}" for name in ("y", "y2") if f"{name} =" in nodes)
    graph = graph_of(f"g ({inputs}) => ({outputs}) <{CONSTANTS}> {{ {nodes} }}", opset)
    return graph, execution_of(graph)


def running(graph: Graph, execution: Execution) -> list[str]:
    """The operators that cost something, in order."""
    return [node.op for k, node in enumerate(graph.nodes) if k not in execution.absorbed]


def types(graph: Graph, execution: Execution) -> dict[str, str]:
    """Output -> the type it is computed in, of nodes that run in another type than their operands'."""
    return {graph.nodes[k].outputs[0]: dtype.value for k, dtype in execution.dtype.items()}


# --- views ---


@pytest.mark.parametrize(
    "view",
    [
        "Reshape(x, {shape})", "Squeeze(x)", "Unsqueeze(x, {axis})", "Flatten(x)", "Identity(x)", "Dropout(x)",
    ],
)  # fmt: skip
def test_a_view_is_its_operand(view: str) -> None:
    text = f"""g (float[1,8,4] x) => (float[] y) <int64[2] t = {{8, 4}}, int64[1] zero = {{0}}> {{
        v = {view.format(shape="t", axis="zero")}  w = Relu(v)  y = Identity(w)
    }}"""
    graph = graph_of(text)
    execution = execution_of(graph)
    assert running(graph, execution) == ["Relu"]
    assert (execution.resolve("v"), execution.resolve("y"), execution.resolve("w")) == ("x", "w", "w")


def test_views_of_views_end_at_what_is_stored() -> None:
    _, execution = run("a = Flatten(x) b = Identity(a) c = Identity(b) y = Relu(c)")
    assert {execution.resolve(name) for name in "abc"} == {"x"}


def test_a_custom_operator_of_that_name_is_no_view() -> None:
    graph, execution = run("f = custom.Flatten(x) y = Relu(f)")
    assert running(graph, execution) == ["Flatten", "Relu"]


def test_a_transpose_moves_data() -> None:
    assert running(*run("t = Transpose(x) y = Relu(t)")) == ["Transpose", "Relu"]


# --- constants ---


def test_constants_cost_nothing_and_are_read_as_stored() -> None:
    text = """g (float[2,3] x) => (float[] y) <float[4,3] w> { t = Transpose(w)  i = Identity(t)  y = MatMul(x, i) }"""
    graph = graph_of(text)
    execution = execution_of(graph)
    assert running(graph, execution) == ["MatMul"]
    assert execution.resolve("i") == "w"


# --- BatchNormalization ---

FOLDED = "c = Conv(x, wf) y = BatchNormalization(c, a0, a1, a2, a3)"


@pytest.mark.parametrize(
    "nodes",
    [
        FOLDED,
        FOLDED.replace("Conv(x, wf)", "ConvTranspose(x, wf)"),
        FOLDED.replace("Conv(x, wf)", "Conv(x, wf, a0)"),
        FOLDED.replace("wf)", "wt)").replace("c =", "wt = Identity(wf) c ="),
    ],
)
def test_batch_normalisation_folds_into_a_convolution(nodes: str) -> None:
    graph, execution = run(nodes)
    assert running(graph, execution) == [named(graph, "c").op]
    assert execution.resolve("c") == "y"


def test_batch_normalisation_folds_into_gemm() -> None:
    text = """g (float[2,3] x) => (float[] y) <float[3,8] w, float[8] a, float[8] b, float[8] m, float[8] v> {
        c = Gemm(x, w)  y = BatchNormalization(c, a, b, m, v)
    }"""
    graph = graph_of(text)
    assert running(graph, execution_of(graph)) == ["Gemm"]


@pytest.mark.parametrize(
    ("nodes", "inputs"),
    [
        (FOLDED + " y2 = Relu(c)", ""),
        (FOLDED.replace("c =", "y2 =").replace("(c,", "(y2,"), ""),
        (FOLDED.replace("wf)", "r)").replace("c =", "r = Relu(v) c ="), ", float[8,8,1,1] v"),
        (FOLDED.replace("a2, a3", "v, a3"), ", float[8] v"),
        (FOLDED.replace("Conv(x, wf)", "MaxPool<kernel_shape = [1, 1]>(x)"), ""),
        (FOLDED.replace("Conv(x, wf)", "Relu(x)"), ""),
        (FOLDED.replace("c =", "d =").replace("y =", "c = Relu(d) y ="), ""),
        (FOLDED.replace("Conv(", "custom.Conv("), ""),
        (FOLDED.replace("BatchN", "custom.BatchN"), ""),
        ("y = BatchNormalization(x, a0, a1, a2, a3)", ""),
    ],
    ids="two-readers output dynamic-weight dynamic-statistics pool relu relu-between custom-conv custom alone".split(),
)
def test_batch_normalisation_that_must_stay(nodes: str, inputs: str) -> None:
    graph, execution = run(nodes, f"float[1,8,4,4] x{inputs}")
    assert running(graph, execution) == [node.op for node in graph.nodes]


def test_statistics_of_training_stay() -> None:
    nodes = "c = Conv(x, wf) y, m, v = BatchNormalization<training_mode = 1>(c, a0, a1, a2, a3)"
    assert running(*run(nodes)) == ["Conv", "BatchNormalization"]


# --- Q/DQ: what fuses ---

DQ = "d = DequantizeLinear(x, s, z)"


@pytest.mark.parametrize(
    ("nodes", "operators", "written"),
    [
        (f"{DQ} {WEIGHTS} c = Conv(d, wd, bd) y = QuantizeLinear(c, s, z)", ["Conv"], {"c": "y"}),
        (f"{DQ} {WEIGHTS} c = Conv(d, wd) r = Relu(c) y = QuantizeLinear(r, s, z)", ["Conv", "Relu"], {"r": "y"}),
        (
            f"{DQ} {WEIGHTS} c = Conv(d, wd) r = Clip(c, lo, hi) y = QuantizeLinear(r, s, z)",
            ["Conv", "Clip"], {"r": "y"},
        ),
        (
            f"{DQ} {WEIGHTS} c = Conv(d, wd) n = BatchNormalization(c, a0, a1, a2, a3) y = QuantizeLinear(n, s, z)",
            ["Conv"], {"n": "y", "c": "y"},
        ),
        (f"{DQ} m = MaxPool<kernel_shape = [2, 2]>(d) y = QuantizeLinear(m, s, z)", ["MaxPool"], {"m": "y", "d": "x"}),
        (
            f"{DQ} m = GlobalAveragePool(d) f = Flatten(m) y = QuantizeLinear(f, s, z)",
            ["GlobalAveragePool"], {"m": "y", "f": "y"},
        ),
        (f"{DQ} f = Flatten(d) p = Softmax(f) y = QuantizeLinear(p, s, z)", ["Softmax"], {"f": "x", "p": "y"}),
        (f"{DQ} t = Transpose(d) y = QuantizeLinear(t, s, z)", ["Transpose"], {"t": "y"}),
    ],
    ids="conv conv-relu conv-clip conv-batchnorm pool pool-view view-softmax transpose".split(),
)  # fmt: skip
def test_an_operator_between_dq_and_q_runs_in_the_narrow_type(
    nodes: str, operators: list[str], written: dict[str, str]
) -> None:
    graph, execution = run(nodes, "int8[1,8,4,4] x")
    assert running(graph, execution) == operators
    assert set(types(graph, execution).values()) == {"int8"}
    assert len(execution.dtype) == len(operators)
    assert execution.resolve("d") == "x"
    assert {name: execution.resolve(name) for name in written} == written


def test_the_narrow_weight_is_read_with_its_scales() -> None:
    _, execution = run(f"{DQ} {WEIGHTS} c = Conv(d, wd, bd) y = QuantizeLinear(c, s, z)", "int8[1,8,4,4] x")
    assert (execution.resolve("wd"), execution.resolve("bd")) == ("w", "b")
    assert (execution.beside["w"], execution.beside["b"], execution.beside["x"]) == (("ws", "wz"), ("ws",), ())


def test_a_residual_addition_with_relu() -> None:
    nodes = """d = DequantizeLinear(x, s, z)  e = DequantizeLinear(x2, s2, z)
        a = Add(d, e)  r = Relu(a)  y = QuantizeLinear(r, s, z)"""
    graph, execution = run(nodes, "int8[1,8,4,4] x, int8[1,8,4,4] x2")
    assert running(graph, execution) == ["Add", "Relu"]
    assert types(graph, execution) == {"a": "int8", "r": "int8"}
    assert [execution.resolve(n) for n in ("d", "e", "r")] == ["x", "x2", "y"]


def test_a_concatenation() -> None:
    nodes = """d = DequantizeLinear(x, s, z)  e = DequantizeLinear(x2, s2, z)
        c = Concat<axis = 1>(d, e)  y = QuantizeLinear(c, s, z)"""
    graph, execution = run(nodes, "int8[1,8,4,4] x, int8[1,2,4,4] x2")
    assert running(graph, execution) == ["Concat"]
    assert types(graph, execution) == {"c": "int8"}


def test_a_view_between_dq_and_q_is_no_work_at_all() -> None:
    graph, execution = run(f"{DQ} f = Flatten(d) y = QuantizeLinear(f, s, z)", "int8[1,8,4,4] x")
    assert running(graph, execution) == []
    assert execution.resolve("y") == "x"


def test_one_dq_with_two_integer_readers() -> None:
    nodes = f"{DQ} {WEIGHTS} c = Conv(d, wd) y = QuantizeLinear(c, s, z) e = Conv(d, wd) y2 = QuantizeLinear(e, s, z)"
    graph, execution = run(nodes, "int8[1,8,4,4] x")
    assert running(graph, execution) == ["Conv", "Conv"]


def test_the_wider_type_decides() -> None:
    nodes = """d = DequantizeLinear(x, s, zz)  wd = DequantizeLinear<axis = 0>(w, ws, wz)
        c = Conv(d, wd)  y = QuantizeLinear(c, s, zz)"""
    text = f"g (uint16[1,8,4,4] x) => (uint16[] y) <{CONSTANTS}, uint16 zz = {{0}}> {{ {nodes} }}"
    graph = graph_of(text, 21)
    assert types(graph, execution_of(graph)) == {"c": "int16"}


def test_a_matrix_product_needs_no_q_behind_it() -> None:
    text = """g (int8[2,8] x) => (float[] y) <float s = {1.0}, int8 z = {0}, int8[8,3] w> {
        d = DequantizeLinear(x, s, z)  wd = DequantizeLinear(w, s, z)  y = MatMul(d, wd)
    }"""
    graph = graph_of(text)
    execution = execution_of(graph)
    assert (running(graph, execution), types(graph, execution)) == (["MatMul"], {"y": "int8"})
    assert execution.resolve("y") == "y"


# --- Q/DQ: what must stay ---


@pytest.mark.parametrize(
    ("nodes", "operators"),
    [
        # nothing narrow in front
        ("y = QuantizeLinear(x, s, z)", ["QuantizeLinear"]),
        ("r = Relu(x) y = QuantizeLinear(r, s, z)", ["Relu", "QuantizeLinear"]),
        (f"{WEIGHTS} c = Conv(x, wd) y = QuantizeLinear(c, s, z)", ["Conv", "QuantizeLinear"]),
        # an output in floating point
        ("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)", ["QuantizeLinear", "DequantizeLinear"]),
        # a float operator without a Q behind it
        (
            "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Sigmoid(d)",
            ["QuantizeLinear", "DequantizeLinear", "Sigmoid"],
        ),
        # an operator without an integer kernel
        (
            "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) e = Erf(d) y = QuantizeLinear(e, s, z)",
            ["QuantizeLinear", "DequantizeLinear", "Erf", "QuantizeLinear"],
        ),
        # one operand in floating point
        (
            "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) a = Add(d, x) y = QuantizeLinear(a, s, z)",
            ["QuantizeLinear", "DequantizeLinear", "Add", "QuantizeLinear"],
        ),
    ],
    ids="input relu weight-only output no-q no-kernel float-operand".split(),
)  # fmt: skip
def test_what_stays_in_floating_point(nodes: str, operators: list[str]) -> None:
    graph, execution = run(nodes)
    assert running(graph, execution) == operators
    assert execution.dtype == {}


def test_weight_only_quantisation_computes_in_float() -> None:
    graph, execution = run(f"{WEIGHTS} y = Conv(x, wd)")
    assert (running(graph, execution), execution.dtype) == (["Conv"], {})
    assert execution.resolve("wd") == "w"  # and still reads the narrow weight


def test_a_dq_that_also_feeds_a_float_operator_stays() -> None:
    nodes = f"{DQ} {WEIGHTS} c = Conv(d, wd) y = QuantizeLinear(c, s, z) y2 = Erf(d)"
    graph, execution = run(nodes, "int8[1,8,4,4] x")
    assert running(graph, execution) == ["DequantizeLinear", "Conv", "Erf"]
    assert execution.resolve("d") == "d"


def test_a_dq_that_a_body_reads_stays() -> None:
    nodes = f"""{DQ} {WEIGHTS} c = Conv(d, wd) y = QuantizeLinear(c, s, z)
        y2 = If (k) <then_branch = t () => (float[] p) {{ p = Relu(d) }},
                     else_branch = e () => (float[] q) {{ q = Neg(d) }}>"""
    graph, execution = run(nodes, "int8[1,8,4,4] x, bool k")
    assert running(graph, execution) == ["DequantizeLinear", "Conv", "If"]


def test_a_result_that_is_read_in_float_too_is_quantised_apart() -> None:
    nodes = f"{DQ} {WEIGHTS} c = Conv(d, wd) y = QuantizeLinear(c, s, z) y2 = Erf(c)"
    graph, execution = run(nodes, "int8[1,8,4,4] x")
    assert running(graph, execution) == ["Conv", "QuantizeLinear", "Erf"]
    assert execution.resolve("c") == "c"


def test_a_view_of_a_result_that_is_read_in_float_too() -> None:
    nodes = f"{DQ} {WEIGHTS} c = Conv(d, wd) f = Flatten(c) y = QuantizeLinear(f, s, z) y2 = Erf(f)"
    graph, execution = run(nodes, "int8[1,8,4,4] x")
    assert running(graph, execution) == ["Conv", "QuantizeLinear", "Erf"]
    assert execution.resolve("f") == "c"


def test_requantisation_is_work() -> None:
    graph, execution = run(f"{DQ} y = QuantizeLinear(d, s2, z)", "int8[1,8,4,4] x")
    assert running(graph, execution) == ["QuantizeLinear"]
    assert execution.resolve("d") == "x"


def test_a_view_with_another_scale_behind_it_is_work() -> None:
    graph, execution = run(f"{DQ} f = Flatten(d) y = QuantizeLinear(f, s2, z)", "int8[1,8,4,4] x")
    assert running(graph, execution) == ["QuantizeLinear"]


# --- laws ---


def test_an_alias_is_never_an_alias_itself() -> None:
    nodes = f"""{DQ} {WEIGHTS} c = Conv(d, wd) n = BatchNormalization(c, a0, a1, a2, a3) r = Relu(n) f = Flatten(r)
        q = QuantizeLinear(f, s, z) e = DequantizeLinear(q, s, z) h = Identity(e) y = QuantizeLinear(h, s, z)"""
    graph, execution = run(nodes, "int8[1,8,4,4] x")
    assert running(graph, execution) == ["Conv", "Relu"]
    assert not set(execution.alias) & set(execution.alias.values())
    assert execution.resolve("r") == execution.resolve("y") == "q"


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("uint8", "int8"), ("int16", "int16"), ("uint4", "int4"), ("float16", "float16"), ("bool", "bool")],
)
def test_compute_type(dtype: str, expected: str) -> None:
    assert compute_type(DType(dtype)).value == expected


@pytest.mark.parametrize(
    ("stands", "for_", "touched", "expected"),
    [
        ("int8", "float32", 100, 25),
        ("int4", "float32", 100, 13),
        ("int32", "float32", 100, 100),
        ("float32", "int8", 25, 100),
    ],
)
def test_narrow_bytes(stands: str, for_: str, touched: int, expected: int) -> None:
    assert narrow_bytes(Tensor("a", (1,), DType(stands)), Tensor("b", (1,), DType(for_)), touched) == expected


def test_a_graph_of_plain_data_needs_no_protobuf() -> None:
    tensors = {name: Tensor(name, (2, 3), DType.FLOAT32) for name in "xvy"}
    nodes = (Node("v", "Flatten", "", ("x",), ("v",)), Node("r", "Relu", "", ("v",), ("y",)))
    execution = execution_of(Graph("g", nodes, tensors, ("x",), ("y",)))
    assert (dict(execution.alias), set(execution.absorbed)) == ({"v": "x"}, {0})
