"""Operators that move or make data without arithmetic: 0 operations, and the bytes they touch.

A view moves nothing. What only looks up reads what it looks up. Interpolation is in resampling.py.
"""

from __future__ import annotations

import math
from itertools import pairwise

from efficiency_cli.costs import MICROSOFT, Op, Work, cost
from efficiency_cli.costs.convolution import NCHWC, NHWC
from efficiency_cli.graph.model import OpClass, Shape, Tensor


@cost(
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Identity",
    "BitCast",
    "Constant",
    "Optional",
    "OptionalGetElement",
    f"{MICROSOFT}::ExpandDims",
)
def view(op: Op) -> Work:
    """Nothing is computed or moved: the result is the operand's memory under another shape or name."""
    return op.view()


@cost("Dropout")
def dropout(op: Op) -> Work:
    """A view in inference. With a constant training_mode = 1: 2 an element (compare, scale), and a mask."""
    mode = op.get(2)
    if mode is None or not mode.value or not mode.value[0]:
        return op.view()
    return op.work(other=2 * op.elements())


@cost(
    "Concat",
    "Split",
    "Pad",
    "Expand",
    "Tile",
    "DepthToSpace",
    "SpaceToDepth",
    "ReverseSequence",
    "Trilu",
    "OneHot",
    "Compress",
    "CenterCropPad",
    "ConstantOfShape",
    "EyeLike",
    f"{MICROSOFT}::Pad",
    f"{MICROSOFT}::Trilu",
    f"{MICROSOFT}::UnfoldTensor",
    f"{MICROSOFT}::RemovePadding",
    f"{MICROSOFT}::RestorePadding",
    f"{NCHWC}::ReorderInput",
    f"{NCHWC}::ReorderOutput",
    f"{NHWC}::DepthToSpace",
    f"{NHWC}::SpaceToDepth",
)
def move(op: Op) -> Work:
    """0 operations; every operand is read once and every output written once."""
    return op.work(op_class=OpClass.MOVEMENT)


@cost("Transpose")
def transpose(op: Op) -> Work:
    """As other movement. General where the last axis moves and so do others: no rows are copied as they are."""
    shape = op.shape()
    perm = tuple(op.ints("perm") or reversed(range(len(shape))))
    variant = "general-transpose" if _scatters(shape, perm) else ""
    return op.work(op_class=OpClass.MOVEMENT, variant=variant)


def _scatters(shape: Shape, perm: Shape) -> bool:
    """Whether the last axis moves and more than one does, counting as one those that stay side by side."""
    if sorted(perm) != list(range(len(shape))):
        return False
    moved = [axis for axis in perm if shape[axis] != 1]
    kept = sorted(moved)
    follows = dict(pairwise(kept))
    blocks = [moved[0]] if moved else []
    blocks += [axis for before, axis in pairwise(moved) if follows.get(before) != axis]
    order = [sorted(blocks).index(axis) for axis in blocks]
    if not order or order[-1] == len(order) - 1:
        return False
    return not any([a for a in order if a != k] == sorted(set(order) - {k}) for k in order)


@cost("Cast", "CastLike")
def cast(op: Op) -> Work:
    """0 operations: converting is part of loading and storing. CastLike does not read its second operand."""
    return op.work(op_class=OpClass.MOVEMENT, touched={1: 0})


@cost("Shape", "Size")
def shape_of(op: Op) -> Work:
    """Reads nothing; writes its few numbers."""
    return op.work(op_class=OpClass.MOVEMENT, touched={0: 0})


@cost("Slice", "Gather", "GatherElements", "GatherND", f"{MICROSOFT}::GatherND", f"{MICROSOFT}::TorchEmbedding")
def look_up(op: Op) -> Work:
    """Reads of its first operand what it writes (a row as often as it is asked for), and its indices, starts,
    ends and steps in full."""
    return op.work(op_class=OpClass.MOVEMENT, touched={0: op.output().bytes})


@cost(f"{MICROSOFT}::GatherBlockQuantized")
def look_up_quantized(op: Op) -> Work:
    """Reads the rows it touches as they are stored, packed, with their share of scales and zero points;
    2 an output element to dequantise."""
    data, elements = op.input(), op.elements()
    stored = stored_elements(data, op.attr("bits", 4))
    share = {
        slot: min(tensor.bytes, -(-tensor.bytes * elements // stored) if stored else 0)
        for slot in (0, 2, 3)
        if (tensor := op.get(slot)) is not None
    }
    return op.work(other=2 * elements, dtype=op.output().dtype, touched=share)


def stored_elements(data: Tensor, bits: int) -> int:
    """Elements in a packed tensor: uint8 holds 8 / `bits` each; sub-byte types hold their own."""
    per_byte = 8 // bits if data.dtype is not None and data.dtype.bits == 8 and bits in (1, 2, 4, 8) else 1
    return data.numel * per_byte


@cost("ScatterElements", "ScatterND", "Scatter")
def scatter(op: Op) -> Work:
    """A copy of the data with the updates written into it; a reduction costs 1 an update."""
    reduces = op.attr("reduction", "none") != "none"
    other = math.prod(op.shape(2)) if reduces else 0
    return op.work(other=other, op_class=OpClass.MOVEMENT)


@cost("TensorScatter")
def scatter_cache(op: Op) -> Work:
    """An update of a cache in place: the update is read and written, the rest of the cache is not touched."""
    return op.work(op_class=OpClass.MOVEMENT, touched={0: 0}, written={0: op.input(1).bytes})


@cost("NonZero")
def non_zero(op: Op) -> Work:
    """One comparison an input element; the result is counted at its upper bound."""
    return op.work(other=math.prod(op.shape()))


@cost("Range", f"{MICROSOFT}::Range")
def arithmetic_range(op: Op) -> Work:
    """One addition an output element."""
    return op.work(other=op.elements())
