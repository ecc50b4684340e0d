"""The README's table of a machine that measured itself: networks timed here, and how far off a profile is on them.

    python tests/host_table.py measure runs.json [THREADS]   times ../shared/models on one thread, with random weights
    python tests/host_table.py table runs.json again.json this-machine.yaml

`again.json` is a second measurement: what the machine itself differs by. Beside the profile are the textbook roofline
(its bound) and one efficiency a class: the profile with nothing but the medians of its classes. `effcli validate
runs.json --hw ./this-machine.yaml` says the same of the profile.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from model_table import MODELS, read
from msgspec.structs import replace

from efficiency_cli.errors import EffcliError
from efficiency_cli.hardware.kinds import OP_CLASSES
from efficiency_cli.hardware.load import load_profile
from efficiency_cli.hardware.profile import Dispatch, Profile
from efficiency_cli.measure.host.machine import this_machine
from efficiency_cli.measure.host.measurement import How, measure
from efficiency_cli.measure.host.session import Settings
from efficiency_cli.measure.host.timing import Wanted, quantile
from efficiency_cli.roofline.estimate import estimate

_QUANTISED = re.compile(r"qdq|qop|dynq|nb4|nb8")
_LONG_ENOUGH = Wanted(shortest_s=0.7, longest_s=3.0)
_NARROW = tuple(f"int8-{c}" for c in OP_CLASSES)
Row = Mapping[str, Any]


def measured(threads: int) -> Iterator[Row]:
    """A row of a table of measurements for every model that onnxruntime runs."""
    host, how = this_machine(), How(Settings(threads=threads), _LONG_ENOUGH, random_weights=True, kernels=False)
    for path in sorted(MODELS.glob("*.onnx")):
        try:
            found = measure(read(path.name), host, how)
        except EffcliError as error:
            print(f"{path.name}: {error.what}", file=sys.stderr)
            continue
        yield {
            "onnx": str(path),
            "family": path.name.split(".")[0],
            "runtime": "onnxruntime",
            "version": found.runtime_version,
            "threads": threads,
            "dims": dict(found.model.dims),
            "measured_s": found.measured_s,
        }


def kind_of(row: Row) -> str:
    name = Path(row["onnx"]).name
    if "fp16" in name:
        return "float16"
    size = "over" if row["measured_s"] > 1e-3 else "under"
    return f"{'quantised' if _QUANTISED.search(name) else 'float32'}, {size} 1 ms"


def classes_only(profile: Profile) -> Profile:
    """The profile with one efficiency a class and the bandwidths, and nothing besides."""
    own = profile.runtime()
    shares = {k: v for k, v in own.efficiency.items() if k in (*OP_CLASSES, *_NARROW)}
    bare = replace(own, efficiency=shares, traffic={}, half_sizes={}, tiles={}, dispatch=Dispatch())
    return replace(profile, runtimes=(bare,))


def lines(rows: Sequence[Row], again: Sequence[Row], profile: Profile) -> Iterator[str]:
    latencies = {row["onnx"]: estimate(read(Path(row["onnx"]).name), profile).latency for row in rows}
    bare = classes_only(profile)
    by_class = {row["onnx"]: estimate(read(Path(row["onnx"]).name), bare).latency for row in rows}
    second = {row["onnx"]: row["measured_s"] for row in again}
    yield "| networks | n | mean error | median | 90 % within | in interval | measured again | roofline | by class |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    kinds = sorted({kind_of(r) for r in rows}, key=lambda k: (not k.startswith("float32"), k))
    for kind in [*kinds, "all"]:
        some = [r for r in rows if kind in ("all", kind_of(r))]

        def median(of: Callable[[Row], float], some: Sequence[Row] = some) -> float:
            return quantile([abs(of(r) / r["measured_s"] - 1) for r in some], 0.5)

        errors = [abs(latencies[r["onnx"]].expected_s / r["measured_s"] - 1) for r in some]
        inside = sum(latencies[r["onnx"]].lower_s <= r["measured_s"] <= latencies[r["onnx"]].upper_s for r in some)
        cells = [sum(errors) / len(errors), quantile(errors, 0.5), quantile(errors, 0.9), inside / len(some)]
        cells.append(median(lambda r: second.get(r["onnx"], r["measured_s"])))
        cells.append(median(lambda r: latencies[r["onnx"]].bound_s))
        cells.append(median(lambda r: by_class[r["onnx"]].expected_s))
        yield f"| {kind} | {len(some)} | {' | '.join(f'{c:.1%}' for c in cells)} |"


if __name__ == "__main__":
    if sys.argv[1] == "measure":
        rows = list(measured(int(sys.argv[3]) if len(sys.argv) > 3 else 1))
        Path(sys.argv[2]).write_text(json.dumps({"results": rows}, indent=1), encoding="utf-8")
    else:
        runs = [json.loads(Path(p).read_text(encoding="utf-8"))["results"] for p in sys.argv[2:4]]
        print("\n".join(lines(runs[0], runs[1], load_profile(sys.argv[4]))))
