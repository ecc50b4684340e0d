"""Kernel + machine -> time: how long computing and moving take, which of them binds, and why.

    compute_s  = scale · (operations − skipped ones) / (peak(type) · efficiency(class) · tile use · size use)
    memory_s   = scale · Σ_level bytes_level / (bandwidth_level · share of it that the class reaches)
    dispatch_s = scale · what a kernel of the class costs to start
    time       = max(compute_s, memory_s) + (1 − overlap) · min(compute_s, memory_s) + dispatch_s

The overlap is the runtime's. Where levels have their own, a kernel's is their mean, by the seconds that each takes.

`bound` is the textbook roofline, max(operations/peak, Σ bytes/bandwidth): no direct algorithm is faster. Where data
decide a size, and the counts are for the largest, `bound` is nothing and `lower` what the kernel costs to start.
Skipped are the products with all-zero channels, on a runtime that drops those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from efficiency_cli.graph.model import OpClass
from efficiency_cli.hardware.kinds import UNBLOCKED, WIDER, kinds_of
from efficiency_cli.hardware.profile import DEFAULT_INTERVAL, HalfSize, MemoryLevel, Profile, Runtime
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
    `activation_level` say where its bytes come from; of its activations `spilled_bytes` are in
    `spill_level` instead, because the nearer one is full. What it reads again each step comes from
    `reread_level`, where the nearest cache does not keep it. `overlap` is the mean of those of its weights and of
    its activations.
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
    tile_use: float = 1.0
    size_use: float = 1.0
    spilled_bytes: int = 0
    spill_level: str = ""
    skipped_ops: int = 0
    reread_level: str = ""
    overlap: float = 1.0
    weight_overlap: float = 1.0
    activation_overlap: float = 1.0


class Machine(Struct, frozen=True):
    """A profile with the runtime and the overlap that were chosen.

    `overlaps` are those of memory levels that have their own, none where the user has given one for all.
    """

    profile: Profile
    runtime: Runtime
    overlap: float
    overlaps: Mapping[str, float]

    @staticmethod
    def of(profile: Profile, runtime: str | None = None, overlap: float | None = None) -> Machine:
        """The profile's default runtime and that runtime's overlap, unless given.

        Raises ProfileError for an unknown runtime.
        """
        chosen = profile.runtime(runtime)
        if overlap is not None:
            return Machine(profile, chosen, overlap, {})
        own = {m.name: m.overlap.value for m in profile.memory if m.overlap is not None}
        return Machine(profile, chosen, chosen.overlap_fraction, own)


def outside_calibration(machine: Machine, dtype: str) -> bool:
    """Whether the runtime was calibrated on networks of another data type than `dtype`."""
    runtime = machine.runtime
    return runtime.is_fitted and bool(dtype and runtime.dtype) and dtype != runtime.dtype


def is_unblocked(kernel: Kernel, runtime: Runtime) -> bool:
    """Whether a convolution cannot run in the runtime's blocked layout.

    Its weights are no constants, or it is depthwise or grouped and its channels do not fill whole blocks.
    """
    block, product = runtime.channel_block, kernel.product
    if block is None or product is None:
        return False
    kind = WIDER.get(kernel.variant, kernel.variant) or kernel.op_class.value
    if f"unblocked-{kind}" not in UNBLOCKED:
        return False
    if not kernel.weight_bytes:
        return True
    if kernel.op_class is OpClass.DEPTHWISE:
        return bool(product.count * product.n % block.value)
    return kernel.variant == "grouped" and bool(product.n % block.value or product.k % block.value)


class Timer:
    """Times kernels of one network on one machine; what they share is looked up once."""

    def __init__(self, machine: Machine, weight_bytes: int, dtype: str = "", read_bytes: int | None = None) -> None:
        """`weight_bytes` of the whole network, of which a run reads `read_bytes` (all unless given).

        `dtype` is the type that most of its operations run in.
        """
        profile, runtime = machine.profile, machine.runtime
        self.machine = machine
        self.weights_kept = weight_bytes, min(weight_bytes, read_bytes or weight_bytes)
        self.weight_parts = _resident(profile, *self.weights_kept)
        self.weight_level = self.weight_parts[0][0]
        self.weight_cost = sum(cost for _, cost in self.weight_parts)
        self.scale = runtime.scale_factor
        self.levels = [m for m in profile.memory if "activations" in m.holds] or list(profile.memory[-1:])
        # each level, its size, whether it is a cache and holds weights as well, and the home without a spill
        self._homes = [(m, m.size_bytes, profile.is_cache(m), "weights" in m.holds, _Home(m)) for m in self.levels]
        self.low, self.high = runtime.interval_factors
        if outside_calibration(machine, dtype):
            self.low, self.high = min(self.low, DEFAULT_INTERVAL[0]), max(self.high, DEFAULT_INTERVAL[1])
        self._peaks: dict[tuple[str, str], tuple[float, str]] = {}
        self._shares: dict[tuple[str, str, str, str, bool, bool], _Shares] = {}

    def time(self, kernel: Kernel, live_bytes: int = 0, skipped_ops: int = 0) -> KernelTime:
        """The kernel's time while `live_bytes` of activations are alive; see the module's docstring."""
        scale = self.scale
        dtype = kernel.dtype.value if kernel.dtype else DEFAULT_DTYPE
        op_class = kernel.op_class.value
        shares = self.shares(kernel, dtype)
        share = shares.traffic
        peak, peak_dtype = self._peak(dtype, kernel.unit)
        use = self._tile_use(kernel, op_class)
        home = self._home(kernel, live_bytes)
        ideal_compute, moved = (kernel.ops - skipped_ops) / peak, kernel.read_bytes + kernel.written_bytes
        weight_s = kernel.weight_bytes * self.weight_cost
        reread = self._reread(kernel)
        activation_s = (moved - home.spilled_bytes) / home.level.bytes_per_s + home.spilled_bytes * home.spill_cost
        bound = max(ideal_compute, weight_s + moved / home.level.bytes_per_s)
        size_use = _size_use(kernel, shares.half_size)
        compute_s = scale * ideal_compute / (shares.compute * use * size_use)
        overlap, of_weights, of_activations = self._overlaps(kernel, home, reread)
        weight_s += reread.seconds
        memory_s = scale * (weight_s + activation_s) / share
        overhead_s = scale * shares.overhead_s * kernel.repeat
        winner, loser = max(compute_s, memory_s), min(compute_s, memory_s)
        expected = winner + (1 - overlap) * loser + overhead_s
        return KernelTime(
            kernel=kernel,
            times=self.interval(bound, expected) if not kernel.at_most else self.interval(0.0, expected, overhead_s),
            compute_s=compute_s,
            memory_s=memory_s,
            overhead_s=overhead_s,
            bound_by=_bound_by(compute_s, memory_s, overhead_s),
            margin=winner / loser if loser else float("inf"),
            weight_level=self.weight_level.name if kernel.weight_bytes else "",
            activation_level=home.level.name,
            weight_s=scale * weight_s / share,
            activation_s=scale * activation_s / share,
            dtype=dtype,
            peak_dtype=peak_dtype,
            tile_use=use,
            size_use=size_use,
            spilled_bytes=home.spilled_bytes,
            spill_level=home.spill_level,
            skipped_ops=skipped_ops,
            reread_level=reread.level,
            overlap=overlap,
            weight_overlap=of_weights,
            activation_overlap=of_activations,
        )

    def _overlaps(self, kernel: Kernel, home: _Home, reread: _Reread) -> tuple[float, float, float]:
        """Of all that the kernel moves, of its weights, of its activations."""
        usual, own = self.machine.overlap, self.machine.overlaps
        if not own:
            return usual, usual, usual
        moved = kernel.read_bytes + kernel.written_bytes - home.spilled_bytes
        weights = [(level.name, kernel.weight_bytes * cost) for level, cost in self.weight_parts]
        weights.append((reread.level, reread.seconds))
        activations = [(home.level.name, moved / home.level.bytes_per_s)]
        activations.append((home.spill_level, home.spilled_bytes * home.spill_cost))

        def mean(parts: Sequence[tuple[str, float]]) -> float:
            each = [(own.get(level, usual), seconds) for level, seconds in parts if seconds]
            if len({overlap for overlap, _ in each}) <= 1:
                return each[0][0] if each else usual
            return sum(overlap * seconds for overlap, seconds in each) / sum(seconds for _, seconds in each)

        return mean([*weights, *activations]), mean(weights), mean(activations)

    def total(self, kernels: Sequence[KernelTime]) -> Times:
        """One run: all kernels and what starting it costs."""
        bound = sum(k.times.bound_s for k in kernels)
        expected = sum(k.times.expected_s for k in kernels) + self.scale * self.machine.runtime.run_s
        left_open = open_s(kernels)
        return self.interval(bound, expected, expected - left_open if left_open else None)

    def interval(self, bound: float, expected: float, least: float | None = None) -> Times:
        """bound ≤ lower ≤ expected ≤ upper, by the runtime's factors on the expected time.

        `least` of the expected time are taken whatever the data; all of it unless given.
        """
        # an efficiency of 1 leaves expected = bound up to rounding; a scale below 1 may leave it under the bound
        expected = max(expected, bound)
        lower = (expected if least is None else least) * self.low
        return Times(bound, max(bound, lower), expected, expected * self.high)

    def _peak(self, dtype: str, unit: str) -> tuple[float, str]:
        key = (dtype, unit)
        if key not in self._peaks:
            self._peaks[key] = self.machine.profile.peak(dtype, unit)
        return self._peaks[key]

    def shares(self, kernel: Kernel, dtype: str) -> _Shares:
        """What the runtime reaches with kernels of this kind."""
        key = (
            kernel.op_class.value,
            kernel.variant,
            kernel.operator,
            dtype,
            is_unblocked(kernel, self.machine.runtime),
            kernel.unsigned,
        )
        if key not in self._shares:
            runtime, kinds = self.machine.runtime, kinds_of(*key)
            self._shares[key] = _Shares(
                runtime.compute_share(kinds),
                runtime.traffic_share(kinds),
                runtime.overhead_of(kinds),
                runtime.half_size_of(kinds),
            )
        return self._shares[key]

    def _tile_use(self, kernel: Kernel, op_class: str) -> float:
        tile = self.machine.runtime.tile_of(op_class, kernel.variant)
        if tile is None or kernel.product is None:
            return 1.0
        return tile.utilization(kernel.product.m, kernel.product.n, kernel.product.k)

    def _reread(self, kernel: Kernel) -> _Reread:
        """What is read again each step costs nothing where the nearest cache keeps it, nor on a managed memory."""
        reread, (_, size, cached, *_) = kernel.reread, self._homes[0]
        if reread is None or size is None or reread.bytes <= size or not cached:
            return _NOT_REREAD
        fitting = (m for m in self.levels[1:] if m.size_bytes is None or reread.bytes <= m.size_bytes)
        level = next(fitting, self.levels[-1])
        return _Reread(reread.bytes * reread.times * kernel.repeat / level.bytes_per_s, level.name)

    def _home(self, kernel: Kernel, live_bytes: int) -> _Home:
        """Where the activations are: the nearest level with room for them, and what of them spills over.

        A cache holds all that the kernel works on in one run, or is passed over. A memory holds what is alive
        up to its size; the rest, at most what the kernel touches, is in the next level.
        """
        repeat = kernel.repeat or 1
        touched = kernel.read_bytes + kernel.written_bytes
        for k, (level, size, cached, with_weights, home) in enumerate(self._homes):
            if size is None or k == len(self._homes) - 1:
                return home
            if not cached:
                over = max(live_bytes - int(size), 0)
                spilled = min(over, touched // repeat) * repeat
                below = self.levels[k + 1]
                return _Home(level, spilled, 1 / below.bytes_per_s, below.name) if spilled else home
            shared = kernel.weight_bytes // repeat if with_weights else 0
            if touched // repeat + shared <= size:
                return home
        return self._homes[-1][-1]


def open_s(kernels: Sequence[KernelTime]) -> float:
    """The seconds of the expected time for what data decide the size of: it may be less, down to nothing."""
    return sum(k.times.expected_s - k.overhead_s for k in kernels if k.kernel.at_most)


class _Reread(Struct, frozen=True):
    """Seconds of reading constants again, from a level that is not the nearest."""

    seconds: float = 0.0
    level: str = ""


_NOT_REREAD = _Reread()


class _Shares(Struct, frozen=True):
    """Fractions of the peak and of the bandwidths, what a kernel costs to start, and when it is half as fast."""

    compute: float
    traffic: float
    overhead_s: float
    half_size: HalfSize | None


class _Home(Struct, frozen=True):
    """The level of a kernel's activations; `spilled_bytes` of them are a level further out, at `spill_cost` s/B."""

    level: MemoryLevel
    spilled_bytes: int = 0
    spill_cost: float = 0.0
    spill_level: str = ""


def _size_use(kernel: Kernel, half: HalfSize | None) -> float:
    product = kernel.product
    return 1.0 if half is None or product is None else half.utilization(product.m, product.n, product.k)


def _resident(profile: Profile, weight_bytes: int, read_bytes: int) -> list[tuple[MemoryLevel, float]]:
    """The levels the weights are in between runs, nearest first, and the seconds that a byte of them takes in each.

    A cache that cannot hold all that a run reads holds nothing of it when the next run asks again; a memory keeps
    what fits, and the rest comes from the next level.
    """
    holding = [m for m in profile.memory if "weights" in m.holds] or list(profile.memory[-1:])
    for level, below in pairwise(holding):
        size = level.size_bytes
        if size is None or (read_bytes if profile.is_cache(level) else weight_bytes) <= size:
            return [(level, 1 / level.bytes_per_s)]
        if not profile.is_cache(level):
            kept = size / weight_bytes
            return [(level, kept / level.bytes_per_s), (below, (1 - kept) / below.bytes_per_s)]
    return [(holding[-1], 1 / holding[-1].bytes_per_s)]


def _bound_by(compute_s: float, memory_s: float, overhead_s: float) -> str:
    if overhead_s > max(compute_s, memory_s):
        return "overhead"
    return "compute" if compute_s >= memory_s and compute_s else "memory"
