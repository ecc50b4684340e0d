"""What one operator must compute and move: Work, the @cost registry and `work_of`.

One pure function an operator (or family), in the modules beside this one, from shapes, types
and attributes alone. An operator without a rule counts as memory traffic and is marked
`modelled=False`; it is never an error and never silent.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.errors import EffcliError
from efficiency_cli.graph.model import Attribute, DType, Graph, Node, OpClass, Shape, Tensor

MICROSOFT = "com.microsoft"

_A = TypeVar("_A", int, float, str)


class Product(Struct, frozen=True):
    """`count` products of an (m, k) by a (k, n) matrix."""

    count: int
    m: int
    n: int
    k: int


class Reread(Struct, frozen=True):
    """`bytes` of constants that are read `times` more often than once: a machine may have them near by then."""

    bytes: int
    times: int


class Work(Struct, frozen=True):
    """What one run of an operator must do.

    `macs`   true multiply–accumulate pairs
    `ops`    2·macs + one a primitive operation, whatever the data type (FLOPs and OPs alike)
    `dtype`  the type the operator computes in, None when it only moves data
    `reads`, `writes`   bytes touched, by tensor name (a tensor used twice is read once)
    `view`   True when nothing is computed or moved (Reshape and the like)
    `valid_macs`  macs without those on padding or behind a causal mask, where that is fewer
    `formula`  the count in words of the node's own numbers, for `explain`
    `product`  what a matrix unit sees: `count` products of (m, k) by (k, n); None for other work
    `variant`  what kind of dense work or attention it is, for machines that tell them apart ('' where none does)
    `reread`   constants that every step of a loop reads, after the first, which `reads` has
    """

    macs: int
    ops: int
    op_class: OpClass
    dtype: DType | None
    reads: Mapping[str, int]
    writes: Mapping[str, int]
    view: bool = False
    modelled: bool = True
    formula: str = ""
    note: str = ""
    valid_macs: int | None = None
    product: Product | None = None
    variant: str = ""
    reread: Reread | None = None

    @property
    def valid(self) -> Work:
        """The same work without the products on padding or behind a causal mask."""
        if self.valid_macs is None:
            return self
        return replace(self, macs=self.valid_macs, ops=self.ops - 2 * (self.macs - self.valid_macs))

    @property
    def flops(self) -> int:
        """2·MACs + bias + one a primitive operation: the same count as OPs, under its float name."""
        return self.ops


class Op:
    """A node with its operands, as a cost rule sees it."""

    __slots__ = ("inputs", "node", "outputs")

    def __init__(self, node: Node, inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor | None, ...]):
        self.node = node
        self.inputs = inputs
        self.outputs = outputs

    def get(self, slot: int) -> Tensor | None:
        """Operand number `slot`, None where it is omitted."""
        return self.inputs[slot] if slot < len(self.inputs) else None

    def has(self, slot: int) -> bool:
        """Whether operand `slot` is there."""
        return self.get(slot) is not None

    def input(self, slot: int = 0) -> Tensor:
        """Operand number `slot`; raises CostError when the node lacks it."""
        tensor = self.get(slot)
        if tensor is None:
            raise CostError(f"operand {slot} is missing")
        return tensor

    def output(self, slot: int = 0) -> Tensor:
        tensor = self.outputs[slot] if slot < len(self.outputs) else None
        if tensor is None:
            raise CostError(f"output {slot} is missing")
        return tensor

    def shape(self, slot: int = 0) -> Shape:
        """The static shape of operand `slot`; raises UnknownShapeError where there is none."""
        return _static(self.input(slot))

    def out_shape(self, slot: int = 0) -> Shape:
        """The static shape of output `slot`; raises UnknownShapeError where there is none."""
        return _static(self.output(slot))

    def elements(self, slot: int = 0) -> int:
        """Elements of output `slot`; raises UnknownShapeError."""
        return math.prod(self.out_shape(slot))

    def attr(self, name: str, default: _A) -> _A:
        """A scalar attribute, `default` when it is absent or of another type."""
        value = self.node.attributes.get(name, default)
        if isinstance(default, float) and isinstance(value, int):
            return type(default)(value)
        return value if isinstance(value, type(default)) else default

    def ints(self, name: str) -> tuple[int, ...]:
        """An integer-list attribute, () when absent."""
        value: Attribute = self.node.attributes.get(name, ())
        return tuple(int(v) for v in value) if isinstance(value, tuple) else ()

    def work(
        self,
        *,
        macs: int = 0,
        other: int = 0,
        op_class: OpClass = OpClass.ELEMENTWISE,
        dtype: DType | None = None,
        touched: Mapping[int, int] | None = None,
        written: Mapping[int, int] | None = None,
        formula: str = "",
        note: str = "",
        valid_macs: int | None = None,
        product: Product | None = None,
        variant: str = "",
        reread: Reread | None = None,
    ) -> Work:
        """A Work of `macs` and `other` primitive operations.

        Every operand is read and every output written once in full, unless `touched`
        (operand slot → bytes) or `written` (output slot → bytes) says less or more.
        `dtype` defaults to the first operand's type.
        """
        reads = _bytes_by_name(self.inputs, touched or {})
        writes = _bytes_by_name(self.outputs, written or {})
        return Work(
            macs=macs,
            ops=2 * macs + other,
            op_class=op_class,
            dtype=dtype or self.compute_dtype(),
            reads=reads,
            writes=writes,
            formula=formula,
            note=note,
            valid_macs=valid_macs,
            product=product,
            variant=variant,
            reread=reread,
        )

    def compute_dtype(self) -> DType | None:
        """The first operand's type, or the first output's when there is no operand."""
        first = next((t for t in self.inputs + self.outputs if t is not None), None)
        return first.dtype if first else None

    def view(self) -> Work:
        """A Work that computes and moves nothing."""
        return Work(0, 0, OpClass.MOVEMENT, None, {}, {}, view=True)


def _bytes_by_name(tensors: tuple[Tensor | None, ...], override: Mapping[int, int]) -> dict[str, int]:
    result: dict[str, int] = {}
    for slot, tensor in enumerate(tensors):
        if tensor is not None:
            size = override.get(slot, tensor.bytes)
            result[tensor.name] = max(size, result.get(tensor.name, 0))
    return result


class CostError(EffcliError):
    """A node that its operator's rule cannot count: wrong operands, ranks or sizes."""


class UnknownShapeError(CostError):
    """A rule needs a shape that could not be known; `work_of` counts traffic alone and notes it."""


def _static(tensor: Tensor) -> Shape:
    if tensor.shape is None:
        raise UnknownShapeError(f"shape unknown: '{tensor.name}'")
    return tensor.shape


_CHECK = "check the sizes given with --dim, --shape or --batch, or the model: python -m onnx.checker MODEL"

Rule = Callable[[Op], Work]
_RULES: dict[tuple[str, str], Rule] = {}
_NONE: Mapping[tuple[str, str], Rule] = {}


def cost(*keys: str) -> Callable[[Rule], Rule]:
    """Register a rule for operators ('Conv', 'com.microsoft::FusedConv'); a second one is refused."""

    def register(rule: Rule) -> Rule:
        for key in keys:
            domain, _, op = key.rpartition("::")
            if (domain, op) in _RULES:
                raise ValueError(f"{key} already has a cost rule: {_RULES[domain, op].__qualname__}")
            _RULES[domain, op] = rule
        return rule

    return register


@cache
def rules() -> Mapping[tuple[str, str], Rule]:
    """Every rule by (domain, op); imports the modules of this package once."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return _RULES


def rule_for(key: tuple[str, str], given: Mapping[tuple[str, str], Rule] = _NONE) -> Rule | None:
    """The rule of (domain, op): a `given` one, a built-in one, or one of an installed package."""
    rule = given.get(key) or rules().get(key)
    if rule is None:
        from efficiency_cli.costs.plugins import load_plugins

        load_plugins()  # they register, as the built-in ones do
        rule = rules().get(key)
    return rule


def work_of(node: Node, graph: Graph, given: Mapping[tuple[str, str], Rule] = _NONE) -> Work:
    """The work of one node of `graph`; `given` rules hold before the registered ones.

    Raises CostError `node '/x' (Conv): …` when the node contradicts its operator, PluginError for an
    installed package of rules that cannot be loaded.
    """
    op = Op(node, graph.inputs_of(node), graph.outputs_of(node))
    rule = rule_for((node.domain, node.op), given)
    if rule is None:
        return unmodelled(op)
    try:
        return rule(op)
    except UnknownShapeError as error:
        return op.work(op_class=OpClass.MOVEMENT, note=error.what)
    except CostError as error:
        raise CostError(f"node '{node.name}' ({node.key}): {error.what}", hint=error.hint or _CHECK) from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise CostError(
            f"node '{node.name}' ({node.key}): cannot be counted: {error}",
            hint="check the model: python -m onnx.checker MODEL",
        ) from error


def unmodelled(op: Op) -> Work:
    """Memory traffic only: every operand read once, every output written once."""
    reads = _bytes_by_name(op.inputs, {})
    writes = _bytes_by_name(op.outputs, {})
    return Work(0, 0, OpClass.MOVEMENT, None, reads, writes, modelled=False, note="operations uncounted")
