"""Operators that trade positions for channels: space-to-depth, its reverse, and blocked layouts.

Its reverse is a reshape and a transposition: several positions then see the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from efficiency_cli.graph.receptive_field.call import MICROSOFT, NCHWC, NHWC, Call, OddNodeError, Outputs, rule
from efficiency_cli.graph.receptive_field.layout import Layout, free, permuted, reshaped
from efficiency_cli.graph.receptive_field.spatial import channels_last, sampled, slid
from efficiency_cli.graph.receptive_field.window import sliding


@rule("SpaceToDepth", f"{NHWC}::SpaceToDepth")
def space_to_depth(call: Call) -> Outputs:
    """b × b blocks go to channels: a position sees its block, as below a convolution of that kernel and stride."""
    layout, block, shape = call.layout(), call.number("blocksize", 0), call.out_shape()
    if layout is None or len(layout.axes) != 4 or len(shape) != 4 or block < 1:
        raise OddNodeError
    first = 1 if channels_last(call) else 2
    step = sliding(block, block)
    layout = slid(call, layout, [(first, step), (first + 1, step)], shape)
    return [layout.with_axis(3 if first == 1 else 1, free(shape[3 if first == 1 else 1]))]


@rule("DepthToSpace", f"{MICROSOFT}::DepthToSpace", f"{NHWC}::DepthToSpace")
def depth_to_space(call: Call) -> Outputs:
    """Channels (b, b, C), or (C, b, b) in CRD mode, go to b × b blocks: each position sees its block's."""
    layout, block = call.layout(), call.number("blocksize", 0)
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
    return (shape[0], shape[3], shape[1], shape[2]) if channels_last(call) else tuple(shape)


def _to_first(call: Call, layout: Layout) -> Layout:
    return permuted(layout, (0, 3, 1, 2)) if channels_last(call) else layout


def _from_first(call: Call, layout: Layout) -> Layout:
    return permuted(layout, (0, 2, 3, 1)) if channels_last(call) else layout


@rule(f"{NCHWC}::ReorderInput")
def reorder_input(call: Call) -> Outputs:
    """To the blocked layout, whose shape is NCHW; from NHWC if `channels_last`."""
    layout = call.layout()
    last = call.number("channels_last", 0) == 1
    if layout is None or len(layout.axes) != 4:
        return [layout]
    layout = permuted(layout, (0, 3, 1, 2)) if last else layout
    return [_with_channels(layout, 1, call.out_shape())]


@rule(f"{NCHWC}::ReorderOutput")
def reorder_output(call: Call) -> Outputs:
    layout = call.layout()
    last = call.number("channels_last", 0) == 1
    if layout is None or len(layout.axes) != 4:
        return [layout]
    layout = permuted(layout, (0, 2, 3, 1)) if last else layout
    return [_with_channels(layout, 3 if last else 1, call.out_shape())]


def _with_channels(layout: Layout, axis: int, shape: Sequence[int]) -> Layout:
    """Blocks are filled up with channels of zeros, or cut off again."""
    if len(shape) != len(layout.axes):
        raise OddNodeError
    return layout if layout.shape[axis] == shape[axis] else sampled(layout, {axis: (0, 1)}, shape)
