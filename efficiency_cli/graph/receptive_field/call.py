"""What a rule sees of the node it follows layouts through, and the table of rules.

A rule maps the layouts of a node's operands to those of its outputs. It registers under the keys that
`Node.key` gives; operators without a rule are elementwise, or mix everything (see `walk`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from efficiency_cli.graph.model import Node, Shape, Tensor
from efficiency_cli.graph.receptive_field.layout import Layout, Source, fused, scrambled

MICROSOFT = "com.microsoft"
NHWC = "com.ms.internal.nhwc"  # onnxruntime's channels-last copies of ai.onnx operators
NCHWC = "com.microsoft.nchwc"  # its blocked layout, whose tensors have the shape of NCHW


# the layout of each output; None where there is nothing to follow
Outputs = Sequence[Layout | None]


class OddNodeError(ValueError):
    """A node whose attributes or shapes do not fit its operator: nothing is said of its outputs."""


class Call(Struct):
    """A node with the layouts of its operands; None for one that no graph input reaches."""

    node: Node
    tensors: Mapping[str, Tensor]
    layouts: Sequence[Layout | None]
    touched: set[Source]  # the input axes that some window moves along: what a field is reported for

    def layout(self, slot: int = 0) -> Layout | None:
        return self.layouts[slot] if slot < len(self.layouts) else None

    @property
    def tracked(self) -> list[Layout]:
        return [layout for layout in self.layouts if layout is not None]

    def tensor(self, slot: int) -> Tensor | None:
        name = self.node.inputs[slot] if slot < len(self.node.inputs) else ""
        return self.tensors.get(name) if name else None

    def shape(self, slot: int = 0) -> Shape:
        tensor = self.tensor(slot)
        if tensor is None or tensor.shape is None:
            raise OddNodeError
        return tensor.shape

    def out_shape(self, slot: int = 0) -> Shape:
        name = self.node.outputs[slot] if slot < len(self.node.outputs) else ""
        tensor = self.tensors.get(name) if name else None
        if tensor is None or tensor.shape is None:
            raise OddNodeError
        return tensor.shape

    def is_known(self, slot: int) -> bool:
        """Whether the output at `slot` is there and has a shape."""
        name = self.node.outputs[slot] if slot < len(self.node.outputs) else ""
        tensor = self.tensors.get(name) if name else None
        return tensor is not None and tensor.shape is not None

    def values(self, slot: int) -> tuple[int, ...] | None:
        """The elements of a constant operand of whole numbers."""
        tensor = self.tensor(slot)
        if tensor is None or tensor.value is None or not all(math.isfinite(v) for v in tensor.value):
            return None
        return tuple(int(v) for v in tensor.value)

    def floats(self, slot: int) -> tuple[float, ...] | None:
        tensor = self.tensor(slot)
        return None if tensor is None or tensor.value is None else tuple(float(v) for v in tensor.value)

    def ints(self, name: str, count: int, default: int) -> tuple[int, ...]:
        """A list attribute of `count` numbers."""
        value = self.node.attributes.get(name)
        if value is None or value == ():
            return (default,) * count
        if not isinstance(value, tuple) or len(value) != count or not all(isinstance(v, int) for v in value):
            raise OddNodeError
        return tuple(int(v) for v in value)

    def maybe_ints(self, name: str, slot: int) -> tuple[int, ...] | None:
        """Numbers that older opsets have as an attribute and newer ones as an operand."""
        value = self.node.attributes.get(name)
        if isinstance(value, tuple) and all(isinstance(v, int) for v in value):
            return tuple(int(v) for v in value)
        return self.values(slot)

    def number(self, name: str, default: int) -> int:
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int):
            raise OddNodeError
        return value

    def text(self, name: str, default: str) -> str:
        value = self.node.attributes.get(name, default)
        return value if isinstance(value, str) else default

    def axis(self, value: int, rank: int) -> int:
        """An axis counted from the front."""
        if not -rank <= value < rank:
            raise OddNodeError
        return value % rank

    def axes(self, values: Iterable[int], rank: int) -> list[int]:
        return [self.axis(v, rank) for v in values]

    def touch(self, layout: Layout, axis: int) -> None:
        """A window moves along this axis: the input axes behind it are spatial."""
        self.touched.update(fused(layout.axes[axis])[0].windows)

    def mixed(self) -> Outputs:
        """Every output may read everything of every operand."""
        outputs: list[Layout | None] = []
        for slot in range(len(self.node.outputs)):
            known = self.is_known(slot)
            outputs.append(scrambled(self.tracked, self.out_shape(slot), self.node.name) if known else None)
        return outputs


Rule = Callable[[Call], Outputs]

RULES: dict[str, Rule] = {}


def rule(*keys: str) -> Callable[[Rule], Rule]:
    """Register a rule under each key; a second rule for one is refused."""

    def register(function: Rule) -> Rule:
        for key in keys:
            if key in RULES:
                raise ValueError(f"two rules for {key}")
            RULES[key] = function
        return function

    return register


def everywhere(*ops: str) -> tuple[str, ...]:
    """The keys of operators that also exist in onnxruntime's own domains."""
    return tuple(key for op in ops for key in (op, *(f"{d}::{op}" for d in (MICROSOFT, NHWC, NCHWC))))
