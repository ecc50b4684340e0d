"""Nodes to kernels: what a runtime launches as one.

Patterns are names that a profile lists. BatchNormalization that folds into a convolution and Q/DQ
around an operator are no choice of the runtime here but part of the counting (`execution.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from efficiency_cli.graph.execution import Execution
from efficiency_cli.graph.model import Graph, Node

# what nearly every runtime does; used where no machine is named
DEFAULT_PATTERNS = frozenset({"bias", "activation", "add", "pad"})

_MICROSOFT = ("", "com.microsoft", "com.microsoft.nchwc")
_MAC = frozenset(
    """Conv ConvTranspose ConvInteger QLinearConv FusedConv NhwcConv NhwcFusedConv Gemm MatMul FusedGemm FusedMatMul
    QGemm QLinearMatMul MatMulInteger MatMulIntegerToFloat MatMulNBits DynamicQuantizeMatMul Einsum""".split()
)
_NORMALIZATION = frozenset({"BatchNormalization", "InstanceNormalization", "GroupNormalization"})
_ACTIVATIONS = frozenset(
    """Relu LeakyRelu PRelu Elu Celu Selu ThresholdedRelu Clip Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign
    Mish Swish Gelu FastGelu QuickGelu""".split()
)
# one result an element from the operands' elements at the same place: chains of them need no memory between
_POINTWISE = _ACTIVATIONS | frozenset(
    """Add Sub Mul Div Pow Mod Min Max Neg Abs Sign Sqrt Reciprocal Exp Log Erf Sin Cos Tan Floor Ceil Round
    Cast Where Not And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual IsNaN IsInf""".split()
)
_GATES = frozenset({"Sigmoid", "HardSigmoid", "Softplus"})  # x · gate(x): SiLU, HardSwish
# index arithmetic in generated code, strided views in PyTorch: nothing moves that the neighbours would not move
_MOVED = frozenset("Transpose Slice Split SplitToSequence Concat Expand Tile Pad Gather".split())
_PADDED = frozenset("Conv QLinearConv FusedConv ConvInteger MaxPool AveragePool NhwcConv NhwcFusedConv".split())


def kernels_of(graph: Graph, execution: Execution, patterns: Iterable[str]) -> list[tuple[int, ...]]:
    """Node indices by kernel, in the order they run. Nodes that do not run are in none.

    A node with bodies (If, Loop) stands alone, to mark where its bodies' kernels go.
    """
    return _Grouper(graph, execution, frozenset(patterns)).run()


class _Group:
    __slots__ = ("anchor", "nodes")

    def __init__(self, node: int, anchor: str) -> None:
        self.nodes = [node]
        self.anchor = anchor  # the operator that decides what may follow inside the kernel


class _Grouper:
    def __init__(self, graph: Graph, execution: Execution, patterns: frozenset[str]) -> None:
        self.graph = graph
        self.execution = execution
        self.patterns = patterns
        self.groups: list[_Group] = []
        self.owner: dict[str, int] = {}  # tensor -> group that makes it
        self.home_of: dict[int, int] = {}  # node -> its group

    def run(self) -> list[tuple[int, ...]]:
        for k, node in enumerate(self.graph.nodes):
            if k in self.execution.absorbed:
                continue
            home = None if node.graphs else self._home(k, node)
            if home is None:
                home = len(self.groups)
                self.groups.append(_Group(k, node.op if node.domain in _MICROSOFT else ""))
            else:
                group = self.groups[home]
                group.nodes.append(k)
                if group.anchor == "Pad":
                    group.anchor = node.op
            self.home_of[k] = home
            for name in node.outputs:
                if name:
                    self.owner[self.execution.resolve(name)] = home
        return [tuple(g.nodes) for g in self.groups]

    def _home(self, k: int, node: Node) -> int | None:
        """The kernel that `node` runs inside, or None when it starts one."""
        if node.domain not in _MICROSOFT:
            return None
        if node.op in _PADDED and "pad" in self.patterns:
            home = self._maker(node.inputs[0])
            if home is not None and self.groups[home].anchor == "Pad" and self._only_reader(node.inputs[0], {k}):
                return home
            return None
        if "movement" in self.patterns and node.op in _MOVED:
            return self._beside_maker(node)
        home = self._epilogue(k, node)
        if home is None and "pointwise" in self.patterns and node.op in _POINTWISE:
            home = self._pointwise(k, node)
        return home

    def _beside_maker(self, node: Node) -> int | None:
        """The kernel that makes what `node` moves: it writes to the new places at once."""
        home = self._latest_maker(node)
        return None if home is None or self.graph.nodes[self.groups[home].nodes[0]].graphs else home

    def _pointwise(self, k: int, node: Node) -> int | None:
        """The element-wise kernel before, when nothing else reads what it made and the shape stays."""
        home = self._latest_maker(node)
        if home is None or self.groups[home].anchor not in _POINTWISE:
            return None
        return self._continued(home, node, {k})

    def _continued(self, home: int, node: Node, allowed: set[int]) -> int | None:
        """`home`, when only it and `allowed` read what it hands to `node` and the result is no larger."""
        source = next(i for i in node.inputs if i and self._maker(i) == home)
        result = self.graph.tensors.get(node.outputs[0])  # the first output may be left out
        same = result is not None and self.graph.tensors[source].shape == result.shape
        return home if same and self._only_reader(source, allowed, home) else None

    def _epilogue(self, k: int, node: Node) -> int | None:
        allowed = {k}
        if node.op in _ACTIVATIONS and "activation" in self.patterns:
            gate = self._gated_product(node)
            if gate is not None:
                allowed.add(gate)
        elif node.op == "BatchNormalization":
            if "fold-batchnorm" not in self.patterns:
                return None
        elif node.op == "Mul":
            return self._completed_gate(k, node)
        elif node.op == "Add":
            constant = any(self.graph.tensors[i].is_constant for i in node.inputs if i)
            if ("bias" if constant else "add") not in self.patterns:
                return None
        else:
            return None
        home = self._latest_maker(node)
        if home is None or not self._accepts(home, node):
            return None
        return self._continued(home, node, allowed)

    def _accepts(self, home: int, node: Node) -> bool:
        group = self.groups[home]
        if group.anchor in _MAC:
            return True
        # behind element-wise and normalising kernels only an activation joins
        return node.op in _ACTIVATIONS and (group.anchor in _NORMALIZATION or group.anchor in ("Add", "QLinearAdd"))

    def _gated_product(self, node: Node) -> int | None:
        """For gate(x) whose only use is x · gate(x): that Mul."""
        if node.op not in _GATES or not node.outputs:
            return None
        readers = self.execution.readers.get(self.execution.resolve(node.outputs[0]), ())
        if len(readers) != 1:
            return None
        (k,) = readers
        other = self.graph.nodes[k]
        same = {self.execution.resolve(i) for i in other.inputs if i}
        return k if other.op == "Mul" and self.execution.resolve(node.inputs[0]) in same else None

    def _completed_gate(self, k: int, node: Node) -> int | None:
        """The kernel that made both x and gate(x) takes their product as well."""
        homes = {self._maker(i) for i in node.inputs if i}
        home = homes.pop() if len(homes) == 1 else None
        if home is None or "activation" not in self.patterns or len(self.groups[home].nodes) < 2:
            return None
        return home if all(self._only_reader(i, {k}, home) for i in node.inputs) else None

    def _maker(self, name: str) -> int | None:
        return self.owner.get(self.execution.resolve(name)) if name else None

    def _latest_maker(self, node: Node) -> int | None:
        """The operand's kernel that runs last: the others are done when it starts."""
        homes = [h for i in node.inputs if (h := self._maker(i)) is not None]
        return max(homes, default=None)

    def _only_reader(self, name: str, nodes: set[int], home: int | None = None) -> bool:
        """Whether only `nodes`, and those already in the kernel `home`, read the tensor."""
        source = self.execution.resolve(name)
        if source in self.execution.leaving:
            return False
        readers = self.execution.readers.get(source, ())
        return all(k in nodes or (home is not None and self.home_of.get(k) == home) for k in readers)
