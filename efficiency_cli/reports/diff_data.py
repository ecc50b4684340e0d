"""A Diff as plain data, from which its JSON and CSV derive: exact values in base units, names as written."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any, cast

from msgspec import to_builtins

from efficiency_cli import __version__
from efficiency_cli.judge.diff import ATTRIBUTED, Diff, KernelChange, NodeChange, Tolerance, Total
from efficiency_cli.judge.gauge import GAUGES
from efficiency_cli.judge.snapshot import Snapshot
from efficiency_cli.reports.diff_format import (
    AttributionPart,
    ChangePart,
    DiffReport,
    KernelChangePart,
    NodeChangePart,
    SidePart,
    ToleranceFinding,
)
from efficiency_cli.reports.escape import csv_cell
from efficiency_cli.reports.json import opened
from efficiency_cli.roofline.report_format import SCHEMA_VERSION

_LEVELS = 3


def json_of(found: Diff, tolerances: Sequence[Tolerance]) -> str:
    return opened(data_of(found, tolerances), _LEVELS)


def data_of(found: Diff, tolerances: Sequence[Tolerance]) -> DiffReport:
    """The JSON report."""
    has_nodes = bool(found.before.nodes and found.after.nodes)
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "effcli", "version": __version__},
        "command": "diff",
        "on": found.on,
        "before": _side(found.before),
        "after": _side(found.after),
        "totals": {t.gauge.name: _change(t.before, t.after) for t in found.totals},
        "attribution": {name: part for name in ATTRIBUTED if (part := _attribution(found, name))},
        "kernels": [_kernel(found, k) for k in found.kernels],
        "nodes": {"same": found.same, "changed": [_node(n) for n in found.nodes]} if has_nodes else None,
        "findings": [_finding(t, found.total(t.name)) for t in tolerances],
    }


def _side(snapshot: Snapshot) -> SidePart:
    hardware = to_builtins(snapshot.hardware) if snapshot.hardware else None
    if hardware is not None:
        hardware.pop("profile")
    return {
        "model": {"path": snapshot.model.path, "dims": dict(snapshot.model.dims)},
        "hardware": cast(Any, hardware),
        "totals": to_builtins(snapshot.totals),
    }


def _change(before: float | None, after: float | None) -> ChangePart:
    change = after - before if before is not None and after is not None else None
    return {"before": before, "after": after, "change": change}


def _attribution(found: Diff, name: str) -> AttributionPart | None:
    total, gauge = found.total(name), GAUGES[name]
    if total is None or total.change is None:
        return None
    parts = math.fsum(k.change(gauge, found.on) for k in found.kernels)
    return {"change": total.change, "kernels": parts, "outside": found.outside(gauge)}


def _kernel(found: Diff, change: KernelChange) -> KernelChangePart:
    before, after = change.before, change.after
    known = [GAUGES[n] for n in ATTRIBUTED if (t := found.total(n)) and t.change is not None]
    return {
        "before": before.name if before else None,
        "after": after.name if after else None,
        "op_before": before.op if before else None,
        "op_after": after.op if after else None,
        "dtype_before": before.dtype if before else None,
        "dtype_after": after.dtype if after else None,
        "changes": {g.name: _change(*change.part(g, found.on)) for g in known},
    }


def _node(change: NodeChange) -> NodeChangePart:
    return {
        "before": change.before.name if change.before else None,
        "after": change.after.name if change.after else None,
        "op": change.either.op,
        "fields": [{"field": f.name, "before": f.before, "after": f.after} for f in change.fields],
    }


def _finding(tolerance: Tolerance, total: Total | None) -> ToleranceFinding:
    exceeded = tolerance.exceeded(total) if total else None
    worse = total.worse if total else None
    return {
        "name": tolerance.name,
        "limit_text": tolerance.text,
        "status": "skip" if exceeded is None else "fail" if exceeded else "pass",
        "worse": worse if worse is not None and math.isfinite(worse) else None,
    }


_CSV = ("before", "after", "op_before", "op_after", "dtype_before", "dtype_after")


def csv_of(found: Diff, top: int | None) -> str:
    """One line a kernel, the largest change first; columns `latency_before_s` and so on in base units."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    gauges = [GAUGES[n] for n in ATTRIBUTED if (t := found.total(n)) and t.change is not None]
    names = [f"{g.name}_{side}{_SUFFIX[g.dimension]}" for g in gauges for side in ("before", "after", "change")]
    writer.writerow([*_CSV, *names])
    rows = list(found.kernels)
    if found.explained is not None:
        gauge = found.explained
        rows.sort(key=lambda k: -abs(k.change(gauge, found.on)))
    for change in rows[:top]:
        plain = cast(dict[str, Any], _kernel(found, change))
        cells = [plain[name] for name in _CSV]
        numbers = [plain["changes"][g.name][side] for g in gauges for side in ("before", "after", "change")]
        writer.writerow([*(csv_cell(c) if isinstance(c, str) else c for c in cells), *numbers])
    return text.getvalue()


_SUFFIX = {"time": "_s", "energy": "_j", "count": "", "bytes": "_bytes"}
