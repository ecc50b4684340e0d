"""The JSON of `diff`, declared. Types only; `diff_data` fills them, `schema.py` turns them into JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta

from efficiency_cli.reports.verdict_format import CheckedHardware, CheckedModel
from efficiency_cli.roofline.report_format import Count, Tool


class SidePart(TypedDict):
    """One of the two estimates."""

    model: CheckedModel
    hardware: CheckedHardware | None
    totals: Annotated[dict[str, Any], Meta(description="as in a report of analyze, in part")]


class ChangePart(TypedDict):
    """A figure in base units; null where an estimate does not have it."""

    before: float | None
    after: float | None
    change: float | None


class KernelChangePart(TypedDict):
    """A kernel before and after; names are null where it is new, or gone."""

    before: str | None
    after: str | None
    op_before: str | None
    op_after: str | None
    dtype_before: str | None
    dtype_after: str | None
    changes: Annotated[
        dict[str, ChangePart], Meta(description="by metric: what it adds to the total, 0 where it is not")
    ]


class NodeFieldPart(TypedDict):
    field: str
    before: str
    after: str


class NodeChangePart(TypedDict):
    before: str | None
    after: str | None
    op: str
    fields: list[NodeFieldPart]


class NodesPart(TypedDict):
    same: Count
    changed: Annotated[list[NodeChangePart], Meta(description="those that changed, are new, or gone")]


class AttributionPart(TypedDict):
    """Of one total: what kernels add to its change, and the rest; together they are the change."""

    change: float
    kernels: float
    outside: Annotated[
        float, Meta(description="of no kernel: what starting a run costs; OPs: less conversions that a runtime adds")
    ]


class ToleranceFinding(TypedDict):
    name: str
    limit_text: str
    status: Literal["pass", "fail", "skip"]
    worse: Annotated[float | None, Meta(description="fraction by which it is worse; null from nothing, or unknown")]


class DiffReport(TypedDict):
    """Two estimates set beside each other."""

    schema_version: Annotated[int, Meta(ge=1)]
    tool: Tool
    command: Literal["diff"]
    on: Literal["bound", "lower", "expected", "upper"]
    before: SidePart
    after: SidePart
    totals: dict[str, ChangePart]
    attribution: dict[str, AttributionPart]
    kernels: list[KernelChangePart]
    nodes: Annotated[NodesPart | None, Meta(description="null where a report has none")]
    findings: list[ToleranceFinding]
