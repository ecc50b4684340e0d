"""Which results may lie over operands that nobody reads any more: the ways in which runtimes save memory.

    none         every result has room of its own
    elementwise  a result of as many elements lies over an operand (also a cache over the one it continues)
    depthwise    as well convolutions and pools of single channels, which need one channel beside
    overlap      as well whatever goes through its operand row by row: a result begins so far below the operand
                 that no row is overwritten before its last use

Rows are those of channels-last images, or of matrices. What is alive when is not decided here (`live`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, field

from efficiency_cli.graph.model import OpClass, Tensor
from efficiency_cli.hardware.profile import OVERWRITES
from efficiency_cli.roofline.memory.bodies import scopes_of, tensors_of
from efficiency_cli.roofline.memory.live import Block, alive
from efficiency_cli.roofline.memory.window import Gaps, gaps_of, window_of
from efficiency_cli.roofline.network import Kernel, Network, Scope, key_in

NONE, ELEMENTWISE, DEPTHWISE, OVERLAP = OVERWRITES
# operators that write rows into a block: operand 0, or the past keys and values -> the outputs
_WRITTEN_INTO = {
    "ScatterElements": {0: 0},
    "ScatterND": {0: 0},
    "TensorScatter": {0: 0},
    "GroupQueryAttention": {3: 1, 4: 2},
}

_COLUMN_BYTES = 2


class Policy(Struct, frozen=True):
    """`overwrites` as above; kernels of a class or variant in `apart` never overwrite. `columns` of scratch by class
    or variant: each holds the operands of one result, Cin/g · taps (of all groups), in 16 bits.
    """

    overwrites: str = NONE
    apart: frozenset[str] = frozenset()
    columns: Mapping[str, float] = field(default_factory=dict)

    def scratch(self, kernel: Kernel) -> int:
        """Bytes of the kernel's im2col columns."""
        columns = _of_class(self.columns, kernel)
        if not columns or kernel.product is None:
            return 0
        groups = kernel.product.count if kernel.op_class is OpClass.DEPTHWISE else 1
        return math.ceil(columns * groups * kernel.product.k * _COLUMN_BYTES)


def _of_class(table: Mapping[str, float], kernel: Kernel) -> float:
    return table.get(kernel.variant, table.get(kernel.op_class.value, 0.0))


class Overlap(Struct, frozen=True):
    """The result may lie over the operand where it begins `below` bytes before it, or ends `above` behind its end."""

    operand: str
    result: str
    below: int
    above: int


class Needs(Struct, frozen=True):
    """What the arena must hold: blocks, what may lie over what, and the bytes needed at each kernel."""

    blocks: tuple[Block, ...]
    overlaps: tuple[Overlap, ...]
    by_kernel: tuple[int, ...]

    @property
    def bound(self) -> int:
        """The most that any one kernel needs: no plan is smaller."""
        return max(self.by_kernel, default=sum(b.size for b in self.blocks))

    @property
    def gaps(self) -> Mapping[tuple[str, str], int]:
        """As the planner takes them: how far the first of two must begin before the second."""
        size = {b.key: b.size for b in self.blocks}
        return {
            pair: gap
            for o in self.overlaps
            for pair, gap in (
                # side by side they never are in each other's way
                ((o.result, o.operand), min(o.below, size[o.result])),
                ((o.operand, o.result), size[o.operand] + min(o.above - size[o.result], 0)),
            )
        }


def needs_of(network: Network, kernels: Sequence[Kernel], blocks: Sequence[Block], policy: Policy) -> Needs:
    """The blocks with the scratch that the policy needs, and what it allows to lie over each other."""
    count = len(kernels)
    blocks = [*blocks, *_columns(kernels, policy)]
    if policy.overwrites == NONE:
        return Needs(tuple(blocks), (), tuple(alive(blocks, count)))
    found, extra = _Overlaps(network, kernels, blocks, policy).all()
    saved: dict[int, dict[str, int]] = {}
    size = {b.key: b.size for b in blocks}
    at = {b.key: b.first for b in blocks}
    for o in found:
        of_kernel = saved.setdefault(at[o.result], {})
        covered = min(size[o.result] - min(o.below, o.above), size[o.operand])
        of_kernel[o.result] = min(of_kernel.get(o.result, 0) + covered, size[o.result])
    whole = (*blocks, *extra)
    live = alive(whole, count)
    for k, results in saved.items():
        live[k] -= sum(results.values())
    return Needs(whole, tuple(found), tuple(live))


def _columns(kernels: Sequence[Kernel], policy: Policy) -> Iterator[Block]:
    for k, kernel in enumerate(kernels) if policy.columns else ():
        size = policy.scratch(kernel)
        if size:
            yield Block(f"{kernel.name} (im2col)", size, k, k, "scratch")


class _Overlaps:
    def __init__(self, network: Network, kernels: Sequence[Kernel], blocks: Sequence[Block], policy: Policy) -> None:
        self.kernels, self.policy = kernels, policy
        self.block = {key: b for b in blocks for key in (b.key, *b.also)}
        self.tensors: dict[str, Tensor] = dict(tensors_of(network.root))
        self.places = {
            node.name: (scope, k) for scope in scopes_of(network.root) for k, node in enumerate(scope.graph.nodes)
        }

    def all(self) -> tuple[list[Overlap], list[Block]]:
        """Every pair that may overlap, and the scratch that doing so takes."""
        found: list[Overlap] = []
        extra: list[Block] = []
        for k, kernel in enumerate(self.kernels):
            if not self.policy.apart.isdisjoint((kernel.variant, kernel.op_class.value)):
                continue
            pairs = list(self._pairs(k, kernel))
            found += pairs
            if pairs and self._by_channel(kernel):
                extra += self._channels(k, {p.result for p in pairs})
        return found, extra

    def _pairs(self, k: int, kernel: Kernel) -> Iterator[Overlap]:
        """Operands that die in kernel `k`, and results that it makes and that may lie over them."""
        for result in kernel.writes:
            below = self.block.get(result)
            if below is None or below.first != k:
                continue
            for operand in kernel.reads:
                above = self.block.get(operand)
                if above is None or above is below or above.kind == "output":
                    continue
                if above.last == k:
                    gaps = self._gaps(kernel, operand, result)
                    if gaps is not None and min(gaps.below, gaps.above) < below.size:
                        yield Overlap(above.key, below.key, gaps.below, gaps.above)

    def _gaps(self, kernel: Kernel, operand: str, result: str) -> Gaps | None:
        """How far the result must be off the operand; None where it must not lie over it."""
        source, target = self.tensors.get(operand), self.tensors.get(result)
        if source is None or target is None or not source.numel or not target.numel:
            return None
        inside = [self.places[n] for n in kernel.nodes]
        if self._continues(inside, operand, result):
            # row by row in place: it must be the very same block
            return Gaps(0, 0) if source.bytes == target.bytes else None
        readers = [scope.works[k] for scope, k in inside if operand in self._keys(scope, k)]
        if source.numel == target.numel and all(w.op_class is OpClass.ELEMENTWISE for w in readers):
            # element by element, in either direction
            more = max(target.bytes - source.bytes, 0)
            return Gaps(more, more)
        if self._by_channel(kernel) and target.bytes <= source.bytes:
            return Gaps(0, 0)
        if self.policy.overwrites != OVERLAP or len(readers) != 1:
            return None
        window = window_of([scope.graph.nodes[k] for scope, k in inside], source, target)
        return None if window is None else gaps_of(window, source.bytes, target.bytes)

    def _by_channel(self, kernel: Kernel) -> bool:
        return self.policy.overwrites == DEPTHWISE and kernel.op_class in (OpClass.DEPTHWISE, OpClass.POOLING)

    def _channels(self, k: int, results: set[str]) -> Iterator[Block]:
        """One channel of each result, where channels are computed over their operand."""
        for result in sorted(results):
            tensor = self.tensors.get(result)
            if tensor is not None and tensor.shape and len(tensor.shape) > 1 and tensor.shape[1]:
                yield Block(f"{result} (one channel)", -(-tensor.bytes // tensor.shape[1]), k, k, "scratch")

    def _continues(self, inside: Sequence[tuple[Scope, int]], operand: str, result: str) -> bool:
        """Whether a node writes rows of the result into the operand."""
        for scope, k in inside:
            node = scope.graph.nodes[k]
            for slot, place in _WRITTEN_INTO.get(node.op, {}).items():
                if slot < len(node.inputs) and place < len(node.outputs) and node.inputs[slot]:
                    ends = (scope.execution.source(k, node.inputs[slot]), scope.execution.resolve(node.outputs[place]))
                    if (key_in(scope, ends[0]), key_in(scope, ends[1])) == (operand, result):
                        return True
        return False

    def _keys(self, scope: Scope, k: int) -> set[str]:
        """What the node reads, as keys in the whole model."""
        return {key_in(scope, scope.execution.source(k, name)) for name in scope.graph.nodes[k].inputs if name}
