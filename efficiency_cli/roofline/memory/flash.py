"""What is stored for a network: weights by type, biases, constants, scales; and the runtime's code beside them.

    flash = Σ weights + Σ biases + Σ constants + Σ scales and zero points + code

A constant is data that the network computes with or hands out (anchors, position tables). Shapes, axes and the like
become code and take no room of their own. A scale that a runtime keeps in its own tables counts there
(`PerPart.channel`), not twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from msgspec import Struct

from efficiency_cli.graph.constants import Stored
from efficiency_cli.graph.model import Graph, Kind
from efficiency_cli.graph.roles import AUXILIARY
from efficiency_cli.hardware.profile import MemoryUse
from efficiency_cli.roofline.memory.bodies import scopes_of
from efficiency_cli.roofline.network import Network

# operators whose auxiliary operands are scales and zero points
_QUANTIZED = frozenset(
    """QuantizeLinear DequantizeLinear ConvInteger MatMulInteger QGemm MatMulNBits MatMulBnb4 GatherBlockQuantized QMoE
    QAttention QEmbedLayerNormalization DynamicQuantizeMatMul DynamicQuantizeLSTM MatMulIntegerToFloat MulInteger
    MatMulFpQ4 GemmFloat8""".split()
)
_QLINEAR = "QLinear"
# integers this wide beside narrow weights are biases, in the scale of the sums they are added to
_BIAS_BITS = 32


class Flash(Struct, frozen=True):
    """Bytes stored, by what they are; `scale_count` is how many scales there are."""

    weights: Mapping[str, int]
    biases: int
    constants: int
    scales: int
    code: float
    scale_count: int

    @property
    def data(self) -> int:
        """Weights, biases and constants: what tools report as the network's weights."""
        return sum(self.weights.values()) + self.biases + self.constants

    @property
    def total(self) -> float:
        return self.data + self.scales + self.code


def flash_of(network: Network, kernels: int, use: MemoryUse | None = None) -> Flash:
    """What the network stores; with the code and tables of a runtime that says how much those are."""
    graph = network.model.graph
    data, scales = _uses(graph)
    folded = _folded(network)
    weights: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    scale_count = 0
    unpacked = _unpacked(graph) if use and use.constants == "unpacked" else {}
    for stored in network.stored:
        tensor, dtype = stored.tensor, stored.dtype
        if dtype is None or not stored.bytes or tensor.name in folded:
            continue
        part = _part(stored, tensor.name in data, tensor.name in scales)
        if part == "weights":
            weights[dtype.value] += stored.bytes
        else:
            sizes[part] += unpacked.get(tensor.name, stored.bytes)
        scale_count += tensor.numel if part == "scales" and dtype.is_float else 0
    code = use.code if use else None
    tables = code is not None and code.channel is not None
    return Flash(
        weights=dict(sorted(weights.items())),
        biases=sizes["biases"],
        constants=sizes["constants"],
        scales=0 if tables else sizes["scales"],
        code=code.of(kernels, scale_count) if code else 0.0,
        scale_count=scale_count,
    )


def _part(stored: Stored, is_data: bool, is_scale: bool) -> str:
    dtype = stored.dtype
    if stored.tensor.kind is Kind.WEIGHT:
        wide = dtype is not None and dtype.is_integer and dtype.bits >= _BIAS_BITS
        return "biases" if wide else "weights"
    if is_scale and not is_data:
        return "scales"
    return "constants" if is_data else "shapes"


def _folded(network: Network) -> set[str]:
    """What becomes part of other weights: of a folded BatchNormalization all but the bias it leaves."""
    gone: set[str] = set()
    for scope in scopes_of(network.root):
        with_bias = {o for n in scope.graph.nodes if len(n.inputs) > 2 and n.inputs[2] for o in n.outputs}
        for k in scope.execution.absorbed:
            node = scope.graph.nodes[k]
            if node.op == "BatchNormalization":
                biased = node.inputs[0] in with_bias
                gone.update((*node.inputs[1:2], *node.inputs[2 if biased else 3 :]))
    return gone


def _unpacked(graph: Graph) -> dict[str, int]:
    """Stored constants that leave the network dequantised, and their bytes then."""
    makers = {o: node for node in graph.nodes if node.op == "DequantizeLinear" for o in node.outputs}
    leaving = [o for o in graph.outputs if o in makers and graph.tensors[o].is_constant]
    return {makers[o].inputs[0]: graph.tensors[o].bytes for o in leaving}


def _uses(graph: Graph) -> tuple[set[str], set[str]]:
    """Constants that are computed with or leave the graph, and those that are scales or zero points."""
    data: set[str] = set(graph.outputs)
    scales: set[str] = set()
    for inner in _graphs(graph):
        for node in inner.nodes:
            auxiliary = AUXILIARY.get((node.domain, node.op), frozenset())
            quantized = node.op in _QUANTIZED or node.op.startswith(_QLINEAR)
            for slot, name in enumerate(node.inputs):
                if slot not in auxiliary:
                    data.add(name)
                elif quantized:
                    scales.add(name)
    return data, scales


def _graphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for node in graph.nodes:
        for body in node.graphs.values():
            yield from _graphs(body)
