"""Nodes that are one operator written as several: attention, normalisations, GELU …, each found whole.

A unit has one result, made by its last node; all else it makes is read inside alone. It therefore can run where
its last node stands, and `grouping.py` treats it as one node there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from msgspec import Struct

from efficiency_cli.graph.fusion.attention import attention_of
from efficiency_cli.graph.fusion.decompositions import BY_ROOT
from efficiency_cli.graph.fusion.dynamic import dynamic_products
from efficiency_cli.graph.fusion.expression import matches
from efficiency_cli.graph.fusion.flow import ONNX, Flow, is_complete
from efficiency_cli.graph.fusion.products import product_of

ATTENTION = "Attention"
_PRODUCT_PATTERNS = frozenset({"scale", "transpose-matmul"})
_EXPRESSIONS = frozenset(d.pattern for these in BY_ROOT.values() for d in these) | {"dynamic-quantize"}


class Unit(Struct, frozen=True):
    """One node, or several that are one operator: `op` is that operator ('' outside the known domains and
    for nodes with bodies).

    `inputs` are what it reads from outside, `outputs` what its last node makes.
    """

    op: str
    nodes: tuple[int, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def last(self) -> int:
        return self.nodes[-1]


def units_of(flow: Flow, patterns: frozenset[str]) -> Iterator[Unit]:
    """The nodes that run, in order; those of a unit together, at the place of its last one."""
    found = _found(flow, patterns) if patterns & (_EXPRESSIONS | _PRODUCT_PATTERNS | {"attention"}) else {}
    inside = {k for unit in found.values() for k in unit.nodes}
    for k, node in enumerate(flow.graph.nodes):
        if k in found:
            yield found[k]
        elif k not in flow.execution.absorbed and k not in inside:
            known = node.domain in ONNX and not node.graphs
            yield Unit(node.op if known else "", (k,), node.inputs, node.outputs)


_Candidates = Callable[[Flow, int, frozenset[str]], Iterator[tuple[str, frozenset[int]]]]


def _found(flow: Flow, patterns: frozenset[str]) -> dict[int, Unit]:
    """By last node. From the end: what is a whole with what follows is not taken for a smaller one.

    A factor that belongs to an operator is none of a product, so that those come second.
    """
    found: dict[int, Unit] = {}
    taken: set[int] = set()
    alone = frozenset(flow.execution.dtype) if "qdq-units" in patterns else frozenset()
    passes: list[_Candidates] = [_operators] if patterns & (_EXPRESSIONS | {"attention"}) else []
    passes += [_products] if patterns & _PRODUCT_PATTERNS else []
    for candidates in passes:
        for k in range(len(flow.graph.nodes) - 1, -1, -1):
            node = flow.graph.nodes[k]
            known = node.domain in ONNX and not node.graphs and is_complete(node)
            if not known or k in taken or k in flow.execution.absorbed:
                continue
            for op, nodes in candidates(flow, k, patterns):
                if len(nodes) > 1 and taken.isdisjoint(nodes) and alone.isdisjoint(nodes) and _whole(flow, k, nodes):
                    taken |= nodes
                    found[k] = Unit(op, tuple(sorted(nodes)), tuple(flow.operands(nodes)), node.outputs)
                    break
    return found


def _operators(flow: Flow, k: int, patterns: frozenset[str]) -> Iterator[tuple[str, frozenset[int]]]:
    """Operators that node `k` may be the end of, and their nodes."""
    node = flow.graph.nodes[k]
    if "attention" in patterns and (nodes := attention_of(flow, k)) is not None:
        yield ATTENTION, nodes
    if "dynamic-quantize" in patterns and node.op in ("Add", "Mul"):
        yield from dynamic_products(flow, k)
    for decomposition in BY_ROOT.get(node.op, ()):
        if decomposition.pattern in patterns:
            for match in matches(flow, decomposition.expression, node.outputs[0]):
                yield decomposition.op, match.nodes


def _products(flow: Flow, k: int, patterns: frozenset[str]) -> Iterator[tuple[str, frozenset[int]]]:
    nodes = product_of(flow, k, patterns)
    if nodes is not None:
        yield "MatMul", nodes


def _whole(flow: Flow, last: int, nodes: Collection[int]) -> bool:
    """Whether nobody else reads what the nodes before the last one make."""
    names = (o for k in nodes if k != last for o in flow.graph.nodes[k].outputs if o)
    return all(flow.only_read_by(name, nodes) for name in names)
