"""The calibration of this machine as table or JSON, for `effcli calibrate --host`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from efficiency_cli import __version__
from efficiency_cli.quantity import format_bytes, format_capacity, format_count, format_percent, format_time
from efficiency_cli.reports.escape import escaped, signs
from efficiency_cli.reports.grid import Column, flowed, grid
from efficiency_cli.reports.host_calibration_format import HostCalibrationReport, HostError
from efficiency_cli.roofline.report_format import SCHEMA_VERSION

if TYPE_CHECKING:
    from efficiency_cli.measure.host.calibrate_host import Error, HostFit
    from efficiency_cli.measure.host.host_profile import About
    from efficiency_cli.reports.view import View

_LABEL = 11


def formats() -> tuple[str, ...]:
    return "table", "json"


def text_of(format: str, about: About, found: HostFit, path: str, view: View) -> str:
    """What was found out, and the file that it was written to."""
    if format == "json":
        return json.dumps(data_of(about, found, path), indent=2, allow_nan=False) + "\n"
    return "".join(f"{signs(line, view.unicode)}\n" for line in _table(about, found, path, view))


def data_of(about: About, found: HostFit, path: str) -> HostCalibrationReport:
    """The JSON report: SI base units."""
    judged = found.judged
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "effcli", "version": __version__},
        "command": "calibrate --host",
        "machine": about.host.described,
        "threads": about.threads,
        "written": path,
        "peaks": {"float32": found.peaks.float_ops, "int8": found.peaks.narrow_ops},
        "memory": [{"level": v.name, "bytes": v.size, "bytes_per_s": v.rate} for v in found.peaks.levels],
        "overlap": found.fitted.overlap,
        "far_overlap": found.fitted.far_overlap,
        "cases": judged.models,
        "residual": found.fitted.spread,
        "error": judged.error,
        "interval": {"lower": judged.interval[0], "upper": judged.interval[1]},
        "scale": judged.scale,
        "blocks": [_error(e) for e in found.blocks],
        "anchors": [_error(e) for e in found.anchors],
    }


def _error(one: Error) -> HostError:
    return {"name": one.name, "measured_s": one.measured_s, "expected_s": one.expected_s, "error": one.relative}


def _table(about: About, found: HostFit, path: str, view: View) -> Iterator[str]:
    judged, peaks, width = found.judged, found.peaks, view.width
    threads = f"{about.threads} thread{'s'[: about.threads != 1]}"
    yield escaped(f"{about.id} with onnxruntime {about.host.versions.get('onnxruntime', '')}, {threads}", view.unicode)
    yield ""
    described = [escaped(part, view.unicode) for part in about.host.described.split(", ")]
    yield from flowed("Machine", described, width, _LABEL)
    rates = {"float32": peaks.float_ops, "int8": peaks.narrow_ops}
    yield from flowed("Peaks", [f"{k} {format_count(v, 'OP/s')}" for k, v in rates.items()], width, _LABEL)
    levels = [f"{v.name} {format_capacity(v.size)}, {format_bytes(round(v.rate))}/s" for v in peaks.levels]
    yield from flowed("Memory", levels, width, _LABEL)
    fit = [f"{judged.models:,} cases", f"{format_percent(found.fitted.spread)} off on average"]
    yield from flowed("Fit", [*fit, _overlap(found)], width, _LABEL)
    low, high = judged.interval
    unseen = f"{len(found.blocks):,} blocks of networks"
    unseen += f" and {len(found.anchors):,} networks" if found.anchors else ""
    parts = [f"{format_percent(judged.error)} off on {unseen} not fitted", f"80 % within x{low:.2f} to x{high:.2f}"]
    yield from flowed("Error", parts, width, _LABEL)
    if found.anchors:
        yield from flowed("Scale", [f"x{judged.scale:.3f} from {len(found.anchors):,} whole networks"], width, _LABEL)
    yield from flowed("Written", [escaped(path, view.unicode)], width, _LABEL)
    yield ""
    yield from _worst([*found.anchors, *found.blocks], view)


def _overlap(found: HostFit) -> str:
    fitted, furthest = found.fitted, found.peaks.levels[-1].name
    apart = f", with {furthest} {fitted.far_overlap:g}" if fitted.far_overlap != fitted.overlap else ""
    return f"overlap {fitted.overlap:g}{apart}"


def _worst(errors: Sequence[Error], view: View) -> Iterator[str]:
    rows = sorted(errors, key=lambda e: -abs(e.relative))[: view.top]
    if not rows:
        return
    yield f"Furthest off ({len(rows):,} of {len(errors):,})"
    columns = [
        Column("network", [escaped(e.name, view.unicode) for e in rows], shrinks=True),
        Column("measured", [format_time(e.measured_s) for e in rows], right=True, drop=2),
        Column("estimate", [format_time(e.expected_s) for e in rows], right=True, drop=1),
        Column("error", [f"{e.relative:+.1%}" for e in rows], right=True),
    ]
    yield from grid(columns, view.width, view.unicode)
