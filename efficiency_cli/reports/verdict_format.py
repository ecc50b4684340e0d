"""The JSON of `check`, declared. Types only; `verdict_data` fills them, `schema.py` turns them into JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta

from efficiency_cli.roofline.report_format import Count, Tool

State = Literal["pass", "warn", "fail", "skip"]


class ReasonPart(TypedDict):
    """A kernel or an operator that makes a figure what it is."""

    name: str
    op: str
    now: float
    before: Annotated[float | None, Meta(description="null for what is new, or without a baseline")]


class WhyPart(TypedDict):
    kind: Annotated[
        Literal["grew", "largest", "peak", "count", "unmodelled"],
        Meta(description="grew: against the baseline; largest: of the figure; peak: alive while these run"),
    ]
    unit: Annotated[str, Meta(description="the metric whose unit the numbers have")]
    reasons: list[ReasonPart]
    others: Annotated[Count, Meta(description="how many more grew")]


class FindingPart(TypedDict):
    """One budget. Numbers are in base units, changes against the baseline as fractions."""

    name: Annotated[str, Meta(description="as in the config: latency, latency_increase")]
    metric: str
    relative: Annotated[bool, Meta(description="whether the change against the baseline is judged")]
    side: Annotated[Literal["max", "min"], Meta(description="the most it may be, or the least")]
    limit: float
    limit_text: Annotated[str, Meta(description="as it was written")]
    level: Literal["error", "warn"]
    on: Annotated[Literal["bound", "lower", "expected", "upper"], Meta(description="of the interval, what is judged")]
    status: State
    value: Annotated[float | None, Meta(description="what is judged; null if skipped, or a growth from nothing")]
    now: Annotated[float | None, Meta(description="the figure")]
    before: Annotated[float | None, Meta(description="the baseline's figure")]
    over: Annotated[float | None, Meta(description="by how much the limit is passed; negative: what is left")]
    skipped: Annotated[str | None, Meta(description="why it could not be judged")]
    place: Annotated[str, Meta(description="file:line:column of the budget, or the option")]
    message: str
    text: Annotated[str, Meta(description="the finding in a sentence")]
    why: WhyPart | None


class CheckedModel(TypedDict):
    path: str
    dims: dict[str, int]


class CheckedHardware(TypedDict):
    id: str
    runtime: str
    runtime_name: str
    dtype: str
    grade: str


class ErrorPart(TypedDict):
    what: str
    where: list[str]
    hint: str


class MovedPart(TypedDict):
    before: float
    now: float


class CheckResult(TypedDict):
    """One model on one machine."""

    model: CheckedModel
    hardware: CheckedHardware | None
    status: Literal["pass", "warn", "fail", "skip", "error"]
    totals: Annotated[dict[str, Any] | None, Meta(description="as in a report of analyze, in part")]
    findings: list[FindingPart]
    moved: Annotated[dict[str, MovedPart], Meta(description="metrics that are not as in the baseline")]
    gaps: Annotated[list[str], Meta(description="what makes it inconclusive under --strict")]
    assumptions: list[str]
    notes: list[str]
    error: ErrorPart | None


CheckSummary = TypedDict(
    "CheckSummary",
    {
        "pass": Count,
        "warn": Count,
        "fail": Count,
        "skip": Count,
        "errors": Annotated[Count, Meta(description="results that have no estimate")],
        "moved": Annotated[Count, Meta(description="results with a figure that is not the baseline's")],
    },
)


class CheckReport(TypedDict):
    """Estimates judged against budgets."""

    schema_version: Annotated[int, Meta(ge=1)]
    tool: Tool
    command: Literal["check"]
    config: Annotated[str | None, Meta(description="the config file in use")]
    baseline: str | None
    exit_code: Annotated[int, Meta(description="without --exit-zero")]
    summary: CheckSummary
    results: list[CheckResult]
