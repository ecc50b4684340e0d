"""What was measured on this machine -> the YAML of its profile: peaks, memory levels, what onnxruntime makes of them.

`plain_text` is the machine at its peaks, which the fit needs; `profile_text` has what came out of it as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from efficiency_cli.hardware.kinds import OP_CLASSES
from efficiency_cli.measure.host.features import COMPUTE, HALVES, MOVE, START, Unknown
from efficiency_cli.measure.host.fit_host import Fitted
from efficiency_cli.measure.host.levels import Level
from efficiency_cli.measure.host.machine import Host
from efficiency_cli.measure.host.timing import quantile
from efficiency_cli.measure.profile_text import quoted

_DIGITS = 4
# half sizes below this change nothing that can be measured: a product has no smaller size than one
_LEAST_HALF = 0.02
# float32 values that a vector register holds are the channels of a block: AVX-512, AVX; others keep NCHW
_BLOCKS = (("avx512f", 16), ("avx2", 8), ("avx", 8))
# kinds whose output channels are padded to whole blocks
_PADDED = ("convolution", "pointwise", "first-layer")
_BENCH, _SYSTEM, _DESIGN = "bench", "system", "layout"


class Peaks(Struct, frozen=True):
    """Operations a second in float32 and in eight bits; the levels of memory, nearest first."""

    float_ops: float
    narrow_ops: float
    levels: Sequence[Level]


class Judged(Struct, frozen=True):
    """How far the fit is from networks that are not in it; `scale` is one from whole networks, 1 without any."""

    interval: tuple[float, float]
    error: float
    measurements: int
    models: int
    scale: float = 1.0
    anchors: int = 0


class About(Struct, frozen=True):
    """Where the numbers are from."""

    id: str
    host: Host
    threads: int
    bench: str


def channel_block(host: Host) -> int:
    """Channels that onnxruntime's layout of convolutions keeps together here; 0 where it has none."""
    return next((block for name, block in _BLOCKS if name in host.instructions), 0)


def plain_text(about: About, peaks: Peaks) -> str:
    """The machine with shares of one and kernels that start in no time; all levels but the furthest hide theirs."""
    return "\n".join([*_machine(about, peaks, 0.0), *_runtime(about, 1.0, "datasheet")]) + "\n"


def profile_text(about: About, peaks: Peaks, fitted: Fitted, judged: Judged) -> str:
    """The whole profile."""
    far = None if fitted.far_overlap == fitted.overlap else fitted.far_overlap
    lines = [*_machine(about, peaks, far), *_runtime(about, fitted.overlap, "measured")]
    lines += _scale(judged)
    lines += _dispatch(fitted)
    lines += ["    efficiency:", *_shares(fitted, COMPUTE), f"      memory: {_number(1, 'derived')}"]
    lines += ["    traffic:", *_shares(fitted, MOVE)]
    lines += _half_sizes(fitted)
    lines += _judged(judged)
    return "\n".join(lines) + "\n"


def _machine(about: About, peaks: Peaks, far_overlap: float | None) -> Iterator[str]:
    host = about.host
    threads = f"{about.threads} thread{'s' if about.threads > 1 else ''}"
    yield f"# {about.id}: made by effcli calibrate --host. Measured again, numbers differ by what a machine is noisy."
    yield "schema_version: 1"
    yield f"name: {quoted(f'{host.cpu}, {threads}')}"
    yield "class: cpu"
    yield f"description: {quoted(host.described)}"
    yield "sources:"
    versions = ", ".join(f"{name} {version}" for name, version in host.versions.items())
    yield f"  {_BENCH}: {quoted(f'{about.bench}; {threads}; {versions}')}"
    yield f"  {_SYSTEM}: {quoted(f'what the system says of itself: {host.system}')}"
    yield f"  {_DESIGN}: onnxruntime's blocked layout of convolutions, by the width of the vector registers"
    yield "compute:"
    for dtype, rate in (("float32", peaks.float_ops), ("int8", peaks.narrow_ops)):
        note = "the quickest case, and a tenth more"
        value = _number(f"{rate / 1e9:.{_DIGITS}g} GOP/s", "measured", note=note)
        yield f"  {dtype}: {{matrix: {value}, vector: {value}}}"
    yield "memory:"
    for level in peaks.levels:
        yield from _level(level)
    if far_overlap is not None and len(peaks.levels) > 1:
        yield f"    overlap: {_number(far_overlap, 'calibrated')}"
    yield "runtime: onnxruntime"


def _level(level: Level) -> Iterator[str]:
    shared = level.name == "l3"
    source, kind = (_BENCH, "measured") if shared else (_SYSTEM, "datasheet")
    note = "how far its rate reaches: what of it this machine has to itself" if shared else ""
    yield f"  {level.name}:"
    yield f"    size: {_number(f'{level.size / 2**20:.6g} MiB', kind, source, note)}"
    yield f"    bandwidth: {_number(f'{level.rate / 1e9:.{_DIGITS}g} GB/s', 'measured')}"
    yield f"    holds: [{'weights, ' if level.weights else ''}activations]"


def _runtime(about: About, overlap: float, grade: str) -> Iterator[str]:
    version = about.host.versions.get("onnxruntime", "")
    block = channel_block(about.host)
    yield "runtimes:"
    yield "  onnxruntime:"
    yield f"    name: {quoted(f'onnxruntime {version}, CPU execution provider'.replace('  ', ' '))}"
    yield f"    grade: {grade}"
    # its interval is of networks in float32: few blocks are quantised, and what runs in which type is harder to foresee
    yield "    dtype: float32"
    yield f"    overlap: {_number(overlap, 'calibrated')}"
    yield "    fusion: [onnxruntime]"
    yield "    skips: padding"
    if block:
        yield f"    channel_block: {_number(block, 'datasheet', _DESIGN)}"
        yield "    tiles:"
        yield from (f"      {kind}: {{n: {_number(block, 'datasheet', _DESIGN)}}}" for kind in _PADDED)


def _scale(judged: Judged) -> list[str]:
    if not judged.anchors:
        return []
    note = f"whole networks: {judged.anchors}"
    return [f"    scale: {_number(_short(judged.scale), 'calibrated', note=note)}"]


def _dispatch(fitted: Fitted) -> Iterator[str]:
    starts = {kind: fitted.values[Unknown(START, kind)] for kind in fitted.kinds(START)}
    yield "    dispatch:"
    usual = _microseconds(quantile(list(starts.values()), 0.5))
    yield f"      kernel: {_number(usual, 'calibrated', note='the median')}"
    yield f"      run: {_number(_microseconds(fitted.run_s), 'calibrated')}"
    yield "      classes:"
    yield from (f"        {kind}: {_number(_microseconds(s), 'calibrated')}" for kind, s in starts.items())


def _shares(fitted: Fitted, part: str) -> Iterator[str]:
    """Of classes what their kinds have in common, then every kind: an operator that no case had is as its class."""
    own = {kind: 1 / fitted.values[Unknown(part, kind)] for kind in fitted.kinds(part)}
    common = {}
    for narrow in (False, True):
        for name in OP_CLASSES:
            key = f"int8-{name}" if narrow else name
            slope = fitted.of_class(part, name, narrow)
            if slope is not None and key not in own:
                common[key] = 1 / slope
    yield from (f"      {key}: {_number(_short(v), 'derived', note='the median')}" for key, v in common.items())
    yield from (f"      {key}: {_number(_short(v), 'calibrated')}" for key, v in own.items())


def _half_sizes(fitted: Fitted) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    for part in HALVES:
        for kind in fitted.kinds(part):
            value = fitted.values[Unknown(part, kind)]
            if value >= _LEAST_HALF:
                found.setdefault(kind, []).append(f"{part[-1]}: {_number(_short(value), 'calibrated')}")
    if found:
        yield "    half_sizes:"
        yield from (f"      {kind}: {{{', '.join(sizes)}}}" for kind, sizes in sorted(found.items()))


def _judged(judged: Judged) -> Iterator[str]:
    low, high = judged.interval
    yield "    interval:"
    yield f"      lower: {_number(_short(low), 'calibrated')}"
    yield f"      upper: {_number(_short(high), 'calibrated')}"
    yield "    calibration:"
    yield f"      measurements: {judged.measurements}"
    yield f"      models: {judged.models}"
    yield f"      held_out_error: {_short(judged.error)}"
    yield f"      source: {_BENCH}"


def _short(value: float) -> str:
    return f"{value:.{_DIGITS}g}"


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.{_DIGITS}g} us"


def _number(value: object, kind: str, source: str = _BENCH, note: str = "") -> str:
    said = f", note: {quoted(note)}" if note else ""
    return f"{{value: {value}, source: {source}, kind: {kind}{said}}}"
