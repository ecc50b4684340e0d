"""Nodes that a runtime does not execute: Transposes that cancel, those around convolutions where it is NHWC, Casts.

They become views of what they transpose: the result is an Execution in which they are absorbed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from msgspec.structs import replace

from efficiency_cli.graph.execution import VIEW, Execution, followed
from efficiency_cli.graph.fusion.flow import Flow, is_complete
from efficiency_cli.graph.fusion.operators import POINTWISE, SPATIAL
from efficiency_cli.graph.fusion.products import permutation
from efficiency_cli.graph.fusion.quantized import units_of_runtime
from efficiency_cli.graph.model import Graph

CANCELS = "a Transpose that another one undoes"
LAYOUT = "a layout Transpose that the runtime does not have"
SAME_TYPE = "a Cast to the type that is there"
# operators that keep the layout of what they read
_NEUTRAL = POINTWISE | frozenset(
    """Pad Concat Slice Split Dropout Identity QuantizeLinear DequantizeLinear QLinearAdd QLinearMul QLinearConcat
    QLinearLeakyRelu QLinearSigmoid""".split()
)


def arranged(graph: Graph, execution: Execution, patterns: frozenset[str]) -> Execution:
    """The execution as `patterns` have Q/DQ, without the nodes that they spare; itself where they change nothing."""
    if "qdq-units" in patterns and any(node.op == "DequantizeLinear" for node in graph.nodes):
        execution = units_of_runtime(graph, unsigned="qdq-unsigned" in patterns)
    for pattern, op, spared, reason in _SPARED:
        if pattern in patterns and any(node.op == op for node in graph.nodes):
            flow = Flow(graph, execution)
            nodes = frozenset(_running(flow, op))
            alias = spared(flow, nodes) if nodes else {}
            if alias:
                execution = _without(graph, execution, alias, nodes, reason)
    return execution


def _running(flow: Flow, op: str) -> Iterator[int]:
    for k, node in enumerate(flow.graph.nodes):
        if (node.op, node.domain) == (op, "") and k not in flow.execution.absorbed and is_complete(node):
            yield k


def _without(
    graph: Graph, execution: Execution, alias: Mapping[str, str], nodes: Collection[int], reason: str
) -> Execution:
    """The execution with these aliases; those of `nodes` that they are for do not run."""
    to = followed({**execution.alias, **alias})

    def same(name: str) -> str:
        return to.get(name, name)

    # what it makes is something else already, or what it reads is written where it would write
    ends = {
        k: tuple(execution.resolve(n) for n in (graph.nodes[k].inputs[0], graph.nodes[k].outputs[0])) for k in nodes
    }
    gone = {k for k, (source, result) in ends.items() if result in alias or alias.get(source) == result}
    readers: dict[str, list[int]] = {}
    for name, reading in execution.readers.items():
        running = [k for k in reading if k not in gone]
        known = readers.setdefault(same(name), [])
        known += [k for k in running if k not in known] if known else running
    return replace(
        execution,
        absorbed={**execution.absorbed, **dict.fromkeys(gone, reason)},
        alias=to,
        readers={name: sorted(reading) for name, reading in readers.items()},
        leaving=frozenset(map(same, execution.leaving)),
        stored={same(name): same(source) for name, source in execution.stored.items()},
    )


def _unchanged(flow: Flow, casts: frozenset[int]) -> dict[str, str]:
    """Aliases for Casts that change nothing."""
    ends = ((k, flow.graph.nodes[k].inputs[0], flow.graph.nodes[k].outputs[0]) for k in casts)
    return _spared(flow, {k for k, one, other in ends if flow.tensor(one).dtype is flow.tensor(other).dtype})


def _spared(flow: Flow, nodes: Collection[int]) -> dict[str, str]:
    """Each of these nodes as a view; one whose result leaves only where nobody else reads its operand."""
    alias: dict[str, str] = {}
    for k in sorted(nodes):
        source, result = flow.resolve(flow.graph.nodes[k].inputs[0]), flow.resolve(flow.graph.nodes[k].outputs[0])
        if result not in flow.execution.leaving:
            alias[result] = source
        elif source in flow.maker and flow.only_read_by(source, {k}):
            alias[source] = result
    return alias


# --- pairs that cancel -----------------------------------------------------------------------


def _cancelled(flow: Flow, transposes: frozenset[int]) -> dict[str, str]:
    """Aliases for Transposes behind one with the inverse order, and for those on both sides of element-wise nodes."""
    gone: set[int] = set()
    for island in _islands(flow):
        gone |= _ends(flow, island, transposes) - gone
    alias = _spared(flow, gone)
    for k in sorted(transposes - gone):
        before = flow.node_before(flow.graph.nodes[k].inputs[0], ("Transpose",))
        result = flow.resolve(flow.graph.nodes[k].outputs[0])
        if before is None or before[0] in gone or result in flow.execution.leaving:
            continue
        if _inverse(permutation(flow, before[0]), permutation(flow, k)):
            alias[result] = flow.resolve(before[1].inputs[0])
            gone.add(k)
    firsts = {flow.made_by(flow.graph.nodes[k].inputs[0]) for k in gone}
    for first in sorted(k for k in firsts if k is not None and k in transposes):
        node = flow.graph.nodes[first]
        if flow.only_read_by(node.outputs[0], gone):
            alias[flow.resolve(node.outputs[0])] = flow.resolve(node.inputs[0])
    return alias


def _inverse(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    axes = tuple(range(len(one)))
    return bool(one) and tuple(sorted(other)) == axes and tuple(one[axis] for axis in other) == axes


def _islands(flow: Flow) -> list[set[int]]:
    """Element-wise nodes that hang together."""
    nodes = [
        k
        for k, n in enumerate(flow.graph.nodes)
        if n.op in POINTWISE and not n.domain and k not in flow.execution.absorbed
    ]
    sets = _Sets()
    for k in nodes:
        for name in flow.graph.nodes[k].inputs:
            before = flow.node_before(name, POINTWISE) if name else None
            sets.join(str(k), str(before[0]) if before is not None else str(k))
    islands: dict[str, set[int]] = {}
    for k in nodes:
        islands.setdefault(sets.of(str(k)), set()).add(k)
    return list(islands.values())


def _ends(flow: Flow, island: set[int], transposes: frozenset[int]) -> set[int]:
    """The Transposes around an island, where it lies between ones of one order and their inverses, and nothing else."""
    first: set[int] = set()
    for name in flow.operands(island):
        if flow.constant(name):
            if flow.scalar(name):
                continue
            return set()
        before = flow.made_by(name)
        if before not in transposes or not flow.only_read_by(name, island):
            return set()
        first.add(before or 0)
    last: set[int] = set()
    for name in (o for k in island for o in flow.graph.nodes[k].outputs if o):
        outside = set(flow.readers(name)) - island
        if flow.resolve(name) in flow.execution.leaving or not outside <= transposes:
            return set()
        last |= outside
    orders = {permutation(flow, k) for k in first}
    if len(orders) != 1 or not last:
        return set()
    (order,) = orders
    return first | last if all(_inverse(order, permutation(flow, k)) for k in last) else set()


# --- layouts ---------------------------------------------------------------------------------


def _around_images(flow: Flow, transposes: frozenset[int]) -> dict[str, str]:
    """Aliases for Transposes to channels first before convolutions and pools, and to channels last behind them."""
    images = _Images(flow)
    return _spared(flow, [k for k in sorted(transposes) if images.border(k)])


class _Images:
    """Which tensors hang together with a spatial operator by operators that keep the layout."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.sets = _Sets()
        self.views: dict[str, str] = {}
        spatial = []
        for k, node in enumerate(flow.graph.nodes):
            if flow.execution.absorbed.get(k) == VIEW and node.op not in ("Identity", "Dropout"):
                self.views[node.outputs[0]] = node.inputs[0]
            elif node.op in SPATIAL or node.op in _NEUTRAL:
                ends = self._ends(k)
                for name in ends[1:]:
                    self.sets.join(ends[0], name)
                spatial += ends[:1] if node.op in SPATIAL else []
        self.spatial = {self.sets.of(name) for name in spatial}

    def _ends(self, k: int) -> list[str]:
        node = self.flow.graph.nodes[k]
        names = [*node.inputs, *node.outputs]
        if node.op in SPATIAL:
            names = [*node.inputs[:1], *node.outputs[:1]]
        return [n for n in names if n and not self.flow.constant(n)]

    def border(self, k: int) -> bool:
        """Whether Transpose `k` leads into such an image or out of one."""
        node = self.flow.graph.nodes[k]
        order = permutation(self.flow, k)
        rank = len(order)
        if rank < 3:
            return False
        first, last = (0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)
        into = order == first and self._is_image(node.outputs[0])
        return into or (order == last and self._is_image(self._folded(node.inputs[0])))

    def _is_image(self, name: str) -> bool:
        return self.sets.of(name) in self.spatial

    def _folded(self, name: str) -> str:
        """(N, C, H·W) is an image as much as the (N, C, H, W) that it is a view of."""
        source = self.views.get(name, name)
        one, other = self.flow.tensor(name).shape, self.flow.tensor(source).shape
        return source if one and other and one[:2] == other[:2] else name


class _Sets:
    """Names that belong together."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def of(self, name: str) -> str:
        passed = []
        while (parent := self._parent.get(name, name)) != name:
            passed.append(name)
            name = parent
        self._parent.update(dict.fromkeys(passed, name))
        return name

    def join(self, one: str, other: str) -> None:
        self._parent[self.of(one)] = self.of(other)


# pattern, the operator it spares, which of those, and why they cost nothing
_SPARED: tuple[tuple[str, str, Callable[[Flow, frozenset[int]], dict[str, str]], str], ...] = (
    ("casts", "Cast", _unchanged, SAME_TYPE),
    ("layout", "Transpose", _around_images, LAYOUT),
    ("transpose-pairs", "Transpose", _cancelled, CANCELS),
)
