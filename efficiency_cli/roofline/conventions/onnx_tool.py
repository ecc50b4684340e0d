"""onnx-tool: arithmetic of every kind as MACs. See `conventions` for what this is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from efficiency_cli.costs import Op
from efficiency_cli.roofline.conventions.tool import FREE, Counts, Tool, operands_of
from efficiency_cli.roofline.network import Network

# its MACs of one element, for operators that cost the same at each element of the output
_EXP, _LOG, _DIV, _SQRT, _TRIG = 32, 43, 4, 24, 39
_EACH: Mapping[str, int] = {
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
_PAIRS: Mapping[str, int] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Min", "Max", "Mod", "Sum"), 1),
    "Div": _DIV,
}
_REDUCTIONS = {
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceProd", "ReduceMin", "ReduceMax"), 1),
    "ReduceL2": 1 + _SQRT,
}
_NOT_WORKED_OUT = frozenset(("DequantizeLinear", "QuantizeLinear"))
_DIFFERENCES = (
    "it counts arithmetic of every kind as MACs (an exponential 32, a division 4, a bias 1), and 2 FLOPs each",
    "a transposed convolution counts the kernel at every output position, stride x stride times the true products",
    "parameters are all constants that nodes take, scales and shapes too, once for each node; where shapes are "
    "worked out from the input, these may differ by some",
    "what can be computed before the network runs counts too: shape arithmetic, dequantised weights",
)


def _parameters(network: Network) -> int:
    """It works out what constants alone make, but for quantisation."""
    made = {o for n in network.nodes if n.node.op in _NOT_WORKED_OUT for o in n.node.outputs}
    found = 0
    for op in (operands_of(n) for n in network.nodes if n.node.op != "Constant" and not n.node.graphs):
        stored = [t for t in op.inputs if t is not None and t.is_constant and t.name not in made]
        found += sum(t.numel for t in stored if t.rank)
    return found


def _rule(op: Op, _macs: int) -> Counts | None:
    found = _counted(op)
    return None if found is None else (found, 2 * found)


def _counted(op: Op) -> int | None:
    name, operands = op.node.op, sum(t is not None for t in op.inputs)
    if name in _PAIRS:
        return _volume(op.out_shape()) * max(1, operands - 1) * _PAIRS[name]
    if name in _EACH:
        return _volume(op.out_shape()) * _EACH[name]
    if name in _REDUCTIONS:
        return _volume(op.shape()) * _REDUCTIONS[name]
    special = _SPECIAL.get(name)
    return special(op) if special else 0 if name in FREE else None


def _volume(shape: tuple[int, ...]) -> int:
    """Elements, where a scalar has none."""
    result = 1 if shape else 0
    for size in shape:
        result *= size
    return result


def _convolution(op: Op, weight: int = 1, bias: int = 2) -> int:
    return op.elements() * (_volume(op.shape(weight)[1:]) + op.has(bias))


def _product(op: Op) -> int:
    """The output times the weight's rows; a third operand (a bias, a zero point) 1 an element."""
    weight = op.shape(1)
    rows = weight[-1] if op.node.op == "Gemm" and op.attr("transB", 0) else weight[-2] if len(weight) > 1 else 1
    return _volume(op.out_shape()) * (rows + (sum(t is not None for t in op.inputs) == 3))


def _pool(op: Op) -> int:
    kernel = op.ints("kernel_shape")
    return op.elements() * (_volume(kernel) if len(kernel) == 2 else kernel[0] if kernel else 1)


def _resize(op: Op) -> int:
    return op.elements() * {"linear": 4, "cubic": 8}.get(op.attr("mode", "nearest"), 0)


def _layer_norm(op: Op) -> int:
    shape, axis = op.shape(), op.attr("axis", -1)
    volume = _volume(shape)
    rows = volume // shape[axis] if shape and shape[axis] else 0
    return 7 * volume + rows * (1 + _SQRT + _DIV)


def _recurrent(op: Op) -> int:
    """Products once for all directions, gates once for one."""
    steps, batch = op.shape()[:2]
    hidden = op.shape(2)[2]
    biases = _volume(op.shape(3)) if op.has(3) else 0
    products = (_volume(op.shape(1)) + _volume(op.shape(2)) + biases) * steps * batch
    tanh = _EXP + 2 + _DIV
    cell = 4 + 3 * _EXP + 2 * tanh + 4 if op.node.op == "LSTM" else 3 + 2 * _EXP + tanh + 5
    return products + steps * batch * hidden * cell


def _einsum(op: Op) -> int:
    labels = op.attr("equation", "").replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for slot, axes in enumerate(labels[:2]):
        sizes.update(zip(axes.replace(".", ""), op.shape(slot), strict=False))
    return _volume(tuple(sizes.values()))


_SPECIAL: Mapping[str, Callable[[Op], int]] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "ConvInteger": lambda op: _convolution(op, bias=99),
    "QLinearConv": lambda op: _convolution(op, 3, 8),
    "Gemm": _product,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": lambda op: _volume(op.shape()) * op.shape(3)[-1],
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": lambda op: _volume(op.shape()) + _DIV * _volume(op.out_shape()),
    "Resize": _resize,
    "Upsample": _resize,
    "LayerNormalization": _layer_norm,
    "LRN": lambda op: op.elements() * (_DIV + _EXP + 1 + op.attr("size", 1)),
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "Einsum": _einsum,
    "Erf": lambda _op: 0,
}

TOOL = Tool(
    name="onnx-tool",
    source="ThanatosShinji/onnx-tool at 00f5f0a, onnx_tool/node.py and graph.py (Graph.profile)",
    rule=_rule,
    differences=_DIFFERENCES,
    folded=True,
    parameters=_parameters,
)
