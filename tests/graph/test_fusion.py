"""Which nodes run as one kernel, and the twins of each pattern that must not fuse."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import graph_of

from efficiency_cli.graph.execution import execution_of
from efficiency_cli.graph.fusion import DEFAULT_PATTERNS, arranged, expanded, groups_of, kernels_of
from efficiency_cli.graph.model import DType, Graph, Kind, Model, Node, Tensor
from efficiency_cli.graph.patterns import PATTERNS
from efficiency_cli.roofline.network import Network

CONSTANTS = """float[8,8,1,1] w, float[8,1,1] b, float[8] v, float[1,8,1,1] se, float half = {0.5}, float lo = {0},
    float hi = {6}, int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}, float[8,8,3,3] w3,
    int64[1] lo8 = {0}, int64[1] hi8 = {3}, int64[1] all8 = {8},
    int8[8,8,1,1] w8, uint8 u8 = {0}, int8 i8 = {0}, uint16 u16 = {0}"""
ALL = frozenset({"bias", "activation", "add", "pad", "fold-batchnorm", "pointwise", "movement"})


def graph(nodes: str, inputs: str = "") -> Graph:
    outputs = ", ".join(f"float[] {name}" for name in ("y", "y2") if f"{name} =" in nodes)
    return graph_of(f"g (float[1,8,6,6] x{inputs}) => ({outputs}) <{CONSTANTS}> {{ {nodes} }}", 18)


def kernels(nodes: str, inputs: str = "", patterns: frozenset[str] = DEFAULT_PATTERNS) -> list[str]:
    """'Conv+Relu' for each kernel, in order."""
    g = graph(nodes, inputs)
    return ["+".join(g.nodes[k].op for k in group) for group in kernels_of(g, execution_of(g), patterns)]


# --- what fuses, with the pattern it belongs to ---

FUSED = [
    ("activation", "c = Conv(x, w) y = Relu(c)", "Conv+Relu"),
    ("activation", "c = Conv(x, w) y = Clip(c, lo, hi)", "Conv+Clip"),
    ("activation", "c = ConvTranspose(x, w) y = LeakyRelu(c)", "ConvTranspose+LeakyRelu"),
    ("activation", "c = MatMul(x, x) y = Tanh(c)", "MatMul+Tanh"),
    ("activation", "c = Conv(x, w) f = Flatten(c) y = Relu(f)", "Conv+Relu"),
    ("activation", "c = Add(x, x2) y = Relu(c)", "Add+Relu"),
    ("activation", "c = InstanceNormalization(x, v, v) y = Relu(c)", "InstanceNormalization+Relu"),
    ("activation", "c = com.microsoft.FusedConv(x, w) y = Relu(c)", "FusedConv+Relu"),
    ("activation", "c = Conv(x, w) s = Sigmoid(c) y = Mul(c, s)", "Conv+Sigmoid+Mul"),
    ("activation", "c = Conv(x, w) s = Sigmoid(c) y = Mul(s, c)", "Conv+Sigmoid+Mul"),
    ("activation", "c = Conv(x, w) s = HardSigmoid(c) y = Mul(c, s)", "Conv+HardSigmoid+Mul"),
    ("bias", "c = MatMul(x, x) y = Add(c, half)", "MatMul+Add"),
    ("bias", "c = Conv(x, w) y = Add(c, b)", "Conv+Add"),
    ("add", "c = Conv(x, w) y = Add(c, x)", "Conv+Add"),
    ("add", "c = Conv(x, w) y = Add(x, c)", "Conv+Add"),
    ("pad", "c = Pad(x, p) y = Conv(c, w3)", "Pad+Conv"),
    ("pad", "c = Pad(x, p) y = MaxPool<kernel_shape = [3, 3]>(c)", "Pad+MaxPool"),
    ("pointwise", "a = Mul(x, x2) b2 = Sub(a, x) y = Sqrt(b2)", "Mul+Sub+Sqrt"),
    ("movement", "c = MatMul(x, x) t = Transpose(c) y = Slice(t, lo8, hi8)", "MatMul+Transpose+Slice"),
    ("movement", "c = Softmax(x) y = Concat<axis = 1>(x, c)", "Softmax+Concat"),
]
X2 = ", float[1,8,6,6] x2"


@pytest.mark.parametrize(("pattern", "nodes", "expected"), FUSED, ids=[e for _, _, e in FUSED])
def test_a_pattern_fuses_where_it_is_listed_and_not_else(pattern: str, nodes: str, expected: str) -> None:
    assert kernels(nodes, X2, frozenset({pattern})) == [expected]
    alone = expected.split("+")
    assert kernels(nodes, X2, frozenset()) == alone
    others = ALL - {pattern, "activation" if "Sigmoid" in expected else pattern}
    assert kernels(nodes, X2, others - {"pointwise"}) == alone


def test_movement_needs_a_maker() -> None:
    movement = frozenset({"movement"})
    # what comes from outside is moved by itself; what several read is written by its maker in both ways
    assert kernels("t = Transpose<perm = [0, 1, 3, 2]>(x) y = MatMul(t, x)", patterns=movement) == [
        "Transpose",
        "MatMul",
    ]
    assert kernels("c = MatMul(x, x) t = Transpose<perm = [0, 1, 3, 2]>(c) y = Add(t, c)", patterns=movement) == [
        "MatMul+Transpose",
        "Add",
    ]
    nodes = """i = If (k) <then_branch = t () => (float[] p) { p = Abs(x) },
                    else_branch = e () => (float[] q) { q = Neg(x) }>
        y = Transpose(i)"""
    assert kernels(nodes, ", bool k", movement) == ["If", "Transpose"]


def test_patterns_combine() -> None:
    nodes = "c = Conv(x, w) k = Add(c, b) a = Add(k, x) y = Relu(a)"
    assert kernels(nodes) == ["Conv+Add+Add+Relu"]
    assert kernels(nodes, patterns=frozenset({"bias", "activation"})) == ["Conv+Add", "Add+Relu"]
    assert kernels(nodes, patterns=frozenset({"add", "activation"})) == ["Conv", "Add", "Add+Relu"]


def test_a_pad_a_convolution_and_its_activation() -> None:
    assert kernels("a = Pad(x, p) c = Conv(a, w3) y = Relu(c)") == ["Pad+Conv+Relu"]


def test_hardswish_from_a_clip() -> None:
    # x · clip(x + 3, 0, 6) / 6, as PyTorch exports it: the sum is no gate of its own, the chain is pointwise
    nodes = "c = Conv(x, w) t = Add(c, half) k = Clip(t, lo, hi) m = Mul(c, k) y = Div(m, hi)"
    assert kernels(nodes, patterns=ALL) == ["Conv", "Add+Clip+Mul+Div"]
    assert kernels(nodes) == ["Conv", "Add+Clip", "Mul", "Div"]


def test_a_squeeze_and_excite_gate_is_not_the_convolution_s_own() -> None:
    nodes = "c = Conv(x, w) g = GlobalAveragePool(c) e = Conv(g, w) s = Sigmoid(e) y = Mul(c, s)"
    assert kernels(nodes) == ["Conv", "GlobalAveragePool", "Conv+Sigmoid", "Mul"]


def test_the_kernel_that_runs_last_takes_the_addition() -> None:
    g = graph("a = Conv(x, w) b2 = Conv(x, w) s = Add(a, b2) y = Relu(s)")
    assert kernels_of(g, execution_of(g), DEFAULT_PATTERNS) == [(0,), (1, 2, 3)]


# --- twins that must not fuse ---


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        # somebody else reads what would stay inside
        ("c = Conv(x, w) y = Relu(c) y2 = Neg(c)", ["Conv", "Relu", "Neg"]),
        ("c = Conv(x, w) y = Add(c, x2) y2 = Neg(c)", ["Conv", "Add", "Neg"]),
        ("c = Conv(x, w) s = Sigmoid(c) y = Mul(c, s) y2 = Neg(c)", ["Conv", "Sigmoid", "Mul", "Neg"]),
        ("c = Conv(x, w) s = Sigmoid(c) y = Mul(c, s) y2 = Neg(s)", ["Conv", "Sigmoid", "Mul", "Neg"]),
        ("c = Pad(x, p) y = Conv(c, w3) y2 = Neg(c)", ["Pad", "Conv", "Neg"]),
        # it leaves the graph
        ("y2 = Conv(x, w) y = Relu(y2)", ["Conv", "Relu"]),
        ("y2 = Conv(x, w) s = Sigmoid(y2) y = Mul(y2, s)", ["Conv", "Sigmoid", "Mul"]),
        ("y2 = Pad(x, p) y = Conv(y2, w3)", ["Pad", "Conv"]),
        # a gate of something else
        ("c = Conv(x, w) s = Sigmoid(c) y = Mul(x2, s)", ["Conv+Sigmoid", "Mul"]),
        ("c = Conv(x, w) s = Sigmoid(x2) y = Mul(c, s)", ["Conv", "Sigmoid", "Mul"]),
        # a sum that is larger than the convolution's result
        ("g = GlobalAveragePool(x) c = Conv(g, w) y = Add(c, x2)", ["GlobalAveragePool", "Conv", "Add"]),
        # no kernel that takes it in
        ("c = Transpose(x) y = Relu(c)", ["Transpose", "Relu"]),
        ("c = Softmax(x) y = Add(c, x2)", ["Softmax", "Add"]),
        ("c = MaxPool<kernel_shape = [1, 1]>(x) y = Add(c, half)", ["MaxPool", "Add"]),
        ("c = Conv(x, w) y = Exp(c)", ["Conv", "Exp"]),
        ("c = Conv(x, w) y = custom.Relu(c)", ["Conv", "Relu"]),
        ("c = custom.Conv(x, w) y = Relu(c)", ["Conv", "Relu"]),
        ("c = Pad(x, p) y = GlobalAveragePool(c)", ["Pad", "GlobalAveragePool"]),
        # a view is no node of a kernel, and what stands between stops the pattern
        ("c = Conv(x, w) t = Transpose(c) y = Relu(t)", ["Conv", "Transpose", "Relu"]),
    ],
)
def test_what_must_stay_apart(nodes: str, expected: list[str]) -> None:
    assert kernels(nodes, X2) == expected


def test_what_a_body_reads_stays_outside() -> None:
    nodes = """c = Conv(x, w) r = Relu(c) y2 = Neg(r)
        y = If (k) <then_branch = t () => (float[] p) { p = Abs(c) },
                    else_branch = e () => (float[] q) { q = Neg(x) }>"""
    assert kernels(nodes, ", bool k") == ["Conv", "Relu", "Neg", "If"]


def test_a_node_with_bodies_stands_alone() -> None:
    nodes = """c = Conv(x, w)
        i = If (k) <then_branch = t () => (float[] p) { p = Abs(x) }, else_branch = e () => (float[] q) { q = Neg(x) }>
        y = Relu(i)  y2 = Relu(c)"""
    assert kernels(nodes, ", bool k") == ["Conv+Relu", "If", "Relu"]


def test_pointwise_chains_keep_their_shape() -> None:
    # the second addition broadcasts: what is small stays a kernel of its own
    nodes = "a = Mul(se, s) t = Add(a, s) y = Add(t, x)"
    assert kernels(nodes, ", float[1,8,1,1] s", frozenset({"pointwise"})) == ["Mul+Add", "Add"]


def test_batch_normalisation_that_stays_joins_only_where_listed() -> None:
    nodes = "c = Conv(x, d) y = BatchNormalization(c, v, v, v, v)"
    dynamic = ", float[8,8,1,1] d"  # weights that are no constant: nothing to fold into
    assert kernels(nodes, dynamic) == ["Conv", "BatchNormalization"]
    assert kernels(nodes, dynamic, frozenset({"fold-batchnorm"})) == ["Conv+BatchNormalization"]


def test_nodes_that_do_not_run_are_in_no_kernel() -> None:
    nodes = "c = Conv(x, w) n = BatchNormalization(c, v, v, v, v) f = Flatten(n) t = Transpose(w) y = MatMul(f, x2)"
    g = graph(nodes.replace("t = Transpose(w) y", "y"), ", float[288,4] x2")
    assert kernels_of(g, execution_of(g), DEFAULT_PATTERNS) == [(0,), (3,)]


# --- laws ---

STEPS = [
    "Conv({a}, w)", "Relu({a})", "Sigmoid({a})", "Add({a}, {b})", "Mul({a}, {b})", "Add({a}, b)", "Exp({a})",
    "Clip({a}, lo, hi)", "MaxPool<kernel_shape = [1, 1]>({a})", "Identity({a})", "MatMul({a}, {b})", "Softmax({a})",
    "Transpose<perm = [0, 1, 3, 2]>({a})", "Mul({a}, half)", "Sub({a}, {b})", "Slice({a}, lo8, all8)",
    "Cast<to = 1>({a})",
]  # fmt: skip
# a tensor through Q and DQ, and weights through DQ: {{k}} keeps their names apart
QUANTISED = [
    "QuantizeLinear({a}, half, u8) t{k} = DequantizeLinear(q{k}, half, u8)",
    "QuantizeLinear({a}, half, i8) t{k} = DequantizeLinear(q{k}, half, i8)",
    "QuantizeLinear({a}, half, u16) t{k} = DequantizeLinear(q{k}, half, u16)",
    "DequantizeLinear(w8, half, i8) t{k} = Conv({a}, q{k})",
    "DequantizeLinear(w8, half, i8) c{k} = Conv({a}, q{k}) r{k} = QuantizeLinear(c{k}, half, u8)"
    " t{k} = DequantizeLinear(r{k}, half, u8)",
    "Relu({a}) r{k} = QuantizeLinear(q{k}, half, i8) t{k} = DequantizeLinear(r{k}, half, i8)",
]
DECIDING = frozenset({"qdq-units", "qdq-unsigned", "qdq-nhwc"})
SPARING = frozenset({"casts", "layout", "transpose-pairs"})


@st.composite
def some_networks(draw: st.DrawFn) -> Graph:
    """Up to twelve steps, each reading any tensors before it; what nobody reads leaves the graph."""
    names, text = ["x"], ""
    for k in range(draw(st.integers(1, 12))):
        quantised = draw(st.booleans())
        step = draw(st.sampled_from(QUANTISED if quantised else STEPS))
        a, b = draw(st.sampled_from(names[-3:])), draw(st.sampled_from(names))
        text += f" {'q' if quantised else 't'}{k} = {step.format(a=a, b=b, k=k)}"
        names.append(f"t{k}")
    unread = [n for n in names if not any(f"{open_}{n}{close}" in text for open_ in "( " for close in "),")]
    outputs = ", ".join(f"float[] {n}" for n in dict.fromkeys([*unread, names[-1]]))
    return graph_of(f"g (float[1,8,6,6] x) => ({outputs}) <{CONSTANTS}> {{ {text} }}", 18)


@settings(max_examples=60, deadline=None)
@given(some_networks(), st.sets(st.sampled_from(sorted(PATTERNS))))
def test_every_node_that_runs_is_in_one_kernel_and_kernels_can_run_in_order(g: Graph, patterns: set[str]) -> None:
    execution = arranged(g, execution_of(g), frozenset(patterns))
    groups = [tuple(group.nodes) for group in groups_of(g, execution, expanded(patterns))]
    assert sorted(k for group in groups for k in group) == [
        k for k in range(len(g.nodes)) if k not in execution.absorbed
    ]
    made = {execution.resolve(i) for i in g.inputs} | {n for n, t in g.tensors.items() if execution.is_constant(t)}
    for group in groups:
        own = {execution.resolve(o) for k in group for o in g.nodes[k].outputs}
        assert {execution.source(k, i) for k in group for i in g.nodes[k].inputs} <= made | own
        made |= own


@settings(max_examples=60, deadline=None)
@given(some_networks())
def test_what_others_read_or_what_leaves_is_made_by_the_last_that_changes_it(g: Graph) -> None:
    """Inside a kernel only tensors hide that nobody outside reads: all but the last node's."""
    execution = execution_of(g)
    # what is moved is written in both places
    for group in kernels_of(g, execution, ALL - {"movement"}):
        hidden = {execution.resolve(o) for k in group[:-1] for o in g.nodes[k].outputs}
        outside = {execution.resolve(i) for k, n in enumerate(g.nodes) if k not in group for i in n.inputs}
        absorbed = {execution.resolve(i) for k in execution.absorbed for i in g.nodes[k].inputs}
        assert not hidden & (outside - absorbed)
        assert not hidden & {execution.resolve(o) for o in g.outputs}


@settings(max_examples=40, deadline=None)
@given(some_networks(), st.sets(st.sampled_from(sorted(ALL))), st.sampled_from(sorted(ALL)))
def test_another_pattern_never_makes_more_kernels(g: Graph, patterns: set[str], more: str) -> None:
    execution = execution_of(g)
    assert len(kernels_of(g, execution, patterns | {more})) <= len(kernels_of(g, execution, patterns))


@settings(max_examples=60, deadline=None)
@given(some_networks(), st.sets(st.sampled_from(sorted(PATTERNS))))
def test_no_pattern_changes_the_work_or_adds_bytes(g: Graph, patterns: set[str]) -> None:
    network = Network(Model(graph=g, path="m", file_bytes=0, ir_version=10, opset={"": 18}, producer="", dims={}))
    raw, fused = network.kernels(()), network.kernels(patterns)
    assert sum(k.macs for k in fused) == sum(k.macs for k in raw)
    read = [{n for k in kernels for n in k.weights if g.tensors[n].kind is Kind.WEIGHT} for kernels in (raw, fused)]
    assert read[0] == read[1]
    # Q and DQ that a runtime does not fuse are more work and bytes than plain counting has, and those that read what
    # it spares have readers of their own
    alone = network.kernels(patterns & (DECIDING | SPARING))
    assert sum(k.ops for k in fused) == sum(k.ops for k in alone)
    assert len(fused) <= len(alone)
    assert sum(k.bytes_moved for k in fused) <= sum(k.bytes_moved for k in alone)


@settings(max_examples=60, deadline=None)
@given(some_networks())
def test_q_dq_that_a_runtime_does_not_fuse_only_add(g: Graph) -> None:
    network = Network(Model(graph=g, path="m", file_bytes=0, ir_version=10, opset={"": 18}, producer="", dims={}))
    raw, arm, x86 = (network.kernels(p) for p in ((), ("qdq-units",), tuple(DECIDING)))
    assert sum(k.macs for k in raw) == sum(k.macs for k in arm) == sum(k.macs for k in x86)
    products = [sum(k.macs > 0 and k.dtype is not DType.FLOAT32 for k in kernels) for kernels in (arm, raw)]
    assert products == sorted(products)
    assert all(k.dtype in (DType.FLOAT32, DType.INT8) for kernels in (arm, x86) for k in kernels if k.macs)


_LACKING = ["MatMul", "Mul", "Div", "Add", "Transpose", "Softmax", "Cast", "Conv", "Slice", "Pad", "LayerNormalization"]
_LACKING += ["QuantizeLinear", "DequantizeLinear", "Relu", "Clip", "MatMulInteger", "DynamicQuantizeLinear", "Gemm"]


@pytest.mark.parametrize("inputs", [(), ("",), ("", "w"), ("", "w", "w", "w"), ("x", "", "w"), ("", "", "", "", "")])
@pytest.mark.parametrize("op", _LACKING)
def test_a_node_without_its_operands_is_a_kernel(op: str, inputs: tuple[str, ...]) -> None:
    tensors = {"x": Tensor("x", (2, 3), DType.FLOAT32), "w": Tensor("w", (1,), DType.INT64, Kind.WEIGHT, value=(0,))}
    tensors["y"] = Tensor("y", (2, 3), DType.FLOAT32)
    g = Graph("g", (Node("n", op, "", inputs, ("y",), {}),), tensors, ("x",), ("y",))
    execution = arranged(g, execution_of(g), frozenset(PATTERNS))
    assert [group.nodes for group in groups_of(g, execution, frozenset(PATTERNS))] == [[0]] * (not execution.absorbed)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sets(st.sampled_from(sorted(PATTERNS)), min_size=3))
def test_nodes_that_lack_operands_or_results_are_left_alone(data: st.DataObject, patterns: set[str]) -> None:
    """Damaged files have any number of operands, and attributes of any type."""
    names, nodes = ["", "x", "w"], []
    for k in range(data.draw(st.integers(1, 6))):
        inputs = tuple(data.draw(st.lists(st.sampled_from(names), max_size=3)))
        outputs = (f"t{k}",) if data.draw(st.booleans()) else data.draw(st.sampled_from([(), ("",), ("", f"t{k}")]))
        names += [o for o in outputs if o]
        perm = data.draw(st.sampled_from([(0, 2, 1), (1, 0), (float("nan"), 0.0), (7,), "x"]))
        op = data.draw(st.sampled_from(_LACKING))
        nodes.append(Node(f"n{k}", op, "", inputs, outputs, {"perm": perm} if data.draw(st.booleans()) else {}))
    shapes = {n: Tensor(n, (2, 3, 3), DType.FLOAT32) for n in names if n}
    tensors = shapes | {"w": Tensor("w", (3, 3), DType.FLOAT32, Kind.WEIGHT)}
    g = Graph("g", tuple(nodes), tensors, ("x",), tuple(names[-1:]))
    execution = arranged(g, execution_of(g), frozenset(patterns))
    running = [k for k in range(len(nodes)) if k not in execution.absorbed]
    assert sorted(k for group in groups_of(g, execution, expanded(patterns)) for k in group.nodes) == running
