"""A Comparison on the screen: what is best first; a matrix where several models meet several machines, a ranking
where not; then what has no estimate.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from efficiency_cli.judge.metrics import METRICS
from efficiency_cli.judge.row import Row
from efficiency_cli.reports.comparison_columns import columns, figure, fitting, interval, machine_of, type_of, varying
from efficiency_cli.reports.escape import escaped, shown, signs
from efficiency_cli.reports.grid import INDENT, Column, cell_width, flowed, grid

if TYPE_CHECKING:
    from efficiency_cli.judge.rank import Line, Ranked
    from efficiency_cli.reports.comparison_data import Shown
    from efficiency_cli.reports.view import View

_LABEL = 9
# models without an estimate that are shown unless all are asked for
_MOST_ERRORS = 4
# marks behind the figures of a matrix
BEST, FULL, OVER = "*", "!", ">"
# of the width, for the names of a matrix that would leave its figures no room
_NAMES_SHARE = 0.4
_LEAST_NAME = 12
_GAP = 2


def several(rows: Sequence[Row]) -> bool:
    """Whether several models meet several machines."""
    return {"model", "hardware"} <= varying([r for r in rows if r.error is None])


def lines_of(told: Shown, view: View) -> Iterator[str]:
    rows = told.comparison.answered
    vary = varying(rows)
    yield from _title(rows, vary, view)
    as_matrix = told.only_matrix or several(rows)
    if rows:
        yield from _head(told, view)
    if rows and as_matrix:
        yield ""
        yield from (_signs(line, view) for line in matrix_lines(told, view))
    if rows and not told.only_matrix and (not as_matrix or view.verbose):
        yield ""
        yield from _ranking(told, vary, view)
    yield from _errors(told.comparison.errors, view)


def _signs(text: str, view: View) -> str:
    return signs(text, view.unicode)


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def title_of(rows: Sequence[Row], vary: set[str]) -> tuple[str, str]:
    """What is compared: "m.onnx on 3 machines", and what is the same in all rows."""
    if not rows:
        return "no estimates", ""
    models, machines = {r.model.path for r in rows}, {machine_of(r) for r in rows}
    model = counted(len(models), "model") if len(models) > 1 else rows[0].model.path
    machine = counted(len(machines), "machine") if len(machines) > 1 else f"{machine_of(rows[0])}"
    same = [] if "type" in vary else [type_of(rows[0])]
    same += [] if "batch" in vary or rows[0].batch is None else [f"batch {rows[0].batch}"]
    return f"{model} on {machine}", ", ".join([counted(len(rows), "estimate"), *same])


def _title(rows: Sequence[Row], vary: set[str], view: View) -> Iterator[str]:
    name, same = title_of(rows, vary)
    name = escaped(f"{name}:" if same else name, view.unicode)
    if view.width is None or cell_width(f"{name} {same}") <= view.width:
        yield f"{name} {same}".rstrip()
    else:
        yield name
        yield from textwrap.wrap(same, view.width, initial_indent=INDENT, subsequent_indent=INDENT)


def _head(told: Shown, view: View) -> Iterator[str]:
    """The best of all, where there is one best; how many do not fit, and are over a limit."""
    ranked = told.ranked
    groups = sum(one.rank == 1 for one in ranked)
    first = next((one for one in ranked if one.rank == 1), None)
    parts = []
    if first is not None and groups == 1 and len(ranked) > 1:
        parts = [_name_of(first.row, told), figure(told.metric, first.row)]
        parts += [interval(first.row)] if told.metric == "latency" else []
        yield ""
        for line in flowed("Best", [shown(p, view.unicode) for p in parts], view.width, _LABEL):
            yield _signs(line, view)
    rows = told.comparison.answered
    full, over = sum(r.fits is False for r in rows), sum(bool(told.over(r)) for r in rows)
    parts = [f"{full:,} of {len(rows):,} do not fit"] if full and len(rows) > 1 else []
    if told.limits:
        parts.append(f"{over:,} of {len(rows):,} over {' '.join(limit.text for limit in told.limits)}")
    if parts:
        yield "" if first is None or groups != 1 or len(ranked) == 1 else f"{INDENT}{'':{_LABEL}}".rstrip()
        for line in flowed("", [shown(p, view.unicode) for p in parts], view.width, 0):
            yield _signs(line, view)


def _name_of(row: Row, told: Shown) -> str:
    """What tells the row from the others."""
    vary = varying(told.comparison.answered)
    named = {
        "model": row.model.path,
        "hardware": row.hardware.id if row.hardware else "",
        "batch": f"batch {row.batch}",
        "type": type_of(row),
    }
    return ", ".join(text for name, text in named.items() if name in vary) or machine_of(row)


def _ranking(told: Shown, vary: set[str], view: View) -> Iterator[str]:
    ranked = [one for one in told.ranked if one.row.error is None]
    kept = ranked if view.top is None else ranked[: view.top]
    found = columns(told, kept, vary)
    yield from grid(found, view.width, view.unicode)
    if len(kept) < len(ranked):
        yield f"{INDENT}and {counted(len(ranked) - len(kept), 'more row')}: --top all"
    yield from _full(kept, grid(found, view.width, view.unicode)[0], view)


def _full(ranked: Sequence[Ranked], head: str, view: View) -> Iterator[str]:
    """Where the column was dropped: who does not fit, so that nobody buys it."""
    missing = [one.row for one in ranked if one.row.fits is False]
    if " fits" in head or not missing:
        return
    for row in missing[: _MOST_ERRORS if not view.verbose else None]:
        text = f"{row.hardware.id if row.hardware else ''} does not fit ({fitting(row).removeprefix('no: ')})"
        yield from _wrapped(shown(text, view.unicode), view)


# --- the matrix --------------------------------------------------------------------------------


def matrix_lines(told: Shown, view: View) -> Iterator[str]:
    """Models down, machines across, in as many blocks as the width needs."""
    answered = answered_lines(told)
    lines = answered[: view.top]
    names = _names(lines)
    marked = [[mark_of(told, line, k) for k in range(len(told.matrix.machines))] for line in lines]
    cells = [[figure(told.metric, row) or "–" for row in line.cells] for line in lines]
    machines = [
        Column(machine, [f"{row[k]}{mark[k]:1}" for row, mark in zip(cells, marked, strict=True)], right=True)
        for k, machine in enumerate(told.matrix.machines)
    ]
    for block in _blocks(names, machines, view):
        yield from block
    if len(lines) < len(answered):
        yield f"{INDENT}and {counted(len(answered) - len(lines), 'more line')}: --top all"
    yield ""
    yield from _wrapped(_legend(told, marked), view)


def answered_lines(told: Shown) -> list[Line]:
    """The lines of the matrix that have figures."""
    return [line for line in told.matrix.lines if any(cell is not None for cell in line.cells)]


def _names(lines: Sequence[Line]) -> list[Column]:
    found = [Column("model", [line.model for line in lines], shrinks=True)]
    if len({line.batch for line in lines}) > 1:
        found.append(Column("batch", [str(line.batch or "") for line in lines], right=True))
    if len({line.as_if for line in lines}) > 1:
        found.append(Column("type", [line.as_if or "stored" for line in lines]))
    return found


def _blocks(names: Sequence[Column], machines: Sequence[Column], view: View) -> Iterator[list[str]]:
    """As many machines beside each other as there is room for, at least one."""
    if view.width is None:
        yield grid([*names, *machines], None, view.unicode)
        return
    name = max(map(cell_width, (names[0].title, *names[0].cells)))
    room = max(_LEAST_NAME, int(view.width * _NAMES_SHARE))
    left = view.width - len(INDENT) - min(name, room) - sum(_wide(c) for c in names[1:])
    start = 0
    while start < len(machines):
        end, used = start, 0
        while end < len(machines) and (end == start or used + _wide(machines[end]) <= left):
            used += _wide(machines[end])
            end += 1
        yield [*([""] if start else []), *grid([*names, *machines[start:end]], view.width, view.unicode)]
        start = end


def _wide(column: Column) -> int:
    return _GAP + max(map(cell_width, (column.title, *column.cells)))


def mark_of(told: Shown, line: Line, k: int) -> str:
    """Whether a cell is the best of its line, does not fit, or is over a limit; the worst of these."""
    row = line.cells[k]
    if row is None or row.totals is None:
        return ""
    if row.fits is False:
        return FULL
    if told.over(row):
        return OVER
    metric = METRICS[told.metric]
    values = [v for r in line.cells if r is not None and r.fits is not False and (v := metric.of_row(r)) is not None]
    best = (max if metric.more_is_better else min)(values, default=None)
    return BEST if len(values) > 1 and metric.of_row(row) == best else ""


def _legend(told: Shown, marked: Sequence[Sequence[str]]) -> str:
    used = {mark for line in marked for mark in line}
    meaning = {BEST: "best of its line", FULL: "does not fit", OVER: "over --max"}
    figures = {"latency": "expected latency"}.get(told.metric, told.metric)
    return "; ".join([figures, *(f"{mark} {text}" for mark, text in meaning.items() if mark in used)])


# --- what has no estimate ----------------------------------------------------------------------


def without_estimate(rows: Sequence[Row]) -> str:
    """ "2 models without an estimate": a model that was asked for in several batches failed in each."""
    return f"{counted(len(rows), 'model-batch pair' if any(r.batch for r in rows) else 'model')} without an estimate"


def _errors(rows: Sequence[Row], view: View) -> Iterator[str]:
    if not rows:
        return
    yield ""
    yield without_estimate(rows)
    kept = rows if view.verbose else rows[:_MOST_ERRORS]
    for row in kept:
        batch = f" in batches of {row.batch}" if row.batch else ""
        yield from _wrapped(shown(f"{row.model.path}{batch}: {row.error}", view.unicode), view)
    if len(kept) < len(rows):
        yield f"{INDENT}and {len(rows) - len(kept):,} more: -v"


def _wrapped(text: str, view: View) -> list[str]:
    text = _signs(text, view)
    if view.width is None or cell_width(text) + len(INDENT) <= view.width:
        return [INDENT + text]
    return textwrap.wrap(text, view.width, initial_indent=INDENT, subsequent_indent=INDENT * 2, break_on_hyphens=False)
