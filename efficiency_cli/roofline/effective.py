"""MACs that remain where zero weights are skipped: whole channels, or single elements.

Dense counts are the rule; this stands beside them for runtimes that skip dead channels, when asked for.
A channel whose weights are all zero has the same value everywhere (its bias), and so has what a
convolution makes of such channels alone: neither needs a product, which is folded into the next bias.
(Where a convolution pads, that is exact inside the border and what such runtimes do at it.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from efficiency_cli.graph.model import Graph, Node
from efficiency_cli.roofline.network import CountedNode, Network

if TYPE_CHECKING:
    from efficiency_cli.graph.effective import Zeros

# operators that make of a constant channel a constant channel, whatever the others are
_CHANNEL_BY_CHANNEL = frozenset(
    """Relu LeakyRelu Clip Sigmoid HardSigmoid HardSwish Tanh Elu Selu Softplus Gelu Mish Erf Neg Abs Sqrt Exp
    Identity Cast Dropout QuantizeLinear DequantizeLinear QLinearSigmoid QLinearLeakyRelu""".split()
)
# the same, where the channels are axis 1
_BY_AXIS_ONE = frozenset(
    """BatchNormalization MaxPool AveragePool GlobalAveragePool GlobalMaxPool QLinearGlobalAveragePool
    QLinearAveragePool""".split()
)
_FLATTENING = frozenset(("Reshape", "Flatten", "Squeeze"))
_CONVOLUTIONS = frozenset(("Conv", "ConvInteger", "QLinearConv", "FusedConv", "ConvTranspose"))
_RECURRENT = frozenset(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"))
# their weight is that of a projection, before products of two activations
_PROJECTED = frozenset(("Attention", "QAttention"))

Channels = frozenset[int]


class NodeEffective(Struct, frozen=True):
    """One node with a weight: what of it is zero, and its MACs without that; `unread` says why not."""

    macs: int
    macs_nonzero: int
    zeros: Zeros | None = None
    unread: str = ""


class Effective(Struct, frozen=True):
    """Of the weights that could be read: what is zero, and the network's MACs without it.

    `macs` leaves out all-zero output channels and channels that are constant for that; `macs_nonzero`
    every product with a zero weight. MACs without a weight that was read count in full; `unread` says why,
    one line a node. `nodes` has, by name, those with a weight.
    """

    macs: int
    macs_nonzero: int
    channels: int
    zero_channels: int
    elements: int
    zero_elements: int
    unread: tuple[str, ...]
    nodes: Mapping[str, NodeEffective]


def effective(network: Network) -> Effective:
    """Reads the weights of the network's file. Raises ModelError, or UsageError for standard input."""
    from efficiency_cli.graph.effective import Weights  # it imports numpy

    weights = Weights(network.model)
    walks: dict[str, _Walk] = {}
    found: dict[str, NodeEffective] = {}
    for counted in network.nodes:
        walk = walks.setdefault(counted.path, _Walk(counted.graph))
        one = _of_node(counted, weights.zeros(counted.node, counted.graph), walk)
        if one is not None and counted.macs:
            found[counted.node.name] = one
    read = [n.zeros for n in found.values() if n.zeros is not None]
    others = sum(n.macs for n in network.nodes if n.node.name not in found)
    return Effective(
        macs=others + sum(n.macs for n in found.values()),
        macs_nonzero=others + sum(n.macs_nonzero for n in found.values()),
        channels=sum(z.channels for z in read),
        zero_channels=sum(len(z.dead) for z in read),
        elements=sum(z.elements for z in read),
        zero_elements=sum(z.zero_elements for z in read),
        unread=tuple(f"{name}: {n.unread}" for name, n in found.items() if n.unread),
        nodes=found,
    )


def _of_node(counted: CountedNode, zeros: tuple[Zeros, ...] | str | None, walk: _Walk) -> NodeEffective | None:
    """None for a node without a weight; every node must come by, for the walk to hand constant channels on."""
    if not isinstance(zeros, tuple):
        walk.through(counted.node)
        return NodeEffective(counted.macs, counted.macs, unread=zeros) if zeros else None
    from efficiency_cli.graph.effective import together

    whole = together(zeros)
    if counted.node.op in _RECURRENT:
        # a row of a gate's weights is multiplied as often as any other
        live = sum((z.channels - len(z.dead)) * z.elements // max(z.channels, 1) for z in zeros)
        products = whole.elements
    else:
        live, products = walk.multiplied(counted.node, whole)
    weighted = _weighted(counted, whole)
    others = counted.macs - weighted
    nonzero = weighted * (whole.elements - whole.zero_elements) // max(whole.elements, 1)
    return NodeEffective(others + weighted * live // max(products, 1), others + nonzero, whole)


def _weighted(counted: CountedNode, zeros: Zeros) -> int:
    """MACs that multiply by the weight."""
    if counted.node.op not in _PROJECTED or counted.absorbed:
        return counted.macs
    return counted.graph.tensors[counted.node.inputs[0]].numel * zeros.channels * counted.repeat


class _Walk:
    """Constant channels on the way through one graph: by tensor, their axis and which they are."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constant: dict[str, tuple[int, Channels]] = {}

    def through(self, node: Node) -> None:
        """Hand constant channels on through an operator without weights of its own."""
        source = next(iter(node.inputs), "")
        found = self.constant.get(source)
        if not found or not node.outputs:
            return
        if (
            node.op in _CHANNEL_BY_CHANNEL
            or (found[0] == 1 and node.op in _BY_AXIS_ONE)
            or (found[0] == 1 and node.op in _FLATTENING and self._keeps_channels(node))
        ):
            self.constant[node.outputs[0]] = found

    def _keeps_channels(self, node: Node) -> bool:
        """(N, C, 1, …) to (N, C), or the same shape."""
        before = self.graph.tensors[node.inputs[0]].shape or ()
        after = self.graph.tensors[node.outputs[0]].shape or ()
        return before[:2] == after and set(before[2:]) <= {1}

    def multiplied(self, node: Node, zeros: Zeros) -> tuple[int, int]:
        """Pairs of an input and an output channel that need products, and all; follows the node's output."""
        convolution = node.op in _CONVOLUTIONS
        source = self.graph.tensors[node.inputs[0]]
        shape: Sequence[int] = source.shape or (1,)
        axis = 1 if convolution and len(shape) > 1 else len(shape) - 1
        if node.op.endswith("Gemm") and node.attributes.get("transA", 0):
            axis = 0
        inputs = shape[axis]
        group = node.attributes.get("group", 1) if convolution else 1
        groups = group if isinstance(group, int) and 0 < group <= inputs else 1
        at, known = self.constant.get(source.name, (axis, frozenset()))
        live_inputs = _live_by_group(inputs, groups, known if at == axis else frozenset())
        outputs_each = max(zeros.channels // groups, 1)
        live, constant = 0, set(zeros.dead)
        for channel in range(zeros.channels):
            left = live_inputs.get(min(channel // outputs_each, groups - 1), 0)
            if channel not in zeros.dead:
                live += left
            if not left:
                constant.add(channel)
        if constant and node.op not in _PROJECTED and self._alone(node):
            columns = len(self.graph.tensors[node.outputs[0]].shape or (1,)) - 1
            self.constant[node.outputs[0]] = (1 if convolution else columns, frozenset(constant))
        return live, zeros.channels * (inputs // groups)

    def _alone(self, node: Node) -> bool:
        """Whether nothing but constants is added to what the node makes of its first operand."""
        return all(self.graph.tensors[i].is_constant for i in node.inputs[1:] if i)


def _live_by_group(inputs: int, groups: int, constant: Channels) -> Mapping[int, int]:
    each = max(inputs // groups, 1)
    live = dict.fromkeys(range(groups), each)
    for channel in constant:
        live[min(channel // each, groups - 1)] -= 1
    return live
