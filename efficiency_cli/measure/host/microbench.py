"""Times the cases of the grid: in shuffled passes, each beside a reference product that a busy machine slows as well.

A case is run twice in turn: after the nearest cache was filled with something else (in a network that is larger than
the cache, weights come from further out), and at once again (a small network stays in it). Of all runs a low quantile
counts, because what disturbs a run only makes it longer.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from efficiency_cli.graph.assemble import WEIGHTS, Assembled
from efficiency_cli.measure.host.grid import cases
from efficiency_cli.measure.host.grid.case import Case
from efficiency_cli.measure.host.inputs import inputs_of
from efficiency_cli.measure.host.machine import free_bytes
from efficiency_cli.measure.host.session import Session, Settings
from efficiency_cli.measure.host.timing import quantile
from efficiency_cli.measure.host.weights import Absent, random_files

# passes over the grid, and runs of a case in each
PASSES, QUICK_PASSES = 3, 2
RUNS = 9
_LONG_CASE_S = 0.02
_FEWEST_RUNS = 4
# of all times of a case
_QUANTILE = 0.2
# a reference of this size (2 · n³ operations) takes about 0.2 ms on one core, and is made every so often
REFERENCE = 256
_REFERENCE_EVERY_S = 0.25
_REFERENCE_RUNS = 3
# what is written over between runs, as many times the second-level cache
_EVICTED = 2
_DEFAULT_L2 = 2 << 20
_MOST_WEIGHTS = 1 << 30
# weights of a case may be so much of the memory that is free: onnxruntime packs a copy
_OF_FREE = 0.2


class Timing(Struct, frozen=True):
    """One pass of one case: low quantiles of its seconds from far and from near, and the reference's beside it."""

    name: str
    far_s: float
    near_s: float
    reference_s: float


# called with how many of how many timings there are
Progress = Callable[[int, int], None]


class Bench:
    """Runs cases on `threads` threads."""

    def __init__(self, threads: int, l2_bytes: int = 0) -> None:
        self.settings = Settings(threads=threads)
        size = _EVICTED * (l2_bytes or _DEFAULT_L2)
        self.evictor = np.zeros(size // 8, np.float64)
        self.product = self._reference()
        self.reference_at = -_REFERENCE_EVERY_S
        self.reference_s = 0.0

    def _reference(self) -> Callable[[], object]:
        from efficiency_cli.measure.host.builder import Builder

        b = Builder()
        x = b.input(REFERENCE, REFERENCE)
        # on one thread: the workers of a case spin on after its last run, and would be in the way of others
        return self.runner(b.built(b.dense(x, REFERENCE, bias=False)), Settings(threads=1))

    def runner(self, case: Assembled, settings: Settings | None = None) -> Callable[[], object]:
        weights = [
            Absent(w.name, WEIGHTS, case.places[w.name], w.size, w.dims, w.dtype) for w in case.weights if w.size
        ]
        files: Mapping[str, Any] = random_files(weights, case.model, most_bytes=_MOST_WEIGHTS) if weights else {}
        session = Session(case.data, settings or self.settings, files=files, name="a case of the micro-benchmark")
        return session.runner(inputs_of(case.model))

    def evict(self) -> None:
        self.evictor += 1.0

    def reference(self) -> float:
        """Seconds of the reference now; measured again where the last time is a while ago."""
        if time.perf_counter() - self.reference_at > _REFERENCE_EVERY_S:
            self.reference_s = min(_seconds(self.product) for _ in range(_REFERENCE_RUNS))
            self.reference_at = time.perf_counter()
        return self.reference_s

    def timed(self, case: Case) -> Timing | None:
        """One pass of one case; None where its weights are too much for this machine."""
        made = case.make()
        if sum(w.size for w in made.weights) > _OF_FREE * free_bytes():
            return None
        run = self.runner(made)
        self.evict()
        first = _seconds(run)
        before = self.reference()
        count = RUNS if first < _LONG_CASE_S else _FEWEST_RUNS
        far, near = [], []
        for _ in range(count):
            self.evict()
            far.append(_seconds(run))
            near.append(_seconds(run))
        self.reference_at = -_REFERENCE_EVERY_S if first >= _LONG_CASE_S else self.reference_at
        reference = (before + self.reference()) / 2
        return Timing(case.name, quantile(far, _QUANTILE), quantile(near, _QUANTILE), reference)


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def order(names: Sequence[Case], done: Mapping[str, int], passes: int) -> list[Case]:
    """What is left to time: every pass shuffled in an order of its own, always the same."""
    left: list[Case] = []
    for k in range(passes):
        shuffled = list(names)
        random.Random(k).shuffle(shuffled)
        left += [c for c in shuffled if done.get(c.name, 0) <= k]
    return left


def bench(
    bench_: Bench,
    *,
    keep: Callable[[Timing], None],
    quick: bool = False,
    done: Iterable[Timing] = (),
    progress: Progress | None = None,
) -> None:
    """Times the grid; `keep` is given each timing, `done` are those of an earlier run. Ctrl-C is raised."""
    counted = Counter(timing.name for timing in done)
    grid = cases(quick)
    passes = QUICK_PASSES if quick else PASSES
    left = order(grid, counted, passes)
    for k, case in enumerate(left):
        timing = bench_.timed(case)
        if timing is not None:
            keep(timing)
        if progress is not None:
            progress(len(grid) * passes - len(left) + k + 1, len(grid) * passes)


def steady(timings: Iterable[Timing]) -> dict[str, tuple[float, float]]:
    """Seconds of each case (from far, from near) on a machine as quick as it ever was.

    Times are multiplied by the reference's best over its time beside the case. Of several passes the second-best
    counts, the only one where there is one.
    """
    timings = list(timings)
    best = quantile([t.reference_s for t in timings], 0.05)
    far: dict[str, list[float]] = {}
    near: dict[str, list[float]] = {}
    for t in timings:
        quick = min(1.0, best / t.reference_s)
        far.setdefault(t.name, []).append(t.far_s * quick)
        near.setdefault(t.name, []).append(t.near_s * quick)
    return {name: (_second(far[name]), _second(near[name])) for name in far}


def _second(values: Sequence[float]) -> float:
    return sorted(values)[min(1, len(values) - 1)]
