"""Upper bounds for shapes that depend on data (method.md §2): NonZero, NonMaxSuppression and the like.

Each rule gets the operands, the values that are known and onnx's own partial result, and returns
static, `bounded` types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from efficiency_cli.graph.shapes.types import Call, Dim, TypeInfo

INT64 = 7  # TensorProto.INT64


Bound = Callable[[Call], Sequence[TypeInfo | None]]


def bound_for(op: str) -> Bound | None:
    """The rule for an operator with data-dependent output shapes."""
    return _BOUNDS.get(op)


def _filled(call: Call, dims: Sequence[Dim]) -> list[TypeInfo | None]:
    """Every output with its unknown dims taken from `dims` by position."""
    results: list[TypeInfo | None] = []
    for info in call.inferred:
        if info is None or info.static:
            results.append(info)
            continue
        shape = tuple(dims) if info.shape is None else _by_position(info.shape, dims)
        results.append(replace(info, shape=shape, bounded=True))
    return results


def _by_position(shape: Sequence[Dim], dims: Sequence[Dim]) -> tuple[Dim, ...]:
    return tuple(s if s is not None else (dims[k] if k < len(dims) else None) for k, s in enumerate(shape))


def _nonzero(call: Call) -> Sequence[TypeInfo | None]:
    """[rank, non-zeros]: at most every element."""
    info = call.operands[0]
    if info is None or not info.static or info.shape is None:
        return call.inferred
    return [TypeInfo(INT64, (len(info.shape), info.numel), bounded=True)]


def _non_max_suppression(call: Call) -> Sequence[TypeInfo | None]:
    """[batches · classes · min(max_output_boxes_per_class, boxes), 3]."""
    boxes, scores = call.shape(0), call.shape(1)
    if boxes is None or scores is None:
        return call.inferred
    spatial, limit = boxes[1] or 0, call.value(2)
    per_class = spatial if limit is None else max(0, min(limit, spatial))
    rows = (scores[0] or 0) * (scores[1] or 0) * per_class
    return [TypeInfo(INT64, (rows, 3), bounded=True)]


def _compress(call: Call) -> Sequence[TypeInfo | None]:
    """At most as long as the condition or the axis, whichever is shorter."""
    info = call.operands[0]
    if info is None or not info.static:
        return call.inferred
    shape, axis = list(info.static_shape), call.attributes.get("axis")
    if axis is None:
        return [TypeInfo(info.elem, (info.numel,), bounded=True)]
    condition = call.shape(1)
    if condition and condition[0] is not None:
        shape[axis] = min(shape[axis], condition[0])
    return [TypeInfo(info.elem, tuple(shape), bounded=True)]


def _unique(call: Call) -> Sequence[TypeInfo | None]:
    """No element twice: at most as many as there are."""
    info = call.operands[0]
    if info is None or not info.static:
        return call.inferred
    axis = call.attributes.get("axis")
    count = info.numel if axis is None else info.static_shape[axis]
    shape = (info.numel,) if axis is None else info.static_shape
    whole = TypeInfo(info.elem, shape, bounded=True)
    indices = TypeInfo(INT64, (count,), bounded=True)
    return [whole, indices, indices, indices][: len(call.inferred)]


def _top_k(call: Call) -> Sequence[TypeInfo | None]:
    """K unknown: the whole axis."""
    info = call.operands[0]
    if info is None or not info.static:
        return call.inferred
    return [TypeInfo(i.elem if i else INT64, info.shape, bounded=True) for i in call.inferred]


def _slice(call: Call) -> Sequence[TypeInfo | None]:
    """Unknown starts or ends: the whole axis."""
    shape = call.shape(0)
    return _filled(call, shape) if shape is not None else call.inferred


def _reshape(call: Call) -> Sequence[TypeInfo | None]:
    """One unknown dim follows from the number of elements."""
    info, result = call.operands[0], call.inferred[0]
    if info is None or not info.static or result is None or result.shape is None:
        return call.inferred
    if result.shape.count(None) != 1:
        return call.inferred
    known = 1
    for dim in result.shape:
        known *= dim if dim is not None else 1
    rest = info.numel // known if known else 0
    return [replace(result, shape=tuple(rest if d is None else d for d in result.shape), bounded=True)]


_BOUNDS: dict[str, Bound] = {
    "NonZero": _nonzero,
    "NonMaxSuppression": _non_max_suppression,
    "Compress": _compress,
    "Unique": _unique,
    "TopK": _top_k,
    "Slice": _slice,
    "Reshape": _reshape,
}
