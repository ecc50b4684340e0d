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

from efficiency_cli.costs import Work, rules
from efficiency_cli.graph.model import Node, OpClass, Tensor
from efficiency_cli.hardware.kinds import first_of, kinds_of
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


# operators with a rule in this module do the same at every element; and these
_ELEMENTWISE_RULES = "efficiency_cli.costs.elementwise"
_ALSO_ELEMENTWISE = frozenset(
    "Cast QuantizeLinear DequantizeLinear QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu QLinearWhere".split()
)


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
    return table.get(first_of(table, _kinds(kernel)), 0.0)


def _kinds(kernel: Kernel) -> tuple[str, ...]:
    return kinds_of(kernel.op_class.value, kernel.variant, "", "")


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
    reading = _Reading(network)
    blocks = _in_place(kernels, blocks, policy, reading)
    found = _overlaps(kernels, blocks, policy, reading)
    live = alive(blocks, count)
    size, first = {b.key: b.size for b in blocks}, {b.key: b.first for b in blocks}
    for o in found:
        live[first[o.result]] -= min(size[o.result] - min(o.below, o.above), size[o.operand])
    return Needs(tuple(blocks), tuple(found), tuple(live))


def _columns(kernels: Sequence[Kernel], policy: Policy) -> Iterator[Block]:
    for k, kernel in enumerate(kernels) if policy.columns else ():
        size = policy.scratch(kernel)
        if size:
            yield Block(f"{kernel.name} (im2col)", size, k, k, "scratch")


class _Reading:
    """What the nodes of a kernel read, by the keys of the whole model; looked up once a kernel."""

    def __init__(self, network: Network) -> None:
        self.tensors: dict[str, Tensor] = dict(tensors_of(network.root))
        self.places = {
            node.name: (scope, k) for scope in scopes_of(network.root) for k, node in enumerate(scope.graph.nodes)
        }

    def of(self, kernel: Kernel) -> list[_Reader]:
        """The kernel's nodes in their order."""
        return [_reader(*self.places[name]) for name in kernel.nodes]


class _Reader(Struct, frozen=True):
    """A node in a kernel: the keys of its operands, slot by slot, and of its outputs ('' for none)."""

    node: Node
    work: Work
    operands: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def elementwise(self) -> bool:
        """Whether each element of the result comes of the operands' elements at the same place."""
        key = (self.node.domain, self.node.op)
        return self.work.view or self.node.op in _ALSO_ELEMENTWISE or _module_of(key) == _ELEMENTWISE_RULES


def _module_of(key: tuple[str, str]) -> str:
    rule = rules().get(key)
    return rule.__module__ if rule is not None else ""


def _reader(scope: Scope, k: int) -> _Reader:
    node, execution = scope.graph.nodes[k], scope.execution
    return _Reader(
        node,
        scope.works[k],
        tuple(key_in(scope, execution.source(k, name)) if name else "" for name in node.inputs),
        tuple(key_in(scope, execution.resolve(name)) if name else "" for name in node.outputs),
    )


def _by_channel(kernel: Kernel, policy: Policy) -> bool:
    return policy.overwrites == DEPTHWISE and kernel.op_class in (OpClass.DEPTHWISE, OpClass.POOLING)


def _dying(
    kernels: Sequence[Kernel], blocks: Sequence[Block], policy: Policy
) -> Iterator[tuple[int, Kernel, list[tuple[str, Block]], list[tuple[str, Block]]]]:
    """Kernels with operands that nobody reads again and results that they make: as (key, block)."""
    block = {key: b for b in blocks for key in (b.key, *b.also)}
    for k, kernel in enumerate(kernels):
        if not policy.apart.isdisjoint(_kinds(kernel)):
            continue
        results = [(key, b) for key in kernel.writes if (b := block.get(key)) and b.first == k]
        operands = [(key, b) for key in kernel.reads if (b := block.get(key)) and b.last == k and b.kind != "output"]
        operands = [(key, b) for key, b in operands if all(b is not made for _, made in results)]
        if results and operands:
            yield k, kernel, operands, results


def _in_place(kernels: Sequence[Kernel], blocks: Sequence[Block], policy: Policy, reading: _Reading) -> list[Block]:
    """The blocks with those put together that are the very same bytes: caches that are written into, and images
    whose channels are computed one by one, with room for a channel beside.
    """
    same: dict[str, str] = {}
    extra: list[Block] = []
    for k, kernel, operands, results in _dying(kernels, blocks, policy):
        for key, result in results:
            for operand, above in operands:
                if above.size != result.size or above.key in same.values():
                    continue
                if _by_channel(kernel, policy):
                    extra += _channel(key, reading.tensors.get(key), k)
                elif not _continues(reading.of(kernel), operand, key):
                    continue
                same[result.key] = above.key
                break
    return [*_joined(blocks, same), *extra]


def _joined(blocks: Sequence[Block], same: Mapping[str, str]) -> Iterator[Block]:
    """Each chain of results in place as one block, named after the first of them."""
    chains: dict[str, list[Block]] = {}
    roots: dict[str, str] = {}
    # an operand before the result that lies over it, also where both are there from the first kernel on
    for b in sorted(blocks, key=lambda b: (b.first, b.key in same)):
        root = roots[b.key] = roots[same[b.key]] if b.key in same else b.key
        chains.setdefault(root, []).append(b)
    for chain in chains.values():
        first, last = chain[0], chain[-1]
        also = tuple(key for b in chain for key in (b.key, *b.also))
        kind = last.kind if last.kind == "output" else first.kind
        yield first if len(chain) == 1 else Block(first.key, first.size, first.first, last.last, kind, also[1:])


def _channel(key: str, tensor: Tensor | None, k: int) -> Iterator[Block]:
    if tensor is not None and tensor.shape and len(tensor.shape) > 1 and tensor.shape[1]:
        yield Block(f"{key} (one channel)", -(-tensor.bytes // tensor.shape[1]), k, k, "scratch")


def _continues(readers: Sequence[_Reader], operand: str, result: str) -> bool:
    """Whether a node writes rows of the result into the operand."""
    for reader in readers:
        for slot, place in _WRITTEN_INTO.get(reader.node.op, {}).items():
            if reader.operands[slot : slot + 1] == (operand,) and reader.outputs[place : place + 1] == (result,):
                return True
    return False


def _overlaps(kernels: Sequence[Kernel], blocks: Sequence[Block], policy: Policy, reading: _Reading) -> list[Overlap]:
    """At most one operand for a result and one result for an operand, those that save most: a kernel runs either
    forwards or backwards.
    """
    found: list[Overlap] = []
    for _, kernel, operands, results in _dying(kernels, blocks, policy):
        readers = reading.of(kernel)
        ways: list[tuple[int, Overlap]] = []
        for key, result in results:
            for operand, above in operands:
                gaps = _gaps(readers, reading.tensors.get(operand), reading.tensors.get(key), operand, policy)
                if gaps is not None and min(gaps.below, gaps.above) < result.size:
                    covered = min(result.size - min(gaps.below, gaps.above), above.size)
                    ways.append((covered, Overlap(above.key, result.key, gaps.below, gaps.above)))
        taken: set[str] = set()
        for _, way in sorted(ways, key=lambda w: (-w[0], w[1].operand, w[1].result)):
            if taken.isdisjoint((way.operand, way.result)):
                taken.update((way.operand, way.result))
                found.append(way)
    return found


def _gaps(
    readers: Sequence[_Reader], source: Tensor | None, target: Tensor | None, operand: str, policy: Policy
) -> Gaps | None:
    """How far the result must be off the operand; None where it must not lie over it."""
    if source is None or target is None or not source.numel or not target.numel:
        return None
    places = [n for n, reader in enumerate(readers) if operand in reader.operands]
    if not places:
        return None
    if source.numel == target.numel and all(reader.elementwise for reader in readers[places[0] :]):
        # element by element, in either direction, from the first use on
        more = max(target.bytes - source.bytes, 0)
        return Gaps(more, more)
    if policy.overwrites != OVERLAP or len(places) > 1 or readers[places[0]].operands.index(operand) > 0:
        return None
    running = [reader for reader in readers if not reader.elementwise]
    # nothing but a Pad before the operator that goes through the rows, and one such operator
    padded = len(running) > 1 and running[0].node.op == "Pad"
    if len(running) - padded != 1 or readers[places[0]] is not running[0]:
        return None
    window = window_of([reader.node for reader in running], source, target)
    return None if window is None else gaps_of(window, source.bytes, target.bytes)
