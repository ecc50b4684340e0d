"""Operators that move windows along axes: convolution, pooling, resizing, padding, space-to-depth.

The axes they name are the spatial ones; nothing else says which axes of a network are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.graph.model import Attribute
from efficiency_cli.graph.receptive_field.call import (
    MICROSOFT,
    NCHWC,
    NHWC,
    Call,
    OddNodeError,
    Outputs,
    everywhere,
    rule,
)
from efficiency_cli.graph.receptive_field.layout import (
    Axis,
    Layout,
    carries,
    free,
    fused,
    moved,
    reduced,
    scrambled,
)
from efficiency_cli.graph.receptive_field.merge import broadcasts, merged
from efficiency_cli.graph.receptive_field.window import Window, sliding, transposed


def slid(call: Call, layout: Layout, steps: Iterable[tuple[int, Window]], shape: Sequence[int]) -> Layout:
    """The layout after windows have moved along the axes that `steps` pairs with them; `shape` is the result's."""
    if len(shape) != len(layout.axes):
        raise OddNodeError
    axes = list(layout.axes)
    loose = layout.loose
    for k, step in steps:
        atom, lost = fused(axes[k])
        call.touched.update(atom.windows)
        if lost:
            loose = {**loose, **lost}
        axes[k] = (moved(atom, step, shape[k]),)
    return Layout(tuple(axes), loose, layout.unbounded)


# --- convolution -----------------------------------------------------------------------------


def _convolution(call: Call, weight: int, extra: Iterable[int], *, last: bool, transpose: bool = False) -> Outputs:
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
        first = 1 if last else 2
        windows = _sliding(call, slice(first, first + rank - 2), _kernel(call, rank - 2, w[2:]), transpose=transpose)
        layout = _channels_mixed(call, layout, channel, shape[channel], w)
        layout = slid(call, layout, zip(range(first, first + rank - 2), windows, strict=True), shape)
        if len(call.tracked) == 1:
            return [layout]
        parts.append(layout)
    side = [call.layout(slot) for slot in extra]
    parts.extend(s for s in side if s is not None and broadcasts(s.shape, shape))
    kernels = call.layout(weight)
    if kernels is not None:
        parts.append(scrambled([kernels], shape, call.node.name))
    return [merged(parts, shape, call.node.name)] if parts else [None]


def _kernel(call: Call, rank: int, default: tuple[int, ...]) -> tuple[int, ...]:
    value = call.node.attributes.get("kernel_shape", default)
    if not isinstance(value, tuple) or len(value) != rank:
        raise OddNodeError
    return value  # type: ignore[return-value]


def _channels_mixed(call: Call, layout: Layout, axis: int, length: int, weight: Sequence[int]) -> Layout:
    """Channels are read in full; a depthwise convolution leaves each to itself."""
    before = call.shape()[axis]
    if call.number("group", 1) == before == length and weight[1] == 1:
        return layout
    if carries(layout.axes[axis]):
        layout = reduced(layout, [axis], call.node.name, whole=False)
    return layout.with_axis(axis, free(length))


class Sliding(Struct, frozen=True):
    """The attributes of a window over some axes, () where a list is absent, and the lengths before and after."""

    kernel: tuple[int, ...]
    strides: Attribute
    dilations: Attribute
    pads: Attribute
    mode: str
    lengths: tuple[int, ...]
    outs: tuple[int, ...]
    extra: Attribute | None = None  # output_padding; None unless transposed
    fixed: bool = False  # whether the lengths determine the padding

    def list(self, values: Attribute, default: int, count: int = 1) -> tuple[int, ...]:
        """One of the lists, `count` numbers an axis."""
        length = count * len(self.kernel)
        if values == ():
            return (default,) * length
        if not isinstance(values, tuple) or len(values) != length:
            raise OddNodeError
        return tuple(_whole(v) for v in values)


def _whole(value: Attribute) -> int:
    if not isinstance(value, int):
        raise OddNodeError
    return value


def _sliding(call: Call, spatial: slice, kernel: tuple[int, ...], *, transpose: bool) -> tuple[Window, ...]:
    """One window a spatial axis."""
    attributes = call.node.attributes
    mode = call.text("auto_pad", "NOTSET")
    fixed = mode.startswith("SAME") or (transpose and "output_shape" in attributes)
    x, out = (call.shape()[spatial], call.out_shape()[spatial]) if fixed else ((), ())
    geometry = Sliding(
        kernel,
        attributes.get("strides", ()),
        attributes.get("dilations", ()),
        attributes.get("pads", ()),
        mode,
        x,
        out,
        attributes.get("output_padding", ()) if transpose else None,
        fixed,
    )
    return _windows(geometry)


@lru_cache(maxsize=4096)
def _windows(geometry: Sliding) -> tuple[Window, ...]:
    g, rank = geometry, len(geometry.kernel)
    strides, dilations = g.list(g.strides, 1), g.list(g.dilations, 1)
    if not rank or min(*map(_whole, g.kernel), *strides, *dilations) < 1:
        raise OddNodeError
    pads: Sequence[int] = (0,) * rank if g.mode == "VALID" else g.list(g.pads, 0, 2)[:rank]
    if g.fixed:
        totals = _padding(g, strides, dilations)
        pads = [total // 2 if g.mode == "SAME_UPPER" else total - total // 2 for total in totals]
    find = sliding if g.extra is None else transposed
    return tuple(find(*numbers) for numbers in zip(g.kernel, strides, dilations, pads, strict=True))


def _padding(g: Sliding, strides: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """Both ends of each axis together, where the lengths before and after determine it.

    Convolution and pooling: (out − 1)·stride + (kernel − 1)·dilation + 1 − in, not below 0.
    Transposed: (in − 1)·stride + output_padding + (kernel − 1)·dilation + 1 − out.
    """
    reaches = [(k - 1) * d + 1 for k, d in zip(g.kernel, dilations, strict=True)]
    if g.extra is None:
        rows = zip(g.lengths, g.outs, strides, reaches, strict=True)
        return [max((out - 1) * s + reach - n, 0) for n, out, s, reach in rows]
    extras = g.list(g.extra, 0)
    return [
        (n - 1) * s + extra + reach - out
        for n, out, s, reach, extra in zip(g.lengths, g.outs, strides, reaches, extras, strict=True)
    ]


@rule("Conv", f"{MICROSOFT}::FusedConv", f"{NCHWC}::Conv")
def convolution(call: Call) -> Outputs:
    return _convolution(call, 1, (3,), last=False)


@rule("ConvInteger")
def convolution_integer(call: Call) -> Outputs:
    return _convolution(call, 1, (), last=False)


@rule(f"{NHWC}::Conv", f"{MICROSOFT}::NhwcConv", f"{MICROSOFT}::NhwcFusedConv")
def convolution_channels_last(call: Call) -> Outputs:
    return _convolution(call, 1, (3,), last=True)


@rule("QLinearConv", f"{MICROSOFT}::QLinearConv", f"{NHWC}::QLinearConv")
def convolution_quantized(call: Call) -> Outputs:
    return _convolution(call, 3, (), last=call.node.domain == NHWC or call.number("channels_last", 0) == 1)


@rule("ConvTranspose", f"{NHWC}::ConvTranspose")
def convolution_transposed(call: Call) -> Outputs:
    return _convolution(call, 1, (), last=call.node.domain == NHWC, transpose=True)


@rule("CausalConvWithState", f"{MICROSOFT}::CausalConvWithState")
def convolution_causal(call: Call) -> Outputs:
    """Depthwise over (batch, channels, length): output j reads j − k + 1 … j. The carried state is not followed."""
    layout, weight = call.layout(), call.shape(1)
    if layout is None or len(layout.axes) != 3 or not weight or not weight[-1]:
        return [None]
    return [slid(call, layout, [(2, sliding(weight[-1], 1, 1, weight[-1] - 1))], call.out_shape())]


# --- pooling ---------------------------------------------------------------------------------


def channels_last(call: Call) -> bool:
    return call.node.domain == NHWC or call.node.op.startswith("Nhwc") or call.number("channels_last", 0) == 1


def _pooling(call: Call, *, transpose: bool = False) -> Outputs:
    layout, x, shape = call.layout(), call.shape(), call.out_shape()
    if layout is None or len(x) < 3 or len(x) != len(shape):
        return [None]
    first, rank = 1 if channels_last(call) else 2, len(x) - 2
    windows = _sliding(call, slice(first, first + rank), _kernel(call, rank, ()), transpose=transpose)
    result = slid(call, layout, zip(range(first, first + rank), windows, strict=True), shape)
    return [result] * len(call.node.outputs)


@rule(
    *everywhere("MaxPool", "AveragePool", "LpPool"),
    f"{MICROSOFT}::NhwcMaxPool",
    f"{MICROSOFT}::MaxpoolWithMask",
    f"{MICROSOFT}::QLinearAveragePool",
    f"{NHWC}::QLinearAveragePool",
)
def pooling(call: Call) -> Outputs:
    """A window of kernel_shape; MaxPool's indices see what its values see."""
    return _pooling(call)


@rule(*everywhere("MaxUnpool"))
def unpooling(call: Call) -> Outputs:
    """A value goes to one of the places that its pooling read: the pooling's window backwards."""
    return _pooling(call, transpose=True)


@rule(*everywhere("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "QLinearGlobalAveragePool"))
def pooling_global(call: Call) -> Outputs:
    """All of every spatial axis, whatever its length."""
    layout, x = call.layout(), call.shape()
    if layout is None or len(x) < 3:
        return [None]
    spatial = range(1, len(x) - 1) if channels_last(call) else range(2, len(x))
    for axis in spatial:
        call.touch(layout, axis)
    result = reduced(layout, spatial, call.node.name)
    return [replace(result, axes=tuple(axis or free(1) for axis in result.axes))]


# --- borders ---------------------------------------------------------------------------------


@rule(*everywhere("Pad"))
def pad(call: Call) -> Outputs:
    """Output j is input j − pad; every mode fills the border from inside the same window's reach."""
    layout, x, shape = call.layout(), call.shape(), call.out_shape()
    if layout is None:
        return [None]
    if len(shape) != len(x):
        raise OddNodeError
    pads = call.maybe_ints("pads", 1) or call.maybe_ints("paddings", 1)
    named = call.values(3)
    axes = call.axes(named, len(x)) if named else range(len(x))
    if pads is None or len(pads) != 2 * len(axes):
        begin = {k: (b - a) // 2 for k, (a, b) in enumerate(zip(x, shape, strict=True)) if a != b}
    else:
        begin = {k: pads[i] for i, k in enumerate(axes) if pads[i] or pads[i + len(axes)]}
    return [_offset(layout, {k: -b for k, b in begin.items()}, shape)]


@rule("CenterCropPad")
def crop_or_pad(call: Call) -> Outputs:
    layout, x, shape = call.layout(), call.shape(), call.out_shape()
    if layout is None:
        return [None]
    if len(shape) != len(x):
        raise OddNodeError
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


# --- signals ---------------------------------------------------------------------------------


@rule("STFT")
def short_time_fourier(call: Call) -> Outputs:
    """Frame j of (batch, frames, bins, 2) reads j·frame_step … + frame_length − 1 of (batch, length, …)."""
    layout, step, shape = call.layout(), call.values(1), call.out_shape()
    window = call.tensor(2)
    length = call.values(3) or (window.shape if window is not None else None)
    if layout is None or len(shape) != 4 or len(layout.axes) < 2 or not step or not length:
        return call.mixed()
    if step[0] < 1 or length[0] < 1:
        raise OddNodeError
    signal = Layout(layout.axes[:2], layout.loose, layout.unbounded)
    frames = slid(call, signal, [(1, sliding(length[0], step[0]))], shape[:2])
    return [replace(frames, axes=(*frames.axes, free(shape[2]), free(shape[3])))]
