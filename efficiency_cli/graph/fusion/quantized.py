"""Q/DQ as onnxruntime fuses it: only around operators that it has integer kernels for, of the types they take.

All else stays in floating point, and its DequantizeLinear, those of weights too, and its QuantizeLinear are kernels.
After onnxruntime/core/optimizer/qdq_transformer (its selectors are per operator; that is the table below), and
compared with the graphs that it writes. What plain counting says of Q/DQ is in `graph/execution.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType

from efficiency_cli.graph.constants import is_folded
from efficiency_cli.graph.execution import VIEW, Execution, Planner, compute_type, has_ends
from efficiency_cli.graph.model import DType, Graph, Node

_BYTE = 8


class _Kind(Enum):
    """How an operator and the Q and DQ around it become one."""

    PRODUCT = auto()  # operands of their own types, the result of the first one's; a bias in int32
    ALL = auto()  # each operand and the result of one type
    FIRST = auto()  # only the first operand is quantised
    KEPT = auto()  # the same, and scale and zero point stay: any value it writes is one that it read
    MOVED = auto()  # the same, of any width: nothing is computed
    INDEX = auto()  # reads integers, its result is an index


_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        **dict.fromkeys("Conv MatMul Gemm".split(), _Kind.PRODUCT),
        **dict.fromkeys("Add Mul Where Concat".split(), _Kind.ALL),
        **dict.fromkeys("AveragePool GlobalAveragePool LeakyRelu Sigmoid Softmax".split(), _Kind.FIRST),
        **dict.fromkeys("MaxPool ReduceMax ReduceMin Resize".split(), _Kind.KEPT),
        **dict.fromkeys("Expand Gather GatherElements Slice Split Tile Transpose".split(), _Kind.MOVED),
        "ArgMax": _Kind.INDEX,
    }
)
# views that Q and DQ are moved through to what is behind or before them; others must stand between Q/DQ already
_CROSSED = frozenset("Reshape Squeeze Unsqueeze Identity Dropout".split())
_SATURATING = frozenset({"Relu", "Clip"})
_RANGES = MappingProxyType({DType.INT8: (-128, 127), DType.UINT8: (0, 255)})


def units_of_runtime(graph: Graph, *, unsigned: bool) -> Execution:
    """What of `graph` runs, and in which types, where Q/DQ are fused as onnxruntime does it.

    `unsigned`: int8 between one Q and one DQ becomes uint8 before, and products take no int8 activations: x86.
    """
    return _Units(graph, unsigned).plan()


class _Units(Planner):
    def __init__(self, graph: Graph, unsigned: bool) -> None:
        super().__init__(graph)
        self.unsigned = unsigned
        # each operand counts, also where one node reads a tensor twice: a DQ is copied for each
        self.edges = Counter(i for node in graph.nodes for i in node.inputs if i)
        self.edges.update(graph.outputs)
        self.edges.update(c for node in graph.nodes for body in node.graphs.values() for c in body.captured)

    def _fuse_quantization(self) -> None:
        running = [(k, n) for k, n in enumerate(self.graph.nodes) if k not in self.absorbed]
        for k, node in running:
            dtype = self._unit_type(node)
            if dtype is not None:
                self.dtype[k] = compute_type(dtype)
        for k, node in running:
            if k not in self.dtype and self._is_saturated(node):
                self.saturated.add(k)
                before = self.maker.get(node.inputs[0])
                if before in self.dtype:
                    self.dtype[k] = self.dtype[before]
        self._revive_constants()
        self._absorb_quantization()

    def _fold_batch_norm(self, k: int, node: Node) -> None:
        """Only where the weights are constants: not where a DequantizeLinear makes them."""
        before = self.maker.get(node.inputs[0]) if node.inputs else None
        weights = self.graph.nodes[before].inputs[1:2] if before is not None else ()
        if not any(self._op_of(self.maker.get(i)) == "DequantizeLinear" for i in weights):
            super()._fold_batch_norm(k, node)

    def _op_of(self, k: int | None) -> str:
        """Its operator; '' where there is no such node or it lacks an end, as in damaged files."""
        return self.graph.nodes[k].op if k is not None and has_ends(self.graph.nodes[k]) else ""

    # --- types -----------------------------------------------------------------------------

    def _quantized_as(self, quantize: int) -> DType | None:
        """The type that a QuantizeLinear makes: uint8 instead of int8 where only one DequantizeLinear reads it."""
        node = self.graph.nodes[quantize]
        result = node.outputs[0]
        declared = self.graph.tensors[result].dtype
        readers = self.readers.get(result, [])
        plain = all(self._op_of(r) == "DequantizeLinear" for r in readers) and result not in self.graph_outputs
        copies = sum(max(1, self.edges[self.graph.nodes[r].outputs[0]]) for r in readers if plain)
        zero = len(node.inputs) > 2 and bool(node.inputs[2])
        return self._narrowed(declared) if copies == 1 and zero else declared

    def _narrowed(self, dtype: DType | None) -> DType | None:
        return DType.UINT8 if self.unsigned and dtype is DType.INT8 else dtype

    def _operand_type(self, name: str) -> DType | None:
        """The integers behind a float operand; None where no DequantizeLinear makes it."""
        source = name
        while (k := self.maker.get(source)) is not None and self._is_crossed(k):
            source = self.graph.nodes[k].inputs[0]
        if k is None or self._op_of(k) != "DequantizeLinear":
            return None
        stored = self.graph.nodes[k].inputs[0]
        if source != name:  # a Q and a DQ of its own stand behind the view
            declared = self.graph.tensors[stored].dtype
            return self._narrowed(declared) if self.edges[name] == 1 else declared
        quantize = self.maker.get(stored)
        if quantize is not None and self._op_of(quantize) == "QuantizeLinear":
            return self._quantized_as(quantize)
        return self.graph.tensors[stored].dtype

    def _is_crossed(self, k: int) -> bool:
        return self.absorbed.get(k) == VIEW and self.graph.nodes[k].op in _CROSSED

    def _quantizer(self, name: str) -> tuple[int, DType | None] | None:
        """The one QuantizeLinear that reads `name`, and the type it makes; None where anything else reads it too."""
        crossed = False
        while name not in self.graph_outputs and self.edges[name] == 1:
            (k,) = self.readers[name]
            node = self.graph.nodes[k]
            if node.op == "QuantizeLinear" and node.inputs[0] == name:
                made = self._quantized_as(k)
                return k, self._narrowed(made) if crossed else made
            if not self._is_crossed(k) and not self._is_saturated(node):
                return None
            crossed = crossed or self._is_crossed(k)
            name = node.outputs[0]
        return None

    def _is_saturated(self, node: Node) -> bool:
        """Whether this Relu or Clip stands before a QuantizeLinear whose range is no wider than its own."""
        if node.op not in _SATURATING or node.domain or not has_ends(node):
            return False
        name = node.outputs[0]
        readers = self.readers.get(name, [])
        if name in self.graph_outputs or [self._op_of(k) for k in readers] != ["QuantizeLinear"]:
            return False
        quantize = self.graph.nodes[readers[0]]
        return quantize.inputs[0] == name and self._is_within(node, quantize)

    def _is_within(self, node: Node, quantize: Node) -> bool:
        """Whether the quantised range lies within that of the activation; values that are not known are taken so."""
        dtype = self.graph.tensors[quantize.outputs[0]].dtype
        scale, zero = (self._number(quantize.inputs, slot) for slot in (1, 2))
        if dtype is None or dtype not in _RANGES or scale is None or (zero is None and len(quantize.inputs) > 2):
            return dtype is None or dtype.is_narrow_integer
        least, most = ((end - (zero or 0)) * scale for end in _RANGES[dtype])
        if node.op == "Relu":
            return least >= 0
        low, high = (self._number(node.inputs, slot) for slot in (1, 2))
        return (low is None or least >= low) and (high is None or most <= high)

    def _number(self, names: tuple[str, ...], slot: int) -> float | None:
        value = self.graph.tensors[names[slot]].value if len(names) > slot and names[slot] else None
        return float(value[0]) if value else None

    # --- units -----------------------------------------------------------------------------

    def _unit_type(self, node: Node) -> DType | None:
        """The type that the operator's integer kernel computes in; None where it has none for what is around it."""
        kind = _KINDS.get(node.op)
        if kind is None or node.domain or not has_ends(node):
            return None
        types = {name: self._operand_type(name) for name in node.inputs if self._is_float(name)}
        first = types.get(node.inputs[0]) or next(iter(types.values()), None)
        if first is None or not first.is_integer or (first.bits != _BYTE and kind is not _Kind.MOVED):
            return None
        if kind is _Kind.PRODUCT:
            return first if self._is_product(node, first, types) else None
        if kind is _Kind.ALL:
            return first if set(types.values()) == {first} and self._makes(node, first) else None
        others = [t for name, t in types.items() if name != node.inputs[0]]
        if any(t is not None for t in others):
            return None
        kept = kind in (_Kind.KEPT, _Kind.MOVED)
        return first if kind is _Kind.INDEX or self._makes(node, first, kept=kept) else None

    def _is_float(self, name: str) -> bool:
        dtype = self.graph.tensors[name].dtype if name else None
        return dtype is not None and dtype.is_float

    def _makes(self, node: Node, dtype: DType, *, kept: bool = False) -> bool:
        """Whether all that the node makes is quantised to `dtype`, `kept`: by the scale of its operand."""
        found = [self._quantizer(o) for o in node.outputs if o]
        if not found or any(f is None or f[1] is not dtype for f in found):
            return False
        before = self.maker.get(node.inputs[0])
        if not kept or before is None or self._op_of(before) != "DequantizeLinear":
            return True
        return not any(self._rescaled(self.graph.nodes[before], self.graph.nodes[f[0]]) for f in found if f)

    def _is_product(self, node: Node, data: DType, types: Mapping[str, DType | None]) -> bool:
        """Of bytes; x86 has products of unsigned activations, and Gemm (QGemm) also of int8 and int8."""
        if len(node.inputs) < 2 or types.get(node.inputs[0]) is None:
            return False
        weight = types.get(node.inputs[1])
        if weight is None or weight.bits != _BYTE:
            return False
        signed = data is DType.INT8
        if signed and (weight is not data or (self.unsigned and node.op != "Gemm")):
            return False
        result = node.outputs[0]
        quantizers = any(self._op_of(k) == "QuantizeLinear" for k in self.readers.get(result, ()))
        raw = not quantizers and self._quantizer(result) is None
        if raw and node.op == "Conv":
            return False
        bias = node.inputs[2] if len(node.inputs) > 2 else ""
        return self._adds_exactly(bias, types.get(bias), raw=raw) and (raw or self._makes(node, data))

    def _adds_exactly(self, bias: str, dtype: DType | None, *, raw: bool) -> bool:
        """Whether the bias is in int32; a constant one in float is made so where the result is quantised."""
        constant = not bias or (not raw and dtype is None and self.graph.tensors[bias].is_constant)
        return constant or dtype is DType.INT32

    # --- what runs -------------------------------------------------------------------------

    def _revive_constants(self) -> None:
        """A DequantizeLinear of weights is computed at each run where a product in floating point reads it."""
        for k, node in enumerate(self.graph.nodes):
            if self._op_of(k) != "DequantizeLinear" or k not in self.absorbed or not is_folded(node, self.graph):
                continue
            name = node.outputs[0]
            readers = self.readers.get(name, [])
            if any(r in self.absorbed for r in readers) or name in self.graph_outputs:
                continue  # part of a constant that is computed before the run
            if any(r not in self.dtype and not self._is_packed(self.graph.nodes[r], name) for r in readers):
                del self.absorbed[k]
                self.alias.pop(name, None)
                self.computed.add(name)

    def _is_packed(self, node: Node, weights: str) -> bool:
        """Whether the product takes quantised weights for itself, beside activations in float: MatMulNBits.

        Not where anything else reads the weights, in either form, or their scale and zero point.
        """
        if node.op not in ("MatMul", "Gemm") or node.domain or node.inputs[1:2] != (weights,):
            return False
        parts = (weights, *self.graph.nodes[self.maker[weights]].inputs)
        alone = all(self.edges[name] == 1 for name in parts if name)
        return alone and self.graph.tensors[weights].rank == 2 and self._operand_type(node.inputs[0]) is None

    def _all_readers_quantized(self, name: str) -> bool:
        readers = self._behind_views(name)
        return bool(readers) and all(k in self.dtype or self._requantizes(k) for k in readers)

    def _requantizes(self, k: int) -> bool:
        quantizes = k >= 0 and self._op_of(k) == "QuantizeLinear"
        return quantizes and self._requantized_view(self.graph.nodes[k]) is not None

    def _requantized_view(self, quantize: Node) -> str | None:
        """As in counting, and the types on both sides are the same."""
        stored = super()._requantized_view(quantize)
        if stored is None:
            return None
        before = self.maker.get(stored)
        is_made = before is not None and self._op_of(before) == "QuantizeLinear"
        one = self._quantized_as(before) if is_made and before is not None else self.graph.tensors[stored].dtype
        return stored if one is self._quantized_as(self.maker[quantize.outputs[0]]) else None
