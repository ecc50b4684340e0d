"""What each case of the grid computes and moves, in the terms of the time model: rows of a linear fit.

A kernel's time is t0 of its kind + operations / peak · slope of its kind + seconds of its bytes · traffic of its kind:
all of them unknowns here, none for the rest of the program, which divides by efficiencies and shares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from efficiency_cli.graph.model import MAC_CLASSES, Model, OpClass
from efficiency_cli.hardware.kinds import WIDER
from efficiency_cli.hardware.profile import Profile
from efficiency_cli.roofline.estimate import estimate
from efficiency_cli.roofline.latency import KernelTime, is_unblocked

START, COMPUTE, MOVE = "start", "compute", "move"
# of these each operator computes at a rate of its own
_BY_OPERATOR = frozenset({OpClass.RECURRENT, OpClass.POOLING, OpClass.NORMALIZATION, OpClass.SOFTMAX})
PLAIN = "float32"


class Unknown(Struct, frozen=True, order=True):
    """One number to find: `part` is START, COMPUTE or MOVE, `kind` a key of the profile."""

    part: str
    kind: str


class Row(Struct, frozen=True):
    """A network: seconds a unit of each unknown, and the kernels it has."""

    terms: Mapping[Unknown, float]
    kernels: int


def row_of(model: Model, plain: Profile) -> Row:
    """The terms of a network on a profile whose shares are all one and whose kernels start in no time."""
    runtime, times = plain.runtime(), estimate(model, plain).times
    terms: dict[Unknown, float] = {}
    for time in times:
        for unknown, seconds in _terms(time, is_unblocked(time.kernel, runtime)):
            terms[unknown] = terms.get(unknown, 0.0) + seconds
    return Row(terms, len(times))


def _terms(time: KernelTime, unblocked: bool) -> Iterator[tuple[Unknown, float]]:
    kernel = time.kernel
    fine, coarse = kinds(time, unblocked)
    yield Unknown(START, fine), float(kernel.repeat)
    if time.compute_s:
        yield Unknown(COMPUTE, fine), time.compute_s
    if time.memory_s:
        # what computes nothing is told apart by what it moves
        yield Unknown(MOVE, coarse if kernel.ops else fine), time.memory_s


def kinds(time: KernelTime, unblocked: bool) -> tuple[str, str]:
    """The kind that tells a kernel's rate and what it costs to start, and the one that tells how it moves its data."""
    kernel = time.kernel
    op_class = kernel.op_class.value
    narrow = f"{time.dtype}-" if kernel.dtype is not None and kernel.dtype.is_narrow_integer else ""
    if kernel.op_class in MAC_CLASSES and kernel.op_class not in _BY_OPERATOR:
        fine = kernel.variant or op_class
        if unblocked:
            fine = f"unblocked-{WIDER.get(fine, fine)}"
        return f"{narrow}{fine}", f"{narrow}{fine}"
    return f"{narrow}{kernel.operator}", f"{narrow}{op_class}"


def class_of(kind: str) -> str:
    """A kind without its type: int8-gemm -> gemm."""
    return kind.partition("-")[2] if kind.startswith(("int8-", "int16-", "int4-")) else kind


def unknowns(rows: Sequence[Row]) -> list[Unknown]:
    """All that the rows have, in an order that is always the same."""
    return sorted({u for row in rows for u in row.terms})
