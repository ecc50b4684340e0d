"""A Verdict as text: the screen of `effcli check`, and the one place that knows its other formats."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from efficiency_cli.judge.reasons import Why
from efficiency_cli.judge.verdict import Finding, Result, Verdict, unbudgeted
from efficiency_cli.reports.escape import shown, signs
from efficiency_cli.reports.grid import INDENT, Column, grid
from efficiency_cli.reports.verdict_words import (
    LABEL,
    accept_of,
    counts_of,
    limit_of,
    machine_of,
    margin_of,
    on_of,
    reason_parts,
    title_of,
    value_of,
    why_title,
)

if TYPE_CHECKING:
    from efficiency_cli.reports.view import View

FORMATS = ("table", "json", "csv", "markdown", "junit", "github", "sarif", "bench")
_STYLES = {"FAIL": "bad", "ERROR": "bad", "WARN": "overhead", "SKIP": "label", "PASS": "good"}
# under a finding
_DEEPER = " " * 8


def formats() -> tuple[str, ...]:
    return FORMATS


def text_of(format: str, verdict: Verdict, view: View) -> str:
    """The verdict in one of `formats`."""
    match format:
        case "json":
            from efficiency_cli.reports.verdict_data import json_of

            return json_of(verdict)
        case "csv":
            from efficiency_cli.reports.verdict_data import csv_of

            return csv_of(verdict)
        case "markdown":
            from efficiency_cli.reports.verdict_markdown import markdown_of

            return markdown_of(verdict, view)
        case "junit":
            from efficiency_cli.reports.junit import junit_of

            return junit_of(verdict)
        case "github":
            from efficiency_cli.reports.github import annotations_of

            return annotations_of(verdict)
        case "sarif":
            from efficiency_cli.reports.sarif import sarif_of

            return sarif_of(verdict)
        case "bench":
            from efficiency_cli.reports.bench import bench_of

            return bench_of(verdict)
    return "".join(f"{line}\n" for line in _screen(verdict, view))


# --- the screen --------------------------------------------------------------------------------


def _screen(verdict: Verdict, view: View) -> Iterator[str]:
    yield from _wrapped(title_of(verdict), view)
    for result in verdict.results:
        yield ""
        yield from _wrapped(" ".join(filter(None, (result.path, machine_of(result)))), view)
        yield from _of_result(result, verdict, view)
    yield ""
    yield from _wrapped(counts_of(verdict), view)


def _of_result(result: Result, verdict: Verdict, view: View) -> Iterator[str]:
    if result.error is not None:
        yield from _painted([f"{INDENT}ERROR  {_safe(result.error.what, view)}"], view)
        for line in (*result.error.where, *([f"hint: {result.error.hint}"] if result.error.hint else [])):
            yield from _wrapped(line, view, _DEEPER)
        return
    rows = grid(_columns(result.findings, view), view.width, view.unicode)[1:]
    told: dict[object, str] = {}
    for finding, row in zip(result.findings, rows, strict=True):
        yield from _painted([row], view)
        yield from _details(finding, verdict, view, told)
    if view.verbose:
        yield from _painted(_unbudgeted(result, view), view)
    for gap in result.gaps:
        yield from _painted(_wrapped(f"SKIP  inconclusive: {gap}", view, INDENT, _DEEPER), view)


def _columns(findings: Sequence[Finding], view: View) -> list[Column]:
    columns = [
        Column("", [LABEL[f.status] for f in findings]),
        Column("", [f.budget.name for f in findings]),
        Column("", [value_of(f) for f in findings], right=True, drop=1),
        Column("", [limit_of(f) for f in findings]),
        Column("", [margin_of(f) if f.status != "skip" else _skipped(f, view) for f in findings], drop=2),
        Column("", [on_of(f) for f in findings], drop=3),
    ]
    return [c for c in columns if any(c.cells)]


def _skipped(finding: Finding, view: View) -> str:
    """Where it would push out the numbers of the others it is told on a line of its own."""
    return "" if view.width is not None else finding.skipped


def _details(finding: Finding, verdict: Verdict, view: View, told: dict[object, str]) -> Iterator[str]:
    """Why and what now, under a finding; what was `told` of another one is not told again."""
    if finding.status == "skip" and view.width is not None:
        yield from _wrapped(finding.skipped, view, _DEEPER)
    if finding.status not in ("fail", "warn"):
        return
    before = told.setdefault(finding.why, finding.budget.name)
    if finding.why is not None and before == finding.budget.name:
        yield from _reasons(finding, finding.why, view)
    elif finding.why is not None:
        yield from _wrapped(f"why: as for {before}", view, _DEEPER)
    accept = accept_of(finding, verdict)
    if accept:
        yield from _wrapped(f"to accept: {accept}", view, _DEEPER)
    message = finding.budget.message
    if message and told.setdefault(message, finding.budget.name) == finding.budget.name:
        yield from _wrapped(message, view, _DEEPER)


def _reasons(finding: Finding, why: Why, view: View) -> Iterator[str]:
    yield from _wrapped(f"why: {why_title(why)}", view, _DEEPER)
    parts = [reason_parts(r, why, finding) for r in why.reasons]
    columns = [
        Column("", [p[0] for p in parts], shrinks=True),
        Column("", [p[1] for p in parts], drop=1),
        Column("", [p[2] for p in parts]),
    ]
    room = None if view.width is None else view.width - len(_DEEPER)
    kept = [c for c in columns if any(c.cells)]
    yield from (f"{_DEEPER}{line}" for line in grid(kept, room, view.unicode)[1:])


def _unbudgeted(result: Result, view: View) -> list[str]:
    """Metrics nobody set a limit for, with their figures."""
    if result.snapshot is None:
        return []
    rows = [(g.name, g.of(result.snapshot, "expected"), g) for g in unbudgeted(result)]
    known = [(name, gauge.shown(value)) for name, value, gauge in rows if value is not None]
    columns = [
        Column("", ["SKIP"] * len(known)),
        Column("", [name for name, _ in known]),
        Column("", [text for _, text in known], right=True),
        Column("", ["no budget"] * len(known), drop=1),
    ]
    return grid(columns, view.width, view.unicode)[1:] if known else []


def _safe(text: str, view: View) -> str:
    return shown(signs(text, view.unicode), view.unicode)


def _wrapped(text: str, view: View, indent: str = "", further: str = "") -> list[str]:
    safe = _safe(text, view)
    if view.width is None:
        return [indent + safe]
    return textwrap.wrap(
        safe,
        max(view.width, 2 * len(_DEEPER)),
        initial_indent=indent,
        subsequent_indent=further or indent + INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _painted(lines: Sequence[str], view: View) -> Iterator[str]:
    """Lines that begin with a status, in its colour."""
    for line in lines:
        start = len(line) - len(line.lstrip())
        word = line[start:].split(" ", 1)[0]
        if not view.color or word not in _STYLES:
            yield line
            continue
        from efficiency_cli.reports.table import painted

        end = start + len(word)
        yield painted([(line[:start], ""), (word, _STYLES[word]), (line[end:], "")])
