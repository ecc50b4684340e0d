"""What other counters say of the same network, for whoever must match an old report.

Each function is one tool's rules, in its own unit, read from its source at the commit named; no code of
it. Where what a tool counts was lost in the export to ONNX, `differences` says what is assumed here.

    onnx-tool   ThanatosShinji/onnx-tool 00f5f0a, onnx_tool/node.py and graph.py (Graph.profile)
    fvcore      facebookresearch/fvcore 3378afe, fvcore/nn/flop_count.py and jit_handles.py
    calflops    MrYxJ/calculate-flops.pytorch 29ca584, calflops/pytorch_ops.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from efficiency_cli.costs import CostError, Op
from efficiency_cli.graph.model import Graph
from efficiency_cli.roofline.network import CountedNode, Network

# what `graph.execution` says of a node that runs before the network does
_FOLDED = "constant"
_MOST_NAMED = 8


class Convention(Struct, frozen=True):
    """Totals as the tool `name` counts them; None where it has no such figure.

    `differences`: what it counts otherwise than others, and what is assumed here.
    """

    name: str
    macs: int | None
    flops: int
    parameters: int
    differences: tuple[str, ...]


class NodeCount(Struct, frozen=True):
    """One node as the tool counts it, all its runs together; `macs` is None where it has no such figure.

    `why` says why it counts nothing, '' where it has a rule.
    """

    macs: int | None
    flops: int
    why: str = ""


def as_counted_by(name: str, network: Network) -> Convention:
    """The network's totals under the convention `name`, one of NAMES."""
    return _CONVENTIONS[name](network)


def node_as_counted_by(name: str, counted: CountedNode, network: Network) -> NodeCount:
    """One node of the network under the convention `name`."""
    rule, folded = _RULES[name]
    nothing = None if name == "fvcore" else 0
    if not _counts(counted, folded):
        return NodeCount(nothing, 0, "it never sees this node")
    try:
        found = rule(*_operands(counted, network))
    except CostError:
        return NodeCount(nothing, 0, "its shape is not known")
    if found is None:
        return NodeCount(nothing, 0, "it has no rule for this operator")
    macs, flops = found[0] * counted.repeat, found[1] * counted.repeat
    if name == "onnx-tool":
        return NodeCount(macs, 2 * macs)
    return NodeCount(None if nothing is None else macs, flops)


def _counts(counted: CountedNode, folded: bool) -> bool:
    """Whether the node runs with the network, or before it, too: `folded`."""
    runs = folded or counted.absorbed != _FOLDED
    return runs and counted.node.op != "Constant" and not counted.node.graphs


def _operands(counted: CountedNode, network: Network) -> tuple[Op, int]:
    """The node with its operands, and its dense MACs in one run of its graph."""
    graph: Graph = counted.graph
    op = Op(counted.node, graph.inputs_of(counted.node), graph.outputs_of(counted.node))
    return op, network.dense_work(counted.node, graph).macs


def _each(network: Network, folded: bool = False) -> Iterator[tuple[CountedNode, Op, int]]:
    """Every node that runs with the network (or before it, too: `folded`), as `_operands` has it."""
    for counted in network.nodes:
        if _counts(counted, folded):
            yield counted, *_operands(counted, network)


def _summed(
    network: Network, rule: Callable[[Op, int], tuple[int, int] | None], folded: bool = False
) -> tuple[int, int, list[str]]:
    """MACs, FLOPs, and which operators have no rule or no shape."""
    macs = flops = 0
    without: Counter[str] = Counter()
    unknown = 0
    for counted, op, dense in _each(network, folded):
        try:
            found = rule(op, dense)
        except CostError:
            unknown += 1
            continue
        if found is None:
            without[counted.node.key] += 1
        else:
            macs, flops = macs + found[0] * counted.repeat, flops + found[1] * counted.repeat
    told = [_named(without)] if without else []
    return macs, flops, told + ([f"{unknown:,} nodes of unknown shape count 0"] if unknown else [])


def _named(without: Counter[str]) -> str:
    named = [f"{key} ({count:,})" for key, count in sorted(without.items())]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"not counted by it: {', '.join(named[:_MOST_NAMED])}{more}"


def _parameters(network: Network) -> int:
    return sum(s.parameters for s in network.stored)


_CONVOLUTIONS = frozenset(("Conv", "FusedConv", "NhwcConv", "NhwcFusedConv", "QLinearConv", "ConvInteger"))
_TRANSPOSED = frozenset(("ConvTranspose", "ConvTransposeWithDynamicPads"))
_RECURRENT = frozenset(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM", "AttnLSTM"))
_NORMALIZATIONS = frozenset(("InstanceNormalization", "GroupNormalization", "LayerNormalization"))
_FREE = frozenset(
    """Identity Reshape Flatten Squeeze Unsqueeze Transpose Concat Split Slice Gather GatherElements GatherND
    Shape Size Cast Expand Tile Pad Dropout Constant ConstantOfShape Range Where DepthToSpace
    SpaceToDepth""".split()
)


def _affine_norm(op: Op) -> int:
    """5 an element with a scale, 4 without (both tools call it a rough estimate)."""
    return op.input().numel * (5 if op.has(1) else 4)


# --- fvcore ----------------------------------------------------------------------------------------

_FVCORE = (
    "its FLOPs are multiply-adds: one each, and one an operation of what else it counts",
    "counted as PyTorch modules: what an export folds or writes out (a BatchNorm in a Conv, a LayerNorm in "
    "primitive operators) is counted as it stands in the file",
    "attention counts as matrix products; for scaled_dot_product_attention it has no rule, and the file does "
    "not say which was used",
)


def _fvcore(network: Network) -> Convention:
    _, flops, without = _summed(network, _fvcore_node)
    return Convention("fvcore", None, flops, _parameters(network), (*_FVCORE, *without))


def _fvcore_node(op: Op, macs: int) -> tuple[int, int] | None:
    name = op.node.op
    if name in _RECURRENT:
        return None
    if macs:
        return 0, macs
    if name == "BatchNormalization":
        return 0, 2 * op.input().numel
    if name in _NORMALIZATIONS:
        return 0, _affine_norm(op)
    if name in ("Resize", "Upsample"):
        each = {"nearest": 1, "linear": 4}.get(op.attr("mode", "nearest"), 0)
        return (0, each * op.elements()) if len(op.out_shape()) == 4 else None
    if name == "GlobalAveragePool":
        return (0, op.input().numel) if len(op.shape()) == 4 else None
    if name == "GridSample":
        return 0, 4 * op.elements()
    return (0, 0) if name in _FREE else None


# --- calflops --------------------------------------------------------------------------------------

_ONE_AN_ELEMENT = frozenset(
    """Relu PRelu Elu LeakyRelu Clip Gelu Erf Softmax MaxPool AveragePool GlobalAveragePool GlobalMaxPool
    Resize Upsample FastGelu QuickGelu""".split()
)
# operations beside the two products, in units of hidden size: a step of the cell
_CELL = {"RNN": 1, "GRU": 7, "LSTM": 10}
_CALFLOPS = (
    "counted as PyTorch calls: Clip stands for ReLU6, Erf for a GELU, Resize for interpolate(scale_factor=…); a "
    "SiLU that was exported as Sigmoid and Mul counts 0 here, 1 an element there",
    "Add and Mul count 0, as written with + and *; it counts torch.add() and torch.mul(), 1 an element",
    "products of two activations count as torch.matmul(); it counts nothing for @, bmm and "
    "scaled_dot_product_attention, and the file does not say which was used",
    "recurrent layers have FLOPs and no MACs, and the bias of linear layers counts 0",
)


def _calflops(network: Network) -> Convention:
    macs, flops, without = _summed(network, _calflops_node)
    return Convention("calflops", macs, flops, _parameters(network), (*_CALFLOPS, *without))


def _calflops_node(op: Op, macs: int) -> tuple[int, int] | None:
    name = op.node.op
    if name in _CONVOLUTIONS:
        biased = op.has(8 if name == "QLinearConv" else 2) and name != "ConvInteger"
        return macs, 2 * macs + (op.elements() if biased else 0)
    if name in _TRANSPOSED:
        return _calflops_transposed(op, macs)
    if name in _CELL:
        return 0, _calflops_recurrent(op)
    if name == "Einsum":
        return 0, 2 * macs
    if macs:
        return macs, 2 * macs
    if name == "BatchNormalization":
        return 0, 2 * op.input().numel
    if name in _NORMALIZATIONS:
        return 0, _affine_norm(op)
    if name in _ONE_AN_ELEMENT:
        return 0, op.input().numel
    return (0, 0) if name in _FREE else None


def _calflops_transposed(op: Op, macs: int) -> tuple[int, int]:
    """It divides by the groups twice; its bias is over the size that a convolution of the input has."""
    group = max(op.attr("group", 1), 1)
    macs //= group
    if not op.has(2):
        return macs, 2 * macs
    shape, kernel = op.shape(), op.shape(1)
    strides, dilations, pads = op.ints("strides"), op.ints("dilations"), op.ints("pads")
    places = shape[0]
    for axis, (size, k) in enumerate(zip(shape[2:], kernel[2:], strict=True)):
        span = (dilations[axis] if dilations else 1) * (k - 1) + 1
        padded = size + 2 * (pads[axis] if pads else 0)
        places *= (padded - span) // (strides[axis] if strides else 1) + 1
    return macs, 2 * macs + kernel[1] * places


def _calflops_recurrent(op: Op) -> int:
    """Each step: 2 products without their gates' first addition, the cell's arithmetic, both biases."""
    (steps, batch, features), (directions, gates, _) = op.shape()[:3], op.shape(1)[:3]
    hidden = op.shape(2)[2]
    a_step = 2 * gates * features - gates + 2 * gates * hidden - gates + _CELL[op.node.op] * hidden
    return directions * steps * batch * (a_step + (2 * gates if op.has(3) else 0))


# --- onnx-tool -------------------------------------------------------------------------------------

# its MACs of one element, for operators that cost the same at each element of the output
_EXP, _LOG, _DIV, _SQRT, _TRIG = 32, 43, 4, 24, 39
_ONNX_TOOL_EACH: Mapping[str, int] = {
    **dict.fromkeys("Relu Sign Neg Abs Ceil Floor Round Not Less LessOrEqual And Or Xor CumSum".split(), 1),
    **dict.fromkeys("Equal Greater GreaterOrEqual NonZero".split(), 1),
    **dict.fromkeys("Exp Sigmoid Pow".split(), _EXP),
    **dict.fromkeys(("Clip", "Relu6", "PRelu", "LeakyRelu", "QuantizeLinear", "DequantizeLinear"), 2),
    **dict.fromkeys(("Sin", "Cos"), _TRIG),
    "Softmax": _EXP + _DIV,
    "Softplus": _EXP + 1 + _LOG,
    "LogSoftmax": _EXP + _DIV + 1 + _LOG,
    "Log": _LOG,
    "Sqrt": _SQRT,
    "Reciprocal": _DIV,
    "LpNormalization": _EXP + 1,
    "Tanh": 2 * (_EXP + 2 + _DIV),
    "Atan": 2 * (_SQRT + 4 + _DIV),
    "HardSigmoid": 4,
    "HardSwish": 5,
    "Elu": _EXP + 3,
    "Gelu": _EXP + 2,
    "BatchNormalization": 3 + _SQRT + _DIV,
    "InstanceNormalization": 2 * (3 + _DIV),
}
# the same, once for each operand but one
_ONNX_TOOL_PAIRS: Mapping[str, int] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Min", "Max", "Mod", "Sum"), 1),
    "Div": _DIV,
}
_ONNX_TOOL_REDUCTIONS = {
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceProd", "ReduceMin", "ReduceMax"), 1),
    "ReduceL2": 1 + _SQRT,
}
_NOT_WORKED_OUT = frozenset(("DequantizeLinear", "QuantizeLinear"))
_ONNX_TOOL = (
    "it counts arithmetic of every kind as MACs (an exponential 32, a division 4, a bias 1), and 2 FLOPs each",
    "a transposed convolution counts the kernel at every output position, stride² times the true products",
    "parameters are all constants that nodes take, scales and shapes too, once for each node; where shapes are "
    "worked out from the input, these may differ by some",
    "what can be computed before the network runs counts too: shape arithmetic, dequantised weights",
)


def _onnx_tool(network: Network) -> Convention:
    macs, _, without = _summed(network, _onnx_tool_node, folded=True)
    # it works out what constants alone make, but for these
    made = {o for n in network.nodes if n.node.op in _NOT_WORKED_OUT for o in n.node.outputs}
    parameters = 0
    for _, op, _ in _each(network, folded=True):
        stored = [t for t in op.inputs if t is not None and t.is_constant and t.name not in made]
        parameters += sum(t.numel for t in stored if t.rank)
    return Convention("onnx-tool", macs, 2 * macs, parameters, (*_ONNX_TOOL, *without))


def _onnx_tool_node(op: Op, _macs: int) -> tuple[int, int] | None:
    found = _onnx_tool_macs(op)
    return None if found is None else (found, 0)


def _onnx_tool_macs(op: Op) -> int | None:
    name, operands = op.node.op, sum(t is not None for t in op.inputs)
    if name in _ONNX_TOOL_PAIRS:
        return _volume(op.out_shape()) * max(1, operands - 1) * _ONNX_TOOL_PAIRS[name]
    if name in _ONNX_TOOL_EACH:
        return _volume(op.out_shape()) * _ONNX_TOOL_EACH[name]
    if name in _ONNX_TOOL_REDUCTIONS:
        return _volume(op.shape()) * _ONNX_TOOL_REDUCTIONS[name]
    special = _ONNX_TOOL_SPECIAL.get(name)
    return special(op) if special else 0 if name in _FREE else None


def _volume(shape: tuple[int, ...]) -> int:
    """Elements, where a scalar has none."""
    result = 1 if shape else 0
    for size in shape:
        result *= size
    return result


def _tool_convolution(op: Op, weight: int = 1, bias: int = 2) -> int:
    return op.elements() * (_volume(op.shape(weight)[1:]) + op.has(bias))


def _tool_product(op: Op) -> int:
    """The output times the weight's rows; a third operand (a bias, a zero point) 1 an element."""
    weight = op.shape(1)
    rows = weight[-1] if op.node.op == "Gemm" and op.attr("transB", 0) else weight[-2] if len(weight) > 1 else 1
    return _volume(op.out_shape()) * (rows + (sum(t is not None for t in op.inputs) == 3))


def _tool_pool(op: Op) -> int:
    kernel = op.ints("kernel_shape")
    return op.elements() * (_volume(kernel) if len(kernel) == 2 else kernel[0] if kernel else 1)


def _tool_resize(op: Op) -> int:
    return op.elements() * {"linear": 4, "cubic": 8}.get(op.attr("mode", "nearest"), 0)


def _tool_layer_norm(op: Op) -> int:
    shape, axis = op.shape(), op.attr("axis", -1)
    volume = _volume(shape)
    rows = volume // shape[axis] if shape and shape[axis] else 0
    return 7 * volume + rows * (1 + _SQRT + _DIV)


def _tool_recurrent(op: Op) -> int:
    """Products once for all directions, gates once for one."""
    steps, batch = op.shape()[:2]
    hidden = op.shape(2)[2]
    biases = _volume(op.shape(3)) if op.has(3) else 0
    products = (_volume(op.shape(1)) + _volume(op.shape(2)) + biases) * steps * batch
    tanh = _EXP + 2 + _DIV
    cell = 4 + 3 * _EXP + 2 * tanh + 4 if op.node.op == "LSTM" else 3 + 2 * _EXP + tanh + 5
    return products + steps * batch * hidden * cell


def _tool_einsum(op: Op) -> int:
    labels = op.attr("equation", "").replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for slot, axes in enumerate(labels[:2]):
        sizes.update(zip(axes.replace(".", ""), op.shape(slot), strict=False))
    return _volume(tuple(sizes.values()))


_ONNX_TOOL_SPECIAL: Mapping[str, Callable[[Op], int]] = {
    "Conv": _tool_convolution,
    "ConvTranspose": _tool_convolution,
    "ConvInteger": lambda op: _tool_convolution(op, bias=99),
    "QLinearConv": lambda op: _tool_convolution(op, 3, 8),
    "Gemm": _tool_product,
    "MatMul": _tool_product,
    "MatMulInteger": _tool_product,
    "QLinearMatMul": lambda op: _volume(op.shape()) * op.shape(3)[-1],
    "MaxPool": _tool_pool,
    "AveragePool": _tool_pool,
    "GlobalAveragePool": lambda op: _volume(op.shape()) + _DIV * _volume(op.out_shape()),
    "Resize": _tool_resize,
    "Upsample": _tool_resize,
    "LayerNormalization": _tool_layer_norm,
    "LRN": lambda op: op.elements() * (_DIV + _EXP + 1 + op.attr("size", 1)),
    "LSTM": _tool_recurrent,
    "GRU": _tool_recurrent,
    "Einsum": _tool_einsum,
    "Erf": lambda _op: 0,
}

_CONVENTIONS: Mapping[str, Callable[[Network], Convention]] = {
    "onnx-tool": _onnx_tool,
    "fvcore": _fvcore,
    "calflops": _calflops,
}
# a tool's rule for one node, and whether it sees what runs before the network does
_RULES: Mapping[str, tuple[Callable[[Op, int], tuple[int, int] | None], bool]] = {
    "onnx-tool": (_onnx_tool_node, True),
    "fvcore": (_fvcore_node, False),
    "calflops": (_calflops_node, False),
}
NAMES = tuple(_CONVENTIONS)
