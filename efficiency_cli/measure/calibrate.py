"""Measurements -> a calibration: the fit, what it makes of its own measurements and of families left out.

The estimates of the profiles as they are, and both of the fit, are judged by the same figures (`validate.score`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from efficiency_cli.errors import UsageError
from efficiency_cli.measure.calibration import Fitted, fitted_runtimes
from efficiency_cli.measure.cases import Case, case_of, without_repeats
from efficiency_cli.measure.fit import Fit, fit
from efficiency_cli.measure.hold_out import HeldOut, held_out, intervals_without_family
from efficiency_cli.measure.place import Placed, Unplaced
from efficiency_cli.measure.validate import Result, Validation, estimated, result_of, score, scored
from efficiency_cli.roofline.latency import Times

# called with how many of how many steps are done
Progress = Callable[[int, int], None]


class Calibration(Struct, frozen=True):
    """`before` has the profiles' own estimates, `after` those of the fit, `unseen` those of fits without the
    measurement's family; `alone` are measurements whose scale no other family tells, `repeats` rows that repeat one.
    """

    fit: Fit
    fitted: tuple[Fitted, ...]
    before: Validation
    after: Validation
    unseen: Validation
    alone: tuple[Placed, ...]
    repeats: int

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(sorted({r.placed.run.family for r in self.before.results}))


def calibrate(
    placed: Sequence[Placed],
    unplaced: Sequence[Unplaced] = (),
    *,
    free: bool = False,
    by: Sequence[str] = (),
    progress: Progress | None = None,
) -> Calibration:
    """The fit to all of `placed`. `free`: the profiles' own ratios say next to nothing (see `fit`).

    Raises UsageError without scipy, and when no run has an estimate.
    """
    cases, results, without = _cases(placed)
    if not cases:
        raise UsageError("no measurement has an estimate", where=[u.reason for u in (*unplaced, *without)][:5])
    once = without_repeats(cases)
    kept = {id(c) for c in once}
    results = [r for r, c in zip(results, cases, strict=True) if id(c) in kept]
    seen = [c.at_bandwidth for c in once] if free else once
    found = fit(seen, free=free)
    held, alone = held_out(seen, free=free, progress=progress)
    fitted = fitted_runtimes(seen, held, found)
    return Calibration(
        fit=found,
        fitted=tuple(fitted),
        before=scored(results, [*unplaced, *without], by),
        after=_after(seen, results, found, fitted, by),
        unseen=unseen(held, by),
        alone=tuple(c.placed for c in alone),
        repeats=len(cases) - len(once),
    )


def _cases(placed: Sequence[Placed]) -> tuple[list[Case], list[Result], list[Unplaced]]:
    """The cases in the table's order with the profiles' own results, and the runs without an estimate."""
    found: dict[int, tuple[Case, Result]] = {}
    without: list[Unplaced] = []
    for index, outcome in estimated(placed):
        if isinstance(outcome, Unplaced):
            without.append(outcome)
        else:
            found[index] = case_of(placed[index], outcome), result_of(placed[index], outcome)
    order = sorted(found)
    return [found[k][0] for k in order], [found[k][1] for k in order], without


def _after(
    cases: Sequence[Case], results: Sequence[Result], found: Fit, fitted: Sequence[Fitted], by: Sequence[str]
) -> Validation:
    intervals = {id(c): one.interval for one in fitted for c in one.cases}
    times = [
        _times(float(seconds), intervals[id(case)], result.latency.bound_s)
        for case, result, seconds in zip(cases, results, found.predicted_s(cases), strict=True)
    ]
    return score([c.placed for c in cases], times, (), by)


def unseen(held: Sequence[HeldOut], by: Sequence[str] = ()) -> Validation:
    """The figures of families left out; a case's interval is that of the other families of its runtime."""
    intervals = intervals_without_family(held)
    pairs = [(one, interval) for one, interval in zip(held, intervals, strict=True) if interval is not None]
    times = [_times(one.predicted_s, interval, 0.0) for one, interval in pairs]
    return score([one.case.placed for one, _ in pairs], times, (), by)


def _times(seconds: float, interval: tuple[float, float], bound_s: float) -> Times:
    low, high = interval
    return Times(bound_s, max(bound_s, seconds * low), seconds, seconds * high)
