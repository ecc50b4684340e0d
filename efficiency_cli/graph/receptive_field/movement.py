"""Operators that move elements without a window: reshapes, slices, concatenation, lookups, stretching."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec.structs import replace

from efficiency_cli.graph.receptive_field.call import MICROSOFT, Call, OddNodeError, Outputs, everywhere, rule
from efficiency_cli.graph.receptive_field.layout import (
    Atom,
    Layout,
    carries,
    free,
    permuted,
    picked,
    reduced,
    reshaped,
)
from efficiency_cli.graph.receptive_field.merge import joined, merged
from efficiency_cli.graph.receptive_field.spatial import sampled


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(call: Call) -> Outputs:
    layout, shape = call.layout(), call.out_shape()
    return [reshaped(layout, shape) if layout is not None else None]


@rule(*everywhere("Transpose"))
def transpose(call: Call) -> Outputs:
    layout = call.layout()
    if layout is None:
        return [None]
    rank = len(layout.axes)
    order = call.node.attributes.get("perm")
    axes = tuple(range(rank))[::-1] if order is None else call.axes(call.ints("perm", rank, 0), rank)
    if sorted(axes) != list(range(rank)):
        raise OddNodeError
    return [permuted(layout, axes)]


@rule(*everywhere("Expand"))
def expand(call: Call) -> Outputs:
    layout = call.layout()
    return [merged([layout], call.out_shape(), call.node.name) if layout is not None else None]


@rule("Tile")
def tile(call: Call) -> Outputs:
    """Copies: the index within one counts."""
    layout, shape = call.layout(), call.out_shape()
    if layout is None:
        return [None]
    if len(shape) != len(layout.axes):
        raise OddNodeError
    axes = tuple(
        axis if not n or before == n else (Atom(n // before), *axis) if before else free(n)
        for axis, before, n in zip(layout.axes, layout.shape, shape, strict=True)
    )
    return [replace(layout, axes=axes)]


# --- parts of an axis ------------------------------------------------------------------------


@rule("Slice", "DynamicSlice")
def slice_(call: Call) -> Outputs:
    """Output j is input start + j·step. A reversed axis is followed from its lowest position up.

    Where a start is not known, the axis is followed from its beginning: sizes and strides stay right.
    """
    layout, x, shape = call.layout(), call.shape(), call.out_shape()
    if layout is None:
        return [None]
    if len(x) != len(shape):
        raise OddNodeError
    starts, named = call.maybe_ints("starts", 1), call.maybe_ints("axes", 3)
    axes = call.axes(named, len(x)) if named is not None else list(range(len(starts or ())))
    steps = call.values(4) or (1,) * len(axes)
    picks = {k: (0, 1) for k in range(len(x)) if x[k] != shape[k]}
    if starts is not None and len(starts) == len(axes) == len(steps):
        for k, start, step in zip(axes, starts, steps, strict=True):
            if k < len(x) and (x[k] != shape[k] or step != 1):
                picks[k] = _pick(x[k], shape[k], start, step)
    return [sampled(layout, picks, shape)]


def _pick(length: int, out: int, start: int, step: int) -> tuple[int, int]:
    if step == 0:
        raise OddNodeError
    start = start + length if start < 0 else start
    start = min(max(start, 0), length if step > 0 else max(length - 1, 0))
    return (start, step) if step > 0 else (start + step * (max(out, 1) - 1), -step)


@rule("Split", "SplitToSequence")
def split_axis(call: Call) -> Outputs:
    """Each output starts where the one before ended; as a list of tensors, nothing is followed."""
    layout, x = call.layout(), call.shape()
    if layout is None:
        return [None]
    if call.node.op != "Split":
        return call.mixed()
    axis = call.axis(call.number("axis", 0), len(x))
    outputs: list[Layout | None] = []
    offset = 0
    for slot in range(len(call.node.outputs)):
        shape = call.out_shape(slot)
        outputs.append(sampled(layout, {axis: (offset, 1)}, shape))
        offset += shape[axis]
    return outputs


@rule("Gather", f"{MICROSOFT}::GatherBlockQuantized")
def gather(call: Call) -> Outputs:
    """Rows of a table by tokens, or positions of an axis by constants.

    An axis looked up by data is read in full. Constant indices that are not evenly spaced keep the axis's
    windows as if they were in order (a permutation, a rolled picture).
    """
    data, indices = call.layout(), call.layout(1)
    x, shape = call.shape(), call.out_shape()
    axis = call.axis(call.number("gather_axis" if call.node.domain else "axis", 0), len(x))
    rank = len(call.shape(1))
    if data is not None and indices is None:
        return [_taken(call, data, axis, rank, shape)]
    parts: list[Layout] = []
    if data is not None:
        rest = reduced(data, [axis], call.node.name)
        middle = tuple(free(n) for n in shape[axis : axis + rank])
        parts.append(replace(rest, axes=(*rest.axes[:axis], *middle, *rest.axes[axis + 1 :])))
    if indices is not None:
        before, after = (tuple(free(n) for n in part) for part in (shape[:axis], shape[axis + rank :]))
        parts.append(replace(indices, axes=(*before, *indices.axes, *after)))
    return [merged(parts, shape, call.node.name)] if parts else [None]


def _taken(call: Call, data: Layout, axis: int, rank: int, shape: Sequence[int]) -> Layout:
    """The positions of `axis` that constants name."""
    length = call.shape()[axis]
    values = [v + length if v < 0 else v for v in call.values(1) or ()]
    if rank == 0:
        point = picked(data, axis, values[0] if values else 0)
        return replace(point, axes=(*point.axes[:axis], *point.axes[axis + 1 :]))
    steps = {b - a for a, b in pairwise(values)} or {1}
    start, step = (values[0], steps.pop()) if values and len(steps) == 1 and min(steps) > 0 else (0, 1)
    if rank == 1:
        return sampled(data, {axis: (start, step)}, shape)
    flat = (*shape[:axis], _product(shape[axis : axis + rank]), *shape[axis + rank :])
    return reshaped(sampled(data, {axis: (start, step)}, flat), shape)


def _product(lengths: Sequence[int]) -> int:
    result = 1
    for length in lengths:
        result *= length
    return result


# --- side by side ----------------------------------------------------------------------------


@rule(*everywhere("Concat", "QLinearConcat"))
def concat(call: Call) -> Outputs:
    shape = call.out_shape()
    if not shape:
        raise OddNodeError
    axis = call.axis(call.number("axis", 1), len(shape))
    slots = range(2, len(call.node.inputs), 3) if call.node.op == "QLinearConcat" else range(len(call.node.inputs))
    pieces: list[tuple[Layout, int]] = []
    offset = 0
    for slot in slots:
        layout, length = call.layout(slot), call.shape(slot)
        if len(length) != len(shape):
            raise OddNodeError
        if layout is not None and length[axis]:
            pieces.append((layout, offset))
        offset += length[axis]
    if not pieces:
        return [None]
    if not any(carries(layout.axes[axis]) for layout, _ in pieces):
        bare = [layout.with_axis(axis, free(shape[axis])) for layout, _ in pieces]
        return [merged(bare, shape, call.node.name)]
    return [joined(pieces, axis, shape, call.node.name)]
