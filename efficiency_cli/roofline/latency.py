"""Kernel + machine -> time: how long computing and moving take, which of them binds, and why.

    compute_s = operations / (peak(type) · efficiency(class))
    memory_s  = Σ_level bytes_level / (bandwidth_level · efficiency(memory))
    time      = max(compute_s, memory_s) + (1 − overlap) · min(compute_s, memory_s) + dispatch_s

`bound` is the textbook roofline, max(operations/peak, Σ bytes/bandwidth): no direct algorithm is faster.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from efficiency_cli.hardware.profile import DEFAULT_INTERVAL, MemoryLevel, Profile, Runtime
from efficiency_cli.roofline.network import Kernel

# what a kernel without a type of its own (moving strings, say) is timed as
DEFAULT_DTYPE = "float32"


class Times(Struct, frozen=True):
    """Seconds: the textbook bound, and the expected time in its 80 % interval."""

    bound_s: float
    lower_s: float
    expected_s: float
    upper_s: float


class KernelTime(Struct, frozen=True):
    """A kernel's time in seconds, all its repeats together.

    `bound_by` is what takes most of it: compute, memory or overhead. `margin` is by how much the winner
    of compute and memory wins (≥ 1; inf when the other is nothing). `weight_level` and
    `activation_level` say where its bytes come from.
    """

    kernel: Kernel
    times: Times
    compute_s: float
    memory_s: float
    overhead_s: float
    bound_by: str
    margin: float
    weight_level: str
    activation_level: str
    weight_s: float
    activation_s: float
    dtype: str
    peak_dtype: str


class Machine(Struct, frozen=True):
    """A profile with the runtime and the overlap that were chosen."""

    profile: Profile
    runtime: Runtime
    overlap: float

    @staticmethod
    def of(profile: Profile, runtime: str | None = None, overlap: float | None = None) -> Machine:
        """The profile's default runtime and that runtime's overlap, unless given.

        Raises ProfileError for an unknown runtime.
        """
        chosen = profile.runtime(runtime)
        return Machine(profile, chosen, chosen.overlap_fraction if overlap is None else overlap)


def outside_calibration(machine: Machine, dtype: str) -> bool:
    """Whether the runtime was calibrated on networks of another data type than `dtype`."""
    runtime = machine.runtime
    return runtime.grade != "datasheet" and bool(dtype and runtime.dtype) and dtype != runtime.dtype


class Timer:
    """Times kernels of one network on one machine; what they share is looked up once."""

    def __init__(self, machine: Machine, weight_bytes: int, dtype: str = "") -> None:
        """`weight_bytes` of the whole network, `dtype` the type most of its operations run in."""
        profile, runtime = machine.profile, machine.runtime
        self.machine = machine
        self.weight_level = _weight_level(profile.memory, weight_bytes)
        self.levels = [m for m in profile.memory if "activations" in m.holds] or list(profile.memory[-1:])
        self.bandwidth_share = runtime.efficiency_of("memory")
        self.low, self.high = runtime.interval_factors
        if outside_calibration(machine, dtype):
            self.low, self.high = min(self.low, DEFAULT_INTERVAL[0]), max(self.high, DEFAULT_INTERVAL[1])
        self._peaks: dict[tuple[str, str], tuple[float, str]] = {}

    def time(self, kernel: Kernel) -> KernelTime:
        """The kernel's time; see the module's docstring."""
        runtime = self.machine.runtime
        dtype = kernel.dtype.value if kernel.dtype else DEFAULT_DTYPE
        peak, peak_dtype = self._peak(dtype, kernel.unit)
        level = self._activation_level(kernel)
        ideal_compute = kernel.ops / peak
        weight_s = kernel.weight_bytes / self.weight_level.bytes_per_s
        activation_s = (kernel.read_bytes + kernel.written_bytes) / level.bytes_per_s
        bound = max(ideal_compute, weight_s + activation_s)
        compute_s = ideal_compute / runtime.efficiency_of(kernel.op_class)
        memory_s = (weight_s + activation_s) / self.bandwidth_share
        overhead_s = runtime.kernel_s * kernel.repeat
        winner, loser = max(compute_s, memory_s), min(compute_s, memory_s)
        expected = winner + (1 - self.machine.overlap) * loser + overhead_s
        return KernelTime(
            kernel=kernel,
            times=self.interval(bound, expected),
            compute_s=compute_s,
            memory_s=memory_s,
            overhead_s=overhead_s,
            bound_by=_bound_by(compute_s, memory_s, overhead_s),
            margin=winner / loser if loser else float("inf"),
            weight_level=self.weight_level.name if kernel.weight_bytes else "",
            activation_level=level.name,
            weight_s=weight_s / self.bandwidth_share,
            activation_s=activation_s / self.bandwidth_share,
            dtype=dtype,
            peak_dtype=peak_dtype,
        )

    def total(self, kernels: Sequence[KernelTime]) -> Times:
        """One run: all kernels and what starting it costs."""
        bound = sum(k.times.bound_s for k in kernels)
        expected = sum(k.times.expected_s for k in kernels) + self.machine.runtime.run_s
        return self.interval(bound, expected)

    def interval(self, bound: float, expected: float) -> Times:
        """bound ≤ lower ≤ expected ≤ upper, by the runtime's factors on the expected time."""
        # an efficiency of 1 leaves expected = bound up to rounding
        expected = max(expected, bound)
        return Times(bound, max(bound, expected * self.low), expected, expected * self.high)

    def _peak(self, dtype: str, unit: str) -> tuple[float, str]:
        key = (dtype, unit)
        if key not in self._peaks:
            self._peaks[key] = self.machine.profile.peak(dtype, unit)
        return self._peaks[key]

    def _activation_level(self, kernel: Kernel) -> MemoryLevel:
        """The nearest level that holds what the kernel works on in one run."""
        working_set = (kernel.read_bytes + kernel.written_bytes) // kernel.repeat if kernel.repeat else 0
        for level in self.levels:
            shared = kernel.weight_bytes // kernel.repeat if "weights" in level.holds and kernel.repeat else 0
            if level.size_bytes is None or working_set + shared <= level.size_bytes:
                return level
        return self.levels[-1]


def _weight_level(levels: Sequence[MemoryLevel], weight_bytes: int) -> MemoryLevel:
    """The nearest level that holds all weights, where they stay between runs; else the last one for weights."""
    holding = [m for m in levels if "weights" in m.holds] or list(levels[-1:])
    return next((m for m in holding if m.size_bytes is None or weight_bytes <= m.size_bytes), holding[-1])


def _bound_by(compute_s: float, memory_s: float, overhead_s: float) -> str:
    if overhead_s > max(compute_s, memory_s):
        return "overhead"
    return "compute" if compute_s >= memory_s and compute_s else "memory"
