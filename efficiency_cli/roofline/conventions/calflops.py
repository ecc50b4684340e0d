"""calflops: MACs and FLOPs of PyTorch's calls. See `conventions` for what this is."""

from __future__ import annotations

from efficiency_cli.costs import Op
from efficiency_cli.roofline.conventions.tool import (
    CONVOLUTIONS,
    FREE,
    NORMALIZATIONS,
    TRANSPOSED,
    Counts,
    Tool,
    affine_norm,
)

_ONE_AN_ELEMENT = frozenset(
    """Relu PRelu Elu LeakyRelu Clip Gelu Erf Softmax MaxPool AveragePool GlobalAveragePool GlobalMaxPool
    Resize Upsample FastGelu QuickGelu""".split()
)
# operations beside the two products, in units of hidden size: a step of the cell
_CELL = {"RNN": 1, "GRU": 7, "LSTM": 10}
_DIFFERENCES = (
    "counted as PyTorch calls: Clip stands for ReLU6, Erf for a GELU, Resize for interpolate(scale_factor=...); a "
    "SiLU that was exported as Sigmoid and Mul counts 0 here, 1 an element there",
    "Add and Mul count 0, as written with + and *; it counts torch.add() and torch.mul(), 1 an element",
    "products of two activations count as torch.matmul(); it counts nothing for @, bmm and "
    "scaled_dot_product_attention, and the file does not say which was used",
    "recurrent layers have FLOPs and no MACs, and the bias of linear layers counts 0",
)


def _rule(op: Op, macs: int) -> Counts | None:
    name = op.node.op
    if name in CONVOLUTIONS:
        biased = op.has(8 if name == "QLinearConv" else 2) and name != "ConvInteger"
        return macs, 2 * macs + (op.elements() if biased else 0)
    if name in TRANSPOSED:
        return _transposed(op, macs)
    if name in _CELL:
        return 0, _recurrent(op)
    if name == "Einsum":
        return 0, 2 * macs
    if macs:
        return macs, 2 * macs
    if name == "BatchNormalization":
        return 0, 2 * op.input().numel
    if name in NORMALIZATIONS:
        return 0, affine_norm(op)
    if name in _ONE_AN_ELEMENT:
        return 0, op.input().numel
    return (0, 0) if name in FREE else None


def _transposed(op: Op, macs: int) -> Counts:
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


def _recurrent(op: Op) -> int:
    """Each step: 2 products without their gates' first addition, the cell's arithmetic, both biases."""
    (steps, batch, features), (directions, gates, _) = op.shape()[:3], op.shape(1)[:3]
    hidden = op.shape(2)[2]
    a_step = 2 * gates * features - gates + 2 * gates * hidden - gates + _CELL[op.node.op] * hidden
    return directions * steps * batch * (a_step + (2 * gates if op.has(3) else 0))


TOOL = Tool(
    name="calflops",
    source="MrYxJ/calculate-flops.pytorch at 29ca584, calflops/pytorch_ops.py",
    rule=_rule,
    differences=_DIFFERENCES,
)
