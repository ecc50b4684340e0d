"""Operators that move windows along axes: convolution, pooling, resizing, padding, space-to-depth.

The axes they name are the spatial ones; nothing else says which axes of a network are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from msgspec.structs import replace

from efficiency_cli.graph.receptive_field.call import MICROSOFT, NCHWC, NHWC, Call, OddNodeError, everywhere, rule
from efficiency_cli.graph.receptive_field.layout import (
    Axis,
    Layout,
    carries,
    free,
    fused,
    moved,
    permuted,
    reduced,
    reshaped,
    scrambled,
)
from efficiency_cli.graph.receptive_field.merge import broadcasts, merged
from efficiency_cli.graph.receptive_field.window import Grid, Window, resampled, sliding, transposed


def slid(call: Call, layout: Layout, steps: Mapping[int, Window], shape: Sequence[int]) -> Layout:
    """The layout after windows have moved along the axes of `steps`; `shape` is the result's."""
    if len(shape) != len(layout.axes):
        raise OddNodeError
    axes = list(layout.axes)
    loose = layout.loose
    for k, step in steps.items():
        atom, lost = fused(axes[k])
        call.touched.update(atom.windows)
        if lost:
            loose = {**loose, **lost}
        axes[k] = (moved(atom, step, shape[k]),)
    return Layout(tuple(axes), loose, layout.unbounded)


# --- convolution -----------------------------------------------------------------------------


def _convolution(call: Call, weight: int, extra: Iterable[int], *, last: bool, transpose: bool = False) -> list[Layout | None]:
    """One output; `extra`: the operands that are added to it."""
    x, shape = call.shape(), call.out_shape()
    w = call.shape(weight)
    rank = len(x)
    if rank < 3 or len(w) != rank or len(shape) != rank:
        raise OddNodeError
    layout = call.layout()
    channel = rank - 1 if last else 1
    parts: list[Layout] = []
    if layout is not None:
        spatial = range(1, rank - 1) if last else range(2, rank)
        kernel = call.ints("kernel_shape", rank - 2, 0) if "kernel_shape" in call.node.attributes else w[2:]
        find = _transposed_steps if transpose else _steps
        steps = dict(zip(spatial, find(call, [x[k] for k in spatial], [shape[k] for k in spatial], kernel), strict=True))
        layout = _channels_mixed(call, layout, channel, shape[channel], w)
        parts.append(slid(call, layout, steps, shape))
    side = [call.layout(slot) for slot in extra]
    parts.extend(s for s in side if s is not None and broadcasts(s.shape, shape))
    kernels = call.layout(weight)
    if kernels is not None:
        parts.append(scrambled([kernels], shape, call.node.name))
    return [merged(parts, shape, call.node.name)] if parts else [None]


def _channels_mixed(call: Call, layout: Layout, axis: int, length: int, weight: Sequence[int]) -> Layout:
    """Channels are read in full; a depthwise convolution leaves each to itself."""
    before = call.shape()[axis]
    if call.int("group", 1) == before == length and weight[1] == 1:
        return layout
    if carries(layout.axes[axis]):
        layout = reduced(layout, [axis], call.node.name, whole=False)
    return layout.with_axis(axis, free(length))


def _steps(call: Call, x: Sequence[int], out: Sequence[int], kernel: Sequence[int]) -> list[Window]:
    """One window an axis, of a convolution or a pooling; the padding of auto_pad depends on the length."""
    rank = len(x)
    strides, dilations = call.ints("strides", rank, 1), call.ints("dilations", rank, 1)
    if min(*kernel, *strides, *dilations) < 1 or len(kernel) != rank:
        raise OddNodeError
    pads = _pads(call, x, out, kernel, strides, dilations)
    return [sliding(*numbers) for numbers in zip(kernel, strides, dilations, pads, strict=True)]


def _pads(
    call: Call,
    x: Sequence[int],
    out: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Sequence[int]:
    """What is padded in front of each axis."""
    mode = call.text("auto_pad", "NOTSET")
    if mode == "VALID":
        return (0,) * len(x)
    if not mode.startswith("SAME"):
        return call.ints("pads", 2 * len(x), 0)[: len(x)]
    totals = [
        max((n - 1) * s + (k - 1) * d + 1 - i, 0)
        for n, s, k, d, i in zip(out, strides, kernel, dilations, x, strict=True)
    ]
    return [total // 2 if mode == "SAME_UPPER" else total - total // 2 for total in totals]


def _transposed_steps(call: Call, x: Sequence[int], out: Sequence[int], kernel: Sequence[int]) -> list[Window]:
    """As `_steps`, backwards. Pads come from the output's length where `output_shape` or auto_pad sets it:
    total = (in − 1)·stride + output_padding + (k − 1)·dilation + 1 − out."""
    rank = len(x)
    strides, dilations = call.ints("strides", rank, 1), call.ints("dilations", rank, 1)
    if min(*kernel, *strides, *dilations) < 1 or len(kernel) != rank:
        raise OddNodeError
    mode = call.text("auto_pad", "NOTSET")
    pads: Sequence[int]
    if mode.startswith("SAME") or "output_shape" in call.node.attributes:
        extra = call.ints("output_padding", rank, 0)
        totals = [
            (n - 1) * s + e + (k - 1) * d + 1 - o
            for n, s, e, k, d, o in zip(x, strides, extra, kernel, dilations, out, strict=True)
        ]
        pads = [t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in totals]
    elif mode == "VALID":
        pads = (0,) * rank
    else:
        pads = call.ints("pads", 2 * rank, 0)
    return [transposed(*numbers) for numbers in zip(kernel, strides, dilations, pads[:rank], strict=True)]


@rule("Conv", f"{MICROSOFT}::FusedConv", f"{NCHWC}::Conv")
def convolution(call: Call) -> list[Layout | None]:
    return _convolution(call, 1, (3,), last=False)


@rule("ConvInteger")
def convolution_integer(call: Call) -> list[Layout | None]:
    return _convolution(call, 1, (), last=False)


@rule(f"{NHWC}::Conv", f"{MICROSOFT}::NhwcConv", f"{MICROSOFT}::NhwcFusedConv")
def convolution_channels_last(call: Call) -> list[Layout | None]:
    return _convolution(call, 1, (3,), last=True)


@rule("QLinearConv", f"{MICROSOFT}::QLinearConv", f"{NHWC}::QLinearConv")
def convolution_quantized(call: Call) -> list[Layout | None]:
    return _convolution(call, 3, (), last=call.node.domain == NHWC or call.int("channels_last", 0) == 1)


@rule("ConvTranspose", f"{NHWC}::ConvTranspose")
def convolution_transposed(call: Call) -> list[Layout | None]:
    return _convolution(call, 1, (), last=call.node.domain == NHWC, transpose=True)


@rule("CausalConvWithState", f"{MICROSOFT}::CausalConvWithState")
def convolution_causal(call: Call) -> list[Layout | None]:
    """Depthwise over (batch, channels, length): output j reads j − k + 1 … j. The carried state is not followed."""
    layout, weight = call.layout(), call.shape(1)
    if layout is None:
        return [None]
    return [slid(call, layout, {2: sliding(weight[-1], 1, 1, weight[-1] - 1)}, call.out_shape())]


# --- pooling ---------------------------------------------------------------------------------


def _last(call: Call) -> bool:
    return call.node.domain == NHWC or call.node.op.startswith("Nhwc") or call.int("channels_last", 0) == 1


def _pooling(call: Call, *, transpose: bool = False) -> list[Layout | None]:
    layout, x, shape = call.layout(), call.shape(), call.out_shape()
    if layout is None or len(x) < 3 or len(x) != len(shape):
        return [None]
    spatial = range(1, len(x) - 1) if _last(call) else range(2, len(x))
    find = _transposed_steps if transpose else _steps
    kernel = call.ints("kernel_shape", len(x) - 2, 0)
    steps = find(call, [x[k] for k in spatial], [shape[k] for k in spatial], kernel)
    result = slid(call, layout, dict(zip(spatial, steps, strict=True)), shape)
    return [result] * len(call.node.outputs)


@rule(
    *everywhere("MaxPool", "AveragePool", "LpPool"),
    f"{MICROSOFT}::NhwcMaxPool",
    f"{MICROSOFT}::MaxpoolWithMask",
    f"{MICROSOFT}::QLinearAveragePool",
    f"{NHWC}::QLinearAveragePool",
)
def pooling(call: Call) -> list[Layout | None]:
    """A window of kernel_shape; MaxPool's indices see what its values see."""
    return _pooling(call)


@rule(*everywhere("MaxUnpool"))
def unpooling(call: Call) -> list[Layout | None]:
    """A value goes to one of the places that its pooling read: the pooling's window backwards."""
    return _pooling(call, transpose=True)


@rule(*everywhere("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "QLinearGlobalAveragePool"))
def pooling_global(call: Call) -> list[Layout | None]:
    """All of every spatial axis, whatever its length."""
    layout, x = call.layout(), call.shape()
    if layout is None or len(x) < 3:
        return [None]
    spatial = range(1, len(x) - 1) if _last(call) else range(2, len(x))
    for axis in spatial:
        call.touch(layout, axis)
    result = reduced(layout, spatial, call.node.name)
    return [replace(result, axes=tuple(axis or free(1) for axis in result.axes))]


# --- sampling --------------------------------------------------------------------------------


@rule("DeformConv", *everywhere("GridSample", "RoiAlign", "MaxRoiPool", "CropAndResize"))
def sampled_anywhere(call: Call) -> list[Layout | None]:
    """Where it reads is data: anywhere."""
    layout = call.layout()
    if layout is not None:
        for axis in range(2, len(layout.axes)):
            call.touch(layout, axis)
    return call.mixed()


@rule(*everywhere("Resize", "Upsample"))
def resize(call: Call) -> list[Layout | None]:
    """The taps around each output's position, along the axes whose length or scale changes."""
    layout, x, shape = call.layout(), call.shape(), call.out_shape()
    if layout is None or len(x) != len(shape):
        return [None]
    steps = {}
    for k, scale in enumerate(_scales(call, x, shape)):
        if scale != 1 or x[k] != shape[k]:
            steps[k] = resampled(_grid(call, scale, x[k], shape[k], k))
    return [slid(call, layout, steps, shape)]


def _scales(call: Call, x: Sequence[int], shape: Sequence[int]) -> list[Fraction]:
    """Output positions an input position, by axis: as given, else the ratio of lengths."""
    given = call.node.attributes.get("scales")
    slot = 1 if call.node.op == "Upsample" or len(call.node.inputs) == 2 else 2
    values = given if isinstance(given, tuple) else call.floats(slot)
    scales = [Fraction(b, a) if a and b else Fraction(1) for a, b in zip(x, shape, strict=True)]
    if not values:
        return scales
    axes = call.axes(call.ints("axes", len(values), 0), len(x)) if "axes" in call.node.attributes else range(len(values))
    for k, value in zip(axes, values, strict=False):
        if k >= len(x) or isinstance(value, str) or not math.isfinite(value) or value <= 0:
            raise OddNodeError
        # a scale is stored as float32: 0.6666667 means 2/3
        scales[k] = Fraction(value).limit_denominator(10_000) or scales[k]
    return scales


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
    return Grid(slope, shift, taps, call.int("antialias", 0) == 1)


def _cropped(call: Call, length: int, out: int, axis: int) -> tuple[Fraction, Fraction]:
    """tf_crop_and_resize: from roi[axis] to roi[axis + rank], in fractions of the input."""
    roi, rank = call.floats(1), len(call.shape())
    if roi is None or len(roi) != 2 * rank or not all(map(math.isfinite, roi)) or out < 2:
        raise OddNodeError
    start, end = (Fraction(v).limit_denominator(10_000) for v in (roi[axis], roi[axis + rank]))
    if end <= start:
        raise OddNodeError
    return (end - start) * (length - 1) / (out - 1), start * (length - 1)


# --- borders ---------------------------------------------------------------------------------


@rule(*everywhere("Pad"))
def pad(call: Call) -> list[Layout | None]:
    """Output j is input j − pad; every mode fills the border from inside the same window's reach."""
    layout, x, shape = call.layout(), call.shape(), call.out_shape()
    if layout is None:
        return [None]
    pads = call.maybe_ints("pads", 1) or call.maybe_ints("paddings", 1)
    named = call.values(3)
    axes = call.axes(named, len(x)) if named else range(len(x))
    if pads is None or len(pads) != 2 * len(axes):
        begin = {k: (b - a) // 2 for k, (a, b) in enumerate(zip(x, shape, strict=True)) if a != b}
    else:
        begin = {k: pads[i] for i, k in enumerate(axes) if pads[i] or pads[i + len(axes)]}
    return [_offset(layout, {k: -b for k, b in begin.items()}, shape)]


@rule("CenterCropPad")
def crop_or_pad(call: Call) -> list[Layout | None]:
    layout, x, shape = call.layout(), call.shape(), call.out_shape()
    if layout is None:
        return [None]
    starts = {k: (a - b) // 2 if a > b else -((b - a) // 2) for k, (a, b) in enumerate(zip(x, shape, strict=True))}
    return [_offset(layout, {k: s for k, s in starts.items() if x[k] != shape[k]}, shape)]


def _offset(layout: Layout, starts: Mapping[int, int], shape: Sequence[int]) -> Layout:
    """Output j of each axis in `starts` is input j + start."""
    return sampled(layout, {k: (start, 1) for k, start in starts.items()}, shape)


def sampled(layout: Layout, picks: Mapping[int, tuple[int, int]], shape: Sequence[int]) -> Layout:
    """Output j of an axis in `picks` is input start + j·step: no window, so it makes no axis spatial."""
    if len(shape) != len(layout.axes):
        raise OddNodeError
    axes: list[Axis] = list(layout.axes)
    loose = layout.loose
    for k, (start, step) in picks.items():
        if not carries(axes[k]):
            axes[k] = free(shape[k])
            continue
        atom, lost = fused(axes[k])
        loose = {**loose, **lost}
        axes[k] = (moved(atom, sliding(1, step, 1, -start), shape[k]),)
    return Layout(tuple(axes), loose, layout.unbounded)


# --- blocks ----------------------------------------------------------------------------------


@rule("SpaceToDepth", f"{NHWC}::SpaceToDepth")
def space_to_depth(call: Call) -> list[Layout | None]:
    """b × b blocks go to channels (b, b, C): each channel sees its place in the block."""
    layout, block = call.layout(), call.int("blocksize", 0)
    x, shape = call.shape(), call.out_shape()
    if layout is None or len(x) != 4 or len(shape) != 4 or block < 1:
        raise OddNodeError
    n, c, h, w = _channels_first(call, x)
    layout = _to_first(call, layout)
    for axis in (2, 3):
        call.touch(layout, axis)
    layout = reshaped(layout, (n, c, h // block, block, w // block, block))
    layout = reshaped(permuted(layout, (0, 3, 5, 1, 2, 4)), _channels_first(call, shape))
    return [_from_first(call, layout)]


@rule("DepthToSpace", f"{MICROSOFT}::DepthToSpace", f"{NHWC}::DepthToSpace")
def depth_to_space(call: Call) -> list[Layout | None]:
    """Channels (b, b, C), or (C, b, b) in CRD mode, go to b × b blocks: each position sees its block's."""
    layout, block = call.layout(), call.int("blocksize", 0)
    x, shape = call.shape(), call.out_shape()
    if layout is None or len(x) != 4 or len(shape) != 4 or block < 1:
        raise OddNodeError
    n, c, h, w = _channels_first(call, x)
    layout = _to_first(call, layout)
    for axis in (2, 3):
        call.touch(layout, axis)
    rest = c // (block * block)
    if call.text("mode", "DCR") == "CRD":
        layout = permuted(reshaped(layout, (n, rest, block, block, h, w)), (0, 1, 4, 2, 5, 3))
    else:
        layout = permuted(reshaped(layout, (n, block, block, rest, h, w)), (0, 3, 4, 1, 5, 2))
    return [_from_first(call, reshaped(layout, _channels_first(call, shape)))]


def _channels_first(call: Call, shape: Sequence[int]) -> tuple[int, ...]:
    return (shape[0], shape[3], shape[1], shape[2]) if _last(call) else tuple(shape)


def _to_first(call: Call, layout: Layout) -> Layout:
    return permuted(layout, (0, 3, 1, 2)) if _last(call) else layout


def _from_first(call: Call, layout: Layout) -> Layout:
    return permuted(layout, (0, 2, 3, 1)) if _last(call) else layout


@rule(f"{NCHWC}::ReorderInput")
def reorder_input(call: Call) -> list[Layout | None]:
    """To the blocked layout, whose shape is NCHW; from NHWC if `channels_last`."""
    layout = call.layout()
    last = call.int("channels_last", 0) == 1
    if layout is None or len(layout.axes) != 4:
        return [layout]
    layout = permuted(layout, (0, 3, 1, 2)) if last else layout
    return [_with_channels(layout, 1, call.out_shape())]


@rule(f"{NCHWC}::ReorderOutput")
def reorder_output(call: Call) -> list[Layout | None]:
    layout = call.layout()
    last = call.int("channels_last", 0) == 1
    if layout is None or len(layout.axes) != 4:
        return [layout]
    layout = permuted(layout, (0, 2, 3, 1)) if last else layout
    return [_with_channels(layout, 3 if last else 1, call.out_shape())]


def _with_channels(layout: Layout, axis: int, shape: Sequence[int]) -> Layout:
    """Blocks are filled up with channels of zeros, or cut off again."""
    return layout if layout.shape[axis] == shape[axis] else sampled(layout, {axis: (0, 1)}, shape)


# --- signals ---------------------------------------------------------------------------------


@rule("STFT")
def short_time_fourier(call: Call) -> list[Layout | None]:
    """Frame j of (batch, frames, bins, 2) reads j·frame_step … + frame_length − 1 of (batch, length, …)."""
    layout, step, shape = call.layout(), call.values(1), call.out_shape()
    window = call.tensor(2)
    length = call.values(3) or (window.shape if window is not None else None)
    if layout is None or len(shape) != 4 or len(layout.axes) < 2 or not step or not length:
        return call.mixed()
    if step[0] < 1 or length[0] < 1:
        raise OddNodeError
    signal = Layout(layout.axes[:2], layout.loose, layout.unbounded)
    frames = slid(call, signal, {1: sliding(length[0], step[0])}, shape[:2])
    return [replace(frames, axes=(*frames.axes, free(shape[2]), free(shape[3])))]
