"""A network as if its values had other types: what-if, before anybody quantises or casts anything.

Types of tensors are replaced and operators that only change types become views; shapes, products and everything
that indexes stay. Whether the network would still be any good is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.graph.model import DType, Graph, Kind, Model, Node, Tensor

# what so many bits usually are: of 16 and more, floats; a type by its name says otherwise
TYPE_OF_BITS: Mapping[int, DType] = {
    2: DType.INT2,
    4: DType.INT4,
    8: DType.INT8,
    16: DType.FLOAT16,
    32: DType.FLOAT32,
}
# the types a network may be asked for in
CHOICES = (
    *(DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16, DType.FLOAT8E4M3FN, DType.FLOAT8E5M2, DType.FLOAT4E2M1),
    *(DType.INT16, DType.INT8, DType.INT4, DType.INT2),
)
_QUANTIZE = frozenset({"QuantizeLinear", "DequantizeLinear"})
# operators that take integers for weights, by what is in their name
_PACKED = re.compile("QLinear|QGemm|QAttention|QMoE|NBits|Bnb4|FpQ4|BlockQuantized|Integer|DynamicQuantize")
# sums of products of narrow integers are this wide, and so is what is added to them
_ACCUMULATOR = DType.INT32


class Types(Struct, frozen=True):
    """The types to take a network's weights and activations in; None leaves them as they are."""

    weights: DType | None = None
    activations: DType | None = None

    @property
    def label(self) -> str:
        """'int8', or 'int4/float16' for weights and activations; '' where nothing is asked for."""
        if self.weights == self.activations:
            return self.weights.value if self.weights else ""
        return f"{self.weights or 'stored'}/{self.activations or 'stored'}"


def retyped(model: Model, types: Types) -> Model:
    """`model` as if stored and computed in `types`.

    Weights of several axes get `types.weights`; those of one axis (biases, norms) as well where that is a
    float. Quantisers keep them wide: they are int32 beside integer activations, else of the activations'
    type. Float activations and auxiliary constants get `types.activations`. Values between QuantizeLinear and
    DequantizeLinear count as what they stand for, and these nodes, like casts between floats, become
    views. Integers that index, and weights packed by an operator (MatMulNBits), stay.
    """
    if types.weights is None and types.activations is None:
        return model
    graph = _Retyper(types).graph(model.graph, {})
    notes = [f"counted as if in other types than stored: {_told(types)}"]
    left = sum(1 for _ in _packed(graph)) if types.weights else 0
    if left:
        notes.append(f"weights of {left:,} node{'s' * (left > 1)} are quantised by the operator itself and stay so")
    return replace(model, graph=graph, notes=(*model.notes, *notes))


def _told(types: Types) -> str:
    parts = {"weights": types.weights, "activations": types.activations}
    return ", ".join(f"{name} {dtype}" for name, dtype in parts.items() if dtype)


class _Retyper:
    def __init__(self, types: Types) -> None:
        self.types = types

    def graph(self, graph: Graph, around: Mapping[str, Tensor]) -> Graph:
        """`graph` in the types; `around` are the tensors of the graph that holds it, already changed."""
        quantized = _quantized(graph)
        tensors = {
            name: around[name] if name in graph.captured and name in around else self._tensor(t, name in quantized)
            for name, t in graph.tensors.items()
        }
        nodes = tuple(self._node(node, graph, tensors) for node in graph.nodes)
        return replace(graph, nodes=nodes, tensors=tensors)

    def _tensor(self, tensor: Tensor, quantized: bool) -> Tensor:
        if tensor.dtype is None or not (tensor.dtype.is_float or quantized):
            return tensor
        wanted = self._weight_type(tensor) if tensor.kind is Kind.WEIGHT else self.types.activations
        return tensor if wanted in (None, tensor.dtype) else replace(tensor, dtype=wanted)

    def _weight_type(self, tensor: Tensor) -> DType | None:
        weights, activations = self.types.weights, self.types.activations
        if weights is None or not weights.is_integer or tensor.rank > 1:
            return weights
        return _ACCUMULATOR if activations is not None and activations.is_integer else activations

    def _node(self, node: Node, graph: Graph, tensors: Mapping[str, Tensor]) -> Node:
        if node.graphs:
            return replace(node, graphs={name: self.graph(g, tensors) for name, g in node.graphs.items()})
        if self._only_types(node, graph, tensors):
            return replace(node, op="Identity", domain="", inputs=node.inputs[:1], attributes={})
        return node

    def _only_types(self, node: Node, graph: Graph, tensors: Mapping[str, Tensor]) -> bool:
        """Whether the node changes nothing but a type, and in these types not even that."""
        if node.op not in _QUANTIZE and (node.op, node.domain) != ("Cast", ""):
            return False
        ends = [*node.inputs[:1], *node.outputs[:1]]
        if len(ends) != 2 or not all(ends):
            return False
        before, after = ([kind[n].dtype for n in ends] for kind in (graph.tensors, tensors))
        if node.op == "Cast":
            return after[0] == after[1] and all(t is not None and t.is_float for t in before)
        value = tensors[ends[0]]
        wanted = self._weight_type(value) if value.kind is Kind.WEIGHT else self.types.activations
        return wanted is not None


def _integer(dtype: DType | None) -> bool:
    return dtype is not None and dtype.is_integer


def _quantized(graph: Graph) -> set[str]:
    """The tensors that hold quantised values: what QuantizeLinear makes and DequantizeLinear reads, and what
    operators between them pass on in the same type.
    """
    found: set[str] = set()
    for node in graph.nodes:
        if node.op in _QUANTIZE:
            ends = node.outputs if node.op == "QuantizeLinear" else node.inputs
            found.update(n for n in ends[:1] if n and _integer(graph.tensors[n].dtype))
    if found:
        for nodes in (graph.nodes, graph.nodes[::-1]):
            _passed_on(nodes, graph, found)
    return found


def _passed_on(nodes: Iterable[Node], graph: Graph, found: set[str]) -> None:
    for node in nodes:
        if node.op in _QUANTIZE or node.graphs:
            continue
        names = [n for n in (*node.inputs, *node.outputs) if n]
        types = {graph.tensors[n].dtype for n in names if n in found}
        if types:
            found.update(n for n in names if graph.tensors[n].dtype in types and _narrow(graph.tensors[n]))


def _narrow(tensor: Tensor) -> bool:
    return tensor.dtype is not None and tensor.dtype.is_narrow_integer and not tensor.is_constant


def _packed(graph: Graph) -> Iterator[Node]:
    """The nodes whose operator itself takes quantised weights."""
    for node in graph.nodes:
        for body in node.graphs.values():
            yield from _packed(body)
        weights = (graph.tensors[n] for n in node.inputs if n)
        if _PACKED.search(node.op) and any(t.kind is Kind.WEIGHT and _integer(t.dtype) for t in weights):
            yield node
