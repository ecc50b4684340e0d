"""Which part of one network is which part of another: by name, then by structure.

1. the same name, operator and graph (a name an exporter made from a running number proves nothing where the
   shapes differ);
2. along the wires: what follows, or precedes, two parts that belong together, at the same operand, belongs together
   where the operator is the same; quantisation and casts are looked through;
3. in order, for what is left: the same operator and shapes, then the same operator.

Each step is linear, so that networks of 50,000 nodes can be set beside each other.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import TypeVar

from efficiency_cli.judge.snapshot import Kernel, Node, Snapshot

_Part = TypeVar("_Part")
Pair = tuple[int, int]
# operators that change how values are written, not which: wires are followed through them
_SEEN_THROUGH = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast", "Identity", "ReorderInput", "ReorderOutput"})
# QLinearConv, FusedConv, ConvInteger … are a Conv in another form
_FORM = re.compile(
    r"^(?:QLinear|DynamicQuantize|NhwcFused|Nhwc|Fused|Transpose(?=MatMul)|Q(?=Gemm$|Attention$))"
    r"|(?:IntegerToFloat|Integer|NBits|Integer16)$"
)
# operands that are values of the network, not its weights
_STORED = ("weight", "constant")
# what exporters and our reader call nodes without a name: Conv_12, node_conv2d_3, /Conv_1
_NUMBERED = re.compile(r"(?:^|.*/)[A-Za-z0-9]+_(?:.*_)?\d+$|^\d+$")
# difflib is quadratic: more than so many parts that are alike are taken in order
_MOST_COMPARED = 2_000


def nodes(before: Sequence[Node], after: Sequence[Node]) -> dict[int, int]:
    """Index of a node before -> index of the same node after; each at most once."""
    found = _Matching(len(before), len(after))
    _by_name(before, after, found)
    ours, theirs = _Wires(before), _Wires(after)
    # first where shapes agree: the operands of a sum may stand the other way round
    for same in (_whole_signature, _operator):
        _along_wires(ours, theirs, found, same)
    for key in (_whole_signature, _signature, _operator):
        _in_order(before, after, found, key)
    return found.pairs


def kernels(before: Snapshot, after: Snapshot) -> dict[int, int]:
    """As `nodes`, of kernels: those that share most of their nodes, weighed by operations; else by name and order."""
    found = _Matching(len(before.kernels), len(after.kernels))
    if before.nodes and after.nodes:
        _by_shared_nodes(before, after, found)
    _by_kernel_name(before.kernels, after.kernels, found)
    for key in (_kernel_signature, _kernel_work, _kernel_operator):
        _in_order(before.kernels, after.kernels, found, key)
    return found.pairs


class _Matching:
    """Pairs, each side at most once."""

    def __init__(self, before: int, after: int) -> None:
        self.pairs: dict[int, int] = {}
        self.free_before = dict.fromkeys(range(before))
        self.free_after = dict.fromkeys(range(after))

    def add(self, i: int, j: int) -> bool:
        if i not in self.free_before or j not in self.free_after:
            return False
        self.pairs[i] = j
        del self.free_before[i], self.free_after[j]
        return True


# --- by name -----------------------------------------------------------------------------------


def _by_name(before: Sequence[Node], after: Sequence[Node], found: _Matching) -> None:
    named = {(n.path, n.name): j for j, n in enumerate(after)}
    for i, node in enumerate(before):
        j = named.get((node.path, node.name))
        if j is not None and _same_operator(node, after[j]) and _proven(node, after[j]):
            found.add(i, j)


def family(op: str) -> str:
    """The operator that a fused or quantised one is a form of: "QLinearConv" -> "Conv"."""
    return _FORM.sub("", op) or op


def _same_operator(a: Node, b: Node) -> bool:
    return family(a.op) == family(b.op)


def _proven(a: Node, b: Node) -> bool:
    """Whether a common name means anything: one made from a number does where the shapes are the same as well."""
    return not _NUMBERED.match(a.name) or _whole_signature(a) == _whole_signature(b)


def _shapes(node: Node) -> Hashable:
    return tuple(t.shape if t else None for t in node.outputs)


def _whole_signature(node: Node) -> Hashable:
    inputs = (t.shape if t else None for t in node.inputs if t is None or t.kind not in _STORED)
    return family(node.op), _shapes(node), tuple(inputs), _weight_elements(node)


def _weight_elements(node: Node) -> int:
    """Elements of its largest weight: the same in every form of an operator, whatever its layout."""
    stored = (t.shape for t in node.inputs if t is not None and t.kind in _STORED and t.shape is not None)
    return max(map(math.prod, stored), default=0)


def _signature(node: Node) -> Hashable:
    return family(node.op), _shapes(node)


def _operator(node: Node) -> Hashable:
    return family(node.op)


# --- along the wires ---------------------------------------------------------------------------


class _Wires:
    """Who makes and who uses each tensor, with quantisation and casts looked through."""

    def __init__(self, parts: Sequence[Node]) -> None:
        self.nodes = parts
        maker = {t.name: k for k, node in enumerate(parts) for t in node.outputs if t}
        self.sources: list[list[int | str | None]] = []
        self.users: dict[int | str, list[tuple[int, int]]] = defaultdict(list)
        for k, node in enumerate(parts):
            # a quantised operator has its scales between its operands: only values of the network are counted
            values = [t for t in node.inputs if t is None or t.kind not in _STORED]
            sources = [self._source(t.name, maker) if t else None for t in values]
            self.sources.append(sources)
            if node.op not in _SEEN_THROUGH:
                for slot, source in enumerate(sources):
                    if source is not None:
                        self.users[source].append((slot, k))

    def _source(self, name: str, maker: dict[str, int]) -> int | str:
        """The node that computes a tensor, or the tensor's name where none does."""
        # a chain cannot be longer than the graph: a loop of wires ends as well
        for _ in range(len(self.nodes)):
            k = maker.get(name)
            if k is None:
                return name
            node = self.nodes[k]
            if node.op not in _SEEN_THROUGH or not node.inputs or node.inputs[0] is None:
                return k
            name = node.inputs[0].name
        return name


def _along_wires(before: _Wires, after: _Wires, found: _Matching, same: Callable[[Node], Hashable]) -> None:
    def alike(pair: Pair) -> bool:
        return same(before.nodes[pair[0]]) == same(after.nodes[pair[1]])

    waiting = deque(found.pairs.items())
    waiting.extend(pair for pair in _from_inputs(before, after) if alike(pair) and found.add(*pair))
    while waiting:
        i, j = waiting.popleft()
        for pair in (*_sources_of(before, after, i, j), *_users_of(before, after, i, j)):
            if pair[0] in found.free_before and pair[1] in found.free_after and alike(pair):
                found.add(*pair)
                waiting.append(pair)


def _from_inputs(before: _Wires, after: _Wires) -> Iterator[Pair]:
    """The nodes that use inputs of the network with the same name, or its only input."""
    ours, theirs = _inputs(before), _inputs(after)
    common = [(name, name) for name in ours if name in theirs]
    if not common and len(ours) == 1 and len(theirs) == 1:
        common = [(ours[0], theirs[0])]
    for name, other in common:
        yield from _paired(before, after, before.users[name], after.users[other])


def _inputs(wires: _Wires) -> list[str]:
    named = (t.name for node in wires.nodes for t in node.inputs if t and t.kind == "input")
    return list(dict.fromkeys(name for name in named if name in wires.users))


def _sources_of(before: _Wires, after: _Wires, i: int, j: int) -> Iterator[Pair]:
    for source, other in zip(before.sources[i], after.sources[j], strict=False):
        if isinstance(source, int) and isinstance(other, int):
            yield source, other


def _users_of(before: _Wires, after: _Wires, i: int, j: int) -> Iterator[Pair]:
    return _paired(before, after, before.users.get(i, []), after.users.get(j, []))


def _paired(
    before: _Wires, after: _Wires, ours: Sequence[tuple[int, int]], theirs: Sequence[tuple[int, int]]
) -> Iterator[Pair]:
    """Users by operator and operand, where each is the only one of its kind on its side."""
    keyed = [_only(before.nodes, ours), _only(after.nodes, theirs)]
    for key, i in keyed[0].items():
        if key in keyed[1]:
            yield i, keyed[1][key]


def _only(parts: Sequence[Node], users: Iterable[tuple[int, int]]) -> dict[Hashable, int]:
    found: dict[Hashable, int] = {}
    twice: set[Hashable] = set()
    for slot, k in users:
        key = (slot, family(parts[k].op))
        if key in found:
            twice.add(key)
        found[key] = k
    return {key: k for key, k in found.items() if key not in twice}


# --- in order ----------------------------------------------------------------------------------


def _in_order(
    before: Sequence[_Part], after: Sequence[_Part], found: _Matching, key: Callable[[_Part], Hashable]
) -> None:
    ours, theirs = list(found.free_before), list(found.free_after)
    if not ours or not theirs:
        return
    keys = [key(before[i]) for i in ours], [key(after[j]) for j in theirs]
    if max(len(ours), len(theirs)) > _MOST_COMPARED:
        _grouped(ours, theirs, *keys, found)
        return
    for block in SequenceMatcher(None, *keys, autojunk=False).get_matching_blocks():
        for k in range(block.size):
            found.add(ours[block.a + k], theirs[block.b + k])


def _grouped(
    ours: Sequence[int], theirs: Sequence[int], keys: Sequence[Hashable], others: Sequence[Hashable], found: _Matching
) -> None:
    """Those of one key, the first with the first."""
    waiting: dict[Hashable, deque[int]] = defaultdict(deque)
    for j, key in zip(theirs, others, strict=True):
        waiting[key].append(j)
    for i, key in zip(ours, keys, strict=True):
        if waiting[key]:
            found.add(i, waiting[key].popleft())


# --- kernels -----------------------------------------------------------------------------------


def _by_shared_nodes(before: Snapshot, after: Snapshot, found: _Matching) -> None:
    same = nodes(before.nodes, after.nodes)
    place = {n.name: i for i, n in enumerate(before.nodes)}
    kernel_of = {name: j for j, kernel in enumerate(after.kernels) for name in kernel.nodes}
    shared: dict[Pair, int] = defaultdict(int)
    for i, kernel in enumerate(before.kernels):
        for name in kernel.nodes:
            k = same.get(place.get(name, -1))
            if k is None:
                continue
            j = kernel_of.get(after.nodes[k].name)
            if j is not None:
                # a view without operations still says where it is
                shared[i, j] += 1 + before.nodes[place[name]].ops + after.nodes[k].ops
    for pair in sorted(shared, key=lambda p: (-shared[p], p)):
        found.add(*pair)


def _by_kernel_name(before: Sequence[Kernel], after: Sequence[Kernel], found: _Matching) -> None:
    named = {after[j].name: j for j in list(found.free_after)}
    for i in list(found.free_before):
        j = named.get(before[i].name)
        if j is not None and _kin(before[i], after[j]):
            found.add(i, j)


def _kin(a: Kernel, b: Kernel) -> bool:
    """Whether a common name means anything, as for nodes; "Conv 3x3" is a "Conv"."""
    if family(a.op.split()[0]) != family(b.op.split()[0]):
        return False
    return not _NUMBERED.match(a.name) or _kernel_signature(a) == _kernel_signature(b)


def _kernel_signature(kernel: Kernel) -> Hashable:
    return _kernel_operator(kernel), kernel.macs, kernel.ops


def _kernel_work(kernel: Kernel) -> Hashable:
    return _kernel_operator(kernel), kernel.macs


def _kernel_operator(kernel: Kernel) -> Hashable:
    """ "Conv 3x3" of "QLinearConv 3x3"."""
    op, *more = kernel.op.split()
    return family(op), *more
