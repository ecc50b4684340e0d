"""Dynamic quantisation of a product: MatMulInteger, the Cast and the scale behind it, a bias, and what quantises.

onnxruntime has MatMulIntegerToFloat and, where nobody else reads the quantised activations, DynamicQuantizeMatMul.
ConvInteger has no such form there.
"""

from __future__ import annotations

from collections.abc import Iterator

from efficiency_cli.graph.fusion.flow import Flow

QUANTIZED = "DynamicQuantizeMatMul"
PRODUCT = "MatMulIntegerToFloat"


def dynamic_products(flow: Flow, k: int) -> Iterator[tuple[str, frozenset[int]]]:
    """What node `k` may be the end of, the larger first."""
    nodes = _biased(flow, k) if flow.graph.nodes[k].op == "Add" else _scaled(flow, k)
    if nodes is None:
        return
    quantizer = _quantizer(flow, nodes)
    if quantizer is not None:
        yield QUANTIZED, nodes | {quantizer}
    yield PRODUCT, nodes


def _biased(flow: Flow, k: int) -> frozenset[int] | None:
    """A constant vector and a scaled product, in either order."""
    names = flow.graph.nodes[k].inputs
    for bias, other in (names[:2], names[1::-1]) if len(names) == 2 else ():
        product = flow.node_before(other, ("Mul",))
        if product is not None and flow.constant(bias) and flow.tensor(bias).rank == 1:
            nodes = _scaled(flow, product[0])
            return None if nodes is None else nodes | {k}
    return None


def _scaled(flow: Flow, k: int) -> frozenset[int] | None:
    """Mul of the Cast of a MatMulInteger and a scale, with the product that makes the scale."""
    node = flow.graph.nodes[k]
    for name, scale in (node.inputs[:2], node.inputs[1::-1]) if node.op == "Mul" and len(node.inputs) == 2 else ():
        cast = flow.node_before(name, ("Cast",))
        product = flow.node_before(cast[1].inputs[0], ("MatMulInteger",)) if cast is not None else None
        if cast is None or product is None:
            continue
        scales = flow.node_before(scale, ("Mul",))
        own = {scales[0]} if scales is not None and flow.only_read_by(scale, {k}) else set()
        return frozenset({k, cast[0], product[0], *own})
    return None


def _quantizer(flow: Flow, nodes: frozenset[int]) -> int | None:
    """The DynamicQuantizeLinear whose results these nodes alone read."""
    product = next(flow.graph.nodes[k] for k in nodes if flow.graph.nodes[k].op == "MatMulInteger")
    before = flow.node_before(product.inputs[0], ("DynamicQuantizeLinear",)) if product.inputs else None
    if before is None or not all(flow.only_read_by(o, nodes) for o in before[1].outputs if o):
        return None
    return before[0]
