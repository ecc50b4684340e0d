"""Shapes through the bodies of If, Loop, Scan and SequenceMap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from efficiency_cli.errors import ModelError
from efficiency_cli.graph.model import MAX_TRIPS
from efficiency_cli.graph.shapes.scope import Scope, attributes_of, enter_constants
from efficiency_cli.graph.shapes.types import MAX_SEQUENCE, Dim, TypeInfo

if TYPE_CHECKING:
    from efficiency_cli.graph.shapes.walk import Walker

# a Loop whose values change shape is walked three times, but not inside too many such Loops: 3 ** depth walks
MAX_DEPTH_OF_MORE_ROUNDS = 4
# nor after so many nodes in all
MAX_VISITS_BEFORE_MORE_ROUNDS = 50_000

Types = list[TypeInfo | None]


def visit_if(walker: Walker, index: int, node: NodeProto, scope: Scope) -> None:
    """Both branches are inferred; a constant condition decides which one's outputs count."""
    bodies = _bodies(node, ("then_branch", "else_branch"))
    results = {}
    for name, graph in bodies.items():
        results[name] = _walk_body(walker, graph, _enter_body(walker, index, name, graph, scope))
    condition = scope.value_of(node.input[0]) if node.input else None
    chosen = list(results.values())
    if condition is not None and condition.size:
        chosen = [results["then_branch" if bool(condition.flat[0]) else "else_branch"]]
    for slot, name in enumerate(node.output):
        infos = [r[slot] for r in chosen if slot < len(r)]
        info = _larger(infos)
        if name and info is not None:
            scope.types[name] = info


def visit_loop(walker: Walker, index: int, node: NodeProto, scope: Scope) -> None:
    """Carried values keep their shape or grow with the trips; scan outputs get one slice a trip (1 where unknown)."""
    body = _bodies(node, ("body",))["body"]
    count = node.input[0] if node.input else ""
    trips = trip_count(scope.value_of(count) if count else None)
    start = [scope.type_of(i) if i else None for i in node.input[2:]]
    head: list[TypeInfo | None] = [TypeInfo(TensorProto.INT64, ()), TypeInfo(TensorProto.BOOL, ())]

    def run(carried: Sequence[TypeInfo | None]) -> tuple[Types, Types]:
        """What is carried on and what is scanned, once the body has run."""
        outputs = _body_outputs(walker, index, "body", body, scope, head + list(carried))[1:]
        return outputs[: len(carried)], outputs[len(carried) :]

    after, scanned = run(start)
    again = scope.depth < MAX_DEPTH_OF_MORE_ROUNDS and walker.visits < MAX_VISITS_BEFORE_MORE_ROUNDS
    if again and _changes(start, after):
        exact, after, scanned = _of_all_trips(run, trips, start, after)
        if trips is None or trips > 1:
            trip = "largest" if exact else "second"
            walker.notes.append(f"what '{_name(node)}' (Loop) carries changes size: each trip counts as the {trip}")
    stacked = [_stacked(i, trips) for i in scanned]
    if count and scope.is_bound(count):
        stacked = [i.as_bounded() if i else None for i in stacked]
    _set_outputs(walker, node, scope, [*after, *stacked])


def _of_all_trips(
    run: Callable[[Sequence[TypeInfo | None]], tuple[Types, Types]], trips: int | None, start: Types, first: Types
) -> tuple[bool, Types, Types]:
    """What a Loop makes whose carried values change: from `start` to `first` in its first trip; and if that is exact.

    Where the second trip adds what the first added, the last one's operands are known, and the body is left with
    them as upper bounds. Else it is left with the larger of those seen, and all is flagged as a bound.
    """
    if trips is not None:
        second, _ = run(first)
        last = _after_trips(start, first, second, max(trips - 1, 0))
        final = _after_trips(start, first, second, trips)
        if last is not None and final is not None:
            return True, final, run(_larger_each(start, last))[1]
    second, scanned = run(_larger_each(start, first))
    return False, [i.as_bounded() if i else None for i in second], scanned


def _larger_each(some: Types, others: Types) -> Types:
    return [_larger([a, b]) for a, b in zip(some, others, strict=False)]


def _after_trips(start: Types, first: Types, second: Types, trips: int) -> Types | None:
    """The carried values after so many trips that each add the same; None where they do not."""
    found = [_grown(*three, trips) for three in zip(start, first, second, strict=False)]
    return [i for i in found if i is not None] if None not in found else None


def _grown(start: TypeInfo | None, first: TypeInfo | None, second: TypeInfo | None, trips: int) -> TypeInfo | None:
    if start is None or first is None or second is None or start.elem != first.elem:
        return first if start is None and first is not None and first == second else None
    if start.sequence:
        return _longer(start, first, second, trips)
    if not (start.static and first.static and second.static) or len(start.static_shape) != len(first.static_shape):
        return start if start == first == second else None
    shapes = zip(start.static_shape, first.static_shape, second.static_shape, strict=False)
    steps = [(b - a, c - b) for a, b, c in shapes]
    if len(second.static_shape) != len(steps) or any(x != y for x, y in steps):
        return None
    dims = tuple(d + step * trips for d, (step, _) in zip(start.static_shape, steps, strict=True))
    return replace(start, shape=dims, bounded=start.bounded or first.bounded) if min(dims, default=0) >= 0 else None


def _longer(start: TypeInfo, first: TypeInfo, second: TypeInfo, trips: int) -> TypeInfo | None:
    """A list that gets the same elements at its end in every trip."""
    if start.elements is None or first.elements is None or second.elements is None:
        return start if start == first == second else None
    added = first.elements[len(start.elements) :]
    if (*start.elements, *added) != first.elements or (*first.elements, *added) != second.elements:
        return None
    if len(start.elements) + len(added) * trips > MAX_SEQUENCE:
        return replace(second, elements=None)
    return TypeInfo.sequence_of((*start.elements, *added * trips)) if trips else start


def visit_scan(walker: Walker, index: int, node: NodeProto, scope: Scope) -> None:
    """State variables first, then the scanned inputs with their scan axis (0 by default) removed."""
    body = _bodies(node, ("body",))["body"]
    attributes = attributes_of(node)
    count = int(attributes.get("num_scan_inputs", 1))
    batched = walker.version(node) < 9  # opset 8 had a leading sequence_lens operand and a batch axis
    infos = [scope.type_of(i) if i else None for i in (node.input[1:] if batched else node.input)]
    batch = next((_axis(i, 0) for i in infos if i is not None), None)
    if batched:
        infos = [_without_axis(i, 0) for i in infos]
    if not 1 <= count <= len(infos):
        raise ValueError(f"num_scan_inputs is {count} where there are {len(infos)} operands")
    states, scanned = infos[: len(infos) - count], infos[len(infos) - count :]
    axes = list(attributes.get("scan_input_axes", [0] * count))
    length = next((_axis(s, a) for s, a in zip(scanned, axes, strict=False) if s is not None), None)
    slices = [_without_axis(s, a) for s, a in zip(scanned, axes, strict=False)]
    outputs = _body_outputs(walker, index, "body", body, scope, states + slices)
    out_axes = list(attributes.get("scan_output_axes", []))
    stacked = [
        _stacked(info, length, out_axes[k] if k < len(out_axes) else 0) for k, info in enumerate(outputs[len(states) :])
    ]
    results = [*outputs[: len(states)], *stacked]
    _set_outputs(walker, node, scope, [_stacked(i, batch) for i in results] if batched else results)


def visit_sequence_map(walker: Walker, index: int, node: NodeProto, scope: Scope) -> None:
    body = _bodies(node, ("body",))["body"]
    infos = [scope.type_of(i) if i else None for i in node.input]
    operands = [i.element() if i is not None and i.sequence else i for i in infos]
    outputs = _body_outputs(walker, index, "body", body, scope, operands)
    elements = infos[0].elements if infos and infos[0] is not None else None
    count = len(elements) if elements is not None else None
    _set_outputs(walker, node, scope, [i.as_sequence(count) if i else None for i in outputs])


def _enter_body(walker: Walker, index: int, name: str, graph: GraphProto, scope: Scope) -> Scope:
    child = Scope(parent=scope)
    scope.children[index, name] = child
    enter_constants(graph, child, walker.symbols)
    return child


def _walk_body(walker: Walker, graph: GraphProto, child: Scope) -> list[TypeInfo | None]:
    declared = {}
    for value in (*graph.value_info, *graph.output):
        info = TypeInfo.of(value.type, walker.symbols)
        if info is not None:
            declared[value.name] = info
    walker.walk(graph, child, declared)
    return [child.type_of(o.name) for o in graph.output]


def _body_outputs(
    walker: Walker, index: int, name: str, body: GraphProto, scope: Scope, operands: Sequence[TypeInfo | None]
) -> list[TypeInfo | None]:
    child = _enter_body(walker, index, name, body, scope)
    for value, info in zip(body.input, operands, strict=False):
        if info is not None:
            child.types[value.name] = info
    return _walk_body(walker, body, child)


def _set_outputs(walker: Walker, node: NodeProto, scope: Scope, infos: Iterable[TypeInfo | None]) -> None:
    for name, info in zip(node.output, infos, strict=False):
        if name and info is not None:
            scope.types[name] = walker.sized(name, info)


def _changes(before: Sequence[TypeInfo | None], after: Sequence[TypeInfo | None]) -> bool:
    pairs = zip(before, after, strict=False)
    return any(a is not None and b is not None and (a.shape, a.elements) != (b.shape, b.elements) for a, b in pairs)


def trip_count(value: np.ndarray[Any, Any] | None) -> int | None:
    """A Loop's trips when its operand says a real count; None for an unknown or unlimited one."""
    if value is None or value.size != 1:
        return None
    trips = int(value.flat[0])
    return trips if 0 <= trips <= MAX_TRIPS else None


def _bodies(node: NodeProto, names: Sequence[str]) -> dict[str, GraphProto]:
    found = {a.name: a.g for a in node.attribute if a.type == AttributeProto.GRAPH}
    for name in names:
        if name not in found:
            raise ModelError(
                f"node '{_name(node)}' ({node.op_type}) has no {name}",
                hint="the model is damaged; export it again",
            )
    return {name: found[name] for name in names}


def _name(node: NodeProto) -> str:
    return node.name or ", ".join(node.output)


def _larger(infos: Sequence[TypeInfo | None]) -> TypeInfo | None:
    """The type with most elements; flagged as a bound where the candidates differ."""
    known = [i for i in infos if i is not None]
    if not known:
        return None
    best = max(known, key=lambda i: (i.static, i.numel))
    same = all(i.shape == best.shape for i in known)
    return best if same else best.as_bounded()


def _stacked(info: TypeInfo | None, length: int | None, axis: int = 0) -> TypeInfo | None:
    if info is None or info.shape is None:
        return info
    dims = list(info.shape)
    axis = axis + len(dims) + 1 if axis < 0 else axis
    dims.insert(axis, 1 if length is None else length)
    return TypeInfo(info.elem, tuple(dims), bounded=info.bounded or length is None)


def _axis(info: TypeInfo, axis: int) -> Dim:
    return info.shape[axis] if info.shape and -len(info.shape) <= axis < len(info.shape) else None


def _without_axis(info: TypeInfo | None, axis: int) -> TypeInfo | None:
    if info is None or not info.shape:
        return info
    dims = list(info.shape)
    if -len(dims) <= axis < len(dims):
        del dims[axis]
    return TypeInfo(info.elem, tuple(dims), bounded=info.bounded)


VISITORS = {
    "If": visit_if,
    "Loop": visit_loop,
    "Scan": visit_scan,
    "SequenceMap": visit_sequence_map,
}
