"""The columns of the table of kernels, nodes, operators or blocks: their titles, and cells as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from efficiency_cli.quantity import format_bytes, format_count, format_percent, format_time
from efficiency_cli.reports.rows import Row

if TYPE_CHECKING:
    from efficiency_cli.reports.view import Group
    from efficiency_cli.roofline.estimate import Estimate


class Column(Struct, frozen=True):
    """A column after the name. Where room is short those with the highest `drop` go first (0: never)."""

    title: str
    cell: Callable[[Row], str]
    drop: int
    right: bool = True
    styled: bool = False


NAME_TITLE = {"kernel": "kernel", "node": "node", "op": "operator", "block": "block"}


def columns_of(estimate: Estimate, group: Group) -> list[Column]:
    """What the rows of this estimate can be asked."""
    macs = Column("MACs", lambda r: _counted(r, r.macs), 3)
    moved = Column("moved", lambda r: format_bytes(r.bytes_moved), 5)
    kind = (
        Column("op", lambda r: r.op, 4, right=False)
        if group in ("kernel", "node")
        else Column("kernels", lambda r: f"{r.count:,}", 4)
    )
    if estimate.latency is None:
        ops = Column("OPs", lambda r: _counted(r, r.ops), 2)
        share = Column("share", _share(estimate.totals.macs, lambda r: r.macs), 1)
        return [kind, macs, share, ops, moved, Column("OPs/B", _intensity, 6)]
    return [
        kind,
        macs,
        moved,
        Column("time", lambda r: format_time(_seconds(r)), 0),
        Column("share", _share(estimate.latency.expected_s, _seconds), 1),
        Column("limited by", lambda r: r.time.bound_by if r.time else "", 2, right=False, styled=True),
    ]


def _counted(row: Row, count: int) -> str:
    """The count, with a question mark where there are operators without a cost rule."""
    return format_count(count) if row.modelled else f"{format_count(count)} + ?" if count else "?"


def _seconds(row: Row) -> float:
    return row.time.expected_s if row.time else 0.0


def _intensity(row: Row) -> str:
    return format_count(row.arithmetic_intensity) if row.arithmetic_intensity is not None else ""


def _share(whole: float, size: Callable[[Row], float]) -> Callable[[Row], str]:
    return lambda row: format_percent(size(row) / whole) if whole else ""


def fused_suffix(row: Row) -> str:
    """ " + Relu": what runs in the kernel besides the operator that names it."""
    if not row.fused:
        return ""
    if len(row.fused) > 2:
        return f" + {len(row.fused)} more"
    return " + " + " + ".join(row.fused)
