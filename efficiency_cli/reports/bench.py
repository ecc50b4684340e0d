"""The figures of a Verdict as github-action-benchmark's `customSmallerIsBetter` JSON, for a chart over commits.

Metrics of which more is better (throughput, coverage) have no place in it: throughput is the latency turned round.
"""

from __future__ import annotations

import json

from efficiency_cli.judge.gauge import DEFAULT_ON, GAUGES, Gauge
from efficiency_cli.judge.snapshot import Snapshot
from efficiency_cli.judge.verdict import Verdict
from efficiency_cli.reports.escape import escaped

# base units, as everywhere for programs
_UNIT = {"time": "s", "bytes": "B", "energy": "J", "count": ""}


def bench_of(verdict: Verdict) -> str:
    """One entry a model, machine and metric; what could not be estimated is left out."""
    rows = []
    for result in verdict.results:
        if result.snapshot is None:
            continue
        name = f"{result.path} on {result.machine}" if result.machine else result.path
        for gauge in GAUGES.values():
            value = gauge.of(result.snapshot, DEFAULT_ON)
            # most networks have no cache, and need no chart of it
            if value is not None and not gauge.more_is_better and (value or gauge.name != "kv_cache"):
                rows.append(_row(escaped(name), gauge, value, result.snapshot))
    lines = ",\n".join(f"  {json.dumps(row, allow_nan=False)}" for row in rows)
    return f"[\n{lines}\n]\n" if rows else "[]\n"


def _row(name: str, gauge: Gauge, value: float, snapshot: Snapshot) -> dict[str, object]:
    row: dict[str, object] = {"name": f"{name}: {gauge.name}", "unit": _UNIT[gauge.dimension], "value": value}
    low, high = gauge.of(snapshot, "lower"), gauge.of(snapshot, "upper")
    if gauge.intervals and low is not None and high is not None:
        row["range"] = f"{gauge.shown(low)} - {gauge.shown(high)}".replace("µ", "u")
    return row
