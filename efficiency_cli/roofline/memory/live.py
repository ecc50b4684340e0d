"""Who is alive when: every tensor from the kernel that makes it to the last one that reads it.

Inputs live from the start, outputs to the end. Views and fused quantisation are no tensors of their own
(`graph.execution`). What lies over what is the business of `policy.py`: here nothing is overwritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from efficiency_cli.roofline.memory.bodies import Held, held_by_bodies, tensors_of
from efficiency_cli.roofline.network import Kernel, Network


class Block(Struct, frozen=True):
    """Room for one tensor (`key`, its key in the whole model), taken while the kernels `first` to `last` run.

    `kind` is input, output, activation or scratch; `also` are other names of the same bytes.
    """

    key: str
    size: int
    first: int
    last: int
    kind: str = "activation"
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The tensor's name without the path of its graph, where that is the outermost."""
        return self.key.removeprefix("graph:")

    def meets(self, other: Block) -> bool:
        """Whether there is a kernel during which both are alive."""
        return self.first <= other.last and other.first <= self.last


class LiveSet(Struct, frozen=True):
    """Live activation bytes while each kernel runs; the largest of them and where."""

    by_kernel: tuple[int, ...]
    peak_bytes: int
    peak_at: str


def live_set(network: Network, kernels: Sequence[Kernel]) -> LiveSet:
    """The bytes alive at each kernel: O(kernels + tensors)."""
    by_kernel = alive(blocks_of(network, kernels), len(kernels))
    if not by_kernel:
        graph = network.model.graph
        return LiveSet((), sum(graph.tensors[i].bytes for i in graph.inputs), "")
    peak = max(range(len(by_kernel)), key=by_kernel.__getitem__)
    return LiveSet(tuple(by_kernel), by_kernel[peak], kernels[peak].name)


def alive(blocks: Iterable[Block], count: int) -> list[int]:
    """Bytes of the blocks that are alive at each of `count` kernels."""
    change = [0] * (count + 1)
    for block in blocks:
        if block.first < count:
            change[block.first] += block.size
            change[min(block.last + 1, count)] -= block.size
    live, total = [], 0
    for k in range(count):
        total += change[k]
        live.append(total)
    return live


def blocks_of(network: Network, kernels: Sequence[Kernel]) -> list[Block]:
    """A block for each activation, in the order in which they come alive."""
    spans = _Spans(network, kernels)
    return sorted(spans.blocks(), key=lambda b: (b.first, b.last, b.key))


class _Spans:
    """First and last kernel of every tensor, before names of the same bytes are put together."""

    def __init__(self, network: Network, kernels: Sequence[Kernel]) -> None:
        self.network, self.kernels = network, kernels
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.same: dict[str, str] = {}
        self._follow_kernels()
        self._extend_over_bodies(held_by_bodies(network, kernels))
        self._keep_ends()

    def _follow_kernels(self) -> None:
        first, last, sizes = self.first, self.last, self.sizes
        for k, kernel in enumerate(self.kernels):
            for key, size in kernel.writes.items():
                first.setdefault(key, k)
                last.setdefault(key, k)
                sizes[key] = max(size, sizes.get(key, 0))
            for key, size in kernel.reads.items():
                # made by no kernel: an input (see below), or what a body is handed when it starts
                first.setdefault(key, k)
                last[key] = k
                sizes[key] = max(size, sizes.get(key, 0))

    def _extend_over_bodies(self, held: Sequence[Held]) -> None:
        for body in held:
            if body.first >= 0:
                for key in body.throughout:
                    self._cover(key, self.first.get(key, body.first), body.last)
                for key in body.carried:
                    self._cover(key, body.first, body.last)
                for key in body.gathered:
                    self._cover(key, body.first, body.last)
            for one, other in body.same:
                self._join(one, other)
        self._measure(inside=bool(held))

    def _cover(self, key: str, first: int, last: int) -> None:
        self.first[key] = min(first, self.first.get(key, first))
        self.last[key] = max(last, self.last.get(key, last))

    def _join(self, one: str, other: str) -> None:
        one, other = self._root(one), self._root(other)
        if one != other:
            self.same[other] = one

    def _root(self, key: str) -> str:
        while key in self.same:
            above = self.same[key]
            self.same[key] = self.same.get(above, above)
            key = above
        return key

    def _measure(self, *, inside: bool) -> None:
        """Sizes of what no kernel touches in full: a cache into which rows are written, say."""
        tensors, prefix = self.network.model.graph.tensors, f"{self.network.root.path}:"
        of_graph = ((key, tensors.get(key.removeprefix(prefix))) for key in (*self.first, *self.same))
        for key, tensor in tensors_of(self.network.root) if inside else of_graph:
            if tensor is not None and (key in self.first or key in self.same):
                self.sizes[key] = max(tensor.bytes, self.sizes.get(key, 0))

    def _keep_ends(self) -> None:
        """Inputs take their whole size from the start, also where a kernel reads only a part or none of them."""
        network, graph = self.network, self.network.model.graph
        for name in graph.inputs:
            key = network.key_of(name)
            self.sizes[key] = max(graph.tensors[name].bytes, self.sizes.get(key, 0))
            self.first[key] = 0
            self.last.setdefault(key, 0)
        end = len(self.kernels) - 1
        for name in graph.outputs:
            key = network.key_of(name)
            if key in self.last or key in self.same:
                self.last[key] = end
                self.first.setdefault(key, end)
            elif graph.tensors[name].is_constant and end >= 0:
                # handed out as the others are: a copy of what is stored, there from the start
                key = f"{network.root.path}:{name}"
                self.first[key], self.last[key], self.sizes[key] = 0, end, graph.tensors[name].bytes

    def blocks(self) -> list[Block]:
        kinds = _kinds(self.network)
        groups: dict[str, list[str]] = {}
        for key in self.first:
            groups.setdefault(self._root(key), []).append(key)
        found = []
        for names in groups.values():
            if len(names) == 1:
                (key,) = names
                if size := self.sizes.get(key, 0):
                    kind = kinds.get(key, "activation")
                    found.append(Block(key, size, self.first[key], self.last[key], kind))
            elif size := max(self.sizes.get(n, 0) for n in names):
                name = max(names, key=lambda n: (n in kinds, self.sizes.get(n, 0)))
                first, last = min(self.first[n] for n in names), max(self.last[n] for n in names)
                also = tuple(n for n in names if n != name)
                found.append(Block(name, size, first, last, kinds.get(name, "activation"), also))
        return found


def _kinds(network: Network) -> Mapping[str, str]:
    graph = network.model.graph
    constants = {f"{network.root.path}:{o}": "output" for o in graph.outputs if graph.tensors[o].is_constant}
    outputs = {network.key_of(o): "output" for o in graph.outputs}
    return constants | outputs | {network.key_of(i): "input" for i in graph.inputs}
