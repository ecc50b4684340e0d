"""The cells of a comparison for reading, in the table and in Markdown: what of each row is said, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from efficiency_cli.judge.metrics import METRICS
from efficiency_cli.quantity import (
    format_capacity,
    format_count,
    format_energy,
    format_percent,
    format_time,
)
from efficiency_cli.reports.grid import Column

if TYPE_CHECKING:
    from efficiency_cli.judge.rank import Ranked
    from efficiency_cli.judge.row import Row
    from efficiency_cli.reports.comparison_data import Shown

NONE = "–"
# metrics whose column is there whatever rows are ranked by
_ALWAYS = ("latency", "throughput", "energy")

_FORMAT: dict[str, Callable[[float], str]] = {
    "time": format_time,
    "energy": format_energy,
    "bytes": format_capacity,
    "count": format_count,
    "per_second": lambda value: f"{format_count(value)}/s",
}


def figure(metric: str, row: Row | None) -> str:
    """The figure `metric` of a row with its unit; '' where there is none."""
    value = None if row is None else METRICS[metric].of_row(row)
    return "" if value is None else _FORMAT[METRICS[metric].dimension](value)


def times(ratio: float | None) -> str:
    """ "1.00×", "12.3×", "1.20 k×": how many times as bad as the best."""
    if ratio is None:
        return ""
    return f"{ratio:.2f}×" if ratio < 9.995 else f"{format_count(ratio)}×"


def fitting(row: Row) -> str:
    """'yes', '?', or which memory is too small: 'sram 1.20 MiB of 864 KiB'."""
    if row.totals is None:
        return ""
    if row.fits is None:
        return "?"
    if row.fits:
        return "yes"
    parts = [f"{f.level} {format_capacity(f.need_bytes)} of {format_capacity(f.capacity_bytes)}" for f in row.too_small]
    return f"no: {', '.join(parts)}" if parts else "no"


def limited_by(row: Row) -> str:
    """ "memory 88.0 %": what takes most of the time."""
    if row.totals is None:
        return ""
    share = row.totals.time_share
    return f"{share.largest} {format_percent(getattr(share, share.largest))}"


def interval(row: Row) -> str:
    """ "1.20 – 3.40 ms": what 80 % of runs take; the unit once where both have the same."""
    if row.latency is None:
        return ""
    lower, upper = format_time(row.latency.lower), format_time(row.latency.upper)
    number, _, unit = lower.partition(" ")
    return f"{number if upper.endswith(f' {unit}') else lower} – {upper}"


def machine_of(row: Row) -> str:
    """The machine, with its runtime."""
    return f"{row.hardware.id}, {row.hardware.runtime}" if row.hardware else ""


def type_of(row: Row) -> str:
    """The types asked for; else the one that most operations run in."""
    return row.as_if or (row.hardware.dtype if row.hardware else "")


def varying(rows: Sequence[Row]) -> set[str]:
    """What is not the same in all rows: model, hardware, runtime, batch, type, grade."""
    answers: dict[str, Callable[[Row], object]] = {
        "model": lambda r: r.model.path,
        "hardware": lambda r: r.hardware and r.hardware.id,
        "runtime": lambda r: r.hardware and r.hardware.runtime,
        "batch": lambda r: r.batch,
        "type": type_of,
        "grade": lambda r: r.hardware and r.hardware.grade,
    }
    return {name for name, answer in answers.items() if len({answer(r) for r in rows}) > 1}


def columns(shown: Shown, ranked: Sequence[Ranked], vary: set[str]) -> list[Column]:
    """The ranking: what differs between rows first, then what there is to know of each."""
    rows = [one.row for one in ranked]
    found = [
        Column("#", [NONE if one.rank is None else str(one.rank) for one in ranked], right=True, drop=8),
        *_naming(rows, vary),
        Column("latency", [figure("latency", r) for r in rows], right=True),
        Column("80 % of runs", [interval(r) for r in rows], drop=4),
        Column("vs best", [times(one.vs_best) for one in ranked], right=True, drop=1),
        Column("runs/s", [_rate(r) for r in rows], right=True, drop=6),
        Column("limited by", [limited_by(r) for r in rows], drop=3),
        Column("fits", [fitting(r) for r in rows], drop=2),
        Column("energy", [figure("energy", r) for r in rows], right=True, drop=5),
    ]
    if shown.metric not in _ALWAYS:
        found.append(Column(shown.metric, [figure(shown.metric, r) for r in rows], right=True))
    if "grade" in vary:
        found.append(Column("times are", [r.hardware.grade if r.hardware else "" for r in rows], drop=7))
    if shown.limits:
        found.append(Column("over", [" ".join(shown.over(r)) for r in rows]))
    return [c for c in found if any(c.cells)]


def _rate(row: Row) -> str:
    rate = METRICS["throughput"].of_row(row)
    return "" if rate is None else format_count(rate)


def _naming(rows: Sequence[Row], vary: set[str]) -> list[Column]:
    found = []
    if "model" in vary:
        found.append(Column("model", [r.model.path for r in rows], shrinks=True))
    if "hardware" in vary or not vary & {"model", "hardware", "batch", "type"}:
        found.append(Column("hardware", [r.hardware.id if r.hardware else "" for r in rows], shrinks=True))
    if "runtime" in vary:
        found.append(Column("runtime", [r.hardware.runtime if r.hardware else "" for r in rows], drop=9))
    if "batch" in vary:
        found.append(Column("batch", [str(r.batch or "") for r in rows], right=True))
    if "type" in vary:
        found.append(Column("type", [type_of(r) for r in rows]))
    return found
