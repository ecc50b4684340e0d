"""A Comparison as plain data, from which its JSON and CSV derive: exact values in base units, names as written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import msgspec
from msgspec import Struct

from efficiency_cli import __version__
from efficiency_cli.judge.compare import Comparison
from efficiency_cli.judge.metrics import METRICS, Limit
from efficiency_cli.judge.rank import ORDER, Matrix, Ranked
from efficiency_cli.judge.row import Row
from efficiency_cli.reports.comparison_format import ComparisonReport, ComparisonResult, MatrixPart
from efficiency_cli.roofline.report_format import SCHEMA_VERSION


class Shown(Struct, frozen=True, dict=True):
    """A comparison as it was asked for: in which order, held against which limits; `only_matrix` in formats for
    reading and in CSV.
    """

    comparison: Comparison
    sort: str = "latency"
    limits: tuple[Limit, ...] = ()
    only_matrix: bool = False

    @property
    def metric(self) -> str:
        """The figure that rows are ranked by."""
        return "latency" if self.sort == ORDER else self.sort

    @cached_property
    def ranked(self) -> list[Ranked]:
        return self.comparison.ranked(self.sort)

    @cached_property
    def matrix(self) -> Matrix:
        return self.comparison.matrix(self.metric)

    def over(self, row: Row) -> tuple[str, ...]:
        """The limits that the row is over, as they were given."""
        return tuple(limit.text for limit in self.limits if limit.passed_by(row))


def data_of(shown: Shown) -> ComparisonReport:
    """The JSON report."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "effcli", "version": __version__},
        "command": "compare",
        "sort": shown.sort,
        "errors": len(shown.comparison.errors),
        "matrix": _matrix(shown.matrix),
        "results": results_of(shown),
    }


def results_of(shown: Shown) -> list[ComparisonResult]:
    return [
        ComparisonResult(
            **{name: getattr(one.row, name) for name in Row.__struct_fields__},
            rank=one.rank,
            vs_best=one.vs_best,
            over=shown.over(one.row),
        )
        for one in shown.ranked
    ]


def _matrix(matrix: Matrix) -> MatrixPart:
    values: Sequence[list[float | None]] = matrix.values()
    return {
        "metric": METRICS[matrix.by].key,
        "hardware": list(matrix.machines),
        "lines": [
            {"model": line.model, "batch": line.batch, "as_if": line.as_if, "values": cells, "error": line.error}
            for line, cells in zip(matrix.lines, values, strict=True)
        ],
    }


def plain(value: object) -> object:
    """`value` with everything in it as dicts, lists and numbers."""
    return msgspec.to_builtins(value)
