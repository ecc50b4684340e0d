"""What is explained as terms: each an expression in named numbers, with where they are from; the counts of a kernel.

The values are those of the estimate, the expressions say the same arithmetic a second time: evaluating
one in its operands gives its value. Nothing here decides anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from efficiency_cli.roofline.network import CountedNode, Kernel

SYMBOL = re.compile(r"[a-z_][a-z_0-9]*")


class Operand(Struct, frozen=True):
    """A number in an expression: in base units, and as its profile has it.

    `said` is what it is; `key`, `text`, `kind`, `source`, `note` are the profile's line, '' for numbers
    that are not from a profile.
    """

    symbol: str
    value: float
    unit: str
    said: str = ""
    key: str = ""
    text: str = ""
    kind: str = ""
    source: str = ""
    note: str = ""


class Term(Struct, frozen=True):
    """`name` = `expression` = `value`: `expression` is arithmetic in the operands' symbols (+ - * / max min)."""

    name: str
    unit: str
    value: float
    expression: str
    operands: tuple[Operand, ...]

    @property
    def filled(self) -> str:
        """The expression with the numbers put in: it can be pasted into a calculator."""
        values = {o.symbol: written(o.value) for o in self.operands}
        return SYMBOL.sub(lambda m: values.get(m[0], m[0]), self.expression)

    def as_operand(self, said: str = "") -> Operand:
        return Operand(self.name, self.value, self.unit, said)


def written(value: float) -> str:
    """A number as programs and calculators read it: counts in full, others to seven digits."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.7g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def work_terms(kernel: Kernel, nodes: Iterable[CountedNode]) -> tuple[Term, ...]:
    """Operations and bytes of `kernel` as sums over its nodes and over the tensors crossing its border."""
    ops = {n.node.name: n.work.ops for n in nodes}
    sums = (
        ("ops", "OP", "op", ops, kernel.ops),
        ("weight_bytes", "B", "weight", kernel.weights, kernel.weight_bytes),
        ("read_bytes", "B", "read", kernel.reads, kernel.read_bytes),
        ("written_bytes", "B", "written", kernel.writes, kernel.written_bytes),
    )
    return tuple(_sum(kernel, *one) for one in sums)


def _sum(kernel: Kernel, name: str, unit: str, letter: str, parts: Mapping[str, int], value: int) -> Term:
    operands = [Operand(f"{letter}_{k}", size, unit, said) for k, (said, size) in enumerate(parts.items(), 1)]
    expression = " + ".join(o.symbol for o in operands) or "0"
    if kernel.repeat != 1 and operands:
        expression = f"({expression}) * repeat" if len(operands) > 1 else f"{expression} * repeat"
        operands.append(Operand("repeat", kernel.repeat, "", "runs of the body it is in"))
    return Term(name, unit, value, expression, tuple(operands))
