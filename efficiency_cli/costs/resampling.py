"""Resizing and sampling at fractional positions: a weighted sum of the taps around each output.

A sum of t taps costs t products and t − 1 additions. Their weights are shared along the other axes and
ignored. A nearest neighbour costs nothing but its bytes.
"""

from __future__ import annotations

import math

from efficiency_cli.costs import MICROSOFT, CostError, Op, Work, cost
from efficiency_cli.costs.convolution import NCHWC, NHWC
from efficiency_cli.graph.model import OpClass, Shape

# taps along an axis that is resampled
_TAPS = {"nearest": 1, "linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}


def _weighted(taps: int) -> int:
    return 2 * taps - 1 if taps > 1 else 0


def _taps(mode: str) -> int:
    taps = _TAPS.get(mode.lower())
    if taps is None:
        raise CostError(f"interpolation mode '{mode}' is unknown")
    return taps


@cost("Resize", "Upsample", f"{NHWC}::Resize", f"{NCHWC}::Upsample")
def resize(op: Op) -> Work:
    """Over the axes whose size changes, tᵈ taps an output: 2·tᵈ − 1 operations (linear t = 2, cubic 4).

    With `antialias`, shrinking by s widens t to ⌈t·s⌉ on its axis. Reads at most the taps of each output,
    never more than the input: 0 operations and only the picked elements for nearest.
    """
    x, out = op.shape(), op.out_shape()
    taps = _resize_taps(op, x, out)
    elements = math.prod(out)
    source = op.input()
    each = -(-source.bytes // max(math.prod(x), 1))
    return op.work(
        other=_weighted(taps) * elements,
        op_class=OpClass.ELEMENTWISE if taps > 1 else OpClass.MOVEMENT,
        touched={0: min(source.bytes, taps * elements * each)},
        variant={2: "linear-resize", 4: "cubic-resize"}.get(_taps(op.attr("mode", "nearest")), ""),
    )


def _resize_taps(op: Op, x: Shape, out: Shape) -> int:
    if len(x) != len(out):
        raise CostError(f"input {x} and output {out} differ in rank")
    base = _taps(op.attr("mode", "nearest"))
    wide = base > 1 and op.attr("antialias", 0) == 1
    taps = 1
    for before, after in zip(x, out, strict=True):
        if before != after:
            taps *= -(-base * before // after) if wide and 0 < after < before else base
    return taps


@cost("GridSample", f"{MICROSOFT}::GridSample", f"{NHWC}::GridSample")
def grid_sample(op: Op) -> Work:
    """tᵈ taps an output (2·tᵈ − 1 operations), and 2 a coordinate of the grid to bring it to pixels.

    Ignored: the weights of the taps, which all channels share. Reads at most the taps of each output.
    """
    grid = op.shape(1)
    taps = _taps(op.attr("mode", "linear")) ** (grid[-1] if grid else 0)
    elements, source = op.elements(), op.input()
    each = -(-source.bytes // max(source.numel, 1))
    return op.work(
        other=_weighted(taps) * elements + 2 * math.prod(grid),
        touched={0: min(source.bytes, taps * elements * each)},
    )


@cost("AffineGrid")
def affine_grid(op: Op) -> Work:
    """θ · (position, 1): d products and d additions an output element, d being 2 or 3; size is read."""
    d = op.out_shape()[-1]
    return op.work(other=2 * d * op.elements())


@cost("Col2Im")
def column_to_image(op: Op) -> Work:
    """One addition an input element: overlapping blocks are summed."""
    return op.work(other=math.prod(op.shape()))
