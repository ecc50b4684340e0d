"""A Verdict as plain data, from which its JSON and CSV derive: exact values in base units, names as written."""

from __future__ import annotations

import csv
import io
import math
from typing import Any, cast

from msgspec import to_builtins

from efficiency_cli import __version__
from efficiency_cli.judge.reasons import Why
from efficiency_cli.judge.verdict import Finding, Result, Verdict
from efficiency_cli.reports.escape import csv_cell
from efficiency_cli.reports.json import opened
from efficiency_cli.reports.verdict_format import CheckedHardware, CheckReport, CheckResult, FindingPart, WhyPart
from efficiency_cli.reports.verdict_words import sentence
from efficiency_cli.roofline.report_format import SCHEMA_VERSION

# containers of the JSON that are opened over several lines: a finding is one
_LEVELS = 5


def json_of(verdict: Verdict) -> str:
    return opened(data_of(verdict), _LEVELS)


def data_of(verdict: Verdict) -> CheckReport:
    """The JSON report."""
    counts = dict(verdict.counts)
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "effcli", "version": __version__},
        "command": "check",
        "config": verdict.config or None,
        "baseline": verdict.baseline or None,
        "exit_code": int(verdict.code),
        "summary": cast(Any, counts),
        "results": [_result(r) for r in verdict.results],
    }


def _result(result: Result) -> CheckResult:
    snapshot, error = result.snapshot, result.error
    return {
        "model": {"path": result.path, "dims": dict(snapshot.model.dims) if snapshot else {}},
        "hardware": _hardware(result),
        "status": result.status,
        "totals": to_builtins(snapshot.totals) if snapshot else None,
        "findings": [_finding(f) for f in result.findings],
        "moved": {name: {"before": before, "now": now} for name, (before, now) in result.moved.items()},
        "gaps": list(result.gaps),
        "assumptions": list(snapshot.assumptions) if snapshot else [],
        "notes": list(result.notes),
        "error": {"what": error.what, "where": list(error.where), "hint": error.hint} if error else None,
    }


def _hardware(result: Result) -> CheckedHardware | None:
    found = result.snapshot.hardware if result.snapshot else None
    if found is None:
        return None
    return {
        "id": found.id,
        "runtime": found.runtime,
        "runtime_name": found.runtime_name,
        "dtype": found.dtype,
        "grade": found.grade,
    }


def _finding(finding: Finding) -> FindingPart:
    budget, value = finding.budget, finding.value
    finite = value is not None and math.isfinite(value)
    return {
        "name": budget.name,
        "metric": budget.gauge.name,
        "relative": budget.relative,
        "side": budget.side,
        "limit": budget.limit,
        "limit_text": budget.text,
        "level": budget.level,
        "on": budget.on,
        "status": finding.status,
        "value": value if finite else None,
        "now": finding.now,
        "before": finding.before,
        "over": finding.over if finite else None,
        "skipped": finding.skipped or None,
        "place": budget.place,
        "message": budget.message,
        "text": sentence(finding),
        "why": _why(finding.why) if finding.why else None,
    }


def _why(why: Why) -> WhyPart:
    return {
        "kind": cast(Any, why.kind),
        "unit": why.unit,
        "reasons": [{"name": r.name, "op": r.op, "now": r.now, "before": r.before} for r in why.reasons],
        "others": why.others,
    }


_CSV = (
    *("model", "hardware", "runtime", "name", "metric", "status", "level", "on", "side"),
    *("limit", "value", "now", "before", "over", "skipped", "place"),
)


def csv_of(verdict: Verdict) -> str:
    """One line a budget; a result without an estimate is a line with the reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for result in verdict.results:
        hardware = _hardware(result)
        place = {"model": result.path, "hardware": result.machine, "runtime": hardware["runtime"] if hardware else ""}
        rows: list[dict[str, Any]] = [{**_finding(f)} for f in result.findings]
        if result.error is not None:
            rows = [{"status": "error", "skipped": result.error.what}]
        for row in rows:
            cells = [{**place, **row}.get(name) for name in _CSV]
            writer.writerow([csv_cell(c) if isinstance(c, str) else c for c in cells])
    return text.getvalue()
