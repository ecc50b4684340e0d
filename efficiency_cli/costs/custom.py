"""Rules for operators of a user's own: formulas in place of a function (see `expression`).

They hold for one run, through `Choices.rules`, and never enter the registry. Where the formulas are
written and read is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from efficiency_cli.costs import MICROSOFT, CostError, Op, Work, rules
from efficiency_cli.costs.expression import Expression
from efficiency_cli.graph.model import OpClass

# domains whose operators have one meaning: their built-in rules stand
_STANDARD = ("", "ai.onnx", MICROSOFT)


class CustomRule(Struct, frozen=True):
    """What one operator costs.

    `ops` are all operations, 2·MACs unless given. `reads` and `writes` are bytes by operand slot; an
    operand that they leave out is read, or written, once in full.
    """

    macs: Expression | None = None
    ops: Expression | None = None
    op_class: OpClass = OpClass.ELEMENTWISE
    reads: Mapping[int, Expression] = field(default_factory=dict)
    writes: Mapping[int, Expression] = field(default_factory=dict)

    def __call__(self, op: Op) -> Work:
        """The formulas' values. Raises CostError for fewer operations than 2·MACs."""
        macs = self.macs(op) if self.macs else 0
        ops = self.ops(op) if self.ops else 2 * macs
        if ops < 2 * macs:
            raise CostError(f"{ops:,} operations are fewer than the 2 of each of {macs:,} MACs")
        return op.work(
            macs=macs,
            other=ops - 2 * macs,
            op_class=self.op_class,
            touched={slot: size(op) for slot, size in self.reads.items()},
            written={slot: size(op) for slot, size in self.writes.items()},
            formula=self._formula(macs, ops),
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """What was given, a line each, as the user wrote it."""
        given = {"macs": self.macs, "ops": self.ops}
        counts = [f"{key}: {formula.text}" for key, formula in given.items() if formula is not None]
        moved = [f"reads in{slot}: {size.text}" for slot, size in self.reads.items()]
        moved += [f"writes out{slot}: {size.text}" for slot, size in self.writes.items()]
        return (*counts, f"class: {self.op_class.value}", *moved)

    def _formula(self, macs: int, ops: int) -> str:
        parts = [f"{self.macs.text} = {macs:,} MACs"] if self.macs else []
        parts += [f"{self.ops.text} = {ops:,} OPs"] if self.ops else []
        return "; ".join(parts)


def may_be_given(domain: str, op: str) -> bool:
    """Whether a user may give a rule: not for a standard operator that has one."""
    standard = domain in _STANDARD or domain.startswith(("ai.onnx.", f"{MICROSOFT}."))
    return not standard or ("" if domain == "ai.onnx" else domain, op) not in rules()
