"""Units to kernels: what joins the kernel before it, pattern by pattern.

A unit joins only the kernel that runs last of those that make its operands: the others are done when it starts,
so that kernels can run in the order in which they began.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from efficiency_cli.graph.execution import Execution
from efficiency_cli.graph.fusion.flow import Flow
from efficiency_cli.graph.fusion.operators import (
    ACTIVATIONS,
    CONVOLUTIONS,
    GATES,
    MAC,
    MOVED,
    NORMALIZATIONS,
    PADDED,
    POINTWISE,
    REDUCTIONS,
    ROW_NORMALIZATIONS,
    SIMPLE_ACTIVATIONS,
)
from efficiency_cli.graph.fusion.units import Unit, units_of
from efficiency_cli.graph.model import Graph

# operators whose operand 1 is the weights; onnxruntime's GemmActivationFusion and ConvActivationFusion know these
_WEIGHTED = CONVOLUTIONS | frozenset("Gemm MatMul FusedGemm FusedMatMul MatMulNBits MatMulIntegerToFloat".split())
_IMAGE_RANK = 4
_INTEGER_CONVOLUTIONS = frozenset({"QLinearConv", "ConvInteger"})
_GEMM = frozenset({"Gemm", "FusedGemm"})


class Group:
    """The nodes of one kernel; `anchor` is the operator that decides what may follow inside it.

    `whole` is the operator that the first unit is written out of, where it is several nodes.
    """

    __slots__ = ("anchor", "members", "nodes", "whole")

    def __init__(self, unit: Unit) -> None:
        self.nodes = list(unit.nodes)
        self.members = [unit]
        self.anchor = unit.op
        self.whole = unit.op if len(unit.nodes) > 1 else ""

    def take(self, unit: Unit) -> None:
        self.nodes.extend(unit.nodes)
        self.members.append(unit)


def groups_of(graph: Graph, execution: Execution, patterns: frozenset[str]) -> list[Group]:
    """The kernels in the order in which they run. A node with bodies (If, Loop) stands alone."""
    return _Grouper(graph, execution, patterns).run()


class _Grouper:
    def __init__(self, graph: Graph, execution: Execution, patterns: frozenset[str]) -> None:
        self.graph = graph
        self.flow = Flow(graph, execution)
        self.patterns = patterns
        self.groups: list[Group] = []
        self.owner: dict[str, int] = {}  # tensor -> group that makes it
        self.home_of: dict[int, int] = {}  # node -> its group
        self.covered: dict[tuple[str, int], bool] = {}  # tensor and axis -> whether slices of it are all of it
        self.siblings: dict[tuple[str, str], int] = {}  # tensor and operator -> group that does all such of it
        rules: Sequence[tuple[str, Callable[[Unit], int | None]]] = (
            ("pad", self._behind_pad),
            ("movement", self._moved),
            ("slices", self._slices),
            ("shared-gemm", self._products),
            ("", self._epilogue),
            ("", self._normalised),
            ("reduction", self._reduction),
            ("pointwise", self._pointwise),
        )
        self.rules = [rule for pattern, rule in rules if not pattern or pattern in patterns]

    def run(self) -> list[Group]:
        for unit in units_of(self.flow, self.patterns):
            home = self._home(unit)
            if home is None:
                home = len(self.groups)
                self.groups.append(Group(unit))
            else:
                self.groups[home].take(unit)
            self.home_of.update(dict.fromkeys(unit.nodes, home))
            self.owner.update((self.flow.resolve(name), home) for name in unit.outputs if name)
        return self.groups

    def _home(self, unit: Unit) -> int | None:
        """The kernel that `unit` runs inside, or None when it starts one."""
        if not unit.op or not unit.inputs or not unit.outputs:
            return None
        if unit.last in self.flow.execution.saturated:
            return self._maker(unit.inputs[0])
        if "qdq-units" in self.patterns and unit.last in self.flow.execution.dtype:
            return None
        for rule in self.rules:
            home = rule(unit)
            if home is not None:
                return home
        return None

    # --- before the product ----------------------------------------------------------------

    def _behind_pad(self, unit: Unit) -> int | None:
        if unit.op not in PADDED or ("qdq-units" in self.patterns and unit.op in _INTEGER_CONVOLUTIONS):
            return None
        home = self._maker(unit.inputs[0])
        if home is None or self.groups[home].anchor != "Pad" or not self._only_read(unit.inputs[0], unit.nodes):
            return None
        self.groups[home].anchor = unit.op
        return home

    # --- movement --------------------------------------------------------------------------

    def _moved(self, unit: Unit) -> int | None:
        """The kernel that makes what is moved: it writes to the new places at once."""
        home = self._latest_maker(unit) if unit.op in MOVED else None
        return home if home is not None and not self.graph.nodes[self.groups[home].nodes[0]].graphs else None

    def _slices(self, unit: Unit) -> int | None:
        """The first Slice of the same tensor, when they are all of it along one axis."""
        axis = self._axis(unit.inputs) if unit.op == "Slice" else None
        if axis is None:
            return None
        key = (self.flow.resolve(unit.inputs[0]), axis)
        if key not in self.covered:
            self.covered[key] = self._covers(*key)
        return self._sibling(unit.inputs[0], f"Slice {axis}") if self.covered[key] else None

    def _axis(self, inputs: Sequence[str]) -> int | None:
        """The one axis that a Slice of known places is along."""
        values = [self.flow.tensor(i).value if i and self.flow.constant(i) else None for i in inputs[1:4]]
        if len(values) < 3 or not inputs[0] or any(v is None or len(v) != 1 for v in values):
            return None
        rank = self.flow.tensor(inputs[0]).rank
        axis = int(values[2][0]) if values[2] else 0
        return axis + rank if axis < 0 else axis

    def _covers(self, name: str, axis: int) -> bool:
        """Whether the slices of the tensor along this axis are all of it, one behind the other."""
        shape = self.flow.tensor(name).shape or ()
        nodes = [self.graph.nodes[k] for k in self.flow.readers(name)]
        slices = [n.inputs for n in nodes if n.op == "Slice" and self._axis(n.inputs) == axis]
        if not 0 <= axis < len(shape) or any(len(i) > 4 and i[4] and not self._is_one(i[4]) for i in slices):
            return False
        size, reached = shape[axis], 0
        for start, end in sorted((self._place(i[1], size), self._place(i[2], size)) for i in slices):
            if start != reached:
                return False
            reached = end
        return reached == size

    def _is_one(self, name: str) -> bool:
        return self.flow.constant(name) and self.flow.tensor(name).value == (1,)

    def _place(self, name: str, size: int) -> int:
        place = int((self.flow.tensor(name).value or (0,))[0])
        return min(max(place + size if place < 0 else place, 0), size)

    # --- products --------------------------------------------------------------------------

    def _products(self, unit: Unit) -> int | None:
        """The first product of the same operand with weights of its own."""
        if unit.op not in ("MatMul", "Gemm") or len(unit.nodes) > 1 or not self._has_weights(unit):
            return None
        return self._sibling(unit.inputs[0], unit.op)

    def _sibling(self, operand: str, kind: str) -> int | None:
        key = (self.flow.resolve(operand), kind)
        home = self.siblings.setdefault(key, len(self.groups))
        return home if home < len(self.groups) else None

    def _epilogue(self, unit: Unit) -> int | None:
        allowed = set(unit.nodes)
        if unit.op == "Mul" and len(unit.nodes) == 1:
            return self._completed_gate(unit)
        home = self._latest_maker(unit)
        if home is None or not self._accepts(self.groups[home], unit):
            return None
        gate = self._gated_product(unit) if "activation" in self.patterns else None
        return self._continued(home, unit, allowed if gate is None else allowed | {gate})

    def _accepts(self, group: Group, unit: Unit) -> bool:
        if unit.op in ACTIVATIONS:
            return self._activates(group, unit)
        if group.anchor not in MAC:
            return False
        if unit.op == "BatchNormalization":
            return "fold-batchnorm" in self.patterns
        return unit.op == "Add" and len(unit.nodes) == 1 and self._adds(group, unit)

    def _adds(self, group: Group, unit: Unit) -> bool:
        constants = [i for i in unit.inputs if i and self.flow.constant(i)]
        if constants:
            return "bias" in self.patterns or ("matmul-add" in self.patterns and self._is_bias(group, constants[0]))
        if "add" in self.patterns:
            return True
        # blocked layouts, in which the sum is taken, are those of images in floating point
        result = self.graph.tensors.get(unit.outputs[0])
        image = result is not None and result.rank == _IMAGE_RANK and unit.last not in self.flow.execution.dtype
        return "conv-add" in self.patterns and group.anchor in CONVOLUTIONS and image

    def _is_bias(self, group: Group, constant: str) -> bool:
        """A vector along one axis, for a product with constant weights that has none yet."""
        first, tensor = group.members[0], self.flow.tensor(constant)
        product = next((m for m in group.members if m.op in _WEIGHTED), first)
        vector = tensor.shape is not None and tensor.numel == max(tensor.shape, default=1)
        return group.anchor in _WEIGHTED and self._has_weights(product) and vector and len(product.inputs) < 3

    def _has_weights(self, unit: Unit) -> bool:
        return len(unit.inputs) > 1 and self.flow.constant(unit.inputs[1])

    def _activates(self, group: Group, unit: Unit) -> bool:
        if "activation" in self.patterns:
            # behind element-wise and normalising kernels only an activation joins
            return group.anchor in MAC or group.anchor in NORMALIZATIONS or group.anchor in ("Add", "QLinearAdd")
        if unit.op not in SIMPLE_ACTIVATIONS or "simple-activation" not in self.patterns or len(unit.nodes) > 1:
            return False
        # a MatMul is a Gemm when it has taken a bias
        gemm = group.anchor in _GEMM or (group.anchor == "MatMul" and any(m.op == "Add" for m in group.members))
        done = any(m.op in ACTIVATIONS for m in group.members)
        return not done and (gemm or group.anchor in CONVOLUTIONS)

    def _gated_product(self, unit: Unit) -> int | None:
        """For gate(x) whose only use is x · gate(x): that Mul."""
        if unit.op not in GATES or not unit.outputs:
            return None
        readers = self.flow.readers(unit.outputs[0])
        if len(readers) != 1:
            return None
        (k,) = readers
        other = self.graph.nodes[k]
        same = {self.flow.resolve(i) for i in other.inputs if i}
        return k if other.op == "Mul" and self.flow.resolve(unit.inputs[0]) in same else None

    def _completed_gate(self, unit: Unit) -> int | None:
        """The kernel that made both x and gate(x) takes their product as well."""
        homes = {self._maker(i) for i in unit.inputs if i}
        home = homes.pop() if len(homes) == 1 else None
        if home is None or "activation" not in self.patterns or len(self.groups[home].nodes) < 2:
            return None
        return home if all(self._only_read(i, unit.nodes, home) for i in unit.inputs) else None

    # --- rows ------------------------------------------------------------------------------

    def _normalised(self, unit: Unit) -> int | None:
        """The sum that is normalised by row."""
        shared = "add-layernorm-shared" in self.patterns
        if unit.op not in ROW_NORMALIZATIONS or not (shared or "add-layernorm" in self.patterns):
            return None
        home = self._maker(unit.inputs[0])
        if home is None or home != self._latest_maker(unit) or self.groups[home].anchor != "Add":
            return None
        if not shared and not (unit.op == "LayerNormalization" and self._is_plain_sum(unit, home)):
            return None
        self.groups[home].anchor = unit.op
        return home

    def _is_plain_sum(self, unit: Unit, home: int) -> bool:
        """Whether only `unit` reads the sum, of two tensors of three equal axes: onnxruntime asks for that."""
        if not self._only_read(unit.inputs[0], unit.nodes, home):
            return False
        added = next(m for m in self.groups[home].members if m.op == "Add")
        shapes = [t.shape for i in added.inputs if (t := self.graph.tensors.get(i)) is not None]
        return len(shapes) == 2 and shapes[0] == shapes[1] and len(shapes[0] or ()) == 3

    def _reduction(self, unit: Unit) -> int | None:
        """The element-wise kernel before a reduction, or the reduction before an element-wise unit."""
        home = self._latest_maker(unit)
        if home is None:
            return None
        anchor = self.groups[home].anchor
        if unit.op in REDUCTIONS and anchor in POINTWISE:
            source = next((i for i in unit.inputs if i and self._maker(i) == home), "")
            if not self._only_read(source, unit.nodes, home):
                return None
            self.groups[home].anchor = unit.op
            return home
        return self._continued(home, unit, unit.nodes) if unit.op in POINTWISE and anchor in REDUCTIONS else None

    def _pointwise(self, unit: Unit) -> int | None:
        """The element-wise kernel before, when nothing else reads what it made and the shape stays."""
        home = self._latest_maker(unit) if unit.op in POINTWISE else None
        if home is None or self.groups[home].anchor not in POINTWISE:
            return None
        return self._continued(home, unit, unit.nodes)

    # --- who makes and reads what ----------------------------------------------------------

    def _continued(self, home: int, unit: Unit, allowed: Collection[int]) -> int | None:
        """`home`, when only it and `allowed` read what it hands to `unit` and the result is no larger."""
        source = next(i for i in unit.inputs if i and self._maker(i) == home)
        result = self.graph.tensors.get(unit.outputs[0])  # the first output may be left out
        same = result is not None and self.graph.tensors[source].shape == result.shape
        return home if same and self._only_read(source, allowed, home) else None

    def _maker(self, name: str) -> int | None:
        return self.owner.get(self.flow.resolve(name)) if name else None

    def _latest_maker(self, unit: Unit) -> int | None:
        """The operand's kernel that runs last: the others are done when it starts."""
        homes = [h for i in unit.inputs if (h := self._maker(i)) is not None]
        return max(homes, default=None)

    def _only_read(self, name: str, nodes: Collection[int], home: int | None = None) -> bool:
        """Whether only `nodes`, and those already in the kernel `home`, read the tensor."""
        source = self.flow.resolve(name)
        if source in self.flow.execution.leaving:
            return False
        readers = self.flow.readers(source)
        return all(k in nodes or (home is not None and self.home_of.get(k) == home) for k in readers)
