"""What a node with bodies keeps alive while they run: the operands and captures of If, Loop, Scan, SequenceMap.

A body's kernels stand in a row in the schedule but run many times. What one trip leaves to the next, and what
every trip reads, has to stay until the last; what the body hands out is the node's own result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from efficiency_cli.graph.model import Graph, Node, Tensor
from efficiency_cli.roofline.network import Kernel, Network, Scope, key_in

_REPEATING = frozenset({"Loop", "Scan", "SequenceMap"})


class Held(Struct, frozen=True):
    """What a run of a node's bodies does to the tensors around and inside, as keys in the whole model.

    It takes the kernels `first` to `last`; both are -1 for bodies that launch nothing. `throughout` are alive from
    before it to its end, `carried` during all of it, `gathered` from its start. `same` are pairs of names for one
    block: a branch's result and the node's, a list and the element that a trip reads of it.
    """

    first: int
    last: int
    throughout: tuple[str, ...]
    carried: tuple[str, ...]
    gathered: tuple[str, ...]
    same: tuple[tuple[str, str], ...]


def held_by_bodies(network: Network, kernels: Sequence[Kernel]) -> list[Held]:
    """One entry for each body that runs, inner ones as well; kernels may stand in any order that keeps bodies whole."""
    if not network.root.inner:
        return []
    place = {name: k for k, kernel in enumerate(kernels) for name in kernel.nodes}
    return list(_held(network.root, place))


def scopes_of(scope: Scope) -> Iterator[Scope]:
    """The scope and those of all bodies that run in it."""
    yield scope
    for bodies in scope.inner.values():
        for body in bodies:
            yield from scopes_of(body)


def _held(scope: Scope, place: Mapping[str, int]) -> Iterator[Held]:
    for k, bodies in scope.inner.items():
        for body in bodies:
            yield _one(scope, scope.graph.nodes[k], body, place)
            yield from _held(body, place)


def _one(scope: Scope, node: Node, body: Scope, place: Mapping[str, int]) -> Held:
    inside = [place[n.name] for s in scopes_of(body) for n in s.graph.nodes if n.name in place]
    first, last = (min(inside), max(inside)) if inside else (-1, -1)
    captured = tuple(body.keys[n] for n in sorted(body.graph.captured) if n in body.keys)
    operands = [_key(scope, name) for name in node.inputs]
    results = [_key(scope, name) for name in node.outputs]
    takes = [_key(body, name) for name in body.graph.inputs]
    gives = [_key(body, name) for name in body.graph.outputs]
    if node.op not in _REPEATING:
        pairs = [(r, g) for r, g in zip(results, gives, strict=False) if r and g]
        return Held(first, last, (), (), (), tuple(pairs))
    handed = _handed(node, operands, results, takes, gives)
    once = body.repeat == scope.repeat
    states = [pair for pair in handed.states if once and all(pair)]
    carried = [v for _, v in handed.states if v and not once]
    listed = [pair for pair in (*handed.slices, *handed.finals, *handed.pieces) if all(pair)]
    return Held(
        first,
        last,
        throughout=(*(o for o in operands if o), *captured),
        carried=tuple(carried),
        gathered=tuple(r for r, _ in handed.pieces if r),
        same=(*listed, *states),
    )


class _Handed(Struct, frozen=True):
    """Pairs of an outer and an inner key: initial states, elements of lists, final states, pieces of lists."""

    states: list[tuple[str, str]]
    slices: list[tuple[str, str]]
    finals: list[tuple[str, str]]
    pieces: list[tuple[str, str]]


def _handed(
    node: Node, operands: Sequence[str], results: Sequence[str], takes: Sequence[str], gives: Sequence[str]
) -> _Handed:
    """Who is who, by the operator: Loop (trips, condition, states), Scan (states, lists), SequenceMap (lists)."""
    if node.op == "Loop":
        # the body takes the trip's number and the condition first, and gives a condition back
        operands, takes, gives = operands[2:], takes[2:], gives[1:]
        states = len(takes)
    elif node.op == "Scan":
        count = node.attributes.get("num_scan_inputs")
        # opset 8 has the sequences' lengths before the states
        operands = operands[max(len(operands) - len(takes), 0) :]
        states = max(len(takes) - count, 0) if isinstance(count, int) else len(takes)
    else:
        states = 0
    return _Handed(
        list(zip(operands[:states], takes[:states], strict=False)),
        list(zip(operands[states:], takes[states:], strict=False)),
        list(zip(results[:states], gives[:states], strict=False)),
        list(zip(results[states:], gives[states:], strict=False)),
    )


def _key(scope: Scope, name: str) -> str:
    """The key of an activation; '' for a constant or an operand left out."""
    if not name:
        return ""
    source = scope.execution.resolve(name)
    tensor = scope.graph.tensors.get(source)
    return "" if tensor is None or tensor.is_constant else key_in(scope, source)


def tensors_of(scope: Scope) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the scope's graph, and of the bodies', by its key in the whole model."""
    for inner in scopes_of(scope):
        graph: Graph = inner.graph
        for name, tensor in graph.tensors.items():
            if name not in inner.keys:
                yield f"{inner.path}:{name}", tensor
