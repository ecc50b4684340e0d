"""Fits llama.cpp's efficiencies to runs.csv: `python samples/llm/fit_llama.py rtx-4090` (needs scipy).

Prints what the profile's runtime should say and the error on what was left out of the fit: one context or one
model size at a time. The form is that of `effcli help method`, seen through the estimates' own terms.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import efficiency_cli as eff

HERE = Path(__file__).parent
RUNTIME = "llama-cpp"
# fitted to generating, and to prompts; the rest of an estimate's terms stays as it is
DECODE, PREFILL = ("memory", "kernel", "decode-attention"), ("dense", "packed-gemm", "attention")
NAMES = (*DECODE, *PREFILL)
# where a search begins: fractions of the peaks, and microseconds a kernel
START = {"memory": 0.8, "kernel": 5.0, "decode-attention": 0.01, "dense": 0.7, "packed-gemm": 0.6, "attention": 0.2}

Array = NDArray[np.float64]


class Case(NamedTuple):
    """A measurement, and seconds of its estimate at efficiencies of 1 by kernel."""

    row: Mapping[str, str]
    compute: Array
    memory: Array
    owner: NDArray[np.int64]  # of each kernel's computing, in NAMES; -1: none of them

    @property
    def phase(self) -> str:
        return self.row["note"].split()[0]

    @property
    def measured(self) -> float:
        return float(self.row["latency_ms"]) / 1e3

    def seconds(self, x: Array) -> float:
        """Σ max(compute / efficiency, memory / efficiency) + kernels · dispatch; `x` are logarithms by NAMES."""
        values = np.exp(x)
        share = np.where(self.owner >= 0, values[self.owner], 1.0)
        busy = np.maximum(self.compute / share, self.memory / values[NAMES.index("memory")])
        return float(busy.sum() + len(self.compute) * values[NAMES.index("kernel")] * 1e-6)


def cases(device: str) -> list[Case]:
    """The rows of `device`, estimated."""
    with (HERE / "runs.csv").open(encoding="utf-8") as stream:
        table = [row for row in csv.DictReader(stream) if row["device"] == device]
    profile = eff.load_profile(device)
    return [_case(row, profile) for row in table]


def estimated(row: Mapping[str, str], profile: Any) -> Any:
    """The estimate of a row's graph at its sizes."""
    dims = {name: int(size) for name, size in (part.split("=") for part in row["dims"].split())}
    return eff.estimate(eff.read_model(str(HERE / row["onnx"]), dims=dims), profile, runtime=RUNTIME)


def _case(row: Mapping[str, str], profile: Any) -> Case:
    runtime, owners = profile.runtime(RUNTIME), []
    compute, memory = [], []
    for time in estimated(row, profile).times:
        kernel = time.kernel
        compute.append(time.compute_s * runtime.efficiency_of(kernel.op_class.value, kernel.variant))
        memory.append(time.memory_s * runtime.efficiency_of("memory"))
        named = [n for n in (kernel.variant, kernel.op_class.value) if n in NAMES]
        owners.append(NAMES.index(named[0]) if named else -1)
    return Case(row, np.array(compute), np.array(memory), np.array(owners))


def fit(known: Sequence[Case]) -> Array:
    """Logarithms by NAMES; least squares on log(estimate / measurement), efficiencies at most 1."""
    from scipy.optimize import least_squares

    start = np.log([START[n] for n in NAMES])
    most = [np.log(1e3) if n == "kernel" else 0.0 for n in NAMES]

    def residuals(x: Array) -> Array:
        # what no row says anything of stays where it began
        return np.array([*(np.log(c.seconds(x) / c.measured) for c in known), *(1e-4 * (x - start))])

    return np.asarray(least_squares(residuals, start, bounds=(np.log(1e-6), most), x_scale="jac").x)


def held_out(known: Sequence[Case], part: Callable[[Case], str]) -> dict[str, list[float]]:
    """log(estimate / measurement) of each part's rows, by phase, with that part left out of the fit."""
    found: dict[str, list[float]] = {}
    for left in sorted({part(c) for c in known}):
        x = fit([c for c in known if part(c) != left])
        for case in known:
            if part(case) == left:
                found.setdefault(case.phase, []).append(float(np.log(case.seconds(x) / case.measured)))
    return found


PARTS: Mapping[str, Callable[[Case], str]] = {
    "context": lambda c: c.row["note"].split()[1],
    "model size": lambda c: c.row["family"],
}


def mape(errors: Sequence[float]) -> float:
    """Mean |estimate / measurement − 1|."""
    return float(np.mean(np.abs(np.exp(errors) - 1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("device", choices=("rtx-4090", "apple-m2-ultra"))
    known = cases(parser.parse_args().device)
    for name, value in zip(NAMES, np.exp(fit(known)), strict=True):
        print(f"{name:18} {value:.4g}{' us' if name == 'kernel' else ''}")
    for what, part in PARTS.items():
        if len({part(c) for c in known}) > 1:
            for phase, errors in held_out(known, part).items():
                low, high = np.exp(np.quantile([-e for e in errors], (0.1, 0.9)))
                print(f"left out one {what}: {phase} {mape(errors):.1%}, 80 % within x {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
