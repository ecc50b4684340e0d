"""A measurement beside the terms of its estimate: what a fit sees of a network on a machine.

The terms are those of `roofline.latency`, kernel by kernel, as the profile has them; a fit multiplies them.
`Stack` holds many cases in flat arrays, to do so for all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.hardware.kinds import OP_CLASSES
from efficiency_cli.measure.place import Placed
from efficiency_cli.roofline.estimate import Estimate

# what a fit may change beside the scale of everything; dense work is what the others are measured against
RATIOS = ("depthwise", "attention", "recurrent", "vector", "memory", "kernel", "run")
# columns of all that follows: dense work first, then the ratios
COLUMNS = 1 + len(RATIOS)
MEMORY, KERNEL, RUN = (1 + RATIOS.index(name) for name in ("memory", "kernel", "run"))
# whole networks do not tell these apart
VECTOR = ("elementwise", "pooling", "normalization", "softmax", "movement")
CLASSES = {name: (name,) for name in ("depthwise", "attention", "recurrent")} | {"vector": VECTOR}
_COLUMN = dict.fromkeys(OP_CLASSES, 0) | {c: 1 + RATIOS.index(r) for r, classes in CLASSES.items() for c in classes}

Array = np.ndarray


class Case(Struct, frozen=True):
    """One measurement: seconds measured, and those of each kernel's parts as the profile has them.

    `overlap`, `compute_s`, `memory_s` and `overhead_s` are by kernel, `column` is what its computing belongs to.
    `group` (profile, runtime) shares a scale, and so do boards with what they stand on; `share` (a runtime
    and those that stand on it) the ratios. `memory_share` is the fraction of the bandwidth that `memory_s`
    stands for, `scale` the runtime's factor that is in all times, `fitted` whether the profile's numbers are
    from measurements.
    """

    placed: Placed
    group: tuple[str, str]
    share: str
    measured_s: float
    overlap: Array
    compute_s: Array
    memory_s: Array
    overhead_s: Array
    column: Array
    run_s: float
    memory_share: float
    scale: float
    fitted: bool

    @property
    def family(self) -> str:
        return self.placed.run.family

    @property
    def at_bandwidth(self) -> Case:
        """With memory at its whole bandwidth: what a data sheet says without any measurement."""
        return replace(self, memory_s=self.memory_s * self.memory_share / self.scale, memory_share=1.0)


def case_of(placed: Placed, estimate: Estimate) -> Case:
    """What a fit needs of an estimate of `placed`, which must have a machine."""
    machine, times = estimate.machine, estimate.times
    if machine is None:
        raise ValueError("an estimate without a machine has no times")
    runtime = machine.runtime
    return Case(
        placed=placed,
        group=(placed.profile.base or placed.profile.id, runtime.id),
        share=runtime.base or runtime.id,
        measured_s=placed.run.measured_s,
        overlap=np.array([t.overlap for t in times]),
        compute_s=np.array([t.compute_s for t in times]),
        memory_s=np.array([t.memory_s for t in times]),
        overhead_s=np.array([t.overhead_s for t in times]),
        column=np.array([_COLUMN[t.kernel.op_class.value] for t in times], dtype=np.int64),
        run_s=runtime.scale_factor * runtime.run_s,
        memory_share=runtime.efficiency_of("memory"),
        scale=runtime.scale_factor,
        fitted=runtime.is_fitted,
    )


def without_repeats(cases: Sequence[Case]) -> list[Case]:
    """Each measurement once: the same network, machine and runtime with the same time to the digit is a log that
    was published again.
    """
    seen: dict[tuple[object, ...], Case] = {}
    for case in cases:
        run = case.placed.run
        seen.setdefault((run.path, run.device, run.clock_hz, case.group, run.measured_s), case)
    return list(seen.values())


class Stack:
    """Many cases in flat arrays: `parts` multiplies and adds them up."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.count = len(cases)
        sizes = [len(c.compute_s) for c in cases]
        self.case = np.repeat(np.arange(self.count), sizes)
        self.compute = _joined([c.compute_s for c in cases])
        self.memory = _joined([c.memory_s for c in cases])
        self.column = _joined([c.column for c in cases]).astype(np.int64)
        self.hidden = 1 - _joined([c.overlap for c in cases])
        self.overhead = np.array([c.overhead_s.sum() for c in cases])
        self.run = np.array([c.run_s for c in cases])

    def parts(self, factors: Array) -> Array:
        """Seconds of each case (rows) by column, those of the profile multiplied by `factors` of the same shape.

        What computing and moving overlap goes to the longer one; the sum of a row is its time.
        """
        compute = self.compute * factors[self.case, self.column]
        memory = self.memory * factors[self.case, MEMORY]
        longer = compute >= memory
        compute = compute * np.where(longer, 1.0, self.hidden)
        memory = memory * np.where(longer, self.hidden, 1.0)
        flat = np.bincount(self.case * COLUMNS + self.column, weights=compute, minlength=self.count * COLUMNS)
        parts = flat.reshape(self.count, COLUMNS)
        parts[:, MEMORY] += np.bincount(self.case, weights=memory, minlength=self.count)
        parts[:, KERNEL] += self.overhead * factors[:, KERNEL]
        parts[:, RUN] += self.run * factors[:, RUN]
        return parts


def _joined(arrays: Sequence[Array]) -> Array:
    return np.concatenate(arrays) if arrays else np.zeros(0)
