"""Measurements as table, JSON or CSV, for `effcli measure`; not one of the formats of an Estimate."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from efficiency_cli.quantity import format_bytes, format_percent, format_time
from efficiency_cli.reports.escape import csv_cell, escaped, signs
from efficiency_cli.reports.grid import Column, flowed, grid
from efficiency_cli.reports.measurement_data import data_of, flat_rows

if TYPE_CHECKING:
    from efficiency_cli.measure.host.counterparts import Pair
    from efficiency_cli.measure.host.machine import Host
    from efficiency_cli.measure.host.measurement import Measured, Measurement
    from efficiency_cli.reports.view import View

_LABEL = 11
_CSV_COLUMNS = (
    *("onnx", "device", "cpu", "runtime", "version", "provider", "threads", "precision", "dims", "random_weights"),
    *("measured_s", "median_low_s", "median_high_s", "least_s", "p10_s", "p90_s", "runs", "warmup", "disturbed"),
    *("outliers", "interrupted", "hardware", "estimate_runtime", "lower_s", "expected_s", "upper_s", "error"),
)


def formats() -> tuple[str, ...]:
    return "table", "json", "csv"


def text_of(format: str, measured: Measured, host: Host, view: View, folder: str | None = None) -> str:
    """The measurements in one of `formats`; `folder` is the one that the text is written to."""
    if format == "json":
        return json.dumps(data_of(measured, host, folder), indent=1, allow_nan=False) + "\n"
    if format == "csv":
        return _csv(measured.results)
    many = len(measured.results) > 1
    lines = _overview(measured.results, view) if many else [x for m in measured.results for x in _one(m, view)]
    return "".join(f"{signs(line, view.unicode)}\n" for line in lines)


def _csv(results: Sequence[Measurement]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for row in flat_rows(results):
        cells = [row.get(name) for name in _CSV_COLUMNS]
        writer.writerow([csv_cell(c) if isinstance(c, str) else c for c in cells])
    return text.getvalue()


# --- several networks --------------------------------------------------------------------------


def _overview(results: Sequence[Measurement], view: View) -> Iterator[str]:
    """A line a network; the kernels of one are shown when it is measured alone."""
    latencies = [m.estimate.latency if m.estimate is not None else None for m in results]
    columns = [
        Column("model", [m.model.path for m in results], shrinks=True),
        Column("measured", [format_time(m.measured_s) for m in results], right=True),
        Column("runs", [f"{len(m.timed.counted):,}" for m in results], right=True, drop=2),
        Column("80 % of runs", [_spread(m) for m in results], right=True, drop=3),
        Column("estimate", ["" if t is None else format_time(t.expected_s) for t in latencies], right=True, drop=1),
        Column("error", ["" if m.error is None else _signed(m.error) for m in results], right=True),
    ]
    yield from grid([c for c in columns if any(c.cells)], view.width, view.unicode)


def _spread(measurement: Measurement) -> str:
    return f"{format_time(measurement.timed.at(0.1))} – {format_time(measurement.timed.at(0.9))}"


def _signed(fraction: float) -> str:
    return f"{'-' if fraction < 0 else '+'}{format_percent(abs(fraction))}"


# --- one network -------------------------------------------------------------------------------


def _one(measurement: Measurement, view: View) -> Iterator[str]:
    yield escaped(f"{measurement.model.path} {_on(measurement)}", view.unicode)
    yield ""
    yield from flowed("Measured", _measured_parts(measurement), view.width, _LABEL)
    if measurement.estimate is not None and measurement.estimate.latency is not None:
        yield from flowed("Estimate", _estimate_parts(measurement), view.width, _LABEL)
    pairs = measurement.pairs
    if pairs:
        yield from ("", *_differences(pairs, view))
    elif measurement.kernels:
        yield from ("", *_kernels(measurement, view))


def _on(measurement: Measurement) -> str:
    """ "with onnxruntime 1.32.0 (CPU, 1 thread) on Intel Xeon, 2 cores"."""
    provider = measurement.settings.provider.removesuffix("ExecutionProvider")
    threads = f"{measurement.threads} thread{'s'[: measurement.threads != 1]}"
    host = measurement.host
    return f"with onnxruntime {measurement.runtime_version} ({provider}, {threads}) on {host.cpu}, {host.cores} cores"


def _measured_parts(measurement: Measurement) -> list[str]:
    timed = measurement.timed
    low, high = timed.median_within_s
    counted = len(timed.counted)
    left = f", {timed.disturbed:,} disturbed ones left out" if timed.disturbed else ""
    parts = [
        format_time(timed.median_s),
        f"median, known to {format_time(low)} – {format_time(high)}",
        f"80 % of runs {_spread(measurement)}",
        f"{counted:,} run{'s'[: counted != 1]} after {timed.warmup:,} to warm up{left}",
    ]
    if measurement.drawn_bytes:
        parts.append(f"{format_bytes(measurement.drawn_bytes)} of random weights")
    return parts


def _estimate_parts(measurement: Measurement) -> list[str]:
    estimate = measurement.estimate
    assert estimate is not None
    assert estimate.latency is not None
    assert estimate.machine is not None
    times, machine = estimate.latency, estimate.machine
    inside = "inside" if times.lower_s <= measurement.measured_s <= times.upper_s else "outside"
    error = measurement.error or 0.0
    return [
        format_time(times.expected_s),
        f"{format_percent(abs(error))} too {'long' if error > 0 else 'short'}",
        f"the measurement is {inside} {format_time(times.lower_s)} – {format_time(times.upper_s)}",
        f"{machine.profile.id}, {machine.runtime.id} ({machine.runtime.grade})",
    ]


def _differences(pairs: Sequence[Pair], view: View) -> Iterator[str]:
    """Kernels, those that the estimate is furthest off for first."""
    worst = sorted(pairs, key=lambda p: -abs(p.difference_s))
    total = sum(abs(p.difference_s) for p in pairs) or 1.0
    rows = worst[: view.top]
    part = sum(abs(p.difference_s) for p in rows) / total
    yield f"Where they differ ({len(rows):,} of {len(pairs):,} kernels, {format_percent(part)} of the differences)"
    expected = [p.estimate.times.expected_s if p.estimate is not None else None for p in rows]
    columns = [
        Column("kernel", [_name(p) for p in rows], shrinks=True),
        Column("op", [_op(p) for p in rows], drop=2),
        Column("measured", [format_time(p.measured_s) if p.runs else "not run" for p in rows], right=True),
        Column("estimate", ["none" if s is None else format_time(s) for s in expected], right=True),
        Column("difference", [_longer(p.difference_s) for p in rows], right=True, drop=1),
    ]
    yield from grid(columns, view.width, view.unicode)


def _longer(seconds: float) -> str:
    return f"{'-' if seconds < 0 else '+'}{format_time(abs(seconds))}"


def _name(pair: Pair) -> str:
    if pair.estimate is not None:
        return pair.estimate.kernel.name
    more = f" and {len(pair.runs) - 1:,} more" if len(pair.runs) > 1 else ""
    return f"(not in the estimate) {pair.runs[0].name}{more}"


def _op(pair: Pair) -> str:
    return pair.estimate.kernel.op if pair.estimate is not None else pair.runs[0].op


def _kernels(measurement: Measurement, view: View) -> Iterator[str]:
    """onnxruntime's kernels, the longest first."""
    kernels = measurement.kernels
    total = sum(k.seconds for k in kernels) or 1.0
    rows = sorted(kernels, key=lambda k: -k.seconds)[: view.top]
    part = format_percent(sum(k.seconds for k in rows) / total)
    yield f"Where the time goes ({len(rows):,} of {len(kernels):,} kernels, {part})"
    columns = [
        Column("kernel", [k.name for k in rows], shrinks=True),
        Column("op", [k.op for k in rows], drop=1),
        Column("result", [", ".join(k.outputs) for k in rows], drop=2),
        Column("time", [format_time(k.seconds) for k in rows], right=True),
        Column("share", [format_percent(k.seconds / total) for k in rows], right=True),
    ]
    yield from grid(columns, view.width, view.unicode)
