"""A Comparison as table, JSON, CSV or Markdown, for `effcli compare`; not one of the formats of an Estimate.

JSON lines (`jsonl`) are written as rows come, by `judge/stream.py`.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from efficiency_cli.judge.metrics import METRICS
from efficiency_cli.reports.comparison_data import Shown, data_of, plain, results_of
from efficiency_cli.reports.escape import csv_cell

if TYPE_CHECKING:
    from efficiency_cli.judge.rank import Matrix
    from efficiency_cli.judge.row import Row
    from efficiency_cli.reports.comparison_format import ComparisonResult
    from efficiency_cli.reports.view import View

STREAM = "jsonl"
# kinds of notes that a person is shown; JSON has all
_MOST_NOTES = 8


def formats() -> tuple[str, ...]:
    return "table", "json", STREAM, "csv", "markdown"


def text_of(format: str, shown: Shown, view: View) -> str:
    """The comparison in one of `formats` but the stream."""
    from efficiency_cli.reports import comparison_markdown, comparison_table

    if format == "json":
        return _json(shown)
    if format == "csv":
        return _csv_matrix(shown.matrix) if shown.only_matrix else _csv(shown, view)
    lines = (comparison_markdown if format == "markdown" else comparison_table).lines_of(shown, view)
    return "".join(f"{line}\n" for line in lines)


def notes_of(rows: Iterable[Row]) -> list[str]:
    """What was assumed and is odd, the most frequent first; with how many rows it is true of, where there are more."""
    rows = list(rows)
    counted = Counter(note for row in rows for note in dict.fromkeys((*row.assumptions, *row.notes))).most_common()
    if len(rows) == 1:
        return [note for note, _ in counted]
    told = [f"{n:,} row{'s' * (n != 1)}: {note}" for note, n in counted[:_MOST_NOTES]]
    more = len(counted) - _MOST_NOTES
    return [*told, f"{more:,} more kinds of notes: -f json has all"] if more > 0 else told


def _json(shown: Shown) -> str:
    """One line a row, and a line of the matrix, so that two reports compare line by line."""
    data: Any = plain(data_of(shown))
    matrix = data.pop("matrix")
    results = data.pop("results")
    parts = [f'  "{key}": {_line(value)}' for key, value in data.items()]
    head = ", ".join(f'"{key}": {_line(value)}' for key, value in matrix.items() if key != "lines")
    parts.append(f'  "matrix": {{{head}, "lines": {_rows(matrix["lines"])}}}')
    parts.append(f'  "results": {_rows(results)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _line(value: object) -> str:
    return json.dumps(value, allow_nan=False)


def _rows(values: Iterable[object]) -> str:
    rows = ",\n".join(f"    {_line(value)}" for value in values)
    return f"[\n{rows}\n  ]" if rows else "[]"


_Cell = str | int | float | None


def _csv(shown: Shown, view: View) -> str:
    """The rows, best first in each group; an empty cell is a value there is none of."""
    return _written(_COLUMNS, (_cells(result) for result in results_of(shown)[: view.top]))


def _csv_matrix(matrix: Matrix) -> str:
    key = METRICS[matrix.by].key
    head = ["model", "batch", "as_if", *(f"{key}:{machine}" for machine in matrix.machines), "error"]
    return _written(
        head,
        (
            [line.model, line.batch, line.as_if, *values, line.error]
            for line, values in zip(matrix.lines, matrix.values(), strict=True)
        ),
    )


def _written(head: Iterable[str], rows: Iterable[Iterable[_Cell]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (head, *rows):
        writer.writerow([csv_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue()


_COLUMNS = (
    *("model", "file_bytes", "batch", "as_if", "hardware", "runtime", "dtype", "grade", "rank", "vs_best"),
    *("expected_s", "bound_s", "lower_s", "upper_s", "throughput_per_s"),
    *("limited_by", "compute_share", "memory_share", "overhead_share", "fits", "too_small"),
    *("energy_j", "energy_lower_j", "energy_upper_j", "macs", "ops", "parameters", "weight_bytes"),
    *("ram_bytes", "flash_bytes", "bytes_moved", "kernels", "coverage_bytes", "over", "error", "notes"),
)


def _cells(result: ComparisonResult) -> list[_Cell]:
    found: dict[str, _Cell] = {
        "model": result.model.path,
        "batch": result.batch,
        "as_if": result.as_if,
        "rank": result.rank,
        "vs_best": result.vs_best,
        "fits": None if result.fits is None else int(result.fits),
        "too_small": " ".join(full.level for full in result.too_small),
        "over": " ".join(result.over),
        "error": result.error,
        "notes": "; ".join((*result.assumptions, *result.notes)),
        **_figures(result),
    }
    return [found.get(name) for name in _COLUMNS]


def _figures(result: ComparisonResult) -> dict[str, _Cell]:
    """What a row with an estimate has."""
    machine, totals, coverage = result.hardware, result.totals, result.coverage
    if machine is None or totals is None or coverage is None:
        return {}
    times, share, energy = totals.latency_s, totals.time_share, totals.energy_interval_j
    same = ("throughput_per_s", "energy_j", "macs", "ops", "parameters", "weight_bytes", "ram_bytes")
    return {
        "file_bytes": result.model.file_bytes,
        "hardware": machine.id,
        "runtime": machine.runtime,
        "dtype": machine.dtype,
        "grade": machine.grade,
        "expected_s": times.expected,
        "bound_s": times.bound,
        "lower_s": times.lower,
        "upper_s": times.upper,
        "limited_by": share.largest,
        "compute_share": share.compute,
        "memory_share": share.memory,
        "overhead_share": share.overhead,
        "energy_lower_j": energy.lower if energy else None,
        "energy_upper_j": energy.upper if energy else None,
        "coverage_bytes": coverage.bytes,
        **{name: getattr(totals, name) for name in (*same, "flash_bytes", "bytes_moved", "kernels")},
    }
