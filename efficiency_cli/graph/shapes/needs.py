"""Which tensors' values decide a shape somewhere: only those are worth computing."""

from __future__ import annotations

from onnx import GraphProto, NodeProto

from efficiency_cli.graph.shapes.scope import graphs_of
from efficiency_cli.graph.shapes.values import FOLDABLE

# operands whose values decide an output's shape: operator -> slots
_SHAPE_OPERANDS: dict[str, tuple[int, ...]] = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1, 2),
    "Slice": (1, 2, 3, 4),
    "Pad": (1, 3),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Range": (0, 1, 2),
    "ConstantOfShape": (0,),
    "TopK": (1,),
    "OneHot": (1,),
    "Split": (1,),
    "Unsqueeze": (1,),
    "Squeeze": (1,),
    "Loop": (0,),
    "If": (0,),
    "NonMaxSuppression": (2,),
    "MaxUnpool": (2,),
    "AffineGrid": (1,),
    "Col2Im": (1, 2),
    "CenterCropPad": (1,),
    "DFT": (1, 2),
    "STFT": (1, 3),
    "MelWeightMatrix": (0, 1),
    "BlackmanWindow": (0,),
    "HannWindow": (0,),
    "HammingWindow": (0,),
    "RandomUniform": (),
    "SplitToSequence": (1,),
    "SequenceAt": (1,),
    "GroupQueryAttention": (6,),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"), (1,)),
    **dict.fromkeys(("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"), (1,)),
}


def shape_operands(node: NodeProto) -> list[str]:
    """The node's operands whose values decide its output's shape."""
    slots = _SHAPE_OPERANDS.get(node.op_type, ())
    return [node.input[s] for s in slots if s < len(node.input) and node.input[s]]


def needed_values(graph: GraphProto) -> set[str]:
    """Tensors whose values some shape depends on, found backwards through shape arithmetic."""
    needed: set[str] = set()
    for node in reversed(graph.node):
        slots = _SHAPE_OPERANDS.get(node.op_type)
        if slots is not None:
            needed.update(node.input[s] for s in slots if s < len(node.input))
        if node.op_type in FOLDABLE and node.op_type != "Shape" and any(o in needed for o in node.output):
            needed.update(node.input)
        for attribute in node.attribute:
            for body in graphs_of(attribute):
                needed.update(_captured_needs(body))
    needed.discard("")
    return needed


def _captured_needs(graph: GraphProto) -> set[str]:
    """What a body may need from around it: any of its own needs, and its outputs' (a carried size)."""
    return needed_values(graph) | {o.name for o in graph.output}
