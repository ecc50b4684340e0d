"""The JSON of `effcli calibrate --host`, declared; `host_calibration.py` fills it. Changes are additive."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from efficiency_cli.roofline.report_format import Count, Seconds, Tool

Rate = Annotated[float, Meta(gt=0, description="OP/s, one MAC being two")]
Factor = Annotated[float, Meta(gt=0, description="on the expected time")]


class HostPeaks(TypedDict):
    """What the quickest cases reach, and a tenth more."""

    float32: Rate
    int8: Rate


class HostLevel(TypedDict):
    """A level of the memory, nearest first."""

    level: str
    bytes: Count
    bytes_per_s: Annotated[float, Meta(gt=0)]


class HostInterval(TypedDict):
    """Factors on the expected time that hold 80 % of networks."""

    lower: Factor
    upper: Factor


class HostError(TypedDict):
    """A network that is no part of the fit."""

    name: str
    measured_s: Seconds
    expected_s: Seconds
    error: Annotated[float, Meta(description="expected / measured - 1")]


class HostCalibrationReport(TypedDict):
    """What `calibrate --host` found out and wrote."""

    schema_version: Annotated[int, Meta(description="of this format; additions do not change it")]
    tool: Tool
    command: Literal["calibrate --host"]
    machine: str
    threads: Count
    written: Annotated[str, Meta(description="the profile")]
    peaks: HostPeaks
    memory: list[HostLevel]
    overlap: Annotated[float, Meta(ge=0, le=1, description="of computing and moving data")]
    far_overlap: Annotated[float, Meta(ge=0, le=1, description="where the data are in the furthest level of memory")]
    cases: Annotated[int, Meta(ge=0, description="of the micro-benchmark, in the fit")]
    residual: Annotated[float, Meta(ge=0, description="mean |log measured / fitted| of the cases")]
    error: Annotated[float, Meta(ge=0, description="mean |error| of blocks and anchors")]
    interval: HostInterval
    scale: Annotated[float, Meta(gt=0, description="on all times, from the anchors; 1 without any")]
    blocks: list[HostError]
    anchors: list[HostError]
