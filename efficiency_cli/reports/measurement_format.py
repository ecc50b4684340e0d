"""The JSON of `effcli measure`, declared; `measurement_data.py` fills it. Changes are additive."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from efficiency_cli.reports.validation_format import Error
from efficiency_cli.roofline.report_format import Count, Latency, Seconds, Tool


class TimesPart(TypedDict):
    """The runs that a measured time rests on."""

    median: Seconds
    median_low: Annotated[Seconds, Meta(description="lower end of the median's 95 % interval")]
    median_high: Seconds
    least: Seconds
    p10: Seconds
    p90: Seconds
    runs: Annotated[int, Meta(ge=0, description="that count: neither warm-up nor disturbed")]
    warmup: Annotated[int, Meta(ge=0, description="first runs that are left out")]
    disturbed: Annotated[int, Meta(ge=0, description="left out: another program had the processor meanwhile")]
    outliers: Annotated[int, Meta(ge=0, description="counted runs far above the median")]


class MeasuredKernel(TypedDict):
    """A kernel of the estimate and those that onnxruntime ran for it; either may be missing."""

    name: str
    op: str
    measured_s: Annotated[Seconds, Meta(description="without the profiler's share")]
    expected_s: Annotated[float | None, Meta(description="null where the estimate has no such kernel")]
    ran: Annotated[list[str], Meta(description="onnxruntime's kernels, as OPERATOR NAME")]


class MeasurementResult(TypedDict):
    """One network on this machine; a row that `validate` and `calibrate --runs` read."""

    onnx: Annotated[str, Meta(description="the model's path")]
    device: Annotated[str, Meta(description="the processor, as profiles call it")]
    cpu: Annotated[str, Meta(description="the processor, as it calls itself")]
    runtime: Literal["onnxruntime"]
    version: str
    provider: str
    threads: Annotated[int, Meta(ge=1)]
    precision: Annotated[str, Meta(description="the type that most operations run in")]
    dims: dict[str, int]
    random_weights: bool
    measured_s: Seconds
    times_s: TimesPart
    interrupted: bool
    hardware: Annotated[str | None, Meta(description="id of the profile of the estimate")]
    estimate_runtime: str | None
    latency_s: Latency | None
    error: Error | None
    kernels: list[MeasuredKernel]
    notes: list[str]


class FailedMeasurement(TypedDict):
    """A network that was not measured, and why."""

    onnx: str
    reason: str


class MeasurementReport(TypedDict):
    """Networks measured on this machine."""

    schema_version: Annotated[int, Meta(ge=1)]
    tool: Tool
    command: Literal["measure"]
    machine: Annotated[str, Meta(description="processor, cores and caches")]
    results: list[MeasurementResult]
    failed: Annotated[list[FailedMeasurement], Meta(description="empty where every model ran")]
    skipped: Count
