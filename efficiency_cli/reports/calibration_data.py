"""A Calibration as plain data, from which its JSON derives; the table takes its rows from here too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from efficiency_cli import __version__
from efficiency_cli.reports.calibration_format import (
    CalibrationReport,
    FittedParameter,
    FittedRuntime,
    Unjudged,
    WorstRow,
)
from efficiency_cli.reports.validation_data import result_data, summary_data, unplaced_data
from efficiency_cli.roofline.report_format import SCHEMA_VERSION

if TYPE_CHECKING:
    from efficiency_cli.hardware.profile import Quantity, Runtime
    from efficiency_cli.measure.calibrate import Calibration
    from efficiency_cli.measure.calibration import Fitted
    from efficiency_cli.measure.fit import Parameter
    from efficiency_cli.measure.place import Placed
    from efficiency_cli.measure.why import Remark

# the class that stands for those fitted together
_FIRST_OF = {"vector": "elementwise"}


def data_of(found: Calibration, runs: Sequence[str], written: Mapping[str, str]) -> CalibrationReport:
    """The JSON report; `runs` as given, `written` is the new file by the path of the profile it stands on."""
    free: Literal["free", "shipped"] = "free" if found.fit.free else "shipped"
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "effcli", "version": __version__},
        "command": "calibrate",
        "runs": list(runs),
        "prior": free,
        "condition": found.fit.condition,
        "noise": found.fit.noise_sd,
        "profiles": [runtime_data(one, written.get(one.profile.path)) for one in found.fitted],
        "summary": {
            "before": [summary_data(s) for s in found.before.summary],
            "after": [summary_data(s) for s in found.after.summary],
            "left_out": [summary_data(s) for s in found.unseen.summary],
        },
        "results": [result_data(r) for r in found.after.results],
        "left_out": [result_data(r) for r in found.unseen.results],
        "why": [_why(r) for r in found.remarks],
        "alone": [_unjudged(p) for p in found.alone],
        "bounded": [_unjudged(p) for p in found.bounded],
        "repeats": found.repeats,
        "unplaced": [unplaced_data(u) for u in found.before.unplaced],
    }


def runtime_data(one: Fitted, written: str | None = None) -> FittedRuntime:
    """What was fitted for one runtime, the scale first."""
    now = one.applied_to(one.runtime)
    return {
        "hardware": one.profile.id,
        "runtime": one.runtime.id,
        "measurements": len(one.cases),
        "models": one.models,
        "interval": list(now.interval_factors),
        "held_out_error": one.held_out_error,
        "parameters": [_scale(one, now), *(_parameter(p, one, now) for p in one.parameters)],
        "written": written,
    }


def _scale(one: Fitted, now: Runtime) -> FittedParameter:
    return {
        "name": "scale",
        "factor": one.scale,
        "sd": one.scale_sd,
        "was": f"{one.runtime.scale_factor:.4g}",
        "now": f"{now.scale_factor:.4g}",
        "refused": "",
        "variance_left": None,
    }


def _parameter(parameter: Parameter, one: Fitted, now: Runtime) -> FittedParameter:
    return {
        "name": parameter.name,
        "factor": parameter.factor,
        "sd": parameter.sd,
        "was": _in_profile(parameter.name, one.runtime),
        "now": _in_profile(parameter.name, now),
        "refused": _refused(parameter, one),
        "variance_left": min(parameter.variance_left, 1.0),
    }


def _refused(parameter: Parameter, one: Fitted) -> str:
    if parameter.refused and one.free and parameter.name == "memory":
        return f"{parameter.refused}: taken at the whole bandwidth"
    return parameter.refused


def _in_profile(name: str, runtime: Runtime) -> str:
    """A ratio as the profile has it: a cost, or an efficiency."""
    if name in ("kernel", "run"):
        number: Quantity | None = getattr(runtime.dispatch, name)
        return number.text if number else "none"
    return f"{runtime.efficiency_of(_FIRST_OF.get(name, name)):.4g}"


def _why(remark: Remark) -> WorstRow:
    run = remark.case.placed.run
    return {
        "place": run.place,
        "onnx": run.onnx,
        "part": remark.part,
        "share": remark.share,
        "most_of_others": remark.most,
        "longer": remark.longer,
    }


def _unjudged(placed: Placed) -> Unjudged:
    return {"place": placed.run.place, "onnx": placed.run.onnx, "measured_s": placed.run.measured_s}
