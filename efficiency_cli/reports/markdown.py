"""A summary in Markdown for a pull request or a CI step: the same lines, the kernels in a fold.

Text from the model is code in character references: no Markdown, HTML or mention in it can act.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from efficiency_cli.reports import memory
from efficiency_cli.reports.columns import NAME_TITLE, columns_of, fused_suffix
from efficiency_cli.reports.escape import markdown_code, markdown_text
from efficiency_cli.reports.rows import Row, ordered, rows_of
from efficiency_cli.reports.summary import Line, coverage_of, header_of, lines_of, title_of

if TYPE_CHECKING:
    from efficiency_cli.reports.view import View
    from efficiency_cli.roofline.estimate import Estimate
    from efficiency_cli.roofline.memory.footprint import Footprint

# GitHub cuts a step's summary at 1 MiB: a table of more rows than this says how many it leaves out
MOST_ROWS = 1000


def render(estimates: Sequence[Estimate], view: View, command: str) -> str:  # noqa: ARG001
    """One section an estimate."""
    return "\n".join("\n".join(_section(e, view)) + "\n" for e in estimates)


def _section(estimate: Estimate, view: View) -> Iterator[str]:
    model, *machine = header_of(estimate).parts
    yield f"### {markdown_code(model.text)}"
    yield ""
    if machine:
        yield markdown_text(" ".join(p.text for p in machine))
        yield ""
    yield "| | |"
    yield "|---|---|"
    yield from _joined([*lines_of(estimate, view.verbose), coverage_of(estimate)])
    yield ""
    yield from _noted(estimate, view.verbose)
    yield from _folded(estimate, view)
    if estimate.memory is not None:
        yield from _memory(estimate.memory, estimate.totals.kv_cache_bytes)


def _memory(footprint: Footprint, cache_bytes: int) -> Iterator[str]:
    """The section of --memory: its lines, then the chart and what is alive at the peak in a fold."""
    yield ""
    yield f"**{markdown_text(memory.title_of(footprint))}**"
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield from _joined(list(memory.lines_of(footprint, cache_bytes)))
    yield ""
    yield f"<details><summary>Alive at the peak ({len(footprint.at_peak):,} buffers)</summary>"
    bars = memory.bars_of(footprint, None, unicode=True)
    if bars is not None:
        yield from ("", "```text", *bars.rows, bars.axis, "```")
    yield ""
    yield f"| {' | '.join(memory.PLAN_TITLES)} |"
    yield "|---|---|---:|---:|---:|"
    for name, *cells in memory.plan_rows(footprint.at_peak[:MOST_ROWS]):
        yield f"| {markdown_code(name)} | {' | '.join(map(markdown_text, cells))} |"
    yield ""
    yield "</details>"


def _joined(lines: Sequence[Line]) -> Iterator[str]:
    """Table rows; a line without a label goes into the row above it."""
    label, text = "", ""
    for line in lines:
        parts = line.between.strip(" ") or " · "
        said = markdown_text((f"{parts} " if parts != " · " else parts).join(p.text for p in line.parts))
        if not line.label:
            text += f"<br>{said}"
            continue
        if label:
            yield f"| **{label}** | {text} |"
        label, text = line.label, said
    yield f"| **{label}** | {text} |"


def _noted(estimate: Estimate, verbose: int) -> Iterator[str]:
    notes = [f"note: {markdown_text(note)}" for note in (*estimate.assumptions, *estimate.notes)]
    other = estimate.convention
    if other is not None and not verbose:  # else they are in the table
        said = (*other.differences, f"source: {other.source}")
        notes += [f"{markdown_text(other.name)}: {markdown_text(line)}" for line in said]
    for note in notes:
        yield f"- {note}"
    if notes:
        yield ""


def _folded(estimate: Estimate, view: View) -> Iterator[str]:
    found = ordered(rows_of(estimate, view.group), view.sort)
    rows = found[: MOST_ROWS if view.top is None else view.top]
    if not rows:
        return
    columns = columns_of(estimate, view.group)
    yield f"<details><summary>{title_of(estimate, rows, len(found), view)}</summary>"
    yield ""
    yield f"| {NAME_TITLE[view.group]} | {' | '.join(c.title for c in columns)} |"
    yield f"|---|{'|'.join('---:' if c.right else '---' for c in columns)}|"
    for row in rows:
        yield f"| {_name(row)} | {' | '.join(markdown_text(c.cell(row)) for c in columns)} |"
    yield ""
    yield "</details>"


def _name(row: Row) -> str:
    return markdown_code(row.name) + markdown_text(fused_suffix(row))
