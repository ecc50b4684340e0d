"""Changing between real and quantised values, and element-wise operators on quantised operands.

A Q/DQ pair around an operator is fused before anything is counted; the rules here are for those that stay.
"""

from __future__ import annotations

import math

from efficiency_cli.costs import MICROSOFT, Op, Work, cost
from efficiency_cli.costs.elementwise import PRIMITIVES
from efficiency_cli.graph.model import DType, Tensor

# One multiplication by the scale and one addition of the zero point; rounding and saturating are
# part of the store, as in a Cast.
QUANTIZE = DEQUANTIZE = REQUANTIZE = 2


def narrow_type(*operands: Tensor) -> DType | None:
    """The type in which quantised operands are multiplied: int8 up to 8 bits, int16 up to 16.

    Other types (float8, or float operands) compute in their own. None when no type is known.
    """
    types = [t.dtype for t in operands if t.dtype is not None]
    if not types:
        return None
    widest = max(types, key=lambda dtype: dtype.bits)
    if not widest.is_narrow_integer:
        return widest
    return DType.INT8 if widest.bits <= 8 else DType.INT16


@cost("QuantizeLinear", f"{MICROSOFT}::QuantizeLinear")
def quantize(op: Op) -> Work:
    """x / scale + zero point: 2 an element."""
    return op.work(other=QUANTIZE * op.elements())


@cost("DequantizeLinear", f"{MICROSOFT}::DequantizeLinear")
def dequantize(op: Op) -> Work:
    """(q − zero point) · scale: 2 an element, in the output's type."""
    return op.work(other=DEQUANTIZE * op.elements(), dtype=op.output().dtype)


@cost("DynamicQuantizeLinear")
def dynamic_quantize(op: Op) -> Work:
    """Minimum and maximum of the tensor (2 an element), then QuantizeLinear (2); the scale itself is ignored.

    The tensor is read once: what the second pass finds in a cache is the machine's business.
    """
    return op.work(other=DYNAMIC_QUANTIZE * op.elements())


DYNAMIC_QUANTIZE = 2 + QUANTIZE


@cost(f"{MICROSOFT}::QLinearAdd", f"{MICROSOFT}::QLinearMul")
def quantized_binary(op: Op) -> Work:
    """The operation and a requantisation: 3 an output. The operands' scales and zero points fold into it."""
    return _quantized(op, 1, op.input(0), op.input(3))


@cost(f"{MICROSOFT}::QLinearSigmoid", f"{MICROSOFT}::QLinearLeakyRelu")
def quantized_unary(op: Op) -> Work:
    """The float operator and a requantisation (Sigmoid 4 + 2, LeakyRelu 2 + 2), table look-ups or not."""
    return _quantized(op, PRIMITIVES[op.node.op.removeprefix("QLinear")], op.input())


@cost(f"{MICROSOFT}::QLinearWhere")
def quantized_where(op: Op) -> Work:
    """One selection and a requantisation: 3 an output."""
    return _quantized(op, 1, op.input(1), op.input(4))


@cost(f"{MICROSOFT}::QLinearConcat")
def quantized_concat(op: Op) -> Work:
    """Every element is brought to the output's scale, which is operands 0 and 1: 2 each."""
    return _quantized(op, 0, op.input(2))


def _quantized(op: Op, each: int, *operands: Tensor) -> Work:
    return op.work(other=(each + REQUANTIZE) * op.elements(), dtype=narrow_type(*operands))


@cost(f"{MICROSOFT}::MulInteger")
def multiply_integer(op: Op) -> Work:
    """One product an output, into int32; taking off the zero points is ignored."""
    return op.work(other=op.elements(), dtype=narrow_type(op.input(0), op.input(2)))


@cost(f"{MICROSOFT}::QuantizeBFP", f"{MICROSOFT}::DequantizeBFP")
def block_float(op: Op) -> Work:
    """One scaling an element of the unpacked tensor; finding a block's exponent is ignored."""
    return op.work(other=math.prod(op.shape()))
