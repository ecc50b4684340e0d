"""Pooling: one operation a tap, padding included; global pooling: one an input element.

An average's division by the area takes the place of the first tap's addition.
"""

from __future__ import annotations

import math

from efficiency_cli.costs import MICROSOFT, CostError, Op, Work, cost
from efficiency_cli.costs.convolution import NCHWC, NHWC
from efficiency_cli.costs.quantization import REQUANTIZE, narrow_type
from efficiency_cli.graph.model import DType, OpClass


def _window(op: Op, tap: int = 1, output: int = 0, dtype: DType | None = None) -> Work:
    """`tap` operations a kernel element an output and `output` more."""
    kernel, x = op.ints("kernel_shape"), op.shape()
    if len(kernel) != len(x) - 2:
        raise CostError(f"kernel_shape {kernel} does not fit the input {x}")
    outputs = op.elements()
    each = tap * math.prod(kernel) + output
    area = "·".join(map(str, kernel))
    taps = f"{tap} · {area} taps" if tap != 1 else f"{area} taps"
    window = f"({taps} + {output})" if output else taps
    return op.work(
        other=each * outputs,
        op_class=OpClass.POOLING,
        dtype=dtype,
        formula=f"{outputs:,} outputs × {window} = {each * outputs:,} operations",
    )


@cost(
    "MaxPool",
    "AveragePool",
    f"{NCHWC}::MaxPool",
    f"{NCHWC}::AveragePool",
    f"{NHWC}::MaxPool",
    f"{NHWC}::AveragePool",
    f"{MICROSOFT}::NhwcMaxPool",
    f"{MICROSOFT}::MaxpoolWithMask",
)
def pool(op: Op) -> Work:
    """Πkernel an output: comparisons, or additions and one division."""
    return _window(op)


@cost("LpPool", f"{NHWC}::LpPool")
def lp_pool(op: Op) -> Work:
    """2·Πkernel + 1 an output: a power and an addition a tap, then the root."""
    return _window(op, tap=2, output=1)


@cost(f"{MICROSOFT}::QLinearAveragePool", f"{NHWC}::QLinearAveragePool")
def pool_quantized(op: Op) -> Work:
    """Πkernel + 2 an output: AveragePool and a requantisation."""
    return _window(op, output=REQUANTIZE, dtype=narrow_type(op.input()))


def _global(op: Op, element: int = 1, output: int = 0, dtype: DType | None = None) -> Work:
    elements = math.prod(op.shape())
    other = element * elements + output * (op.elements() if output else 0)
    formula = f"{elements:,} input elements, {other:,} operations"
    return op.work(other=other, op_class=OpClass.POOLING, dtype=dtype, formula=formula)


@cost(
    "GlobalAveragePool",
    "GlobalMaxPool",
    f"{NCHWC}::GlobalAveragePool",
    f"{NCHWC}::GlobalMaxPool",
    f"{NHWC}::GlobalAveragePool",
    f"{NHWC}::GlobalMaxPool",
)
def pool_global(op: Op) -> Work:
    """One an input element."""
    return _global(op)


@cost("GlobalLpPool", f"{NHWC}::GlobalLpPool")
def lp_pool_global(op: Op) -> Work:
    """A power and an addition an input element, a root an output."""
    return _global(op, element=2, output=1)


@cost(f"{MICROSOFT}::QLinearGlobalAveragePool")
def pool_global_quantized(op: Op) -> Work:
    """One an input element and 2 an output to requantise."""
    return _global(op, output=REQUANTIZE, dtype=narrow_type(op.input()))


@cost("MaxUnpool", f"{NHWC}::MaxUnpool")
def unpool(op: Op) -> Work:
    """0 operations: values go to their places in a tensor of zeros."""
    return op.work(op_class=OpClass.MOVEMENT)
