"""What of a graph runs, and in which type: constants, views, folded BatchNormalization, fused Q/DQ.

This is part of the counting convention (method.md §2) and the same for every machine. Which nodes a
runtime then launches together is the business of `fusion.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from efficiency_cli.graph.constants import is_folded
from efficiency_cli.graph.model import DType, Graph, Node, Tensor
from efficiency_cli.graph.roles import MICROSOFT

VIEW = "a view"
VIEWS = frozenset("Reshape Squeeze Unsqueeze Flatten Identity Dropout".split())
# operators with integer kernels whose result need not be quantised again at once
_MAC_OPS = frozenset("Conv ConvTranspose Gemm MatMul Einsum FusedConv FusedMatMul FusedGemm".split())
# operators that the usual quantised kernels cover when a QuantizeLinear follows
_OTHER_QUANTIZED = frozenset(
    """Add Sub Mul Div Concat Relu LeakyRelu Clip Sigmoid HardSigmoid HardSwish Tanh Softmax PRelu Elu AveragePool
    MaxPool GlobalAveragePool GlobalMaxPool ReduceMean ReduceMax ReduceMin Resize Upsample Pad Slice Split Transpose
    Gather Expand Tile DepthToSpace SpaceToDepth Where Max Min Gelu LayerNormalization""".split()
)
# operators that run inside the integer kernel they follow
_EPILOGUES = frozenset("Relu LeakyRelu Clip Sigmoid HardSigmoid HardSwish Tanh Add Mul PRelu Gelu".split())
_UNARY_EPILOGUES = _EPILOGUES - {"Add", "Mul"}
_QUANTIZE = frozenset({"QuantizeLinear"})
_DEQUANTIZE = frozenset({"DequantizeLinear"})
# operators whose operand 2 is a bias: added inside the integer kernel, though some exporters leave it in float
_BIASED = frozenset("Conv ConvTranspose Gemm FusedConv FusedGemm".split())
_NORMALIZED = frozenset({"Conv", "ConvTranspose", "FusedConv", "Gemm"})


class Execution(Struct, frozen=True):
    """How one graph runs.

    `absorbed`  node index -> why it costs nothing of its own
    `alias`     tensor -> the tensor that really crosses memory in its place (never an alias itself)
    `beside`    tensor -> scales and zero points read along with it
    `dtype`     node index -> the type it computes in, where that differs from its operands'
    `readers`   tensor (no alias) -> the nodes that read it and run, each once
    `leaving`   tensors (no aliases) that the graph's outputs are
    `stored`    what a DequantizeLinear that runs makes -> the integers it makes it from
    `computed`  constants that are computed anew at each run: their makers are not absorbed
    `saturated` activations that the quantisation behind them does already: they are part of what is before them
    """

    absorbed: Mapping[int, str]
    alias: Mapping[str, str]
    beside: Mapping[str, tuple[str, ...]]
    dtype: Mapping[int, DType]
    readers: Mapping[str, Sequence[int]]
    leaving: frozenset[str]
    stored: Mapping[str, str]
    computed: frozenset[str] = frozenset()
    saturated: frozenset[int] = frozenset()

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether the tensor is there before the run."""
        return tensor.is_constant and tensor.name not in self.computed

    def resolve(self, name: str) -> str:
        """The tensor that stands in memory for `name`: through views, fused Q/DQ and folded BatchNormalization."""
        return self.alias.get(name, name)

    def source(self, k: int, name: str) -> str:
        """The tensor that node `k` reads for `name`: an integer kernel takes the integers, though others
        have a float copy made."""
        found = self.resolve(name)
        return self.stored.get(found, found) if k in self.dtype else found


def execution_of(graph: Graph) -> Execution:
    """Decide what runs in `graph` (not in its bodies)."""
    return Planner(graph).plan()


class Planner:
    """Decides what runs in one graph. What Q/DQ become is for `_fuse_quantization`: runtimes differ there."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.absorbed: dict[int, str] = {}
        self.alias: dict[str, str] = {}
        self.beside: dict[str, tuple[str, ...]] = {}
        self.dtype: dict[int, DType] = {}
        self.computed: set[str] = set()
        self.saturated: set[int] = set()
        self.graph_outputs = frozenset(graph.outputs)
        self.sources: dict[str, str] = {}
        self.users = Counter(i for node in self.graph.nodes for i in set(node.inputs) if i)
        self.users.update(self.graph.outputs)
        for node in self.graph.nodes:
            for body in node.graphs.values():
                self.users.update(body.captured)
        self.maker = {o: k for k, node in enumerate(self.graph.nodes) for o in node.outputs if o}
        self.readers: dict[str, list[int]] = {}
        for k, node in enumerate(self.graph.nodes):
            for name in {*node.inputs, *(c for body in node.graphs.values() for c in body.captured)}:
                self.readers.setdefault(name, []).append(k)

    def plan(self) -> Execution:
        for k, node in enumerate(self.graph.nodes):
            if is_folded(node, self.graph):
                self._fold_constant(k, node)
            elif _is_view(node) and not self._trains(node):
                self.absorbed[k] = VIEW
                self.alias[node.outputs[0]] = node.inputs[0]
            elif node.domain == "" and node.op == "BatchNormalization":
                self._fold_batch_norm(k, node)
        if any(node.op == "DequantizeLinear" for node in self.graph.nodes):
            self._fuse_quantization()
        alias = followed(self.alias)
        leaving = frozenset(alias.get(o, o) for o in self.graph.outputs)
        stored = self._stored(alias)
        readers = self._readers_of(alias, stored)
        changes = frozenset(self.computed), frozenset(self.saturated)
        return Execution(self.absorbed, alias, self.beside, self.dtype, readers, leaving, stored, *changes)

    def _stored(self, alias: Mapping[str, str]) -> dict[str, str]:
        if not self.dtype:
            return {}
        running = (n for k, n in enumerate(self.graph.nodes) if n.op in _DEQUANTIZE and k not in self.absorbed)
        return {n.outputs[0]: alias.get(n.inputs[0], n.inputs[0]) for n in running if has_ends(n)}

    def _readers_of(self, alias: Mapping[str, str], stored: Mapping[str, str]) -> dict[str, list[int]]:
        readers: dict[str, list[int]] = {}
        for k, node in enumerate(self.graph.nodes):
            if k in self.absorbed:
                continue
            captured = [c for body in node.graphs.values() for c in body.captured] if node.graphs else ()
            names = {alias.get(n, n) for n in (*node.inputs, *captured) if n}
            for name in {stored.get(n, n) for n in names} if k in self.dtype else names:
                readers.setdefault(name, []).append(k)
        return readers

    def _trains(self, node: Node) -> bool:
        """Whether this is a Dropout that a constant tells to train."""
        mode = self.graph.tensors.get(node.inputs[2]) if node.op == "Dropout" and len(node.inputs) > 2 else None
        return bool(mode is not None and mode.value and mode.value[0])

    def _fold_constant(self, k: int, node: Node) -> None:
        self.absorbed[k] = "constant"
        if node.op == "DequantizeLinear" and has_ends(node):
            # the narrow weight is what is stored and read
            self.alias[node.outputs[0]] = node.inputs[0]
            self.beside[node.inputs[0]] = tuple(i for i in node.inputs[1:] if i)
        elif node.domain == "" and (node.op in VIEWS or node.op == "Transpose") and has_ends(node):
            self.alias[node.outputs[0]] = node.inputs[0]

    def _fold_batch_norm(self, k: int, node: Node) -> None:
        """Into a convolution or Gemm with constant weights that feeds nothing else."""
        source = node.inputs[0] if node.inputs else ""
        before = self.maker.get(source)
        if before is None or self.users[source] != 1 or len([o for o in node.outputs if o]) != 1:
            return
        producer = self.graph.nodes[before]
        if producer.op not in _NORMALIZED or producer.domain not in ("", MICROSOFT) or before in self.absorbed:
            return
        constants = [*producer.inputs[1:2], *node.inputs[1:]]
        if all(self.graph.tensors[i].is_constant for i in constants if i):
            self.absorbed[k] = f"folded into {producer.name}"
            self.alias[source] = node.outputs[0]

    # --- Q/DQ ------------------------------------------------------------------------------

    def _fuse_quantization(self) -> None:
        for k, node in enumerate(self.graph.nodes):
            if k not in self.absorbed and node.op not in _QUANTIZE | _DEQUANTIZE:
                dtype = self._quantized_type(node)
                if dtype is not None:
                    self.dtype[k] = dtype
        self._absorb_quantization()

    def _absorb_quantization(self) -> None:
        """Q and DQ around the nodes that `dtype` says run in integers cost nothing."""
        for k, node in enumerate(self.graph.nodes):
            if k in self.absorbed or not has_ends(node):
                continue
            if node.op in _DEQUANTIZE and self._all_readers_quantized(node.outputs[0]):
                self.absorbed[k] = "dequantisation inside the integer kernels that follow"
                self.alias[node.outputs[0]] = node.inputs[0]
                self.beside.setdefault(node.inputs[0], ())
            elif node.op in _QUANTIZE and self._made_by_quantized(node.inputs[0]):
                self.absorbed[k] = "quantisation inside the integer kernel before"
                self._redirect(node.inputs[0], node.outputs[0])
            elif node.op in _QUANTIZE and (start := self._requantized_view(node)) is not None:
                self.absorbed[k] = "a view between dequantisation and quantisation"
                self.alias[node.outputs[0]] = start

    def _redirect(self, name: str, target: str) -> None:
        """What is written for `name`, and for what it is a view of, is `target`."""
        source = self._through_views(name)
        while name != source:
            previous = self.graph.nodes[self.maker[name]].inputs[0]
            self.alias[name] = target
            name = previous
        self.alias[source] = target

    def _through_views(self, name: str) -> str:
        """What `name` is a view of. Remembered for every view on the way: a chain of them is walked once."""
        passed = []
        while name not in self.sources and (k := self.maker.get(name)) is not None and self.absorbed.get(k) == VIEW:
            passed.append(name)
            name = self.graph.nodes[k].inputs[0]
        source = self.sources.get(name, name)
        self.sources.update(dict.fromkeys(passed, source))
        return source

    def _behind_views(self, name: str) -> list[int]:
        """The nodes that read `name`, looking through views and BatchNormalization that folded away."""
        result: list[int] = []
        stack = [name]
        while stack:
            current = stack.pop()
            for k in self.readers.get(current, ()):
                node = self.graph.nodes[k]
                if self.absorbed.get(k) == VIEW and node.inputs[0] == current:
                    stack.append(node.outputs[0])
                else:
                    result.append(k)
            if current in self.graph_outputs:
                result.append(-1)
        return result

    def _all_readers_quantized(self, name: str) -> bool:
        readers = self._behind_views(name)
        return bool(readers) and all(
            k in self.dtype or (k >= 0 and self.graph.nodes[k].op in _QUANTIZE) for k in readers
        )

    def _made_by_quantized(self, name: str) -> bool:
        source = self._through_views(name)
        chain = name
        while chain != source:  # every view on the way has this one reader
            if self.users[chain] != 1:
                return False
            chain = self.graph.nodes[self.maker[chain]].inputs[0]
        return self._runner(source) in self.dtype and self.users[source] == 1

    def _requantized_view(self, quantize: Node) -> str | None:
        """For DQ – view – Q of one scale: the integer tensor that both ends are the same bytes of."""
        name = quantize.inputs[0]
        source = self._through_views(name)
        k = self.maker.get(source)
        if source == name or k is None or not self._dequantizes(k):
            return None
        before = self.graph.nodes[k]
        return None if self._rescaled(before, quantize) else before.inputs[0]

    def _dequantizes(self, k: int) -> bool:
        node = self.graph.nodes[k]
        return node.op in _DEQUANTIZE and has_ends(node)

    def _rescaled(self, dequantize: Node, quantize: Node) -> bool:
        """Whether scale or zero point are known to change; those that are not in the file are taken for equal."""
        pairs = zip(dequantize.inputs[1:3], quantize.inputs[1:3], strict=False)
        values = [(self.graph.tensors[a].value, self.graph.tensors[b].value) for a, b in pairs if a and b]
        return any(a is not None and b is not None and a != b for a, b in values)

    def _runner(self, name: str) -> int | None:
        """The node that makes `name`, looking through BatchNormalization that folded away."""
        k = self.maker.get(name)
        if k is not None and self.absorbed.get(k, "").startswith("folded into"):
            return self.maker.get(self.graph.nodes[k].inputs[0])
        return k

    def _quantized_type(self, node: Node) -> DType | None:
        """The integer type the node runs in, or None when it stays in floating point."""
        if node.domain not in ("", MICROSOFT) or node.graphs:
            return None
        mac = node.op in _MAC_OPS
        if not mac and node.op not in _OTHER_QUANTIZED:
            return None
        types: list[DType] = []
        chained = False
        for slot, name in enumerate(node.inputs):
            tensor = self.graph.tensors.get(name)
            if tensor is None or not name or tensor.dtype is None or not tensor.dtype.is_float:
                continue
            source = self._through_views(name)
            before = self._runner(source)
            if before is not None and self._dequantizes(before):
                stored = self.graph.tensors[self.graph.nodes[before].inputs[0]]
                if stored.dtype is None:
                    return None
                if stored.dtype.is_narrow_integer:
                    types.append(stored.dtype)
            elif before in self.dtype and node.op in _EPILOGUES and self.users[source] == 1:
                types.append(self.dtype[before])
                chained = True
            elif tensor.is_constant and (node.op in _EPILOGUES or tensor.numel <= 1):
                continue  # Clip bounds, an Add's constant: part of the kernel
            elif tensor.is_constant and slot == 2 and node.op in _BIASED:
                continue
            else:
                return None
        if not types:
            return None
        if not mac and not chained and not self._feeds_quantize(node):
            return None
        widest = max(types, key=lambda d: d.bits)
        return compute_type(widest)

    def _feeds_quantize(self, node: Node) -> bool:
        """Whether all that reads the node's outputs is QuantizeLinear, perhaps behind an activation."""
        pending = [k for o in node.outputs if o for k in self._behind_views(o)]
        if not pending:
            return False
        while pending:
            k = pending.pop()
            if k < 0:
                return False
            reader = self.graph.nodes[k]
            if reader.op in _UNARY_EPILOGUES:
                behind = self._behind_views(reader.outputs[0])
                if not behind:
                    return False
                pending.extend(behind)
            elif reader.op not in _QUANTIZE:
                return False
        return True


def has_ends(node: Node) -> bool:
    """Whether the first operand and the first output are there: names may be left out."""
    return bool(node.inputs and node.inputs[0] and node.outputs and node.outputs[0])


def _is_view(node: Node) -> bool:
    return node.domain == "" and node.op in VIEWS and has_ends(node)


def followed(alias: Mapping[str, str]) -> dict[str, str]:
    """Every alias followed to its end; a long chain of them once, not from each of its links."""
    result: dict[str, str] = {}
    for name in alias:
        passed = []
        end = name
        while end in alias and end not in result:
            passed.append(end)
            end = alias[end]
        result.update(dict.fromkeys(passed, result.get(end, end)))
    return result


def compute_type(dtype: DType) -> DType:
    """The signed name of an integer type: machines have one rate for both signs."""
    return DType(dtype.value.removeprefix("u")) if dtype.is_integer else dtype


def narrow_bytes(tensor: Tensor, bytes_of: Tensor, touched: int) -> int:
    """`touched` bytes of `bytes_of`, when `tensor` of another type stands in its place."""
    if tensor.dtype is None or bytes_of.dtype is None or not bytes_of.dtype.bits:
        return touched
    return -(-touched * tensor.dtype.bits // bytes_of.dtype.bits)
