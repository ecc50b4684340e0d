"""Attention written as MatMul, scale, mask, Softmax, MatMul: the kernel keeps the scores on the chip.

Scalar factors of queries and keys, Transposes that only bring heads or keys into order, and keys and values
expanded to more heads belong to it: such kernels read strided operands and share heads. Projections and
rotations of positions do not, and neither does a cache, which others read as well.
"""

from __future__ import annotations

from efficiency_cli.graph.fusion.flow import Flow
from efficiency_cli.graph.fusion.products import factor_of, permutation

_PRODUCTS = frozenset({"MatMul", "FusedMatMul"})
# what happens to scores one by one, before and behind their softmax
_SCORING = frozenset("Add Sub Mul Div Where Cast Clip Tanh Max Min".split())
_WEIGHTING = frozenset("Where Cast Mul IsNaN".split())
_SOFTMAX = frozenset({"Softmax"})
# nodes between the products: more is something else
_MOST = 24


def attention_of(flow: Flow, k: int) -> frozenset[int] | None:
    """The nodes of the attention that node `k` ends; None when it ends none."""
    node = flow.graph.nodes[k]
    if node.op == "Transpose" and _orders_heads(flow, k):
        before = flow.node_before(node.inputs[0], _PRODUCTS)
        if before is None or not flow.only_read_by(node.inputs[0], {k}):
            return None
        inner = _attention(flow, before[0])
        return None if inner is None else inner | {k}
    return _attention(flow, k) if node.op in _PRODUCTS else None


def _attention(flow: Flow, values: int) -> frozenset[int] | None:
    """From the product of weights and values up to the product of queries and keys."""
    weights, right = flow.graph.nodes[values].inputs[:2]
    if flow.constant(right) or flow.constant(weights):
        return None
    between = _up_to(flow, weights, _WEIGHTING, _SOFTMAX)
    if between is None:
        return None
    softmax, found = between
    scoring = _up_to(flow, flow.graph.nodes[softmax].inputs[0], _SCORING, _PRODUCTS)
    if scoring is None:
        return None
    scores, more = scoring
    operands = flow.graph.nodes[scores].inputs[:2]
    if any(flow.constant(i) for i in operands):
        return None
    found = found | more | {softmax, scores, values}
    inner = (o for k in found - {values} for o in flow.graph.nodes[k].outputs if o)
    if not all(flow.only_read_by(o, found) for o in inner):
        return None
    for name, reader in ((operands[0], scores), (operands[1], scores), (right, values)):
        found |= _ordered(flow, name, reader)
    return frozenset(found)


def _up_to(flow: Flow, name: str, through: frozenset[str], wanted: frozenset[str]) -> tuple[int, frozenset[int]] | None:
    """The one of `wanted` that the tensor comes from by operators of `through`, and those."""
    found: set[int] = set()
    pending, ends = [name], set()
    while pending and len(found) <= _MOST:
        k = flow.made_by(pending.pop())
        if k is None:
            continue
        node = flow.graph.nodes[k]
        if node.op in wanted:
            ends.add(k)
        elif node.op in through and k not in found and _keeps_size(flow, k, name):
            found.add(k)
            pending += [i for i in node.inputs if i and _same_size(flow, i, name)]
    if len(ends) != 1:
        return None
    (end,) = ends
    # a mask of the scores' own size may be made by such operators too: only what comes from `end` belongs
    reached = {o for o in flow.graph.nodes[end].outputs if o}
    inside = set()
    for k in sorted(found):
        if any(flow.resolve(i) in {flow.resolve(r) for r in reached} for i in flow.graph.nodes[k].inputs if i):
            inside.add(k)
            reached.update(flow.graph.nodes[k].outputs)
    return end, frozenset(inside)


def _keeps_size(flow: Flow, k: int, name: str) -> bool:
    return _same_size(flow, flow.graph.nodes[k].outputs[0], name)


def _same_size(flow: Flow, one: str, other: str) -> bool:
    tensors = flow.graph.tensors
    return tensors[one].numel == tensors[other].numel


def _ordered(flow: Flow, name: str, reader: int) -> set[int]:
    """What brings an operand into order for its product alone, back to where it is made."""
    found: set[int] = set()
    while flow.only_read_by(name, {reader}):
        k = flow.made_by(name)
        if k is None:
            break
        node = flow.graph.nodes[k]
        scaled = factor_of(flow, k)
        if not scaled and node.op not in ("Expand", "Transpose"):
            break
        found.add(k)
        name, reader = scaled or node.inputs[0], k
    return found


def _orders_heads(flow: Flow, k: int) -> bool:
    """A Transpose that brings heads behind positions: the last axis stays."""
    order = permutation(flow, k)
    return len(order) in (3, 4) and order[-1] == len(order) - 1
