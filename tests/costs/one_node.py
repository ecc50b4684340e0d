"""Graphs of one node, for the tests of the cost rules: shapes in, Work out, no onnx."""

from __future__ import annotations

from efficiency_cli.costs import Work, work_of
from efficiency_cli.graph.model import Attribute, DType, Graph, Node, Tensor

Spec = Tensor | tuple[int, ...] | None


def t(shape: tuple[int, ...] | None, dtype: str = "float32", value: tuple[int, ...] | None = None) -> Tensor:
    """A tensor to be named by its place: its shape (None: unknown), type and, for a constant, its value."""
    return Tensor("", shape, DType(dtype), value=value)


def work(key: str, inputs: list[Spec], outputs: list[Spec], **attributes: Attribute) -> Work:
    """The Work of operator `key` ('Conv', 'com.microsoft::FusedConv').

    A bare shape is a float32 tensor, None an omitted operand. Operands are named i0, i1 …, outputs o0, o1 …
    """
    domain, _, op = key.rpartition("::")
    tensors: dict[str, Tensor] = {}
    slots = [_add(tensors, f"i{k}", spec) for k, spec in enumerate(inputs)]
    results = [_add(tensors, f"o{k}", spec) for k, spec in enumerate(outputs)]
    node = Node(f"a_{op}", op, domain, tuple(slots), tuple(results), attributes)
    return work_of(node, Graph("g", (node,), tensors, tuple(slots), tuple(results)))


def _add(tensors: dict[str, Tensor], name: str, spec: Spec) -> str:
    if spec is None:
        return ""
    tensor = spec if isinstance(spec, Tensor) else t(spec)
    tensors[name] = Tensor(name, tensor.shape, tensor.dtype, tensor.kind, tensor.value, tensor.bounded)
    return name
