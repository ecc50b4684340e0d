"""Why a figure is what it is: the kernels that grew against a baseline, else the largest ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from msgspec import Struct

from efficiency_cli.judge import align
from efficiency_cli.judge.gauge import GAUGES, Gauge, On
from efficiency_cli.judge.snapshot import Kernel, Snapshot

# enough to know where to look; `diff` has all
_MOST = 3


class Reason(Struct, frozen=True):
    """A kernel, or an operator: its part of a figure `now` and `before` (None: it is new, or there is no baseline)."""

    name: str
    op: str
    now: float
    before: float | None = None


class Why(Struct, frozen=True):
    """What `reasons` are: "grew", "largest", "peak" (alive while these run), "count" or "unmodelled".

    `unit` names the metric that their numbers are of; `others` is how many more grew.
    """

    kind: str
    unit: str
    reasons: tuple[Reason, ...]
    others: int = 0


def why(gauge: Gauge, on: On, now: Snapshot, before: Snapshot | None) -> Why | None:
    """The first reasons for a figure that is too high (or low); None where no part of the network is one."""
    if gauge.name == "coverage":
        rows = [Reason(f"{u.domain}::{u.op}" if u.domain else u.op, "", u.count) for u in now.coverage.unmodelled]
        return Why("unmodelled", "kernels", tuple(rows[:_MOST]), max(len(rows) - _MOST, 0)) if rows else None
    if gauge.name == "kernels":
        return _by_operator(now, before)
    if gauge.name == "peak_ram":
        return _at_peak(now, before)
    # kernels do not say how many elements their weights have, but how many bytes
    unit = "flash" if gauge.name == "parameters" else gauge.name
    part = GAUGES[unit].part
    if part is None:
        return None
    shown = "latency" if unit == "throughput" else unit
    return _largest(shown, lambda k: part(k, on), now, before)


def _largest(unit: str, part: Callable[[Kernel], float], now: Snapshot, before: Snapshot | None) -> Why | None:
    if before is not None:
        grown = _grown(part, now, before)
        if grown:
            return Why("grew", unit, tuple(grown[:_MOST]), max(len(grown) - _MOST, 0))
    rows = [Reason(k.name, k.op, part(k)) for k in now.kernels]
    found = [r for r in _first(rows) if r.now]
    return Why("largest", unit, tuple(found)) if found else None


def _first(rows: Iterable[Reason]) -> list[Reason]:
    return sorted(rows, key=lambda r: -r.now)[:_MOST]


def _grown(part: Callable[[Kernel], float], now: Snapshot, before: Snapshot) -> list[Reason]:
    """Kernels that take more than before, the largest growth first; new ones among them."""
    same = {j: i for i, j in align.kernels(before, now).items()}
    rows = []
    for j, kernel in enumerate(now.kernels):
        then = part(before.kernels[same[j]]) if j in same else None
        if part(kernel) > (then or 0.0):
            rows.append(Reason(kernel.name, kernel.op, part(kernel), then))
    return sorted(rows, key=lambda r: (r.before or 0.0) - r.now)


def _at_peak(now: Snapshot, before: Snapshot | None) -> Why | None:
    """The kernels while which most is alive; they do not add up."""
    same = {j: i for i, j in align.kernels(before, now).items()} if before is not None else {}
    rows = [
        Reason(
            k.name, k.op, k.peak_live_bytes, before.kernels[same[j]].peak_live_bytes if before and j in same else None
        )
        for j, k in enumerate(now.kernels)
    ]
    found = [r for r in _first(rows) if r.now]
    return Why("peak", "peak_ram", tuple(found)) if found else None


def _by_operator(now: Snapshot, before: Snapshot | None) -> Why | None:
    """How many kernels each operator has: those with more than before, else the most frequent."""
    ours = Counter(k.op for k in now.kernels)
    if before is not None:
        theirs = Counter(k.op for k in before.kernels)
        rows = [Reason(op, "", n, theirs[op]) for op, n in ours.items() if n > theirs[op]]
        if rows:
            rows.sort(key=lambda r: (r.before or 0) - r.now)
            return Why("grew", "kernels", tuple(rows[:_MOST]), max(len(rows) - _MOST, 0))
    rows = [Reason(op, "", n) for op, n in ours.most_common(_MOST)]
    return Why("count", "kernels", tuple(rows)) if rows else None
