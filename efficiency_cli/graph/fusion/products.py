"""What a matrix product takes in beside its own node: scalar factors, and Transposes of its operands."""

from __future__ import annotations

from collections.abc import Collection

from efficiency_cli.graph.fusion.flow import Flow

_PRODUCTS = frozenset({"MatMul", "FusedMatMul"})
_FACTORS = frozenset({"Mul", "Div"})


def product_of(flow: Flow, k: int, patterns: Collection[str]) -> frozenset[int] | None:
    """The product that node `k` ends, with the factor behind it and what stands before it; None when it ends none."""
    node = flow.graph.nodes[k]
    if node.op in _PRODUCTS:
        return frozenset({k, *before(flow, k, patterns)})
    if node.op not in _FACTORS or "scale" not in patterns:
        return None
    factor = factor_of(flow, k)
    product = flow.node_before(factor, _PRODUCTS) if factor else None
    if product is None or not flow.only_read_by(factor, {k}):
        return None
    return frozenset({k, product[0], *before(flow, product[0], patterns)})


def before(flow: Flow, product: int, patterns: Collection[str]) -> set[int]:
    """Scalar factors and Transposes of the last two axes that make an operand for the product alone."""
    found: set[int] = set()
    for name in flow.graph.nodes[product].inputs[:2]:
        readers = {product}
        while (k := _step(flow, name, readers, patterns)) is not None:
            found.add(k)
            readers = {k}
            name = factor_of(flow, k) or flow.graph.nodes[k].inputs[0]
    return found


def _step(flow: Flow, name: str, readers: Collection[int], patterns: Collection[str]) -> int | None:
    k = flow.made_by(name)
    if k is None or not flow.only_read_by(name, readers):
        return None
    if "scale" in patterns and factor_of(flow, k):
        return k
    return k if "transpose-matmul" in patterns and swaps_last(flow, k) else None


def factor_of(flow: Flow, k: int) -> str:
    """For x · s, s · x and x / s with a scalar constant s: x. Else ''."""
    node = flow.graph.nodes[k]
    if node.op not in _FACTORS or len(node.inputs) != 2:
        return ""
    one, other = node.inputs
    if flow.scalar(other) and not flow.constant(one):
        return one
    return other if node.op == "Mul" and flow.scalar(one) and not flow.constant(other) else ""


def swaps_last(flow: Flow, k: int) -> bool:
    """Whether the node is a Transpose of the last two axes alone."""
    order = permutation(flow, k) if flow.graph.nodes[k].op == "Transpose" else ()
    if len(order) < 2:
        return False
    rank = len(order)
    return order == (*range(rank - 2), rank - 1, rank - 2)


def permutation(flow: Flow, k: int) -> tuple[int, ...]:
    """The order of axes that a Transpose makes; () where its operand has no known rank."""
    node = flow.graph.nodes[k]
    given = node.attributes.get("perm")
    if isinstance(given, tuple):
        return tuple(axis for axis in given if isinstance(axis, int))
    shape = flow.tensor(node.inputs[0]).shape
    return tuple(reversed(range(len(shape)))) if shape is not None else ()
