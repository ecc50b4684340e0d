"""A Verdict in Markdown, for a job's summary or a comment on a pull request: what failed first, the rest in a fold.

Text from models is code in character references: no Markdown, HTML or mention in it can act.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from efficiency_cli.judge.gauge import GAUGES, worsening
from efficiency_cli.judge.verdict import Finding, Result, Verdict
from efficiency_cli.reports.escape import markdown_code, markdown_text
from efficiency_cli.reports.verdict_words import (
    LABEL,
    accept_of,
    counts_of,
    limit_of,
    machine_of,
    margin_of,
    on_of,
    reason_parts,
    signed_percent,
    title_of,
    value_of,
    why_title,
)

if TYPE_CHECKING:
    from efficiency_cli.reports.view import View

_SIGN = {"fail": "❌", "warn": "⚠️", "skip": "⏭️", "pass": "✅", "error": "❌"}
# GitHub cuts a step's summary at 1 MiB, and a comment at 65,536 characters
_MOST_RESULTS = 100


def markdown_of(verdict: Verdict, view: View) -> str:  # noqa: ARG001
    """A line of what came out, a section for what failed or moved, the others folded."""
    return "".join(f"{line}\n" for line in _document(verdict))


def _document(verdict: Verdict) -> Iterator[str]:
    yield f"### {_SIGN[_worst(verdict)]} effcli check: {markdown_text(counts_of(verdict))}"
    yield ""
    yield markdown_text(title_of(verdict))
    yield ""
    loud = [r for r in verdict.results if r.status != "pass" or r.moved]
    quiet = [r for r in verdict.results if r not in loud]
    for result in loud[:_MOST_RESULTS]:
        yield from _section(result, verdict)
    if len(loud) > _MOST_RESULTS:
        yield f"… and {len(loud) - _MOST_RESULTS:,} more"
        yield ""
    if quiet:
        yield f"<details><summary>{len(quiet):,} that pass, as in the baseline or without one</summary>"
        yield ""
        for result in quiet[:_MOST_RESULTS]:
            yield from _section(result, verdict)
        yield "</details>"


def _worst(verdict: Verdict) -> str:
    statuses = [r.status for r in verdict.results]
    return next((s for s in ("error", "fail", "skip", "warn") if s in statuses), "pass")


def _section(result: Result, verdict: Verdict) -> Iterator[str]:
    yield f"#### {_SIGN[result.status]} {markdown_code(result.path)} {markdown_text(machine_of(result))}".rstrip()
    yield ""
    if result.error is not None:
        yield markdown_text(result.error.what)
        yield from (f"- {markdown_text(place)}" for place in result.error.where)
        yield ""
        return
    if result.findings:
        yield "| | budget | is | limit | |"
        yield "|---|---|---:|---|---|"
        yield from map(_row, result.findings)
        yield ""
    for gap in result.gaps:
        yield f"- inconclusive: {markdown_text(gap)}"
    yield from _moved(result)
    told: dict[object, str] = {}
    for finding in result.findings:
        if finding.status in ("fail", "warn"):
            yield from _why(finding, verdict, told)


def _row(finding: Finding) -> str:
    on = f" ({on_of(finding)})" if on_of(finding) else ""
    cells = [finding.budget.name + on, value_of(finding), limit_of(finding), margin_of(finding)]
    shown = [markdown_text(c) for c in cells]
    if finding.status == "fail":
        shown[1] = f"**{shown[1]}**"
    return f"| {_SIGN[finding.status]} {LABEL[finding.status]} | {' | '.join(shown)} |"


def _moved(result: Result) -> Iterator[str]:
    """What is not as in the baseline, whether a budget speaks of it or not."""
    if not result.moved:
        return
    yield "<details><summary>against the baseline</summary>"
    yield ""
    yield "| | before | now | |"
    yield "|---|---:|---:|---:|"
    for name, (before, now) in result.moved.items():
        gauge = GAUGES[name]
        worse = worsening(gauge, before, now)
        change = signed_percent(-worse if gauge.more_is_better else worse)
        yield f"| {name} | {gauge.shown(before)} | {gauge.shown(now)} | {markdown_text(change)} |"
    yield ""
    yield "</details>"
    yield ""


def _why(finding: Finding, verdict: Verdict, told: dict[object, str]) -> Iterator[str]:
    """Why and what now; what was `told` of another finding is not told again."""
    name = markdown_text(finding.budget.name)
    message = finding.budget.message
    if message and told.setdefault(message, name) == name:
        yield f"**{name}**: {markdown_text(finding.budget.message)}"
        yield ""
    if finding.why is not None and told.setdefault(finding.why, name) == name:
        yield f"<details open><summary>{name}: {markdown_text(why_title(finding.why))}</summary>"
        yield ""
        yield from _reasons([reason_parts(r, finding.why, finding) for r in finding.why.reasons])
        yield "</details>"
        yield ""
    accept = accept_of(finding, verdict)
    if accept:
        yield f"To accept {name}: {markdown_code(accept)}"
        yield ""


def _reasons(parts: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    yield "| kernel | operator | |"
    yield "|---|---|---|"
    for name, op, told in parts:
        yield f"| {markdown_code(name)} | {markdown_text(op)} | {markdown_text(told)} |"
    yield ""
