"""The JSON of `effcli validate`, declared; `validation_data.py` fills it. Changes are additive."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from efficiency_cli.roofline.report_format import Count, Fraction, Latency, Seconds, Tool

Error = Annotated[float, Meta(description="expected / measured - 1: positive where the estimate is too long")]


class ValidationResult(TypedDict):
    """One measurement with its estimate. Texts are as in the table of measurements, "" where it has none."""

    place: Annotated[str, Meta(description="file and line of the measurement")]
    onnx: str
    family: str
    device: str
    core: str
    clock_hz: float | None
    product: Annotated[str, Meta(description="the runtime as the table names it")]
    version: str
    precision: str
    threads: int | None
    dims: dict[str, int]
    hardware: Annotated[str, Meta(description="id of the profile")]
    runtime: Annotated[str, Meta(description="id of the profile's runtime")]
    measured_s: Seconds
    latency_s: Latency
    error: Error
    within: Annotated[bool, Meta(description="whether the measurement is in the interval")]
    measured_energy_j: float | None
    expected_energy_j: float | None
    energy_error: float | None
    notes: Annotated[list[str], Meta(description="what was assumed for this row")]


class ValidationSummary(TypedDict):
    """The errors of one group of rows, as fractions; all but `bias` are of the error without its sign."""

    by: Annotated[str, Meta(description="all, or the column of the results whose value is `key`; several joined by +")]
    key: str
    n: Count
    mape: Annotated[float, Meta(description="mean absolute error, as a fraction of the measured time")]
    median: float
    p90: float
    max: float
    bias: Annotated[float, Meta(description="mean error with its sign")]
    spearman: Annotated[float | None, Meta(description="rank correlation; null below three rows and for constants")]
    coverage: Annotated[Fraction | None, Meta(description="measurements inside the 80 % interval")]


class UnplacedRow(TypedDict):
    """A measurement without an estimate, and why."""

    place: str
    onnx: str
    family: str
    device: str
    core: str
    product: str
    version: str
    measured_s: Seconds
    reason: str


class ValidationReport(TypedDict):
    """Estimates beside measurements."""

    schema_version: Annotated[int, Meta(ge=1)]
    tool: Tool
    command: Literal["validate"]
    runs: Annotated[str, Meta(description="the table of measurements")]
    results: list[ValidationResult]
    summary: list[ValidationSummary]
    energy_summary: Annotated[list[ValidationSummary], Meta(description="the same of energy, where it was measured")]
    unplaced: list[UnplacedRow]
