"""The JSON of `effcli calibrate`, declared; `calibration_data.py` fills it. Changes are additive."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from efficiency_cli.reports.validation_format import UnplacedRow, ValidationResult, ValidationSummary
from efficiency_cli.roofline.report_format import Count, Fraction, Seconds, Tool

Factor = Annotated[float, Meta(gt=0, description="on what the profile says: 1.1 is a tenth longer")]
Deviation = Annotated[float, Meta(ge=0, description="standard deviation of the factor, as a fraction of it")]


class FittedParameter(TypedDict):
    """One number of a runtime that was fitted, or why it stayed. Texts are in the terms of the profile."""

    name: Annotated[str, Meta(description="scale (of all times), or the ratio of a class of work to dense work")]
    factor: Factor
    sd: Deviation
    was: str
    now: str
    refused: Annotated[str, Meta(description="why it stayed as it was; '' where it was fitted")]
    variance_left: Annotated[
        Fraction | None, Meta(description="of what was unknown before the data; above one half it stays")
    ]


class FittedRuntime(TypedDict):
    """What was fitted for one runtime of one profile."""

    hardware: str
    runtime: str
    measurements: Count
    models: Count
    interval: Annotated[list[float], Meta(description="lower and upper factor on the expected time")]
    held_out_error: Annotated[
        float | None, Meta(description="mean error of families left out; null where none could be")
    ]
    parameters: list[FittedParameter]
    written: Annotated[str | None, Meta(description="the profile's file; null where none was asked for")]


class Figures(TypedDict):
    """Errors by group, as in `validate`: of the profiles, of the fit, and of fits without the network's family."""

    before: list[ValidationSummary]
    after: list[ValidationSummary]
    left_out: list[ValidationSummary]


class WorstRow(TypedDict):
    """What takes most of a network's time, and how it is unlike those of other families."""

    place: str
    onnx: str
    part: Annotated[str, Meta(description="dense, or the name of a ratio")]
    share: Annotated[float, Meta(description="of the network's time")]
    most_of_others: Annotated[float | None, Meta(description="largest share of it in other families; null if alike")]
    longer: Annotated[float | None, Meta(description="times the longest (or shortest) of others; null if alike")]


class Unjudged(TypedDict):
    """A measurement and where it stands."""

    place: str
    onnx: str
    measured_s: Seconds


class CalibrationReport(TypedDict):
    """A fit of profiles to measurements, and how good it is."""

    schema_version: Annotated[int, Meta(ge=1)]
    tool: Tool
    command: Literal["calibrate"]
    runs: Annotated[list[str], Meta(description="tables of measurements, and measurements given by themselves")]
    prior: Annotated[Literal["shipped", "free"], Meta(description="how near the profile's own ratios the fit stays")]
    condition: Annotated[float, Meta(description="of all that was fitted: 1 is best, above 30 hard to tell apart")]
    noise: Annotated[float, Meta(description="standard deviation of one measurement around the fit, on logarithms")]
    profiles: list[FittedRuntime]
    summary: Figures
    results: Annotated[list[ValidationResult], Meta(description="estimates with the fit put in")]
    left_out: Annotated[list[ValidationResult], Meta(description="estimates of fits without the network's family")]
    why: Annotated[list[WorstRow], Meta(description="of `left_out`, or of `results` where that is empty")]
    alone: Annotated[list[Unjudged], Meta(description="no other family tells the scale of their runtime")]
    bounded: Annotated[list[Unjudged], Meta(description="the fit would have them faster than the peaks allow")]
    repeats: Annotated[int, Meta(ge=0, description="rows left out, which repeat another to the digit")]
    unplaced: list[UnplacedRow]
