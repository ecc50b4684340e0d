"""Measurements -> a calibration: the fit, what it makes of its own measurements and of families left out.

The estimates of the profiles as they are, and of those with the fit put in, are judged by the same figures
(`validate.score`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.errors import UsageError
from efficiency_cli.hardware.profile import DEFAULT_INTERVAL
from efficiency_cli.measure.calibration import Fitted, fitted_runtimes
from efficiency_cli.measure.cases import Case, case_of, without_repeats
from efficiency_cli.measure.fit import Fit, fit
from efficiency_cli.measure.hold_out import HeldOut, held_out, intervals_without_family
from efficiency_cli.measure.place import Placed, Unplaced
from efficiency_cli.measure.validate import Result, Validation, estimated, result_of, score, scored
from efficiency_cli.measure.why import Remark, remarks
from efficiency_cli.roofline.latency import Times

# a profile's estimate is as the fit says but for rounding; further off, a kernel is at the bound
_ROUNDING = 2e-3
# one network on one machine, measured twice: the public results of microcontrollers are 1.15 apart at most
_CONTRADICTION = 1.5
# called with how many of how many steps are done
Progress = Callable[[int, int], None]


class Calibration(Struct, frozen=True):
    """`before` has the profiles' own estimates, `after` those with the fit put in, `unseen` those of fits without the
    measurement's family.

    `alone` are measurements whose scale no other family tells, `repeats` counts rows that repeat one, `bounded` are
    those that the fit would have faster than the peaks allow, `contradictions` the fastest and the slowest of the same
    network on the same machine where they are far apart. `remarks` belong to the results of `unseen`, or of
    `after` where no family could be left out.
    """

    fit: Fit
    fitted: tuple[Fitted, ...]
    before: Validation
    after: Validation
    unseen: Validation
    alone: tuple[Placed, ...]
    repeats: int
    bounded: tuple[Placed, ...] = ()
    contradictions: tuple[tuple[Placed, Placed], ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(sorted({r.placed.run.family for r in self.before.results}))

    @property
    def judged(self) -> Validation:
        """What says most of networks to come: families left out, where that could be done."""
        return self.unseen if self.unseen.results else self.after


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
    once, kept = _once(cases, results)
    seen = [c.at_bandwidth for c in once] if free else once
    found = fit(seen, free=free)
    held, alone = held_out(seen, free=free, progress=progress)
    fitted = fitted_runtimes(seen, held, found)
    after = _after(seen, fitted, by)
    predicted = found.predicted_s(seen)
    judged = [h.case for h in held] or seen
    return Calibration(
        fit=found,
        fitted=tuple(fitted),
        before=scored(kept, [*unplaced, *without], by),
        after=after,
        unseen=unseen(held, by),
        alone=tuple(c.placed for c in alone),
        repeats=len(cases) - len(once),
        bounded=tuple(
            r.placed
            for r, seconds in zip(after.results, predicted, strict=True)
            if r.latency.expected_s > seconds * (1 + _ROUNDING)
        ),
        contradictions=tuple(_contradictions([c.placed for c in once])),
        remarks=tuple(remarks(judged, found)),
    )


def _contradictions(placed: Sequence[Placed]) -> Iterator[tuple[Placed, Placed]]:
    """The fastest and the slowest run of the same thing, where more than noise is between them."""
    alike: dict[tuple[object, ...], list[Placed]] = {}
    for one in placed:
        run = one.run
        said = (run.device, run.clock_hz, run.version, run.precision, run.threads, *sorted(run.dims.items()))
        alike.setdefault((run.path, one.profile.path, one.runtime, *said), []).append(one)
    for group in alike.values():
        fast, slow = (pick(group, key=lambda p: p.run.measured_s) for pick in (min, max))
        if slow.run.measured_s > _CONTRADICTION * fast.run.measured_s:
            yield fast, slow


def left_out(
    placed: Sequence[Placed],
    unplaced: Sequence[Unplaced] = (),
    *,
    free: bool = True,
    by: Sequence[str] = (),
    progress: Progress | None = None,
) -> Validation:
    """Every run beside what a fit without its family says; those whose scale only their own family tells, and rows
    that repeat another, are among the unplaced.
    """
    cases, results, without = _cases(placed)
    if not cases:
        return scored([], [*unplaced, *without], by)
    once, _ = _once(cases, results)
    kept = {id(c) for c in once}
    repeated = [Unplaced(c.placed.run, "it repeats another row, to the digit") for c in cases if id(c) not in kept]
    held, alone = held_out([c.at_bandwidth for c in once] if free else once, free=free, progress=progress)
    reason = "no other family of networks was measured with {} on {}"
    lonely = [Unplaced(c.placed.run, reason.format(c.placed.runtime, c.placed.profile.id)) for c in alone]
    return unseen(held, by, [*unplaced, *without, *lonely, *repeated])


def _once(cases: Sequence[Case], results: Sequence[Result]) -> tuple[list[Case], list[Result]]:
    """Without rows that repeat another."""
    once = without_repeats(cases)
    kept = {id(c) for c in once}
    return once, [r for r, c in zip(results, cases, strict=True) if id(c) in kept]


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


def _after(cases: Sequence[Case], fitted: Sequence[Fitted], by: Sequence[str]) -> Validation:
    """The estimates of the profiles with what was fitted: what a user of the written one will see."""
    of_case = {id(c): one for one in fitted for c in one.cases}
    placed = [_refitted(c.placed, of_case[id(c)]) for c in cases]
    found: dict[int, Result] = {}
    for index, outcome in estimated(placed):
        # what had an estimate has one with other numbers
        assert not isinstance(outcome, Unplaced)
        found[index] = result_of(placed[index], outcome)
    return scored([found[k] for k in sorted(found)], (), by)


def _refitted(placed: Placed, one: Fitted) -> Placed:
    """The run on its machine, at its clock, with the runtime as fitted."""
    profile = placed.profile
    runtimes = tuple(one.applied_to(r) if r.id == one.runtime.id else r for r in profile.runtimes)
    return replace(placed, profile=replace(profile, runtimes=runtimes))


def unseen(held: Sequence[HeldOut], by: Sequence[str] = (), unplaced: Sequence[Unplaced] = ()) -> Validation:
    """The figures of families left out; a case's interval is that of the other families of its runtime."""
    intervals = intervals_without_family(held)
    times = [_times(one.predicted_s, i or DEFAULT_INTERVAL) for one, i in zip(held, intervals, strict=True)]
    return score([one.case.placed for one in held], times, unplaced, by)


def _times(seconds: float, interval: tuple[float, float]) -> Times:
    low, high = interval
    return Times(0.0, seconds * low, seconds, seconds * high)
