"""What each case of the grid computes and moves, in the terms of the time model: what a fit has to explain.

A kernel takes, with the rates of the machine at its peaks in compute_s and memory_s,

    c = compute_s · slope[kind] · Π (1 + half[kind] / size)      over the sizes m, n, k of its product
    m = memory_s · slope[kind]
    start[kind] + max(c, m) + (1 − overlap) · min(c, m)

Computing hides reading from caches better than from memory: the overlap is the mean of two, by the seconds of each.
Slopes, halves and starts are unknown here and none for the rest of the program, which divides by efficiencies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from efficiency_cli.graph.model import MAC_CLASSES, Model, OpClass
from efficiency_cli.hardware.kinds import WIDER
from efficiency_cli.hardware.profile import Profile
from efficiency_cli.roofline.estimate import estimate
from efficiency_cli.roofline.latency import KernelTime, is_unblocked

# the parts of a kernel's time; HALVES are of the sizes m, n and k
RUN, START, COMPUTE, MOVE = "run", "start", "compute", "move"
HALVES = ("half m", "half n", "half k")
# of these each operator computes at a rate of its own, though it multiplies and adds
_BY_OPERATOR = frozenset({OpClass.RECURRENT, OpClass.POOLING, OpClass.NORMALIZATION, OpClass.SOFTMAX})
_UNSIGNED = ("uint4", "uint8", "uint16")
NARROW = ("int4", "int8", "int16", *_UNSIGNED)


class Unknown(Struct, frozen=True, order=True):
    """One number to find: `part` is START, COMPUTE, MOVE or one of HALVES, `kind` a key of the profile."""

    part: str
    kind: str


class Term(Struct, frozen=True):
    """Kernels that are alike: `kind` tells their rate and start, `moving` how they move their data.

    Seconds are at the machine's peaks, `starts` how often one starts, `sizes` those of its product, (0, 0, 0) without;
    `far` is the share of the bytes' seconds that the furthest of several levels takes.
    """

    kind: str
    moving: str
    op_class: str
    compute_s: float
    memory_s: float
    starts: float
    sizes: tuple[int, int, int] = (0, 0, 0)
    far: float = 0.0


# terms with how often each occurs
Row = Sequence[tuple[Term, int]]


def row_of(model: Model, plain: Profile) -> Row:
    """The terms of a network on a profile whose shares are all one and whose kernels start in no time."""
    runtime = plain.runtime()
    times = estimate(model, plain).times
    return list(Counter(_term(time, is_unblocked(time.kernel, runtime)) for time in times).items())


def _term(time: KernelTime, unblocked: bool) -> Term:
    kernel = time.kernel
    kind, moving = _kinds(time, unblocked)
    product = kernel.product
    sizes = (product.m, product.n, product.k) if product else (0, 0, 0)
    op_class = kernel.op_class.value
    # a plain profile's furthest level hides nothing, its others all
    return Term(kind, moving, op_class, time.compute_s, time.memory_s, float(kernel.repeat), sizes, 1 - time.overlap)


def _kinds(time: KernelTime, unblocked: bool) -> tuple[str, str]:
    kernel = time.kernel
    op_class = kernel.op_class.value
    narrow = f"{'u' * kernel.unsigned}{time.dtype}-" if kernel.dtype and kernel.dtype.is_narrow_integer else ""
    if kernel.op_class in MAC_CLASSES and kernel.op_class not in _BY_OPERATOR:
        kind = kernel.variant or op_class
        kind = f"unblocked-{WIDER.get(kind, kind)}" if unblocked else kind
        return f"{narrow}{kind}", f"{narrow}{kind}"
    operator = kernel.variant or kernel.operator.removeprefix("QLinear")
    # what computes nothing is told apart by how it moves its data
    moving = operator if kernel.op_class is OpClass.MOVEMENT else op_class
    return f"{narrow}{operator}", f"{narrow}{moving}"


def is_narrow(kind: str) -> bool:
    """Whether a kind is of a narrow type: int8-gemm."""
    return kind.partition("-")[0] in NARROW


def plain_kind(kind: str) -> str:
    """A kind without its type: int8-gemm -> gemm."""
    return kind.partition("-")[2] if is_narrow(kind) else kind
