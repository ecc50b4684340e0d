"""Measurements as plain data, from which JSON and CSV derive: exact values in base units, names as written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from efficiency_cli import __version__
from efficiency_cli.reports.measurement_format import (
    FailedMeasurement,
    MeasuredKernel,
    MeasurementReport,
    MeasurementResult,
    TimesPart,
)
from efficiency_cli.roofline.report_format import SCHEMA_VERSION

if TYPE_CHECKING:
    from efficiency_cli.measure.host.machine import Host
    from efficiency_cli.measure.host.measurement import Measured, Measurement
    from efficiency_cli.measure.host.timing import Timed


def data_of(measured: Measured, host: Host, folder: str | None = None) -> MeasurementReport:
    """The JSON report. `folder` is where it is written: paths of models are such that `validate` finds them there."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "effcli", "version": __version__},
        "command": "measure",
        "machine": host.described,
        "results": [result_data(m, folder) for m in measured.results],
        "failed": [_failed(path, reason) for path, reason in measured.failed],
        "skipped": measured.skipped,
    }


def _failed(path: str, reason: str) -> FailedMeasurement:
    return {"onnx": path, "reason": reason}


def path_from(path: str, folder: str | None) -> str:
    """The model's path relative to `folder` where it is inside, else absolute; as given without a folder."""
    if folder is None:
        return path
    found = os.path.realpath(path)
    inside = os.path.relpath(found, os.path.realpath(folder))
    return found if inside.startswith(os.pardir) else inside


def result_data(measurement: Measurement, folder: str | None = None) -> MeasurementResult:
    from efficiency_cli.measure.host.measurement import notes_of

    estimate, host = measurement.estimate, measurement.host
    machine = estimate.machine if estimate is not None else None
    latency = estimate.latency if estimate is not None else None
    return {
        "onnx": path_from(measurement.model.path, folder),
        "device": host.slug,
        "cpu": host.cpu,
        "runtime": "onnxruntime",
        "version": measurement.runtime_version,
        "provider": measurement.settings.provider,
        "threads": measurement.threads,
        "precision": estimate.dtype if estimate is not None else "",
        "dims": dict(measurement.model.dims),
        "random_weights": bool(measurement.drawn_bytes),
        "measured_s": measurement.measured_s,
        "times_s": _times(measurement.timed),
        "interrupted": measurement.timed.interrupted,
        "hardware": machine.profile.id if machine is not None else None,
        "estimate_runtime": machine.runtime.id if machine is not None else None,
        "latency_s": None
        if latency is None
        else {
            "bound": latency.bound_s,
            "lower": latency.lower_s,
            "expected": latency.expected_s,
            "upper": latency.upper_s,
        },
        "error": measurement.error,
        "kernels": kernels_data(measurement),
        "notes": notes_of(measurement),
    }


def _times(timed: Timed) -> TimesPart:
    low, high = timed.median_within_s
    return {
        "median": timed.median_s,
        "median_low": low,
        "median_high": high,
        "least": timed.at(0),
        "p10": timed.at(0.1),
        "p90": timed.at(0.9),
        "runs": len(timed.counted),
        "warmup": timed.warmup,
        "disturbed": timed.disturbed,
        "outliers": timed.outliers,
    }


def kernels_data(measurement: Measurement) -> list[MeasuredKernel]:
    """Pairs of both where there is an estimate, in order, else onnxruntime's own."""
    pairs = measurement.pairs
    if not pairs:
        return [
            {"name": k.name, "op": k.op, "measured_s": k.seconds, "expected_s": None, "ran": [f"{k.op} {k.name}"]}
            for k in measurement.kernels
        ]
    found: list[MeasuredKernel] = []
    for pair in pairs:
        kernel = pair.estimate.kernel if pair.estimate is not None else None
        found.append(
            {
                "name": kernel.name if kernel is not None else "",
                "op": kernel.op if kernel is not None else pair.runs[0].op,
                "measured_s": pair.measured_s,
                "expected_s": pair.estimate.times.expected_s if pair.estimate is not None else None,
                "ran": [f"{r.op} {r.name}" for r in pair.runs],
            }
        )
    return found


def flat_rows(measured: Sequence[Measurement]) -> list[dict[str, object]]:
    """One row a network for CSV."""
    rows = []
    for measurement in measured:
        row: dict[str, object] = {k: v for k, v in result_data(measurement).items() if not isinstance(v, dict | list)}
        row["dims"] = " ".join(f"{k}={v}" for k, v in measurement.model.dims.items())
        row.update({f"{k}_s" if k not in _COUNTS else k: v for k, v in _times(measurement.timed).items()})
        if measurement.estimate is not None and measurement.estimate.latency is not None:
            times = measurement.estimate.latency
            row.update(expected_s=times.expected_s, lower_s=times.lower_s, upper_s=times.upper_s)
        rows.append(row)
    return rows


_COUNTS = frozenset({"runs", "warmup", "disturbed", "outliers"})
