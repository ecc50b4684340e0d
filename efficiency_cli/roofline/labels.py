"""Names of operators as people say them: "Conv pointwise", "Conv 3x3 /2", "MatMul"."""

from __future__ import annotations

from efficiency_cli.graph.model import Graph, Node, OpClass


def op_label(node: Node, graph: Graph, op_class: OpClass) -> str:
    """The operator with what tells its kind apart: kernel size, depthwise, grouped."""
    if "Conv" not in node.op:
        return node.op
    weight_slot = 3 if node.op == "QLinearConv" else 1
    weight = graph.tensors.get(node.inputs[weight_slot]) if len(node.inputs) > weight_slot else None
    if weight is None or not weight.shape or len(weight.shape) < 3:
        return node.op
    taps = weight.shape[2:]
    if op_class is OpClass.DEPTHWISE:
        return f"{node.op} depthwise"
    if all(k == 1 for k in taps):
        return f"{node.op} pointwise"
    return f"{node.op} {'x'.join(map(str, taps))}"
