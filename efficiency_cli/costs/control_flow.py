"""How often the bodies of If, Loop, Scan and SequenceMap run.

The nodes themselves compute nothing; their bodies' nodes do. If counts one branch: the one a constant
condition selects, else the one asked for, else the costliest. A Loop without a known trip count counts
once and makes the result a lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct, field

from efficiency_cli.costs import Op, Rule, Work, cost
from efficiency_cli.graph.model import MAX_TRIPS, Graph, Node, OpClass


class Choices(Struct, frozen=True):
    """What the user decided about counting: `branch` of an If (then | else | max), `trips` of Loops by
    node name, `count` dense (padded taps and masked scores count) or valid. `rules` are the user's own, by
    (domain, op); `rules_from` says where they were given. `fusion` lists what runs as one kernel, whatever the
    machine's runtime does (None: as that does); `fusion_from` names whose list that is.
    """

    count: str = "dense"
    branch: str = "max"
    trips: Mapping[str, int] = field(default_factory=dict)
    rules: Mapping[tuple[str, str], Rule] = field(default_factory=dict)
    rules_from: str = ""
    fusion: tuple[str, ...] | None = None
    fusion_from: str = ""


class Body(Struct, frozen=True):
    """A subgraph that runs `repeat` times; `note` says what was assumed."""

    label: str
    graph: Graph
    repeat: int
    note: str = ""


@cost("If", "Loop", "Scan", "SequenceMap")
def control_flow(_op: Op) -> Work:
    """0 operations and 0 bytes: what the bodies do is counted there."""
    return Work(0, 0, OpClass.MOVEMENT, None, {}, {}, view=True)


def loops_of(graph: Graph) -> Iterator[str]:
    """Names of the nodes, in the graph and its bodies, whose body runs a number of times."""
    for node in graph.nodes:
        if "body" in node.graphs:
            yield node.name
        for body in node.graphs.values():
            yield from loops_of(body)


def bodies_of(node: Node, graph: Graph, choices: Choices, weigh: Callable[[Graph], int]) -> list[Body]:
    """The bodies of `node` that run; `weigh` gives a branch's cost for the choice of the costliest."""
    if node.op == "If":
        return _branches(node, graph, choices, weigh)
    body = node.graphs.get("body")
    if body is None:
        return [Body(name, inner, 1) for name, inner in node.graphs.items()]
    repeat, note = _trips(node, graph, choices)
    return [Body("body", body, repeat, note)]


def _branches(node: Node, graph: Graph, choices: Choices, weigh: Callable[[Graph], int]) -> list[Body]:
    condition = graph.tensors.get(node.inputs[0]) if node.inputs else None
    if condition is not None and condition.value:
        name = "then_branch" if condition.value[0] else "else_branch"
        return [Body(name, node.graphs[name], 1)]
    if choices.branch in ("then", "else"):
        name = f"{choices.branch}_branch"
        return [Body(name, node.graphs[name], 1, f"'{node.name}': the {choices.branch} branch, as asked")]
    name = max(node.graphs, key=lambda n: (weigh(node.graphs[n]), n == "then_branch"))
    short = name.removesuffix("_branch")
    return [Body(name, node.graphs[name], 1, f"'{node.name}' (If): its costliest branch, {short}, counts")]


def _trips(node: Node, graph: Graph, choices: Choices) -> tuple[int, str]:
    if node.name in choices.trips:
        trips = choices.trips[node.name]
        return trips, f"'{node.name}' ({node.op}): {trips:,} trips, as asked"
    if node.op == "Loop":
        count, condition = (graph.tensors.get(name) for name in (*node.inputs, "", "")[:2])
        if condition is not None and condition.value and not condition.value[0]:
            return 0, ""  # it runs while the condition holds
        if count is not None and count.value and 0 <= count.value[0] <= MAX_TRIPS:
            return int(count.value[0]), ""
        return 1, f"'{node.name}' (Loop): trip count unknown, 1 counted: a lower bound"
    length = _scanned_length(node, graph) if node.op == "Scan" else _mapped_length(node, graph)
    if length is not None:
        return length, ""
    return 1, f"'{node.name}' ({node.op}): number of elements unknown, 1 counted: a lower bound"


def _scanned_length(node: Node, graph: Graph) -> int | None:
    count = node.attributes.get("num_scan_inputs")
    if not isinstance(count, int) or not 0 < count <= len(node.inputs):
        return None
    axes = node.attributes.get("scan_input_axes", (0,))
    axis = int(axes[0]) if isinstance(axes, tuple) and axes else 0
    scanned = graph.tensors.get(node.inputs[len(node.inputs) - count])
    if scanned is not None and scanned.shape and len(node.inputs) > len(node.graphs["body"].inputs):
        # opset 8: sequence_lens comes first, and each operand has a batch axis before the scanned one
        return math.prod(scanned.shape[:2])
    if scanned is None or not scanned.shape or not -len(scanned.shape) <= axis < len(scanned.shape):
        return None
    return scanned.shape[axis]


def _mapped_length(node: Node, graph: Graph) -> int | None:
    """Elements of the list that a SequenceMap walks; None where the list comes from outside."""
    mapped = graph.tensors.get(node.inputs[0]) if node.inputs else None
    return mapped.parts if mapped is not None else None
