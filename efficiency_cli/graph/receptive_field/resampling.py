"""Operators that read around positions of their own: resizing, and sampling where data says.

A resize moves along the axes whose length or scale changes; sampling anywhere is unbounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from efficiency_cli.graph.receptive_field.call import Call, OddNodeError, Outputs, everywhere, rule
from efficiency_cli.graph.receptive_field.spatial import slid
from efficiency_cli.graph.receptive_field.window import Grid, resampled


@rule("DeformConv", *everywhere("GridSample", "RoiAlign", "MaxRoiPool", "CropAndResize"))
def sampled_anywhere(call: Call) -> Outputs:
    """Where it reads is data: anywhere."""
    layout = call.layout()
    if layout is not None:
        for axis in range(2, len(layout.axes)):
            call.touch(layout, axis)
    return call.mixed()


@rule(*everywhere("Resize", "Upsample"))
def resize(call: Call) -> Outputs:
    """The taps around each output's position, along the axes whose length or scale changes."""
    layout, x, shape = call.layout(), call.shape(), call.out_shape()
    if layout is None or len(x) != len(shape):
        return [None]
    steps = [
        (k, resampled(_grid(call, scale, x[k], shape[k], k)))
        for k, scale in enumerate(_scales(call, x, shape))
        if scale != 1 or x[k] != shape[k]
    ]
    return [slid(call, layout, steps, shape)]


def _scales(call: Call, x: Sequence[int], shape: Sequence[int]) -> list[Fraction]:
    """Output positions an input position, by axis: as given, else the ratio of lengths."""
    scales = [Fraction(b, a) if a and b else Fraction(1) for a, b in zip(x, shape, strict=True)]
    values = _given_scales(call)
    if not values:
        return scales
    named = "axes" in call.node.attributes
    axes = call.axes(call.ints("axes", len(values), 0), len(x)) if named else range(len(values))
    for k, value in zip(axes, values, strict=False):
        if k >= len(x) or not math.isfinite(value) or value <= 0:
            raise OddNodeError
        # a scale is stored as float32: 0.6666667 means 2/3
        scales[k] = Fraction(value).limit_denominator(10_000) or scales[k]
    return scales


def _given_scales(call: Call) -> tuple[float, ...] | None:
    given = call.node.attributes.get("scales")
    if isinstance(given, tuple):
        if any(isinstance(v, str) for v in given):
            raise OddNodeError
        return tuple(float(v) for v in given)
    return call.floats(1 if call.node.op == "Upsample" or len(call.node.inputs) == 2 else 2)


def _grid(call: Call, scale: Fraction, length: int, out: int, axis: int) -> Grid:
    """Where output positions lie in the input, by the operator's coordinate_transformation_mode."""
    mode = call.text("mode", "nearest")
    old = call.node.op == "Upsample" or len(call.node.inputs) == 2  # before opset 11 there is one way
    where = call.text("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    rounding = call.text("nearest_mode", "floor" if old else "round_prefer_floor")
    taps = {"linear": "linear", "bilinear": "linear", "cubic": "cubic", "bicubic": "cubic"}.get(mode, rounding)
    if taps not in ("linear", "cubic", "floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
        raise OddNodeError
    slope, shift = 1 / scale, (1 / scale - 1) / 2
    if where == "asymmetric":
        shift = Fraction(0)
    elif where == "tf_half_pixel_for_nn":
        shift = 1 / scale / 2
    elif where == "align_corners":
        slope, shift = Fraction(length - 1, out - 1) if out > 1 else Fraction(1), Fraction(0)
    elif where == "half_pixel_symmetric":
        shift += Fraction(length, 2) * (1 - Fraction(out) / (scale * length)) if length else 0
    elif where == "pytorch_half_pixel" and out <= 1:
        shift = Fraction(0)
    elif where == "tf_crop_and_resize":
        slope, shift = _cropped(call, length, out, axis)
    if slope == 0:  # every output reads the same: as far as strides go, it does not move
        slope = Fraction(1)
    return Grid(slope, shift, taps, call.number("antialias", 0) == 1)


def _cropped(call: Call, length: int, out: int, axis: int) -> tuple[Fraction, Fraction]:
    """tf_crop_and_resize: from roi[axis] to roi[axis + rank], in fractions of the input."""
    roi, rank = call.floats(1), len(call.shape())
    if roi is None or len(roi) != 2 * rank or not all(map(math.isfinite, roi)) or out < 2:
        raise OddNodeError
    start, end = (Fraction(v).limit_denominator(10_000) for v in (roi[axis], roi[axis + rank]))
    if end <= start:
        raise OddNodeError
    return (end - start) * (length - 1) / (out - 1), start * (length - 1)
