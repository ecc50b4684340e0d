"""When two nodes have outputs of the same types: deep networks repeat their blocks, and inferring a node is slow."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from onnx import NodeProto

from efficiency_cli.graph.shapes.scope import Array
from efficiency_cli.graph.shapes.types import TypeInfo

# of attributes and values together; what is longer is rarely there twice
_MOST_BYTES = 1024


def key_of(node: NodeProto, operands: Sequence[TypeInfo | None], values: Sequence[Array | None]) -> Hashable | None:
    """All that decides the types of a node's outputs, within one model; None where it is long or holds bodies."""
    attributes = []
    size = sum(v.nbytes for v in values if v is not None)
    for attribute in node.attribute:
        size += attribute.ByteSize()
        if size > _MOST_BYTES or attribute.HasField("g") or attribute.graphs:
            return None
        attributes.append(attribute.SerializeToString())
    if size > _MOST_BYTES:
        return None
    return (
        node.op_type,
        node.domain,
        tuple(attributes),
        tuple(operands),
        tuple(None if v is None else (v.dtype.str, v.shape, v.tobytes()) for v in values),
        tuple(map(bool, node.input)),
        tuple(map(bool, node.output)),
    )
