"""Rows in order of merit, and as a matrix of models and machines."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from efficiency_cli.errors import UsageError, did_you_mean
from efficiency_cli.judge.metrics import METRICS, Metric
from efficiency_cli.judge.row import Row

# the order in which rows were asked for
ORDER = "order"
SORTS = ("latency", "throughput", "energy", "peak_ram", "flash", "macs", ORDER)


class Ranked(Struct, frozen=True):
    """A row, and how it stands in its group: `rank` from 1, None where it cannot be best.

    `vs_best` is its figure over the best one's, or the other way round where more is better: 1 is the best, 2 is
    twice as bad. None where it, or the group's best, has no figure.
    """

    row: Row
    rank: int | None
    vs_best: float | None


def ranked(rows: Sequence[Row], by: str = "latency") -> list[Ranked]:
    """The rows, best first in each group; the groups in the order of the rows.

    A group is a model in one batch, or all models in one batch where each has a single row. What does not
    fit its machine has no rank and comes after what does; rows without the figure, or with an error, come last.
    In the given order (`by` = "order") ranks and vs best are those of latency.
    """
    metric = METRICS["latency" if by == ORDER else _checked(by)]
    by_model = _several_each(rows)
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        key = (row.model.path, row.batch) if by_model else (row.batch,)
        groups.setdefault(key, []).append(row)
    found = [one for group in groups.values() for one in _ranked(group, metric)]
    if by == ORDER:
        place = {id(row): k for k, row in enumerate(rows)}
        found.sort(key=lambda one: place[id(one.row)])
    return found


def _checked(by: str) -> str:
    if by not in METRICS:
        raise UsageError(f"no such figure to sort by: '{by}'", hint=did_you_mean(by, METRICS) or ", ".join(METRICS))
    return by


def _several_each(rows: Sequence[Row]) -> bool:
    """Whether some model has several rows in one batch: on machines, or in types."""
    seen: set[tuple[str, int | None]] = set()
    for row in rows:
        key = row.model.path, row.batch
        if key in seen:
            return True
        seen.add(key)
    return False


def _ranked(group: Sequence[Row], metric: Metric) -> list[Ranked]:
    def merit(row: Row) -> tuple[bool, bool, bool, float]:
        value = metric.of_row(row)
        last = value is None
        return row.error is not None, last, row.fits is False, 0.0 if value is None else _cost(value, metric)

    ordered = sorted(group, key=merit)
    values = [metric.of_row(row) for row in ordered if row.fits is not False]
    best = next((v for v in values if v is not None), None)
    found = []
    for place, row in enumerate(ordered, start=1):
        value = metric.of_row(row)
        found.append(Ranked(row, None if value is None or row.fits is False else place, _ratio(value, best, metric)))
    return found


def _cost(value: float, metric: Metric) -> float:
    return -value if metric.more_is_better else value


def _ratio(value: float | None, best: float | None, metric: Metric) -> float | None:
    if value is None or best is None:
        return None
    over, under = (best, value) if metric.more_is_better else (value, best)
    if over == under:
        return 1.0
    ratio = over / under if under else math.inf
    return ratio if math.isfinite(ratio) else None


class Line(Struct, frozen=True):
    """A line of the matrix: one model in one batch and type, its row on each machine (None: there is none)."""

    model: str
    batch: int | None
    as_if: str
    cells: tuple[Row | None, ...]
    error: str | None = None


class Matrix(Struct, frozen=True):
    """Models down, machines across; of each machine its id, or id/runtime where an id comes twice."""

    by: str
    machines: tuple[str, ...]
    lines: tuple[Line, ...]

    def values(self) -> list[list[float | None]]:
        """The figure of every cell in base units; None where there is none."""
        metric = METRICS[self.by]
        return [[None if cell is None else metric.of_row(cell) for cell in line.cells] for line in self.lines]


def matrix(rows: Sequence[Row], by: str = "latency") -> Matrix:
    """The rows as models × machines."""
    _checked(by)
    machines: dict[str, int] = {}
    lines: dict[tuple[str, int | None, str], dict[str, Row]] = {}
    errors: dict[tuple[str, int | None, str], str] = {}
    for row in rows:
        key = row.model.path, row.batch, row.as_if
        cells = lines.setdefault(key, {})
        if row.hardware is None:
            errors[key] = row.error or ""
            continue
        name = row.hardware.id
        # two files may have one stem
        while name in cells:
            name += "'"
        machines.setdefault(name, len(machines))
        cells[name] = row
    order = tuple(machines)
    return Matrix(
        by,
        order,
        tuple(Line(*key, tuple(cells.get(m) for m in order), errors.get(key)) for key, cells in lines.items()),
    )
