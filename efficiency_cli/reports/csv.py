"""The table of kernels (or of nodes, operators, blocks) as CSV, in base units with the unit in the name.

All rows, unless a view asks for fewer; several estimates follow one another under one header.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

from efficiency_cli.reports.escape import csv_cell
from efficiency_cli.reports.rows import Row, ordered, rows_of
from efficiency_cli.roofline.energy import energy_interval
from efficiency_cli.roofline.latency import Times

if TYPE_CHECKING:
    from efficiency_cli.reports.view import View
    from efficiency_cli.roofline.estimate import Estimate

Cell = str | int | float | None


def render(estimates: Sequence[Estimate], view: View, command: str) -> str:  # noqa: ARG001
    """One line a row, with model and hardware in front; an empty cell is a value there is none of."""
    output = StringIO()
    writer = csv.writer(output, lineterminator="\n")
    header = True
    for estimate in estimates:
        rows = ordered(rows_of(estimate, view.group), view.sort)
        for row in rows if view.top is None else rows[: view.top]:
            cells = _cells(estimate, row)
            if header:
                writer.writerow(cells)
                header = False
            writer.writerow([_safe(c) for c in cells.values()])
    return output.getvalue()


def _cells(estimate: Estimate, row: Row) -> dict[str, Cell]:
    machine, time = estimate.machine, row.time
    return {
        "model": estimate.model.path,
        "hardware": machine.profile.id if machine else None,
        "runtime": machine.runtime.id if machine else None,
        "index": row.index,
        "name": row.name,
        "op": row.op,
        "op_class": row.op_class,
        "dtype": row.dtype,
        "count": row.count,
        "modelled": int(row.modelled),
        "macs": row.macs,
        "ops": row.ops,
        "bytes_moved": row.bytes_moved,
        "arithmetic_intensity": row.arithmetic_intensity,
        "time_s": time.expected_s if time else None,
        "bound_s": time.bound_s if time else None,
        "lower_s": time.lower_s if time else None,
        "upper_s": time.upper_s if time else None,
        "compute_s": time.compute_s if time else None,
        "memory_s": time.memory_s if time else None,
        "overhead_s": time.overhead_s if time else None,
        "bound": time.bound_by if time else None,
        "energy_j": row.energy_j,
        "peak_live_bytes": row.peak_live_bytes,
        **_energy_bounds(estimate, row),
    }


def _energy_bounds(estimate: Estimate, row: Row) -> dict[str, Cell]:
    """The 80 % interval of the row's energy."""
    energy = estimate.machine.profile.energy if estimate.machine else None
    joules = None
    if energy is not None and row.energy_j is not None and row.time is not None:
        time = row.time
        times = Times(time.bound_s, time.lower_s, time.expected_s, time.upper_s)
        joules = energy_interval(energy, row.energy_j, times)
    return {
        "energy_lower_j": joules.lower_j if joules else None,
        "energy_upper_j": joules.upper_j if joules else None,
    }


def _safe(cell: Cell) -> Cell:
    return csv_cell(cell) if isinstance(cell, str) else cell
