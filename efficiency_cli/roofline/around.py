"""What is around a node: what stands in memory for its tensors, and what was absorbed into its kernel.

The wording of why a tensor's bytes are what they are is here; what counts is decided in `graph/execution.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import Struct

from efficiency_cli.graph.execution import VIEW, Execution, execution_of, narrow_bytes
from efficiency_cli.graph.fusion import arranged
from efficiency_cli.graph.model import Node, Tensor
from efficiency_cli.roofline.network import CountedNode, Kernel

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


class Absorbed(Struct, frozen=True):
    """A node that costs nothing of its own, and why."""

    name: str
    op: str
    why: str


def amount(tensor: Tensor, size: int) -> str:
    """How `size` bytes come from the tensor's elements."""
    if tensor.dtype is None or tensor.shape is None:
        return "its shape is not known"
    if size == tensor.bytes:
        return f"{tensor.numel:,} × {tensor.dtype.bits} bit"
    if size < tensor.bytes:
        return f"the part that is touched, of {tensor.bytes:,} B"
    return f"touched more than once, {tensor.bytes:,} B each"


class Around:
    """The graph around a node, and how a runtime of these patterns runs it.

    `reason` says why the node costs nothing there: '' also for a DequantizeLinear that counting has inside the
    integer kernels behind it, and that this runtime runs by itself.
    """

    def __init__(self, counted: CountedNode, patterns: frozenset[str]) -> None:
        self.graph = counted.graph
        self.path = counted.path
        self.execution: Execution = arranged(self.graph, execution_of(self.graph), patterns)
        index = next(k for k, node in enumerate(self.graph.nodes) if node.name == counted.node.name)
        self.reason = self.execution.absorbed.get(index, "")
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
            constant = self.execution.is_constant(tensor)
            why = "not read" if constant else "nothing moves: only its shape or its value matters"
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
        constant = self.execution.is_constant(self.graph.tensors[name])
        if made is None or not constant or self.graph.nodes[made].op == "Constant":
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
