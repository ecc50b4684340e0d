"""A Validation as table, Markdown, CSV or JSON, for `effcli validate`; not one of the formats of an Estimate.

The Markdown is fit for a README: the figures first, single rows in a fold.
"""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from efficiency_cli.quantity import format_energy, format_percent, format_time
from efficiency_cli.reports.escape import csv_cell, escaped, markdown_code, markdown_text, shown, signs
from efficiency_cli.reports.grid import INDENT, Column, cell_width, flowed, grid
from efficiency_cli.reports.validation_data import data_of, result_data, unplaced_data

if TYPE_CHECKING:
    from efficiency_cli.measure.validate import Result, Summary, Validation
    from efficiency_cli.reports.view import View

_LABEL = 11
# the group of all rows, which is no column
_ALL = "all"
# of runs: what intervals are meant to hold
_MEANT = "80 %"
# GitHub cuts a step's summary at 1 MiB
_MOST_ROWS = 1000
# reasons and kinds of assumptions that a person is shown; JSON has all
_MOST_REASONS = 4
_MOST_NOTES = 8
# "1,024 MACs …": of one kind, however many
_COUNT = re.compile(r"^[0-9][0-9,]* ")


def formats() -> tuple[str, ...]:
    return "table", "json", "csv", "markdown"


def text_of(format: str, validation: Validation, runs: str, by: Sequence[str], view: View) -> str:
    """The validation of the table `runs` in one of `formats`; those for reading have a table for each of `by`."""
    if format == "json":
        return _json(validation, runs)
    if format == "csv":
        return _csv(validation, view)
    lines = _markdown(validation, by, view) if format == "markdown" else _table(validation, runs, by, view)
    return "".join(f"{line}\n" for line in lines)


def notes_of(validation: Validation) -> list[str]:
    """What was assumed for rows, the most frequent first, each with how many rows it is true of."""
    counted = Counter(_COUNT.sub("", note) for r in validation.results for note in r.notes).most_common()
    told = [f"{rows_text(n)}: {note}" for note, n in counted[:_MOST_NOTES]]
    more = len(counted) - _MOST_NOTES
    return [*told, f"{more:,} more kinds of assumptions: -f json has all"] if more > 0 else told


def reasons_of(validation: Validation) -> list[tuple[int, str]]:
    """Why rows have no estimate, with how many, the most frequent first."""
    return [(n, reason) for reason, n in Counter(u.reason for u in validation.unplaced).most_common()]


def rows_text(n: int) -> str:
    return f"{n:,} rows" if n != 1 else "1 row"


# --- for programs ------------------------------------------------------------------------------


def _json(validation: Validation, runs: str) -> str:
    """One line a row, so that two reports compare line by line."""
    parts = []
    for key, value in data_of(validation, runs).items():
        opened = value and isinstance(value, list)
        rows = ",\n".join(f"    {json.dumps(v, allow_nan=False)}" for v in value) if isinstance(value, list) else ""
        parts.append(f'  "{key}": ' + (f"[\n{rows}\n  ]" if opened else json.dumps(value, allow_nan=False)))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _csv(validation: Validation, view: View) -> str:
    """The rows, furthest off first where only some are asked for; those without an estimate say why."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    results = validation.results if view.top is None else worst(validation, view.top)
    flat: Iterable[Mapping[str, Any]] = (_flat(result_data(r)) for r in results)
    others = [] if view.top is not None else [unplaced_data(u) for u in validation.unplaced]
    for row in (*flat, *others):
        cells = [row.get(name) for name in _CSV_COLUMNS]
        writer.writerow([csv_cell(c) if isinstance(c, str) else c for c in cells])
    return text.getvalue()


_CSV_COLUMNS = (
    *("place", "onnx", "family", "device", "core", "clock_hz", "product", "version", "precision", "threads", "dims"),
    *("hardware", "runtime", "measured_s", "bound_s", "lower_s", "expected_s", "upper_s", "error", "within"),
    *("measured_energy_j", "expected_energy_j", "energy_error", "notes", "reason"),
)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    times = {f"{name}_s": seconds for name, seconds in row["latency_s"].items()}
    dims = " ".join(f"{name}={size}" for name, size in row["dims"].items())
    return {**row, **times, "dims": dims, "within": int(row["within"]), "notes": "; ".join(row["notes"])}


# --- for reading -------------------------------------------------------------------------------


def worst(validation: Validation, top: int | None) -> list[Result]:
    """The results with the largest errors, whatever their sign."""
    return sorted(validation.results, key=lambda r: -abs(r.error))[:top]


def percent(fraction: float | None) -> str:
    return "" if fraction is None else format_percent(fraction)


def signed(fraction: float) -> str:
    sign = "-" if fraction < 0 else "+"
    return f"{sign}{format_percent(abs(fraction))}".replace("+<", "<").replace("-<", "<")


def _rank(correlation: float | None) -> str:
    return "" if correlation is None else f"{correlation:.2f}"


def extent_of(validation: Validation) -> str:
    """How much was measured: "250 of 339 measurements, 37 models of 9 families, 14 devices"."""
    runs = [r.placed.run for r in validation.results]
    every = len(runs) + len(validation.unplaced)
    some = f"{len(runs):,} of " if every > len(runs) else ""
    parts = [f"{some}{every:,} measurement{'s'[: every != 1]}"]
    models, families = len({r.onnx for r in runs}), len({r.family for r in runs})
    devices = len({r.device or r.core for r in runs})
    parts.append(f"{models:,} model{'s'[: models != 1]} of {families:,} famil{'ies' if families != 1 else 'y'}")
    parts.append(f"{devices:,} device{'s'[: devices != 1]}")
    return ", ".join(parts)


def _table(validation: Validation, runs: str, by: Sequence[str], view: View) -> Iterator[str]:
    yield from title_lines(runs, extent_of(validation), view)
    if validation.overall is not None:
        yield ""
        yield from (_signs(line, view) for line in _overall(validation, validation.overall, view))
    for one in by:
        groups = validation.groups(one)
        if groups:
            yield ""
            yield from grid(group_columns(one, groups), view.width, view.unicode)
    for one in by if validation.energy_summary else ():
        yield from ("", "Energy")
        yield from grid(group_columns(one, validation.groups(one, energy=True)), view.width, view.unicode)
    rows = worst(validation, view.top)
    if rows:
        yield from ("", _worst_title(len(rows), len(validation.results)))
        yield from grid(row_columns(rows), view.width, view.unicode)
    if validation.unplaced:
        yield from ("", without_title(validation))
        yield from reason_lines(validation, view)


def title_lines(runs: str, extent: str, view: View) -> Iterator[str]:
    """The table's path whole, so that it can be copied; the rest below it where both are too long."""
    path = escaped(f"{runs}:", view.unicode)
    if view.width is None or cell_width(f"{path} {extent}") <= view.width:
        yield f"{path} {extent}"
    else:
        yield path
        yield from textwrap.wrap(extent, view.width, initial_indent=INDENT, subsequent_indent=INDENT)


def _signs(text: str, view: View) -> str:
    return signs(text, view.unicode)


def _overall(validation: Validation, figures: Summary, view: View) -> Iterator[str]:
    yield from flowed("Error", _error_parts(figures), view.width, _LABEL)
    way = "too long" if figures.bias > 0 else "too short"
    yield from flowed("Bias", [f"{signed(figures.bias)}   on average, estimates are {way}"], view.width, _LABEL)
    if figures.spearman is not None:
        yield from flowed("Rank", [f"{figures.spearman:.3f}", "Spearman's correlation"], view.width, _LABEL)
    if figures.coverage is not None:
        inside = f"{percent(figures.coverage)} of the measurements are inside"
        yield from flowed("Interval", [inside, f"meant to hold {_MEANT}"], view.width, _LABEL)
    if validation.energy_summary:
        energy = validation.energy_summary[0]
        yield from flowed("Energy", [f"of {energy.n:,} measurements:", *_error_parts(energy)], view.width, _LABEL)


def _error_parts(figures: Summary) -> list[str]:
    return [
        f"mean {percent(figures.mape)}",
        f"median {percent(figures.median)}",
        f"90 % within {percent(figures.p90)}",
        f"largest {percent(figures.max)}",
    ]


def group_columns(by: str, groups: Sequence[Summary]) -> list[Column]:
    ranks, inside = [_rank(g.spearman) for g in groups], [percent(g.coverage) for g in groups]
    columns = [
        Column(by, [g.key or "(not said)" for g in groups], shrinks=True),
        Column("n", [f"{g.n:,}" for g in groups], right=True),
        Column("mean", [percent(g.mape) for g in groups], right=True),
        Column("median", [percent(g.median) for g in groups], right=True, drop=3),
        Column("p90", [percent(g.p90) for g in groups], right=True, drop=2),
        Column("max", [percent(g.max) for g in groups], right=True, drop=4),
        Column("bias", [signed(g.bias) for g in groups], right=True, drop=5),
        Column("rank", ranks, right=True, drop=6),
        Column("inside", inside, right=True, drop=1),
    ]
    return [c for c in columns if any(c.cells)]


def row_columns(results: Sequence[Result]) -> list[Column]:
    runs = [r.placed.run for r in results]
    columns = [
        Column("model", [r.onnx for r in runs], shrinks=True),
        Column("device", [r.device or r.core for r in runs], drop=2, shrinks=True),
        Column("hardware", [r.placed.profile.id for r in results], drop=4),
        Column("runtime", [r.placed.runtime for r in results], drop=1, shrinks=True),
        Column("measured", [format_time(r.measured_s) for r in runs], right=True),
        Column("expected", [format_time(r.latency.expected_s) for r in results], right=True),
        Column("error", [signed(r.error) for r in results], right=True),
    ]
    if any(r.energy_error is not None for r in results):
        joules = [r.energy_j for r in runs]
        errors = [r.energy_error for r in results]
        columns += [
            Column("energy", [format_energy(j) if j is not None else "" for j in joules], right=True, drop=6),
            Column("its error", [signed(e) if e is not None else "" for e in errors], right=True, drop=5),
        ]
    return columns


def _worst_title(shown_rows: int, every: int) -> str:
    if shown_rows == every:
        return "Every estimate, the furthest off first"
    return f"The {shown_rows:,} estimates furthest off, of {every:,}" if shown_rows > 1 else "The estimate furthest off"


def without_title(validation: Validation) -> str:
    n = len(validation.unplaced)
    return f"{n:,} measurements have no estimate" if n != 1 else "1 measurement has no estimate"


def reason_lines(validation: Validation, view: View) -> Iterator[str]:
    found = reasons_of(validation)
    most = None if view.verbose else _MOST_REASONS
    wide = max(len(f"{n:,}") for n, _ in found)
    for n, reason in found[:most]:
        head = f"{INDENT}{n:>{wide},}{INDENT}"
        text = shown(signs(reason, view.unicode), view.unicode)
        yield from wrapped(head, text, view.width)
    if most is not None and len(found) > most:
        yield f"{INDENT}{len(found) - most:,} more reasons: -v"


def wrapped(head: str, text: str, width: int | None) -> list[str]:
    room = (width or 0) - len(head)
    if width is None or len(text) <= room or room < len(head):
        return [head + text]
    first, *others = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    return [head + first, *(" " * len(head) + line for line in others)]


# --- Markdown ----------------------------------------------------------------------------------

_TITLES = ("measurements", "mean error", "median", "90 % within", "largest", "bias", "rank correlation", "in interval")


def _markdown(validation: Validation, by: Sequence[str], view: View) -> Iterator[str]:
    if validation.overall is not None:
        for one in by:
            yield from figures_table(one, [*validation.groups(one), validation.overall])
            yield ""
        for one in by if validation.energy_summary else ():
            yield "Energy:"
            yield ""
            energy = validation.groups(one, energy=True)
            yield from figures_table(one, [*energy, validation.energy_summary[0]])
            yield ""
        yield (
            f"{markdown_text(extent_of(validation))}. Error = estimate / measurement - 1; in interval: the share of "
            f"measurements between `lower` and `upper`, meant to be {_MEANT}."
        )
        yield ""
    yield from _folded_rows(validation, view)
    if validation.unplaced:
        yield f"<details><summary>{without_title(validation)}</summary>"
        yield ""
        yield from (f"- {n:,}: {markdown_text(reason)}" for n, reason in reasons_of(validation)[:_MOST_ROWS])
        yield ""
        yield "</details>"


def figures_table(by: str, groups: Sequence[Summary]) -> Iterator[str]:
    yield f"| {by} | {' | '.join(_TITLES)} |"
    yield "|---|" + "---:|" * len(_TITLES)
    for group in groups:
        whole = group.by == _ALL
        cells = [
            "all" if whole else markdown_text(group.key or "(not said)"),
            f"{group.n:,}",
            *map(percent, (group.mape, group.median, group.p90, group.max)),
            signed(group.bias),
            _rank(group.spearman),
            percent(group.coverage),
        ]
        yield f"| {' | '.join(f'**{c}**' if whole and c else c for c in cells)} |"


def _folded_rows(validation: Validation, view: View) -> Iterator[str]:
    rows = worst(validation, _MOST_ROWS if view.top is None else view.top)
    if not rows:
        return
    first, *others = row_columns(rows)
    yield f"<details><summary>{_worst_title(len(rows), len(validation.results))}</summary>"
    yield ""
    yield f"| {' | '.join(c.title for c in (first, *others))} |"
    yield f"|---|{'|'.join('---:' if c.right else '---' for c in others)}|"
    for name, *cells in zip(*(c.cells for c in (first, *others)), strict=True):
        yield f"| {' | '.join([markdown_code(name), *map(markdown_text, cells)])} |"
    yield ""
    yield "</details>"
    yield ""
