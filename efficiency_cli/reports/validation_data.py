"""A Validation as plain data, from which its JSON and CSV derive: exact values in base units, names as written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from efficiency_cli import __version__
from efficiency_cli.reports.validation_format import (
    UnplacedRow,
    ValidationReport,
    ValidationResult,
    ValidationSummary,
)
from efficiency_cli.roofline.report_format import SCHEMA_VERSION

if TYPE_CHECKING:
    from efficiency_cli.measure.place import Unplaced
    from efficiency_cli.measure.validate import Result, Summary, Validation


def data_of(validation: Validation, runs: str) -> ValidationReport:
    """The JSON report; `runs` is the table's path as given."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "effcli", "version": __version__},
        "command": "validate",
        "runs": runs,
        "results": [result_data(r) for r in validation.results],
        "summary": [summary_data(s) for s in validation.summary],
        "energy_summary": [summary_data(s) for s in validation.energy_summary],
        "unplaced": [unplaced_data(u) for u in validation.unplaced],
    }


def result_data(result: Result) -> ValidationResult:
    """One measurement with its estimate."""
    placed, times = result.placed, result.latency
    run = placed.run
    return {
        "place": run.place,
        "onnx": run.onnx,
        "family": run.family,
        "device": run.device,
        "core": run.core,
        "clock_hz": run.clock_hz,
        "product": run.runtime,
        "version": run.version,
        "precision": run.precision,
        "threads": run.threads,
        "dims": dict(run.dims),
        "hardware": placed.profile.id,
        "runtime": placed.runtime,
        "measured_s": run.measured_s,
        "latency_s": {
            "bound": times.bound_s,
            "lower": times.lower_s,
            "expected": times.expected_s,
            "upper": times.upper_s,
        },
        "error": result.error,
        "within": result.within,
        "measured_energy_j": run.energy_j,
        "expected_energy_j": result.energy_j,
        "energy_error": result.energy_error,
        "notes": list(result.notes),
    }


def summary_data(summary: Summary) -> ValidationSummary:
    """The errors of one group."""
    return {
        "by": summary.by,
        "key": summary.key,
        "n": summary.n,
        "mape": summary.mape,
        "median": summary.median,
        "p90": summary.p90,
        "max": summary.max,
        "bias": summary.bias,
        "spearman": summary.spearman,
        "coverage": summary.coverage,
    }


def unplaced_data(unplaced: Unplaced) -> UnplacedRow:
    """One measurement without an estimate."""
    run = unplaced.run
    return {
        "place": run.place,
        "onnx": run.onnx,
        "family": run.family,
        "device": run.device,
        "core": run.core,
        "product": run.runtime,
        "version": run.version,
        "measured_s": run.measured_s,
        "reason": unplaced.reason,
    }
