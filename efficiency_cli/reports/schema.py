"""The JSON report as JSON Schema, for editors and other programs: `effcli schema report`.

Derived from the declarations of `roofline/report_format.py` and of commands with a report of their own; nothing is
said here a second time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from efficiency_cli.judge.row import Row
from efficiency_cli.reports.calibration_format import CalibrationReport
from efficiency_cli.reports.comparison_format import ComparisonReport
from efficiency_cli.reports.diff_format import DiffReport
from efficiency_cli.reports.host_calibration_format import HostCalibrationReport
from efficiency_cli.reports.measurement_format import MeasurementReport
from efficiency_cli.reports.validation_format import ValidationReport
from efficiency_cli.reports.verdict_format import CheckReport
from efficiency_cli.roofline.report_format import Report, Results

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def report_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of what `-f json` writes: one report, several under `results`, those of `validate`,
    `calibrate` (also with --host), `measure`, `compare`, `check` and `diff`, and a row of `compare -f jsonl`.
    """
    written = [Report, Results, ValidationReport, CalibrationReport, ComparisonReport, Row, MeasurementReport]
    written += [CheckReport, DiffReport, HostCalibrationReport]
    schemas, components = msgspec.json.schema_components(written, ref_template="#/$defs/{name}")
    return {"$schema": _DIALECT, "title": "effcli report", "anyOf": list(schemas), "$defs": components}
