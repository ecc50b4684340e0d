"""How far a fit is off on networks it has not seen: families left out one at a time, and intervals from that.

Never by row: two boards with one network, or two sizes of it, know each other's errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from msgspec import Struct

from efficiency_cli.measure.cases import Case
from efficiency_cli.measure.fit import LEAST_NOISE_SD, fit

# the interval that a profile states is of 80 % of runs: from the 10 % quantile to the 90 % one
UPPER_QUANTILE = 0.9
# below so many families left out, they say too little of the next one
FEWEST_FOR_INTERVAL = 3
# Families are what differs, each seen on some three boards: so many degrees of freedom a family. On the public
# microcontroller measurements intervals made so hold 75 to 85 % of the families they were not made from.
FREEDOM_PER_FAMILY = 3

# called with how many of how many families are done
Progress = Callable[[int, int], None]


class HeldOut(Struct, frozen=True):
    """A case with the seconds of a fit that saw no network of its family."""

    case: Case
    predicted_s: float

    @property
    def error(self) -> float:
        """predicted / measured − 1."""
        return self.predicted_s / self.case.measured_s - 1

    @property
    def log_ratio(self) -> float:
        """log measured / predicted."""
        return math.log(self.case.measured_s / self.predicted_s)


def held_out(
    cases: Sequence[Case], *, free: bool = False, progress: Progress | None = None
) -> tuple[list[HeldOut], list[Case]]:
    """Each case as a fit without its family predicts it; and those whose scale only their own family knows."""
    found: list[HeldOut] = []
    alone: list[Case] = []
    families = sorted({c.family for c in cases})
    for done, family in enumerate(families, start=1):
        others = [c for c in cases if c.family != family]
        known = {c.group for c in others}
        left = [c for c in cases if c.family == family and c.group in known]
        alone += [c for c in cases if c.family == family and c.group not in known]
        if left:
            times = fit(others, free=free).predicted_s(left)
            found += [HeldOut(c, float(t)) for c, t in zip(left, times, strict=True)]
        if progress is not None:
            progress(done, len(families))
    return found, alone


def interval_of(found: Sequence[HeldOut]) -> tuple[float, float]:
    """Factors on an estimate that hold 80 % of measurements, from families left out; at least one.

    exp(± t · √(mean over families of the mean square of log measured / predicted)), t being the 90 % quantile
    of Student's law: every family weighs the same, however often it was measured.
    """
    squares: dict[str, list[float]] = {}
    for one in found:
        squares.setdefault(one.case.family, []).append(one.log_ratio**2)
    spread = math.sqrt(sum(sum(s) / len(s) for s in squares.values()) / len(squares))
    reach = student_quantile(FREEDOM_PER_FAMILY * len(squares)) * max(spread, LEAST_NOISE_SD)
    return math.exp(-reach), math.exp(reach)


def student_quantile(freedom: int) -> float:
    """The 90 % quantile of Student's law with so many degrees of freedom, at least one."""
    from scipy.special import stdtrit

    return float(stdtrit(max(1, freedom), UPPER_QUANTILE))


def intervals_without_family(found: Sequence[HeldOut]) -> list[tuple[float, float] | None]:
    """For each held-out case the interval that the other families of its runtime state; None without others."""
    known: dict[tuple[str, str], tuple[float, float] | None] = {}
    for one in found:
        key = (one.case.share, one.case.family)
        if key not in known:
            others = [o for o in found if o.case.share == key[0] and o.case.family != key[1]]
            known[key] = interval_of(others) if others else None
    return [known[one.case.share, one.case.family] for one in found]
