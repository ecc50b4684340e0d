"""One node of an estimate taken apart: what it is, what it counts and why, and the kernel it runs in.

`explain` gathers; the arithmetic is in `terms.py`, the wording of a report in `reports/explain.py`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import Struct

from efficiency_cli.costs import Work, rules, unmodelled, work_of
from efficiency_cli.graph.execution import VIEW, Execution, execution_of, narrow_bytes
from efficiency_cli.graph.model import Graph, Node, Tensor
from efficiency_cli.graph.receptive_field import Field
from efficiency_cli.roofline.estimate import Estimate
from efficiency_cli.roofline.latency import KernelTime
from efficiency_cli.roofline.network import CountedNode, Kernel
from efficiency_cli.roofline.report_data import kernel_of_node, parameters_of
from efficiency_cli.roofline.terms import Operand, Term, time_terms, work_terms

# how the reasons begin for which a node costs nothing because of the kernel before it
_BEHIND = ("folded into", "quantisation")


class Touched(Struct, frozen=True):
    """An operand or output (None: omitted) and the bytes of it that the node alone touches.

    `memory` is the tensor that stands in memory for it: another one behind views and fused Q/DQ. `inside`
    says that it never leaves the kernel.
    """

    slot: int
    tensor: Tensor | None
    bytes: int = 0
    memory: str = ""
    why: str = ""
    inside: bool = False


class Crossing(Struct, frozen=True):
    """A tensor that crosses a kernel's border, under its symbol in the kernel's terms; bytes of one run."""

    symbol: str
    tensor: Tensor
    bytes: int
    why: str


class Absorbed(Struct, frozen=True):
    """A node that costs nothing of its own, and why."""

    name: str
    op: str
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
    counted, whatever was chosen. `rule` and `convention` are the cost rule and what it says of itself.
    `made_by` and `used_by` are kernels: where an absorbed node's input is made, and its output used.
    """

    estimate: Estimate
    index: int
    counted: CountedNode
    dense: Work
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


def explain(estimate: Estimate, name: str) -> Explanation:
    """The node called `name`, taken apart. Raises KeyError for a name that no counted node has."""
    nodes = estimate.network.nodes
    index = next((k for k, n in enumerate(nodes) if n.node.name == name), None)
    if index is None:
        raise KeyError(name)
    counted = nodes[index]
    around = _Around(counted)
    kernels = kernel_of_node(estimate.kernels)
    found = None if counted.absorbed else kernels.get(name)
    dense = work_of(counted.node, counted.graph)
    rule, convention = _rule(counted.node)
    neighbours = around.neighbours(counted.node, kernels) if counted.absorbed else ((), ())
    kernel = None if found is None else _kernel_part(estimate, found, around)
    inside = frozenset(t.name for t in kernel.internal) if kernel is not None else frozenset()
    root = counted.graph is estimate.model.graph
    fields = estimate.receptive_fields if root else {}
    return Explanation(
        estimate=estimate,
        index=index,
        counted=counted,
        dense=dense,
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
    )


def _rule(node: Node) -> tuple[str, tuple[str, ...]]:
    """The cost rule's dotted name, and the paragraphs in which it and its module say the convention."""
    rule: Callable[..., Work] = rules().get((node.domain, node.op), unmodelled)
    module = inspect.getdoc(sys.modules.get(rule.__module__)) or ""
    # a module's first paragraph says what it holds, the rest what holds for all its operators
    texts = [inspect.getdoc(rule) or "", *(module.split("\n\n")[1:] if rule is not unmodelled else [])]
    return f"{rule.__module__}.{rule.__qualname__}", tuple(" ".join(t.split()) for t in texts if t)


def _node_terms(counted: CountedNode, dense: Work) -> tuple[Term, ...]:
    """OPs from MACs and the other operations, and what the node's repeats make of it."""
    work = counted.work
    if counted.absorbed:
        return (Term("node_ops", "OP", 0, "0", ()),)
    macs = Operand("macs", work.macs, "MAC", "dense" if work.macs == dense.macs else "valid")
    other = Operand("other", work.ops - 2 * work.macs, "OP", _share_of_outputs(counted))
    repeat = Operand("repeat", counted.repeat, "", "runs of the body it is in")
    expression, operands = "2 * macs + other", (macs, other)
    if counted.repeat == 1:
        return (Term("node_ops", "OP", work.ops, expression, operands),)
    return (
        Term("node_macs", "MAC", work.macs * counted.repeat, "macs * repeat", (macs, repeat)),
        Term("node_ops", "OP", work.ops * counted.repeat, f"({expression}) * repeat", (*operands, repeat)),
    )


def _share_of_outputs(counted: CountedNode) -> str:
    """The other operations by output element, where they are a whole number of each."""
    other = counted.work.ops - 2 * counted.work.macs
    first = counted.graph.tensors.get(counted.node.outputs[0]) if counted.node.outputs else None
    if not other or first is None or not first.numel or other % first.numel:
        return "additions and other primitive operations"
    return f"{other // first.numel} an output element × {first.numel:,} elements"


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


def _kernel_part(estimate: Estimate, index: int, around: _Around) -> KernelPart:
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


def _crossings(estimate: Estimate, kernel: Kernel, around: _Around) -> Iterator[Crossing]:
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


def amount(tensor: Tensor, size: int) -> str:
    """How `size` bytes come from the tensor's elements."""
    if tensor.dtype is None or tensor.shape is None:
        return "its shape is not known"
    if size == tensor.bytes:
        return f"{tensor.numel:,} × {tensor.dtype.bits} bit"
    if size < tensor.bytes:
        return f"the part that is touched, of {tensor.bytes:,} B"
    return f"touched more than once, {tensor.bytes:,} B each"


class _Around:
    """The graph around a node, and how it runs."""

    def __init__(self, counted: CountedNode) -> None:
        self.graph = counted.graph
        self.path = counted.path
        self.reason = counted.absorbed
        self.execution: Execution = execution_of(counted.graph)
        self.makers: dict[str, int] = {}
        self.readers: dict[str, list[int]] = {}
        for k, node in enumerate(self.graph.nodes):
            self.makers.update((o, k) for o in node.outputs if o)
            for name in dict.fromkeys(node.inputs):
                self.readers.setdefault(name, []).append(k)

    # --- bytes -----------------------------------------------------------------------------

    def touched(self, names: Iterable[str], moved: Mapping[str, int], inside: frozenset[str]) -> tuple[Touched, ...]:
        return tuple(self._touched(slot, name, moved.get(name, 0), name in inside) for slot, name in enumerate(names))

    def _touched(self, slot: int, name: str, size: int, inside: bool) -> Touched:
        if not name:
            return Touched(slot, None)
        tensor, memory = self.graph.tensors[name], self.execution.resolve(name)
        if self.reason:
            return Touched(slot, tensor, 0, memory)
        if not size:
            why = "nothing moves: only its shape or its value matters" if not tensor.is_constant else "not read"
            return Touched(slot, tensor, 0, memory, why)
        source = self.graph.tensors[memory]
        moved = size if memory == name else narrow_bytes(source, tensor, size)
        return Touched(slot, tensor, moved, memory, ", ".join(self._reasons(name, memory, source, moved)), inside)

    def _reasons(self, name: str, memory: str, source: Tensor, moved: int) -> Iterator[str]:
        yield amount(source, moved)
        if memory != name:
            through = self._through(name, memory)
            yield f"through {through}" if through else "behind views or Q/DQ"
        prepared = self._prepared(memory)
        if prepared:
            yield prepared

    def why_weight(self, name: str, size: int) -> str:
        """As `amount`, and how the constant came to be or what it is beside."""
        words = [amount(self.graph.tensors[name], size)]
        prepared = self._prepared(name)
        beside = [w for w, scales in self.execution.beside.items() if name in scales]
        if prepared:
            words.append(prepared)
        if beside:
            words.append("scale or zero point, read along")
        return ", ".join(words)

    def _prepared(self, name: str) -> str:
        """'computed before the run by …' for a constant that other constants make."""
        made = self.makers.get(name)
        if made is None or not self.graph.tensors[name].is_constant or self.graph.nodes[made].op == "Constant":
            return ""
        return f"computed once before the run by {self.graph.nodes[made].op}"

    def _through(self, name: str, memory: str) -> str:
        """The operators between a tensor and what stands in memory for it, upstream or downstream."""
        back = self._walk(name, memory, self._upstream)
        return " and ".join(back or self._walk(name, memory, self._downstream))

    def _walk(self, name: str, memory: str, step: Callable[[str], tuple[str, str] | None]) -> list[str]:
        ops: list[str] = []
        # no chain is longer than the graph
        for _ in self.graph.nodes:
            found = step(name)
            if found is None:
                return []
            ops.append(found[0])
            name = found[1]
            if name == memory:
                return ops
        return []

    def _upstream(self, name: str) -> tuple[str, str] | None:
        k = self.makers.get(name)
        if k is None or k not in self.execution.absorbed or not self.graph.nodes[k].inputs:
            return None
        return self.graph.nodes[k].op, self.graph.nodes[k].inputs[0]

    def _downstream(self, name: str) -> tuple[str, str] | None:
        for k in self.readers.get(name, ()):
            node = self.graph.nodes[k]
            if k in self.execution.absorbed and node.outputs and node.inputs[0] == name:
                return node.op, node.outputs[0]
        return None

    # --- kernels ---------------------------------------------------------------------------

    def internal(self, kernel: Kernel, nodes: Iterable[Node]) -> Iterator[Tensor]:
        """What the kernel's nodes make and only they read."""
        inside = list(nodes)
        read = {self.execution.resolve(i) for node in inside for i in node.inputs if i}
        for node in inside:
            for name in node.outputs:
                memory = self.execution.resolve(name)
                if name and f"{self.path}:{memory}" not in kernel.writes and memory in read:
                    yield self.graph.tensors[name]

    def absorbed_by(self, nodes: Iterable[Node]) -> Iterator[Absorbed]:
        """The nodes before and behind these that cost nothing because of them, in order."""
        inside = list(nodes)
        before, _ = self._reach((i for n in inside for i in n.inputs), up=True, through=_is_before)
        behind, _ = self._reach((o for n in inside for o in n.outputs), up=False, through=_is_behind)
        for k in sorted({*before, *behind}):
            node = self.graph.nodes[k]
            yield Absorbed(node.name, node.op, self.execution.absorbed[k])

    def neighbours(self, node: Node, kernels: Mapping[str, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The kernels that make an absorbed node's inputs, and those that use its outputs."""
        _, makers = self._reach(node.inputs, up=True, through=_is_any)
        _, users = self._reach(node.outputs, up=False, through=_is_any)
        made, used = ({kernels.get(self.graph.nodes[k].name) for k in found} for found in (makers, users))
        return tuple(sorted(k for k in made if k is not None)), tuple(sorted(k for k in used if k is not None))

    def _reach(self, names: Iterable[str], *, up: bool, through: Callable[[str], bool]) -> tuple[list[int], list[int]]:
        """Absorbed nodes that tensors lead to, and the nodes that run behind those.

        `up` goes to what makes the tensors, else to what reads them; `through` says by its reason which
        absorbed nodes to follow.
        """
        absorbed: dict[int, None] = {}
        running: dict[int, None] = {}
        pending = [n for n in names if n]
        while pending:
            name = pending.pop()
            found = [self.makers[name]] if up and name in self.makers else [] if up else self.readers.get(name, [])
            for k in found:
                reason = self.execution.absorbed.get(k)
                if reason is None:
                    running[k] = None
                elif k not in absorbed and through(reason):
                    absorbed[k] = None
                    node = self.graph.nodes[k]
                    pending += [n for n in (node.inputs if up else node.outputs) if n]
        return list(absorbed), list(running)


def _is_behind(reason: str) -> bool:
    return reason == VIEW or reason.startswith(_BEHIND)


def _is_before(reason: str) -> bool:
    return not reason.startswith(_BEHIND)


def _is_any(_reason: str) -> bool:
    return True
