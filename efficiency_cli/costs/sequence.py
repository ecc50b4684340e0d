"""Lists of tensors and optional values: taking one out or putting one in moves nothing."""

from __future__ import annotations

from efficiency_cli.costs import Op, Work, cost
from efficiency_cli.graph.model import OpClass


@cost("SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SequenceAt")
def view(op: Op) -> Work:
    """A list holds references: nothing is computed or moved."""
    return op.view()


@cost("SequenceLength", "OptionalHasElement")
def length(op: Op) -> Work:
    """Reads nothing; writes its one value."""
    return op.work(op_class=OpClass.MOVEMENT, touched={0: 0})


@cost("SplitToSequence", "ConcatFromSequence")
def copy(op: Op) -> Work:
    """0 operations; the parts are copied: read once, written once, as far as their shapes are known."""
    return op.work(op_class=OpClass.MOVEMENT)
