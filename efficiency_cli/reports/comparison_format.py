"""The JSON of `effcli compare`, declared; `comparison_data.py` fills it. Changes are additive."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from efficiency_cli.judge.row import Row
from efficiency_cli.roofline.report_format import Count, Tool


class ComparisonResult(Row, frozen=True, kw_only=True):
    """A row, and how it stands among those it is compared with: the same model and batch on other machines and in
    other types; or all models in one batch, where each has a single row.
    """

    rank: Annotated[int | None, Meta(description="from 1; null where it does not fit, or has no figure")]
    vs_best: Annotated[float | None, Meta(description="how many times worse than the best that fits")]
    over: Annotated[tuple[str, ...], Meta(description="the limits of --max that it is over")]


class MatrixLine(TypedDict):
    """One model in one batch and type; a value for each machine, null where there is none."""

    model: str
    batch: int | None
    as_if: str
    values: list[float | None]
    error: str | None


class MatrixPart(TypedDict):
    """Models down, machines across."""

    metric: Annotated[str, Meta(description="the name of the figure among the totals; of a latency the expected one")]
    hardware: Annotated[list[str], Meta(description="ids, in the order of the values")]
    lines: list[MatrixLine]


class ComparisonReport(TypedDict):
    """Models on machines, best first in each group."""

    schema_version: Annotated[int, Meta(ge=1)]
    tool: Tool
    command: Literal["compare"]
    sort: str
    errors: Annotated[Count, Meta(description="rows without an estimate")]
    matrix: MatrixPart
    results: list[ComparisonResult]
