"""What onnx's C++ inference must not be given: it would crash, not end, or take all memory there is.

Found by fuzzing onnx 1.23 (`tests/fuzz`). The walk does without it where something is hazardous.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from onnx import AttributeProto, GraphProto, NodeProto

from efficiency_cli.graph.shapes.scope import STANDARD, graphs_of

# these read through a null pointer where an operand has no type; one at a time, all operands have one
_FRAGILE = frozenset({"RegexFullMatch", "DictVectorizer", "LabelEncoder", "EyeLike"})
# any other character keeps Einsum's inference in a loop for ever
_EINSUM = re.compile(r"[A-Za-z.,\s]*(->[A-Za-z.\s]*)?")
# all dims of all tensors: a 100,000-node network of rank 5 has a quarter of it
MAX_DIMS = 2_000_000
_MAX_RANK = 255
_MAX_NESTING = 8
_RANK_BY_VALUE = frozenset({"Reshape", "Expand", "ConstantOfShape"})
_SUMS_RANKS = frozenset({"Gather", "GatherND"})
_ADDS_AN_AXIS = frozenset(
    "OneHot Loop Scan ConcatFromSequence StringSplit RNN GRU LSTM STFT DFT AffineGrid TfIdfVectorizer".split()
)
_NESTS = frozenset({"Optional", "SequenceConstruct"})


def in_node(node: NodeProto) -> str | None:
    """Why the node must not be inferred at all, or None."""
    if node.op_type == "Einsum":
        return _in_einsum(node)
    if node.op_type == "Split":
        parts = _int(node, "num_outputs")
        return f"num_outputs is {parts} where there are {len(node.output)}" if parts > len(node.output) else None
    if node.op_type == "GatherND" and _int(node, "batch_dims") < 0:
        return "batch_dims is negative"
    return None


def _in_einsum(node: NodeProto) -> str | None:
    equation = next((a.s for a in node.attribute if a.name == "equation"), b"").decode("utf-8", "replace")
    return None if _EINSUM.fullmatch(equation) else "the equation is malformed"


def _int(node: NodeProto, name: str) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), 0)


def in_graph(graph: GraphProto) -> bool:
    """Whether inferring the whole graph at once is hazardous."""
    ranks = _Ranks()
    return not ranks.fit(graph)


class _Ranks:
    """An upper bound of every tensor's rank, bodies included: Gather(x, x) doubles it with every node."""

    def __init__(self) -> None:
        self.ranks: dict[str, int] = {}
        self.lengths: dict[str, int] = {}  # elements of constants that may say a shape
        self.nesting: dict[str, int] = {}
        self.dims = 0

    def fit(self, graph: GraphProto) -> bool:
        for value in graph.input:
            self.ranks[value.name] = max(self.ranks.get(value.name, 0), len(value.type.tensor_type.shape.dim))
        for tensor in graph.initializer:
            self.ranks[tensor.name] = len(tensor.dims)
            self.lengths[tensor.name] = tensor.dims[0] if len(tensor.dims) == 1 else 0
        return all(self._add(node) for node in graph.node)

    def _add(self, node: NodeProto) -> bool:
        """False where the node is hazardous."""
        if node.op_type in _FRAGILE or in_node(node) is not None:
            return False
        rank = max((self.ranks.get(i, 0) for i in node.input), default=0)
        for attribute in node.attribute:
            for body in graphs_of(attribute):
                for value in body.input:
                    self.ranks[value.name] = max(self.ranks.get(value.name, 0), rank)
                if not self.fit(body):
                    return False
                rank = max(rank, max((self.ranks.get(o.name, 0) for o in body.output), default=0))
        rank = self._rank(node, rank)
        nesting = max((self.nesting.get(i, 0) for i in node.input), default=0) + (node.op_type in _NESTS)
        self.ranks.update(dict.fromkeys(node.output, rank))
        if nesting:
            self.nesting.update(dict.fromkeys(node.output, nesting))
        self.dims += rank * len(node.output)
        return rank <= _MAX_RANK and nesting <= _MAX_NESTING and self.dims <= MAX_DIMS

    def _rank(self, node: NodeProto, rank: int) -> int:
        op = node.op_type
        if op in _SUMS_RANKS:
            return sum(self.ranks.get(i, 0) for i in node.input[:2])
        if op in _RANK_BY_VALUE:
            shape = node.input if op == "ConstantOfShape" else node.input[1:]
            return max(rank, self._length(shape), _listed(node, "shape"))
        if op == "Unsqueeze":
            return rank + max(self._length(node.input[1:]), _listed(node, "axes"))
        if op == "Constant" and node.domain in STANDARD:
            return self._constant(node)
        if op == "Einsum":
            return max((len(a.s) for a in node.attribute), default=0)
        if op.startswith("Random"):
            return max(rank, _listed(node, "shape"))
        return rank + (op in _ADDS_AN_AXIS)

    def _length(self, names: Iterable[str]) -> int:
        return max((self.lengths.get(n, 0) for n in names), default=0)

    def _constant(self, node: NodeProto) -> int:
        rank = length = 1
        for attribute in node.attribute:
            dims = list(attribute.t.dims) if attribute.type == AttributeProto.TENSOR else []
            rank = max(rank, len(dims), len(attribute.sparse_tensor.dims))
            length = max(length, len(attribute.ints), dims[0] if len(dims) == 1 else 0)
        self.lengths.update(dict.fromkeys(node.output, length))
        return rank


def _listed(node: NodeProto, name: str) -> int:
    return next((len(a.ints) for a in node.attribute if a.name == name), 0)
