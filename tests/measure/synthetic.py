"""Measurements that are made up from a machine whose every number is known: a fit must find them again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tables import a_run

from efficiency_cli.graph.read import read_model
from efficiency_cli.hardware.load import load_profile
from efficiency_cli.hardware.profile import Profile
from efficiency_cli.measure.cases import Case, case_of
from efficiency_cli.measure.place import Placed
from efficiency_cli.roofline.estimate import estimate

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
# one network of each is a family of its own
NETWORKS = (
    "ad_autoencoder_int8",
    "ic_resnet8_int8",
    "kws_dscnn_int8",
    "vww_mobilenetv1_int8",
    "ic_resnet8_float",
    "kws_dscnn_float",
    "mobilenet_v2",
    "resnet50",
)
DIMS = {"bert_small": {"batch": 1, "sequence": 16}}
USUAL = {"dense": 0.5, "depthwise": 0.1, "elementwise": 0.1, "pooling": 0.1, "memory": 0.5}


def board(
    folder: Path,
    id_: str = "board",
    *,
    efficiency: dict[str, float] | None = None,
    kernel: str = "4000 cycles",
    classes: dict[str, str] | None = None,
    scale: float | None = None,
    grade: str = "derived",
    overlap: float = 0,
    more: str = "",
) -> Path:
    """A microcontroller of one runtime, `own`: 2 operations and 4 bytes a cycle at 100 MHz."""
    shares = "".join(f"      {k}: {_number(v)}\n" for k, v in (efficiency or USUAL).items())
    by_class = "".join(f"        {k}: {_number(v)}\n" for k, v in (classes or {}).items())
    dispatch = f"      kernel: {_number(kernel)}\n" if kernel else ""
    dispatch += f"      classes:\n{by_class}" if by_class else ""
    text = f"""\
schema_version: 1
name: {id_} for tests
class: mcu
sources: {{s: "round numbers for tests, page 1"}}
clock: {_number("100 MHz")}
compute:
  int8:
    matrix: {_number("2 OP/cycle")}
  float32:
    matrix: {_number("1 OP/cycle")}
memory:
  ram:
    bandwidth: {_number("4 B/cycle")}
    holds: [weights, activations]
runtime: own
runtimes:
  own:
    name: Own
    grade: {grade}
    overlap: {_number(overlap)}
{f"    scale: {_number(scale)}" if scale else ""}
{f"    dispatch:{chr(10)}{dispatch}" if dispatch else ""}
    efficiency:
{shares}    interval:
      lower: {_number(0.8)}
      upper: {_number(1.25)}
{more}"""
    path = folder / f"{id_}.yaml"
    path.write_text("\n".join(line for line in text.splitlines() if line.strip()) + "\n", encoding="utf-8")
    return path


def _number(value: object) -> str:
    return f"{{value: {value}, source: s, kind: derived}}"


def placed_on(profile: Path | Profile, truth: Path | Profile, names: Sequence[str] = NETWORKS) -> list[Placed]:
    """Runs on `profile` whose times are what `truth` is expected to take."""
    on = profile if isinstance(profile, Profile) else load_profile(profile)
    true = truth if isinstance(truth, Profile) else load_profile(truth)
    found = []
    for number, name in enumerate(names, start=2):
        path = str(SAMPLES / f"{name}.onnx")
        dims = DIMS.get(name, {})
        seconds = estimate(read_model(path, dims=dims), true).latency.expected_s
        told = {"place": f"runs.csv:{number}", "onnx": f"{name}.onnx", "path": path, "family": name, "dims": dims}
        run = a_run(**told, measured_s=seconds)
        found.append(Placed(run, on, on.default_runtime, ""))
    return found


def cases_on(profile: Path | Profile, truth: Path | Profile, names: Sequence[str] = NETWORKS) -> list[Case]:
    return [
        case_of(one, estimate(read_model(one.run.path, dims=one.run.dims), one.profile, runtime=one.runtime))
        for one in placed_on(profile, truth, names)
    ]
