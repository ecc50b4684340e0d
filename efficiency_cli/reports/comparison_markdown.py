"""A Comparison as Markdown, fit for a README or a pull request: the matrix or the ranking, the rest in folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from efficiency_cli.reports.comparison_columns import columns, figure, varying
from efficiency_cli.reports.comparison_table import (
    BEST,
    FULL,
    OVER,
    answered_lines,
    counted,
    mark_of,
    several,
    title_of,
    without_estimate,
)
from efficiency_cli.reports.escape import markdown_code, markdown_text

if TYPE_CHECKING:
    from efficiency_cli.judge.row import Row
    from efficiency_cli.reports.comparison_data import Shown
    from efficiency_cli.reports.grid import Column
    from efficiency_cli.reports.view import View

# GitHub cuts a step's summary at 1 MiB
_MOST_ROWS = 1000
_CODE = ("model", "hardware", "over")


def lines_of(told: Shown, view: View) -> Iterator[str]:
    rows = told.comparison.answered
    as_matrix = told.only_matrix or several(rows)
    if rows:
        name, same = title_of(rows, varying(rows))
        yield f"{markdown_code(name)}: {markdown_text(same)}"
        yield ""
    if rows and as_matrix:
        yield from _matrix(told, view)
        yield ""
    if rows and not told.only_matrix:
        yield from _folded(told, view) if as_matrix else _ranking(told, view)
        yield ""
    yield from _errors(told.comparison.errors)


def _matrix(told: Shown, view: View) -> Iterator[str]:
    answered = answered_lines(told)
    lines = answered[: view.top or _MOST_ROWS]
    batches, types = len({x.batch for x in lines}) > 1, len({x.as_if for x in lines}) > 1
    heads = ["model", *["batch"] * batches, *["type"] * types]
    yield f"| {' | '.join([*heads, *map(markdown_code, told.matrix.machines)])} |"
    yield f"|{'|'.join(['---'] * len(heads) + ['---:'] * len(told.matrix.machines))}|"
    for line in lines:
        cells = [markdown_code(line.model), *[str(line.batch or "")] * batches, *[line.as_if or "stored"] * types]
        for k, row in enumerate(line.cells):
            text, mark = figure(told.metric, row) or "–", mark_of(told, line, k)
            cells.append(f"**{text}**" if mark == BEST else f"{text} {_SAID[mark]}" if mark else text)
        yield f"| {' | '.join(cells)} |"
    left = len(answered) - len(lines)
    if left:
        yield ""
        yield f"and {counted(left, 'more line')}"


_SAID = {FULL: "(does not fit)", OVER: "(over)"}


def _ranking(told: Shown, view: View) -> Iterator[str]:
    ranked = [one for one in told.ranked if one.row.error is None]
    kept = ranked[: view.top or _MOST_ROWS]
    found = columns(told, kept, varying([one.row for one in ranked]))
    yield f"| {' | '.join(c.title for c in found)} |"
    yield f"|{'|'.join('---:' if c.right else '---' for c in found)}|"
    yield from (_row(found, cells) for cells in zip(*(c.cells for c in found), strict=True))
    if len(kept) < len(ranked):
        yield ""
        yield f"and {counted(len(ranked) - len(kept), 'more row')}"


def _row(found: Sequence[Column], cells: Sequence[str]) -> str:
    texts = [
        markdown_code(text) if column.title in _CODE and text else markdown_text(text)
        for column, text in zip(found, cells, strict=True)
    ]
    return f"| {' | '.join(texts)} |"


def _folded(told: Shown, view: View) -> Iterator[str]:
    yield "<details><summary>every estimate</summary>"
    yield ""
    yield from _ranking(told, view)
    yield ""
    yield "</details>"


def _errors(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        return
    yield f"<details><summary>{without_estimate(rows)}</summary>"
    yield ""
    for row in rows[:_MOST_ROWS]:
        yield f"- {markdown_code(row.model.path)}: {markdown_text(row.error or '')}"
    yield ""
    yield "</details>"
