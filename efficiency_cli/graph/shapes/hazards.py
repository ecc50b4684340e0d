"""What onnx's C++ inference must not be given: it would crash, not end, or take all memory there is.

Found by fuzzing onnx 1.23 (`tests/fuzz`). The walk does without it where something is hazardous.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from onnx import AttributeProto, GraphProto, NodeProto

from efficiency_cli.graph.shapes.scope import STANDARD, graphs_of

# these read through a null pointer where an operand has no type; one at a time, all operands have one
_FRAGILE = frozenset({"RegexFullMatch", "DictVectorizer", "LabelEncoder", "EyeLike"})
# anything else, a line end or a single dot, keeps Einsum's inference in a loop for ever
_TERM = r"[A-Za-z ]*+(?:\.\.\.)?+[A-Za-z ]*+"
_EINSUM = re.compile(rf"{_TERM}(?:,{_TERM})*+(?:->{_TERM})?")
# all dims of all tensors: a 100,000-node network of rank 5 has a quarter of it
MAX_DIMS = 2_000_000
_MAX_RANK = 255
# onnx copies all names known around a body for each body
MAX_NAMES_COPIED = 5_000_000
_MAX_NESTING = 8
_RANK_BY_VALUE = frozenset({"Reshape", "Expand", "ConstantOfShape"})
_SUMS_RANKS = frozenset({"Gather", "GatherND"})
_ADDS_AN_AXIS = frozenset(
    "OneHot Loop Scan ConcatFromSequence StringSplit RNN GRU LSTM STFT DFT AffineGrid TfIdfVectorizer".split()
)
_FLAT = {"Shape": 1, "Size": 0, "Range": 1, "NonZero": 2, "NonMaxSuppression": 2}
# an axis beyond 32 bits makes them write where they should not
_NORMALIZATIONS = frozenset({"LayerNormalization", "RMSNormalization"})
_CHECKED = frozenset({"Einsum", "Split", "GatherND"}) | _NORMALIZATIONS
_WITH_BODIES = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_SPECIAL = _SUMS_RANKS | _RANK_BY_VALUE | _ADDS_AN_AXIS | _FLAT.keys() | {"Unsqueeze", "Constant", "Einsum"}
_NESTS = frozenset({"Optional", "SequenceConstruct"})


def in_node(node: NodeProto) -> str | None:
    """Why the node must not be inferred at all, or None."""
    if node.op_type == "Einsum":
        return _in_einsum(node)
    if node.op_type == "Split":
        parts = next((a.i for a in node.attribute if a.name == "num_outputs"), len(node.output))
        return f"num_outputs is {parts} where there are {len(node.output)}" if parts != len(node.output) else None
    if node.op_type == "GatherND" and _int(node, "batch_dims") < 0:
        return "batch_dims is negative"
    if node.op_type in _NORMALIZATIONS and abs(_int(node, "axis")) > _MAX_RANK:
        return "axis is beyond any rank"
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
        self.declared: dict[str, int] = {}
        self.dims = 0
        self.bodies = 0

    def fit(self, graph: GraphProto) -> bool:
        for value in graph.input:
            self.ranks[value.name] = max(self.ranks.get(value.name, 0), len(value.type.tensor_type.shape.dim))
        for tensor in graph.initializer:
            self.ranks[tensor.name] = len(tensor.dims)
            self.lengths[tensor.name] = tensor.dims[0] if len(tensor.dims) == 1 else 0
        for value in (*graph.value_info, *graph.output):
            rank = len(value.type.tensor_type.shape.dim)
            self.dims += rank
            self.declared[value.name] = max(self.declared.get(value.name, 0), rank)
        return all(self._add(node) for node in graph.node)

    def _add(self, node: NodeProto) -> bool:
        """False where the node is hazardous."""
        op, names = node.op_type, list(node.input)
        if op in _FRAGILE or (op in _CHECKED and in_node(node) is not None):
            return False
        known = self.ranks
        rank = max([known.get(i, 0) for i in names], default=0)
        if op in _WITH_BODIES:
            for attribute in node.attribute:
                for body in graphs_of(attribute):
                    inner = self._of_body(body, rank)
                    if inner is None:
                        return False
                    rank = max(rank, inner)
        if op in _SPECIAL or op.startswith("Random"):
            rank = self._rank(node, op, names, rank)
        outputs = list(node.output)
        rank = max([rank, *(self.declared.get(name, 0) for name in outputs)])
        known.update(dict.fromkeys(outputs, rank))
        self.dims += rank * len(outputs)
        return rank <= _MAX_RANK and self.dims <= MAX_DIMS and self._nested(op, names, outputs)

    def _of_body(self, body: GraphProto, rank: int) -> int | None:
        """The largest rank of the body's outputs, its inputs having at most `rank`; None where it is hazardous."""
        self.bodies += 1
        if self.bodies * len(self.ranks) > MAX_NAMES_COPIED:
            return None
        for value in body.input:
            self.ranks[value.name] = max(self.ranks.get(value.name, 0), rank)
        if not self.fit(body):
            return None
        return max([self.ranks.get(o.name, 0) for o in body.output], default=0)

    def _nested(self, op: str, names: Sequence[str], outputs: Sequence[str]) -> bool:
        """Types in types: onnx copies them by recursion."""
        if op in _NESTS or self.nesting:
            depth = max([self.nesting.get(i, 0) for i in names], default=0) + (op in _NESTS)
            if depth:
                self.nesting.update(dict.fromkeys(outputs, depth))
            return depth <= _MAX_NESTING
        return True

    def _rank(self, node: NodeProto, op: str, names: Sequence[str], rank: int) -> int:
        if op in _SUMS_RANKS:
            total = sum(self.ranks.get(i, 0) for i in names[:2])
            return max(total - 1, 0) if op == "Gather" else total
        if op in _FLAT:
            return _FLAT[op]
        if op in _RANK_BY_VALUE:
            shape = names if op == "ConstantOfShape" else names[1:]
            # what is no constant here, onnx does not know either: it is asked without data propagation
            return max(self._length(shape), _listed(node, "shape"))
        if op == "Unsqueeze":
            return rank + max(self._length(names[1:]), _listed(node, "axes"))
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
