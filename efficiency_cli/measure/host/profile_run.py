"""Times of kernels from onnxruntime's profiler, with what the profiler itself takes removed.

The profiler reads clocks and writes down shapes around every kernel, some 2 µs and more with every operand. How much
it is here follows from the same network without profiler: what all kernels together take longer is shared out over
the kernels by 1.6 + 0.22 · operands (a study on one machine; only the ratio of the two counts).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from efficiency_cli.measure.host.timing import quantile

_KERNEL = "_kernel_time"
_FIXED, _EACH = 1.6, 0.22
# of the runs that were profiled: below a median, because a disturbance only ever adds
_QUANTILE = 0.3
_MICRO = 1e-6
# operators whose time is that of the kernels in their bodies
_BODIES = frozenset({"If", "Loop", "Scan"})


class KernelRun(Struct, frozen=True):
    """One kernel as onnxruntime ran it; `seconds` without the profiler's share."""

    name: str
    op: str
    seconds: float
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class _Event(Struct, frozen=True):
    name: str
    op: str
    operands: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def kernel_runs(profile: str, run_s: float, skip: int = 0) -> list[KernelRun]:
    """The kernels in order, from a profile of several runs without the first `skip`; `run_s` is a run without profiler.

    Where one run has other kernels than the last one (branches, trips), only runs like the last one count.
    """
    runs = _runs(json.loads(profile))[skip:]
    if not runs:
        return []
    keys = [[e for e, _ in run] for run in runs]
    alike = [run for run, key in zip(runs, keys, strict=True) if key == keys[-1]]
    seconds = [quantile([run[k][1] for run in alike], _QUANTILE) for k in range(len(alike[0]))]
    events = keys[-1]
    shares = overheads([e.operands for e in events], seconds, run_s)
    return [
        KernelRun(e.name, e.op, max(s - share, 0.0), e.inputs, e.outputs)
        for e, s, share in zip(events, seconds, shares, strict=True)
    ]


def overheads(operands: Sequence[int], seconds: Sequence[float], run_s: float) -> list[float]:
    """What to take off each kernel so that all together take `run_s`; nothing where they take less.

    No kernel is left with less than nothing: what one lacks is taken from the others.
    """
    weights = [_FIXED + _EACH * n for n in operands]
    excess = sum(seconds) - run_s
    if excess <= 0:
        return [0.0] * len(weights)
    low, high = 0.0, max((s / w for s, w in zip(seconds, weights, strict=True)), default=0.0)
    for _ in range(60):  # bisection down to the last bit
        middle = (low + high) / 2
        taken = sum(min(middle * w, s) for s, w in zip(seconds, weights, strict=True))
        low, high = (middle, high) if taken < excess else (low, middle)
    return [min(high * w, s) for s, w in zip(seconds, weights, strict=True)]


def _runs(events: Iterable[Mapping[str, Any]]) -> list[list[tuple[_Event, float]]]:
    """Kernels with their seconds, by run: a run ends with the event that says so."""
    runs: list[list[tuple[_Event, float]]] = []
    current: list[tuple[int, _Event, float]] = []
    for event in events:
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith(_KERNEL):
            if event.get("args", {}).get("op_name") in _BODIES:
                continue
            current.append((event.get("ts", 0), _event(event), event.get("dur", 0) * _MICRO))
        elif event.get("name") == "model_run":
            runs.append([(e, s) for _, e, s in sorted(current, key=lambda c: c[0])])
            current = []
    return [run for run in runs if run]


def _event(event: Mapping[str, Any]) -> _Event:
    told = event.get("args", {})
    inputs, outputs = _shapes(told.get("input_type_shape")), _shapes(told.get("output_type_shape"))
    name = str(event["name"]).removesuffix(_KERNEL)
    return _Event(name, str(told.get("op_name", "")), len(inputs) + len(outputs), inputs, outputs)


def _shapes(told: Any) -> tuple[str, ...]:
    """[{"float": [1, 3]}] -> ("float 1x3",)."""
    if not isinstance(told, list):
        return ()
    return tuple(f"{t} {'x'.join(map(str, s))}".strip() for one in told for t, s in one.items())
