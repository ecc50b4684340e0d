"""Estimate + budgets -> findings: pass, warn, fail or skip, by how much and why.

Nothing is judged that has no budget, and what cannot be judged (no machine, no baseline) is never passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from efficiency_cli.errors import EffcliError, ExitCode
from efficiency_cli.judge.budget import Budget
from efficiency_cli.judge.gauge import DEFAULT_ON, GAUGES, Gauge, worsening
from efficiency_cli.judge.reasons import Why, why
from efficiency_cli.judge.snapshot import Snapshot

Status = Literal["fail", "warn", "skip", "pass"]
# the order in which they are told
STATUSES: tuple[Status, ...] = ("fail", "warn", "skip", "pass")


class Finding(Struct, frozen=True):
    """One budget held against one estimate.

    `value` is what is judged: the figure `now`, or by which fraction it is worse than `before` (inf from nothing).
    `skipped` says why there is none.
    """

    budget: Budget
    status: Status
    value: float | None = None
    now: float | None = None
    before: float | None = None
    skipped: str = ""
    why: Why | None = None

    @property
    def inconclusive(self) -> bool:
        """Whether a budget that is meant as an error could not be judged."""
        return self.status == "skip" and self.budget.level == "error" and bool(self.skipped) and not self.accepted

    @property
    def accepted(self) -> bool:
        """Whether the change it would judge is accepted by this very run."""
        return self.skipped == ACCEPTED

    @property
    def over(self) -> float:
        """By how much the limit is passed (negative: what is left), in the unit of `value`."""
        if self.value is None:
            return 0.0
        return self.value - self.budget.limit if self.budget.side == "max" else self.budget.limit - self.value


ACCEPTED = "the baseline is updated"


class Result(Struct, frozen=True):
    """One model on one machine; without a snapshot, `error` says why. `gaps` make it inconclusive."""

    path: str
    machine: str
    findings: tuple[Finding, ...] = ()
    snapshot: Snapshot | None = None
    before: Snapshot | None = None
    error: EffcliError | None = None
    gaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> Status | Literal["error"]:
        """The worst of its findings."""
        if self.error is not None:
            return "error"
        if any(f.status == "fail" for f in self.findings):
            return "fail"
        if self.inconclusive:
            return "skip"
        return "warn" if any(f.status == "warn" for f in self.findings) else "pass"

    @property
    def inconclusive(self) -> bool:
        return bool(self.gaps) or any(f.inconclusive for f in self.findings)

    @property
    def moved(self) -> dict[str, tuple[float, float]]:
        """Metrics whose figure is not that of the baseline: name -> before, now."""
        if self.snapshot is None or self.before is None:
            return {}
        found = {}
        for name, gauge in GAUGES.items():
            before, now = gauge.of(self.before, DEFAULT_ON), gauge.of(self.snapshot, DEFAULT_ON)
            if before is not None and now is not None and before != now:
                found[name] = (before, now)
        return found


class Verdict(Struct, frozen=True):
    """All results; `config` and `baseline` are the files they rest on ("" for none)."""

    results: tuple[Result, ...]
    config: str = ""
    baseline: str = ""

    @property
    def findings(self) -> list[Finding]:
        return [f for r in self.results for f in r.findings]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many findings of each status, results with an error, results that moved."""
        statuses = [f.status for f in self.findings]
        return {
            **{s: statuses.count(s) for s in STATUSES},
            "errors": sum(r.error is not None for r in self.results),
            "moved": sum(bool(r.moved) for r in self.results),
        }

    @property
    def code(self) -> ExitCode:
        """Could not run (2), inconclusive (3), a finding (1): in this order."""
        codes = [ExitCode(r.error.exit_code) for r in self.results if r.error is not None]
        if ExitCode.ERROR in codes:
            return ExitCode.ERROR
        if codes or any(r.inconclusive for r in self.results):
            return ExitCode.INCONCLUSIVE
        return ExitCode.FINDING if any(r.status == "fail" for r in self.results) else ExitCode.OK


def judge(
    snapshot: Snapshot,
    budgets: Iterable[Budget],
    before: Snapshot | None = None,
    *,
    without_baseline: str = "there is no baseline",
    accepting: bool = False,
) -> tuple[Finding, ...]:
    """Every budget held against `snapshot`, those on a change against `before` as well.

    `without_baseline` says why `before` is None; `accepting` skips changes, which become the new baseline.
    """
    return tuple(_judged(snapshot, b, before, without_baseline, accepting) for b in budgets)


def _judged(
    snapshot: Snapshot, budget: Budget, before: Snapshot | None, without_baseline: str, accepting: bool
) -> Finding:
    gauge = budget.gauge
    now = gauge.of(snapshot, budget.on)
    if now is None:
        return Finding(budget, "skip", skipped=_unknown(gauge, budget, snapshot))
    then = gauge.of(before, budget.on) if before is not None else None
    if not budget.relative:
        return _with_status(Finding(budget, "pass", now, now, then), snapshot, before)
    if accepting:
        return Finding(budget, "skip", now=now, before=then, skipped=ACCEPTED)
    if then is None:
        missing = without_baseline if before is None else f"the baseline has no {gauge.name}"
        return Finding(budget, "skip", now=now, skipped=missing)
    return _with_status(Finding(budget, "pass", worsening(gauge, then, now), now, then), snapshot, before)


def _unknown(gauge: Gauge, budget: Budget, snapshot: Snapshot) -> str:
    if gauge.intervals and budget.on not in gauge.intervals:
        return f"{gauge.name} has no {budget.on}"
    if snapshot.hardware is not None and gauge.name == "energy":
        return f"the profile of {snapshot.machine} has no energy figures"
    return f"{gauge.name} needs {gauge.needs}" if gauge.needs else f"the estimate has no {gauge.name}"


def _with_status(finding: Finding, snapshot: Snapshot, before: Snapshot | None) -> Finding:
    from msgspec.structs import replace

    budget = finding.budget
    assert finding.value is not None
    if budget.holds(finding.value):
        return finding
    status: Status = "fail" if budget.level == "error" else "warn"
    return replace(finding, status=status, why=why(budget.gauge, budget.on, snapshot, before))


def unbudgeted(result: Result) -> Sequence[Gauge]:
    """Metrics of the estimate that no budget speaks of."""
    named = {f.budget.gauge.name for f in result.findings}
    return [g for name, g in GAUGES.items() if name not in named]
