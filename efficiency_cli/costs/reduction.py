"""Reductions and scans along axes: operations an input element, and what is done once an output."""

from __future__ import annotations

import math

from efficiency_cli.costs import MICROSOFT, Op, Work, cost
from efficiency_cli.costs.quantization import REQUANTIZE, narrow_type

# operator: (operations an input element, operations an output element)
_REDUCTIONS: dict[str, tuple[int, int]] = {
    "ReduceSum": (1, 0),
    "ReduceMax": (1, 0),
    "ReduceMin": (1, 0),
    "ReduceProd": (1, 0),
    "ReduceMean": (1, 1),  # the division by the count
    "ReduceL1": (2, 0),  # abs, add
    "ReduceL2": (2, 1),  # square, add; root
    "ReduceSumSquare": (2, 0),  # square, add
    "ReduceLogSum": (1, 1),  # add; log
    "ReduceLogSumExp": (4, 1),  # max, subtract, exp, add; log
    "ArgMax": (1, 0),
    "ArgMin": (1, 0),
    f"{MICROSOFT}::ReduceSumInteger": (1, 0),
}


@cost(*_REDUCTIONS)
def reduction(op: Op) -> Work:
    """The operator's entry in the table, for all input elements and all outputs.

    Without axes and with noop_with_empty_axes it is a copy: 0 operations.
    """
    element, output = _REDUCTIONS[op.node.key]
    if op.attr("noop_with_empty_axes", 0) and not op.has(1) and not op.ints("axes"):
        return op.work()
    return op.work(other=element * math.prod(op.shape()) + output * op.elements())


@cost(f"{MICROSOFT}::QLinearReduceMean")
def reduction_quantized(op: Op) -> Work:
    """ReduceMean and a requantisation: 1 an input element, 3 an output."""
    other = math.prod(op.shape()) + (1 + REQUANTIZE) * op.elements()
    return op.work(other=other, dtype=narrow_type(op.input()))


@cost("CumSum", "CumProd")
def scan(op: Op) -> Work:
    """One operation an element."""
    return op.work(other=op.elements())


@cost("TopK")
def top_k(op: Op) -> Work:
    """n · ⌈log₂(k + 1)⌉ comparisons: each of n elements against a heap of the k best (k = 1: n).

    An upper bound on heap selection; what an element really costs depends on the data.
    """
    x, out = op.shape(), op.out_shape()
    axis = op.attr("axis", -1)
    k = out[axis] if out and -len(out) <= axis < len(out) else 1
    return op.work(other=math.prod(x) * k.bit_length())


@cost("Unique", f"{MICROSOFT}::Unique")
def unique(op: Op) -> Work:
    """n · ⌈log₂ n⌉ comparisons of a sort; the result is counted at its upper bound."""
    n = math.prod(op.shape())
    return op.work(other=n * max(n - 1, 0).bit_length())
