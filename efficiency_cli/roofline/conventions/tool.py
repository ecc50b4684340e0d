"""What a counter's rules are made of, and operators that several of them treat alike."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from efficiency_cli.costs import Op
from efficiency_cli.roofline.network import CountedNode, Network

# what `graph.execution` says of a node that runs before the network does
_FOLDED = "constant"

# MACs (None where the tool has no such figure) and FLOPs of one run of a node, given its dense MACs; None: no rule
Counts = tuple[int | None, int]
NodeRule = Callable[[Op, int], Counts | None]


def _stored(network: Network) -> int:
    return sum(s.parameters for s in network.stored)


class Tool(Struct, frozen=True):
    """One counter: `rule` for a node, `source` where its rules were read, `differences` from others.

    `folded`: it counts what runs before the network does, too. `has_macs`: it has such a figure.
    """

    name: str
    source: str
    rule: NodeRule
    differences: tuple[str, ...]
    has_macs: bool = True
    folded: bool = False
    parameters: Callable[[Network], int] = _stored

    def sees(self, counted: CountedNode) -> bool:
        """Whether the node runs in what the tool looks at."""
        runs = self.folded or counted.absorbed != _FOLDED
        return runs and counted.node.op != "Constant" and not counted.node.graphs


def operands_of(counted: CountedNode) -> Op:
    return Op(counted.node, counted.graph.inputs_of(counted.node), counted.graph.outputs_of(counted.node))


CONVOLUTIONS = frozenset(("Conv", "FusedConv", "NhwcConv", "NhwcFusedConv", "QLinearConv", "ConvInteger"))
TRANSPOSED = frozenset(("ConvTranspose", "ConvTransposeWithDynamicPads"))
RECURRENT = frozenset(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM", "AttnLSTM"))
NORMALIZATIONS = frozenset(("InstanceNormalization", "GroupNormalization", "LayerNormalization"))
FREE = frozenset(
    """Identity Reshape Flatten Squeeze Unsqueeze Transpose Concat Split Slice Gather GatherElements GatherND
    Shape Size Cast Expand Tile Pad Dropout Constant ConstantOfShape Range Where DepthToSpace
    SpaceToDepth""".split()
)


def affine_norm(op: Op) -> int:
    """5 an element with a scale, 4 without (both tools call it a rough estimate)."""
    return op.input().numel * (5 if op.has(1) else 4)
