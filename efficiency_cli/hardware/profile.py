"""A machine: compute peaks, memory levels, runtimes and energy, each number with where it is from.

These structs are the profile format: the annotations say what a YAML may hold, the properties
give the numbers the time model needs, in SI base units. One MAC is two operations everywhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any

from msgspec import Struct, field

from efficiency_cli.errors import ProfileError, did_you_mean
from efficiency_cli.graph.patterns import PATTERNS, SETS
from efficiency_cli.hardware.fields import Given, Key, KeyedBy, Measure, OneOf
from efficiency_cli.hardware.kinds import (
    CLASS_KEYS,
    DTYPES,
    EFFICIENCY_KEYS,
    FLOAT_BITS,
    INTEGER_BITS,
    KIND_PATTERN,
    SAME_PEAK,
    first_of,
    widening,
)

SCHEMA_VERSION = "1"

CLASSES = ("mcu", "cpu", "gpu", "npu")
KINDS = ("datasheet", "measured", "derived", "calibrated")
GRADES = ("datasheet", "derived", "calibrated", "measured")
# grades whose times rest on measurements of this machine with this runtime
FITTED = ("calibrated", "measured")
HOLDS = ("weights", "activations")
LEVEL_KINDS = ("memory", "cache")
# which results may lie over operands (`roofline.memory.policy`), each including those before
OVERWRITES = ("none", "elementwise", "depthwise", "overlap")
CONSTANTS = ("packed", "unpacked")
SKIPS = ("none", "zero-channels", "padding")
# machines whose memories are filled by the software, tensor by tensor, unless a level says otherwise
MANAGED_CLASSES = ("mcu", "npu")
FUSIONS = (*PATTERNS, *SETS)
# Factors on the expected time where a profile gives none. The software stacks published for one
# board and one network differ by 4.3 times (165 to 704 ms: MLPerf Tiny, Cortex-M4 at 120 MHz).
DEFAULT_INTERVAL = (0.5, 4.3)
# And on energy at the expected time:
# a figure from a data sheet is a limit, which most runs stay below: decoding draws 137 to 300 W on an
# H200 of 700 W (The Illusion of Power Capping in LLM Decode, 2026)
LIMIT_POWER_INTERVAL = (0.2, 1.0)
# a power measured on one chip, for others with its core: 0.67 to 2.3 times an STM32U575's at the same
# clock on two chips with a Cortex-M33 (MLPerf Tiny v0.7 and v1.0: EFR32xG24, RA6M4)
CHIP_POWER_INTERVAL = (0.67, 2.3)
# energies of single acts: of another process. From 45 nm (Horowitz, ISSCC 2014) to 7 nm they fall by 1.3
# (a small SRAM) to 7 times (a large one), arithmetic by 3 (Jouppi et al., ISCA 2021, table 2)
ACTS_INTERVAL = (1 / 3, 3.0)


class Quantity(Struct, frozen=True):
    """A number in SI base units, as written, and where it is from."""

    value: float
    text: str
    source: str
    kind: str
    note: str = ""


DType = Annotated[str, OneOf(DTYPES)]
Rate = Annotated[Quantity, Measure("rate", positive=True)]
Bandwidth = Annotated[Quantity, Measure("bandwidth", positive=True)]
Capacity = Annotated[Quantity, Measure("bytes", positive=True)]
Duration = Annotated[Quantity, Measure("time")]
Fraction = Annotated[Quantity, Measure("fraction", most=1)]
Count = Annotated[Quantity, Measure("count", positive=True)]
Efficiency = Annotated[Quantity, Measure("fraction", positive=True, most=1)]
Size = Annotated[Quantity, Measure("fraction")]


class Peaks(Struct, frozen=True):
    """The peaks of one data type."""

    matrix: Annotated[Rate, "multiply-accumulate work; dense, one MAC = 2 OP"]
    vector: Annotated[Rate | None, "everything else, one primitive operation = 1 OP"] = None

    def of(self, unit: str) -> Quantity | None:
        return self.matrix if unit == "matrix" else self.vector


class MemoryLevel(Struct, frozen=True):
    """One level of the memory, nearest first."""

    name: Annotated[str, Given()]
    bandwidth: Annotated[Bandwidth, "sustained by the machine as used"]
    holds: Annotated[tuple[Annotated[str, OneOf(HOLDS)], ...], "what may live here while a network runs"]
    size: Annotated[Capacity | None, "left out when there is no bound"] = None
    port: Annotated[Bandwidth | None, "what the bus to it could carry: width times clock"] = None
    kind: Annotated[
        str,
        OneOf(LEVEL_KINDS),
        "memory: filled by the software, what does not fit spills; cache: holds a working set or does not. "
        "Left out, it is memory on an mcu or npu and cache on a cpu or gpu",
    ] = ""
    overlap: Annotated[
        Fraction | None, "how far computing hides what is read from here; left out, as the runtime says"
    ] = None

    @property
    def size_bytes(self) -> float | None:
        return self.size.value if self.size else None

    @property
    def bytes_per_s(self) -> float:
        return self.bandwidth.value


class Dispatch(Struct, frozen=True):
    """What starting things costs."""

    kernel: Annotated[Duration | None, "each kernel"] = None
    run: Annotated[Duration | None, "each inference"] = None
    classes: Annotated[
        Mapping[Annotated[str, OneOf(CLASS_KEYS, KIND_PATTERN)], Duration],
        "each kernel of a class or operator, instead of `kernel`",
    ] = field(default_factory=dict)


class Tile(Struct, frozen=True):
    """The block that a matrix unit works in: a product of (m, k) by (k, n) is padded up to whole ones.

    A convolution is a product of m = N·Πout positions, n = Cout/g, k = Cin/g·Πtaps.
    """

    m: Annotated[Count | None, "positions or rows at once"] = None
    n: Annotated[Count | None, "output channels or columns at once"] = None
    k: Annotated[Count | None, "products summed at once"] = None

    def utilization(self, m: int, n: int, k: int) -> float:
        """Fraction of the work that is not padding: Π u / (⌈u/p⌉·p)."""
        return _filled(m, self.m) * _filled(n, self.n) * _filled(k, self.k)


def _filled(size: int, block: Quantity | None) -> float:
    return size / (-(-size // block.value) * block.value) if size and block else 1.0


class HalfSize(Struct, frozen=True):
    """Sizes of a product (m, k) by (k, n) at which it reaches half the rate of a large one, as Hockney's n½."""

    m: Annotated[Size | None, "positions or rows"] = None
    n: Annotated[Size | None, "output channels or columns"] = None
    k: Annotated[Size | None, "products summed"] = None

    def utilization(self, m: int, n: int, k: int) -> float:
        """Fraction of the rate of a large product: Π u / (u + u½)."""
        return _started(m, self.m) * _started(n, self.n) * _started(k, self.k)


def _started(size: int, half: Quantity | None) -> float:
    return size / (size + half.value) if size and half else 1.0


class Interval(Struct, frozen=True):
    """Factors on what is expected that bound 80 % of runs."""

    lower: Annotated[Quantity, Measure("fraction", positive=True, most=1), "at most 1"]
    upper: Annotated[Quantity, Measure("fraction", least=1), "at least 1"]


class Calibration(Struct, frozen=True):
    """What a fit of this runtime rests on."""

    measurements: Annotated[float, Measure("count", positive=True), "how many"]
    models: Annotated[float, Measure("count", positive=True), "of how many networks"]
    source: Annotated[str, "which measurements"]
    held_out_error: Annotated[
        float | None, Measure("fraction"), "mean error on families left out of the fit; left out: too few for that"
    ] = None


class PerPart(Struct, frozen=True):
    """Bytes that grow with the network: base + kernel · kernels + channel · channels of weights with a scale each."""

    base: Annotated[Capacity | None, "whatever the network"] = None
    kernel: Annotated[Capacity | None, "each kernel"] = None
    channel: Annotated[Capacity | None, "each scale of a quantised weight"] = None

    def of(self, kernels: int, channels: int) -> float:
        """Bytes for a network of so many kernels and channels."""
        parts = ((self.base, 1), (self.kernel, kernels), (self.channel, channels))
        return sum(part.value * count for part, count in parts if part is not None)


class MemoryUse(Struct, frozen=True):
    """How the runtime uses memory, beyond what is alive when. Activations take factor · arena + offset."""

    overwrites: Annotated[
        str,
        OneOf(OVERWRITES),
        "which results may lie over operands that nobody reads again; each includes those before it",
    ] = OVERWRITES[0]
    apart: Annotated[tuple[Annotated[str, OneOf(CLASS_KEYS)], ...], "classes whose results never do"] = ()
    columns: Annotated[
        Mapping[Annotated[str, OneOf(CLASS_KEYS)], Count],
        "scratch by class, in im2col columns: each holds the operands of one result in 16 bits",
    ] = field(default_factory=dict)
    constants: Annotated[
        str, OneOf(CONSTANTS), "quantised constants that leave the network: as stored, or in the type they leave in"
    ] = CONSTANTS[0]
    alignment: Annotated[Capacity | None, "each buffer begins at a multiple of it"] = None
    factor: Annotated[Quantity | None, Measure("fraction", positive=True), "activations over the planned arena"] = None
    offset: Annotated[Capacity | None, "activations beyond the arena"] = None
    interval: Annotated[Interval | None, "factors on the activations that bound 80 % of networks"] = None
    ram: Annotated[PerPart | None, "RAM of the runtime itself"] = None
    code: Annotated[PerPart | None, "code and tables in flash, beside the weights"] = None
    calibration: Annotated[Calibration | None, "what factor and offset were fitted to"] = None


# every buffer on its own
DEFAULT_MEMORY = MemoryUse()


class Runtime(Struct, frozen=True):
    """A software stack on the machine: how much of the peaks it reaches and what it fuses."""

    id: Annotated[str, Given()]
    name: Annotated[str, "name and version"]
    grade: Annotated[str, OneOf(GRADES), "how far to trust its times"]
    overlap: Annotated[Fraction, "1: compute and data movement overlap perfectly; 0: they add up"]
    base: Annotated[str, "another runtime of this profile: what is not said here is as there"] = ""
    product: Annotated[str, "its name in a table of measurements, where that is not the id"] = ""
    versions: Annotated[tuple[str, ...], "how the versions it stands for begin, in a table of measurements"] = ()
    dtype: Annotated[DType | None, "the type it is meant for"] = None
    scale: Annotated[Quantity | None, Measure("fraction", positive=True), "factor on all its times"] = None
    dispatch: Annotated[Dispatch, "fixed costs"] = Dispatch()
    efficiency: Annotated[
        Mapping[Annotated[str, OneOf(EFFICIENCY_KEYS, KIND_PATTERN)], Efficiency],
        "fraction of the peak reached by each class of operator; a class left out reaches its peak. An operator "
        "(Gelu) has a fraction of its own, and so has a type of a class (int8-gemm; uint8-gemm where the weights are "
        "unsigned)",
    ] = field(default_factory=dict)
    traffic: Annotated[
        Mapping[Annotated[str, OneOf(CLASS_KEYS, KIND_PATTERN)], Efficiency],
        "fraction of the bandwidths that a class or operator reaches, instead of `efficiency.memory`",
    ] = field(default_factory=dict)
    tiles: Annotated[
        Mapping[Annotated[str, OneOf(CLASS_KEYS)], Tile], "classes whose products are padded to whole blocks"
    ] = field(default_factory=dict)
    half_sizes: Annotated[
        Mapping[Annotated[str, OneOf(CLASS_KEYS, KIND_PATTERN)], HalfSize],
        "classes whose small products are slower than large ones: the sizes at which half the rate is reached",
    ] = field(default_factory=dict)
    fusion: Annotated[tuple[Annotated[str, OneOf(FUSIONS)], ...], "what runs as one kernel with its neighbour"] = ()
    channel_block: Annotated[
        Count | None,
        "channels that its layout keeps together: depthwise and grouped convolutions of other numbers of channels, "
        "and convolutions whose weights are no constants, are unblocked-depthwise, unblocked-convolution ...",
    ] = None
    skips: Annotated[
        str,
        OneOf(SKIPS),
        "zero-channels: its converter drops channels whose weights are all zero; padding: convolutions leave out "
        "taps that lie outside their input",
    ] = "none"
    memory: Annotated[MemoryUse | None, "how it uses memory; left out, every buffer has room of its own"] = None
    interval: Annotated[Interval | None, "the 80 % interval around the expected time"] = None
    calibration: Annotated[Calibration | None, "what the numbers were fitted to"] = None

    @property
    def kernel_s(self) -> float:
        """Fixed time of each kernel in seconds."""
        return self.dispatch.kernel.value if self.dispatch.kernel else 0.0

    @property
    def run_s(self) -> float:
        """Fixed time of each inference in seconds."""
        return self.dispatch.run.value if self.dispatch.run else 0.0

    @property
    def overlap_fraction(self) -> float:
        return self.overlap.value

    @property
    def scale_factor(self) -> float:
        """Factor on computing, moving and overheads alike."""
        return self.scale.value if self.scale else 1.0

    @property
    def is_fitted(self) -> bool:
        """Whether its times rest on measurements of this machine."""
        return self.grade in FITTED

    def efficiency_of(self, op_class: str, variant: str = "") -> float:
        """Fraction of the peak (of the bandwidth for "memory"), 1 where the profile says nothing.

        A `variant` of the class that the profile does not tell apart has the class's.
        """
        found = self.efficiency.get(variant) or self.efficiency.get(op_class)
        return found.value if found else 1.0

    def overhead_of(self, kinds: Sequence[str]) -> float:
        """Fixed time in seconds of a kernel that is of these kinds, the finest first (see `kinds_of`)."""
        key = first_of(self.dispatch.classes, kinds)
        return self.dispatch.classes[key].value if key else self.kernel_s

    def compute_share(self, kinds: Sequence[str]) -> float:
        """Fraction of the peak that a kernel of these kinds reaches."""
        key = first_of(self.efficiency, kinds)
        return self.efficiency[key].value if key else 1.0

    def traffic_share(self, kinds: Sequence[str]) -> float:
        """Fraction of the bandwidths that a kernel of these kinds reaches."""
        key = first_of(self.traffic, kinds)
        return self.traffic[key].value if key else self.efficiency_of("memory")

    def tile_of(self, op_class: str, variant: str = "") -> Tile | None:
        if not self.tiles:
            return None
        key = first_of(self.tiles, (*widening(variant), op_class))
        return self.tiles[key] if key else None

    def half_size_of(self, kinds: Sequence[str]) -> HalfSize | None:
        """The sizes at which products of these kinds reach half their rate, where the profile says so."""
        key = first_of(self.half_sizes, kinds)
        return self.half_sizes[key] if key else None

    @property
    def interval_factors(self) -> tuple[float, float]:
        """Lower and upper factor on the expected time; DEFAULT_INTERVAL where none is given."""
        if self.interval is None:
            return DEFAULT_INTERVAL
        return self.interval.lower.value, self.interval.upper.value


class Energy(Struct, frozen=True):
    """What computing and moving cost in energy; any part may be missing."""

    active_power: Annotated[Annotated[Quantity, Measure("power")] | None, "while inferring"] = None
    static_power: Annotated[Annotated[Quantity, Measure("power")] | None, "whatever it does"] = None
    per_op: Annotated[Mapping[DType, Annotated[Quantity, Measure("energy_per_op")]], "by data type; a MAC is 2 OP"] = (
        field(default_factory=dict)
    )
    per_byte: Annotated[Mapping[str, Annotated[Quantity, Measure("energy_per_byte")]], "by memory level"] = field(
        default_factory=dict
    )
    interval: Annotated[Interval | None, "the 80 % interval around the power, or around the energy of acts"] = None

    @property
    def interval_factors(self) -> tuple[float, float]:
        """Lower and upper factor on the energy at the expected time; by what is known where none is given."""
        if self.interval is not None:
            return self.interval.lower.value, self.interval.upper.value
        if self.active_power is None:
            return ACTS_INTERVAL
        return LIMIT_POWER_INTERVAL if self.active_power.kind == "datasheet" else CHIP_POWER_INTERVAL


class Profile(Struct, frozen=True):
    """A machine. Its id is the file's stem."""

    id: Annotated[str, Given()]
    path: Annotated[str, Given()]
    schema_version: Annotated[str, OneOf((SCHEMA_VERSION,)), "version of this format"]
    name: Annotated[str, "core or chip, board and clock"]
    machine_class: Annotated[str, Key("class"), OneOf(CLASSES), "what sort of machine"]
    sources: Annotated[Mapping[str, str], "short key -> document, revision, page or table, address"]
    compute: Annotated[Mapping[DType, Peaks], "dense peaks of the whole machine as used, by data type"]
    memory: Annotated[tuple[MemoryLevel, ...], KeyedBy("name"), "levels, nearest to the arithmetic first"]
    default_runtime: Annotated[str, Key("runtime"), "the one used when none is named"]
    runtimes: Annotated[tuple[Runtime, ...], KeyedBy("id"), "software stacks by id"]
    base: Annotated[str, "id of another profile: what is not said here is as there"] = ""
    clock: Annotated[
        Annotated[Quantity, Measure("frequency", positive=True)] | None,
        "resolves OP/cycle, B/cycle, J/cycle and cycles",
    ] = None
    description: Annotated[str, "one line"] = ""
    aliases: Annotated[tuple[str, ...], "other names it is found by"] = ()
    energy: Annotated[Energy | None, "energy figures"] = None

    def peak(self, dtype: str, unit: str = "matrix") -> tuple[float, str]:
        """Operations per second of `unit` ("matrix" or "vector") and the type whose peak it is.

        A type without a peak runs as the next wider one of its family, else the next narrower,
        else as the nearest of the other family. A machine without vector peaks uses matrix ones.
        """
        for used in fallbacks(dtype):
            peaks = self.compute.get(used)
            found = peaks.of(unit) if peaks else None
            if found is not None:
                return found.value, used
        return self.peak(dtype, "matrix")

    def is_cache(self, level: MemoryLevel) -> bool:
        """Whether the hardware fills the level (see `MemoryLevel.kind`)."""
        return level.kind == "cache" or (not level.kind and self.machine_class not in MANAGED_CLASSES)

    def memory_level(self, name: str) -> MemoryLevel | None:
        return next((level for level in self.memory if level.name == name), None)

    def runtime(self, name: str | None = None) -> Runtime:
        """The runtime called `name`, or the default one. Raises ProfileError for an unknown name."""
        wanted = name or self.default_runtime
        for runtime in self.runtimes:
            if runtime.id.lower() == wanted.lower():
                return runtime
        known = [r.id for r in self.runtimes]
        raise ProfileError(
            f"{self.id} has no runtime '{wanted}'",
            where=f"it has: {', '.join(known)}",
            hint=did_you_mean(wanted, known) or f"see them: effcli hw show {self.id}",
        )

    def ridge_point(self, dtype: str, level: str = "") -> float:
        """Matrix peak / bandwidth in OP/B: below it, work is bound by memory.

        The level is the outermost (last) one unless named.
        """
        memory = self.memory_level(level) or self.memory[-1]
        return self.peak(dtype)[0] / memory.bytes_per_s


@cache
def fallbacks(dtype: str) -> tuple[str, ...]:
    """The types whose peak stands for `dtype`, best first (see `Profile.peak`)."""
    dtype = SAME_PEAK.get(dtype, dtype)
    own, other = (INTEGER_BITS, FLOAT_BITS) if dtype in INTEGER_BITS else (FLOAT_BITS, INTEGER_BITS)
    # an unknown type is treated as float32, the type machines are first described for
    bits = own.get(dtype, FLOAT_BITS["float32"])
    order = [t for t in own if t == dtype] + _nearest(own, bits + 1) + _nearest(other, bits)
    return tuple(dict.fromkeys(order))


def _nearest(family: Mapping[str, int], bits: int) -> list[str]:
    wide = [t for t, b in family.items() if b >= bits]
    return wide + [t for t in reversed(list(family)) if t not in wide]


def numbers(part: Any, path: str = "") -> Iterator[tuple[str, Quantity]]:
    """Every number of a profile (or of a part of one) with its dotted path: its provenance."""
    if isinstance(part, Quantity):
        yield path, part
        return
    for key, value in _parts(part):
        yield from numbers(value, f"{path}.{key}" if path else key)


def _parts(part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, Mapping):
        yield from part.items()
    elif isinstance(part, tuple):
        yield from ((_name(i), i) for i in part if isinstance(i, Struct))
    elif isinstance(part, Struct):
        yield from ((name, getattr(part, name)) for name in part.__struct_fields__)


def _name(item: Any) -> str:
    return str(item.name if isinstance(item, MemoryLevel) else item.id)
