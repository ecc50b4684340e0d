"""One node of an estimate taken apart: what it is, what it counts and why, and the kernel it runs in.

`explain` gathers; the arithmetic is in `terms.py`, the bytes' reasons in `around.py`, the wording of a report in
`reports/explain.py`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.costs import Work, rules, unmodelled
from efficiency_cli.costs.control_flow import Choices
from efficiency_cli.costs.custom import CustomRule
from efficiency_cli.graph.model import Graph, Node, Tensor
from efficiency_cli.graph.receptive_field import Field
from efficiency_cli.roofline.around import Absorbed, Around, Touched, amount
from efficiency_cli.roofline.conventions import NodeCount, node_as_counted_by
from efficiency_cli.roofline.effective import NodeEffective
from efficiency_cli.roofline.estimate import Estimate
from efficiency_cli.roofline.latency import KernelTime
from efficiency_cli.roofline.network import CountedNode, Kernel
from efficiency_cli.roofline.report_data import kernel_of_node, parameters_of
from efficiency_cli.roofline.terms import Operand, Term, work_terms
from efficiency_cli.roofline.time_terms import time_terms


class Crossing(Struct, frozen=True):
    """A tensor that crosses a kernel's border, under its symbol in the kernel's terms; bytes of one run."""

    symbol: str
    tensor: Tensor
    bytes: int
    why: str


class Body(Struct, frozen=True):
    """A subgraph that a node runs: how often, and what that counts in all."""

    path: str
    repeat: int
    nodes: int
    macs: int
    ops: int


class KernelPart(Struct, frozen=True):
    """A kernel: what crosses its border, what stays inside, what was absorbed into it, and its terms."""

    kernel: Kernel
    crossings: tuple[Crossing, ...]
    internal: tuple[Tensor, ...]
    absorbed: tuple[Absorbed, ...]
    terms: tuple[Term, ...]
    time: KernelTime | None
    energy_j: float | None


class Explanation(Struct, frozen=True):
    """What `explain` says of one node.

    `index` is its place among the network's nodes. `dense` is its work with padding and masked scores
    counted, whatever was chosen; `formula` says it in numbers, '' where the rule does not. `rule` and
    `convention` are the cost rule and what it says of itself. `made_by` and `used_by` are kernels: where
    an absorbed node's input is made, and its output used. `beside` is the count of the estimate's convention,
    `effective` what is left without zero weights, where those were asked for.
    """

    estimate: Estimate
    index: int
    counted: CountedNode
    dense: Work
    formula: str
    rule: str
    convention: tuple[str, ...]
    inputs: tuple[Touched, ...]
    outputs: tuple[Touched, ...]
    parameters: int
    terms: tuple[Term, ...]
    kernel: KernelPart | None
    made_by: tuple[int, ...]
    used_by: tuple[int, ...]
    bodies: tuple[Body, ...]
    fields: Mapping[str, Field]
    beside: NodeCount | None
    effective: NodeEffective | None


def explain(estimate: Estimate, name: str) -> Explanation:
    """The node called `name`, taken apart. Raises KeyError for a name that no counted node has."""
    nodes = estimate.network.nodes
    index = next((k for k, n in enumerate(nodes) if n.node.name == name), None)
    if index is None:
        raise KeyError(name)
    around = Around(nodes[index], estimate.patterns)
    counted = replace(nodes[index], absorbed=around.reason)
    kernels = kernel_of_node(estimate.kernels)
    found = None if counted.absorbed else kernels.get(name)
    dense = estimate.network.dense_work(counted.node, counted.graph)
    choices = estimate.network.choices
    rule, convention = _rule(counted.node, choices)
    neighbours = around.neighbours(counted.node, kernels) if counted.absorbed else ((), ())
    kernel = None if found is None else _kernel_part(estimate, found, around)
    inside = frozenset(t.name for t in kernel.internal) if kernel is not None else frozenset()
    root = counted.graph is estimate.model.graph
    fields = estimate.receptive_fields if root else {}
    beside = estimate.convention
    return Explanation(
        estimate=estimate,
        index=index,
        counted=counted,
        dense=dense,
        formula=_formula(dense, counted.node, choices),
        rule=rule,
        convention=convention,
        inputs=around.touched(counted.node.inputs, counted.work.reads, inside),
        outputs=around.touched(counted.node.outputs, counted.work.writes, inside),
        parameters=parameters_of(counted),
        terms=_node_terms(counted, dense),
        kernel=kernel,
        made_by=neighbours[0],
        used_by=neighbours[1],
        bodies=tuple(_bodies(counted, nodes)),
        fields={o: fields[o] for o in counted.node.outputs if o in fields},
        beside=node_as_counted_by(beside.name, counted, estimate.network) if beside is not None else None,
        effective=estimate.effective.nodes.get(name) if estimate.effective is not None else None,
    )


def _rule(node: Node, choices: Choices) -> tuple[str, tuple[str, ...]]:
    """The cost rule's name, and the paragraphs in which it and its module say the convention."""
    given = choices.rules.get((node.domain, node.op))
    if isinstance(given, CustomRule):
        return f"{choices.rules_from or 'given'}: {node.key}", given.lines
    rule: Callable[..., Work] = given or rules().get((node.domain, node.op), unmodelled)
    module = inspect.getdoc(sys.modules.get(rule.__module__)) or ""
    # a module's first paragraph says what it holds, the rest what holds for all its operators
    texts = [inspect.getdoc(rule) or "", *(module.split("\n\n")[1:] if rule is not unmodelled else [])]
    return f"{rule.__module__}.{rule.__qualname__}", tuple(" ".join(t.split()) for t in texts if t)


def _formula(dense: Work, node: Node, choices: Choices) -> str:
    """The formula in numbers. A built-in rule has one, whose result is said beside it by the counts themselves."""
    if (node.domain, node.op) in choices.rules:
        return dense.formula
    return dense.formula.rpartition(" = ")[0] or dense.formula


def _node_terms(counted: CountedNode, dense: Work) -> tuple[Term, ...]:
    """OPs from MACs and the other operations, and what the node's repeats make of it."""
    work = counted.work
    if counted.absorbed:
        return (Term("node_ops", "OP", 0, "0", ()),)
    counted_as = "dense" if work.macs == dense.macs else "valid"
    macs = Operand("macs", work.macs, "MAC", f"{counted_as}{_share_of_outputs(counted, work.macs)}")
    rest = work.ops - 2 * work.macs
    said = f"additions and other primitive operations{_share_of_outputs(counted, rest)}"
    other = Operand("other", rest, "OP", said)
    repeat = Operand("repeat", counted.repeat, "", "runs of the body it is in")
    expression, operands = "2 * macs + other", (macs, other)
    if counted.repeat == 1:
        return (Term("node_ops", "OP", work.ops, expression, operands),)
    return (
        Term("node_macs", "MAC", work.macs * counted.repeat, "macs * repeat", (macs, repeat)),
        Term("node_ops", "OP", work.ops * counted.repeat, f"({expression}) * repeat", (*operands, repeat)),
    )


def _share_of_outputs(counted: CountedNode, count: int) -> str:
    """`count` by element of the first output, where it is a whole number of each; else ''."""
    first = counted.graph.tensors.get(counted.node.outputs[0]) if counted.node.outputs else None
    if not count or first is None or not first.numel or count % first.numel:
        return ""
    return f", {count // first.numel:,} an output element × {first.numel:,} elements"


def _bodies(counted: CountedNode, nodes: Iterable[CountedNode]) -> Iterator[Body]:
    """The subgraphs of the node that count, with all that is in them."""
    if not counted.node.graphs:
        return
    start = f"{counted.path}/{counted.node.name}."
    inside: dict[str, list[CountedNode]] = {}
    for node in nodes:
        if node.path.startswith(start):
            body = node.path[len(start) :].split("/")[0]
            inside.setdefault(start + body, []).append(node)
    for path, found in inside.items():
        yield Body(path, found[0].repeat, len(found), sum(n.macs for n in found), sum(n.ops for n in found))


def _kernel_part(estimate: Estimate, index: int, around: Around) -> KernelPart:
    kernel = estimate.kernels[index]
    members = [n for n in estimate.network.nodes if n.node.name in set(kernel.nodes)]
    work = work_terms(kernel, members)
    return KernelPart(
        kernel=kernel,
        crossings=tuple(_crossings(estimate, kernel, around)),
        internal=tuple(around.internal(kernel, [n.node for n in members])),
        absorbed=tuple(around.absorbed_by([n.node for n in members])),
        terms=(*work, *time_terms(estimate, index, work)),
        time=estimate.times[index] if estimate.times else None,
        energy_j=estimate.energies[index] if estimate.energies else None,
    )


def _crossings(estimate: Estimate, kernel: Kernel, around: Around) -> Iterator[Crossing]:
    tensors = around.graph.tensors
    for k, (name, size) in enumerate(kernel.weights.items(), 1):
        yield Crossing(f"weight_{k}", tensors[name], size, around.why_weight(name, size))
    graphs = {n.path: n.graph for n in estimate.network.nodes}
    for letter, moved in (("read", kernel.reads), ("written", kernel.writes)):
        for k, (key, size) in enumerate(moved.items(), 1):
            tensor, outer = _tensor_of(key, around.path, graphs)
            why = amount(tensor, size) + (f", from around this body ({outer})" if outer else "")
            yield Crossing(f"{letter}_{k}", tensor, size, why)


def _tensor_of(key: str, path: str, graphs: Mapping[str, Graph]) -> tuple[Tensor, str]:
    """The tensor of a key in the whole model, and the path of its graph where that is not `path`."""
    for place in (path, *sorted(graphs, key=len, reverse=True)):
        if key.startswith(f"{place}:") and key[len(place) + 1 :] in graphs[place].tensors:
            return graphs[place].tensors[key[len(place) + 1 :]], "" if place == path else place
    # cannot be: the network makes keys from the same paths and names
    raise KeyError(key)
