"""Shapes of lists of tensors, each element kept apart where it is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from efficiency_cli.graph.shapes.types import Call, TypeInfo

INT64 = 7  # TensorProto.INT64

SequenceRule = Callable[[Call], Sequence[TypeInfo | None]]


def rule_for(domain: str, op: str) -> SequenceRule | None:
    return _RULES.get(op) if domain in ("", "ai.onnx") else None


def _elements(call: Call) -> list[TypeInfo] | None:
    info = call.get(0)
    return list(info.elements) if info is not None and info.elements is not None else None


def _construct(call: Call) -> Sequence[TypeInfo | None]:
    known = [o for o in call.operands if o is not None]
    return [TypeInfo.sequence_of(known)]


def _empty(call: Call) -> Sequence[TypeInfo | None]:
    return [TypeInfo(call.attr("dtype", 1), None, sequence=True, elements=())]


def _split(call: Call) -> Sequence[TypeInfo | None]:
    """Pieces of the `split` sizes along `axis`, of one slice each without it."""
    info, shape = call.get(0), call.shape(0)
    if info is None or not shape:
        return [info.as_sequence(None) if info else None]
    axis = call.attr("axis", 0)
    whole = shape[axis]
    sizes = _split_sizes(call, whole)
    if sizes is None:
        return [info.as_bounded().as_sequence(None)]
    keep = len(call.operands) > 1 or call.attr("keepdims", 1) == 1
    pieces = []
    for size in sizes:
        dims = list(shape)
        if keep:
            dims[axis] = size
        else:
            del dims[axis]
        pieces.append(TypeInfo(info.elem, tuple(dims), info.bounded))
    return [TypeInfo.sequence_of(pieces)]


def _split_sizes(call: Call, whole: int) -> list[int] | None:
    value = call.values[1] if len(call.values) > 1 else None
    if len(call.operands) <= 1 or call.operands[1] is None:
        return [1] * whole if whole <= 4096 else None
    if value is None:
        return None
    if value.ndim:
        return [int(v) for v in value]
    step = int(value)
    if step <= 0 or whole // step > 4096:
        return None
    return [min(step, whole - start) for start in range(0, whole, step)]


def _at(call: Call) -> Sequence[TypeInfo | None]:
    info, elements, position = call.get(0), _elements(call), call.value(1)
    if elements and position is not None and -len(elements) <= position < len(elements):
        return [elements[position]]
    if elements:
        largest = max(elements, key=lambda e: e.numel)
        return [largest if all(e.shape == largest.shape for e in elements) else largest.as_bounded()]
    return [info.element() if info else None]


def _insert(call: Call) -> Sequence[TypeInfo | None]:
    info, tensor, elements = call.get(0), call.get(1), _elements(call)
    if tensor is None or elements is None:
        return [info]
    at = call.value(2)
    elements.insert(len(elements) if at is None else at, tensor)
    return [TypeInfo.sequence_of(elements)]


def _erase(call: Call) -> Sequence[TypeInfo | None]:
    elements, at = _elements(call), call.value(1)
    if not elements:
        return [call.get(0)]
    del elements[-1 if at is None else at]
    return [TypeInfo.sequence_of(elements)]


def _concat(call: Call) -> Sequence[TypeInfo | None]:
    """Elements joined along `axis`, or stacked along a new one."""
    info, elements = call.get(0), _elements(call)
    if info is None or not elements or not all(e.static and not e.sequence for e in elements):
        return [info.element().as_bounded() if info else None]
    dims, axis = list(elements[0].static_shape), call.attr("axis", 0)
    bounded = any(e.bounded for e in elements)
    if call.attr("new_axis", 0):
        dims.insert(axis if axis >= 0 else axis + len(dims) + 1, len(elements))
    else:
        dims[axis] = sum(e.static_shape[axis] for e in elements)
    return [TypeInfo(elements[0].elem, tuple(dims), bounded)]


def _length(_call: Call) -> Sequence[TypeInfo | None]:
    return [TypeInfo(INT64, ())]


def _same(call: Call) -> Sequence[TypeInfo | None]:
    return [call.get(0)]


_RULES: dict[str, SequenceRule] = {
    "SequenceConstruct": _construct,
    "SequenceEmpty": _empty,
    "SplitToSequence": _split,
    "SequenceAt": _at,
    "SequenceInsert": _insert,
    "SequenceErase": _erase,
    "ConcatFromSequence": _concat,
    "SequenceLength": _length,
    "Optional": _same,
    "OptionalGetElement": _same,
}
