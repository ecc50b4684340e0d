"""This machine's profile from nothing: the micro-benchmark, the fit, how far off it is on networks it has not seen.

Blocks of real networks are timed with the rest and are no part of the fit: the profile's error and interval are from
them. Whole networks (anchors) move one scale, and are then a part of the interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.errors import UsageError
from efficiency_cli.graph.model import Model
from efficiency_cli.hardware.load import profile_of
from efficiency_cli.hardware.profile import Profile
from efficiency_cli.measure.hold_out import student_quantile
from efficiency_cli.measure.host.features import Row, is_narrow, row_of
from efficiency_cli.measure.host.fit_host import Fitted, fit_host
from efficiency_cli.measure.host.grid import cases
from efficiency_cli.measure.host.host_profile import About, Judged, Peaks, plain_text, profile_text
from efficiency_cli.measure.host.levels import Level
from efficiency_cli.measure.host.microbench import Timing, steady
from efficiency_cli.measure.host.timing import quantile
from efficiency_cli.roofline.estimate import estimate

# a peak is so much above the quickest case, of which so much is of the type
_ABOVE, _OF_TYPE = 1.1, 0.9
_UNIT = 1e9
# a state of no network: before blocks were judged
_UNJUDGED = Judged((0.5, 2.0), 0.0, 1, 1)
NEAR, FAR = "near", "far"
# Whole networks have operators and seams that blocks lack: of 136 float networks, measured on a virtual Xeon with
# AVX-512, 85 % were within so many times the interval that the blocks alone would give (89 % of those over 1 ms)
_NETWORKS_OVER_BLOCKS = 1.1
# an 80 % interval is never narrower than what a machine's own noise leaves
_LEAST_SD = 0.03


class Anchor(Struct, frozen=True):
    """A whole network and the seconds that it took here."""

    model: Model
    seconds: float


class Error(Struct, frozen=True):
    """A network that is no part of the fit: its seconds here, and those that the profile expects."""

    name: str
    measured_s: float
    expected_s: float

    @property
    def relative(self) -> float:
        return self.expected_s / self.measured_s - 1


class HostFit(Struct, frozen=True):
    """The profile and what it rests on; `blocks` and `anchors` as the profile has them, scale and all."""

    text: str
    profile: Profile
    peaks: Peaks
    fitted: Fitted
    judged: Judged
    blocks: Sequence[Error]
    anchors: Sequence[Error]


def fit_machine(
    about: About,
    levels: Sequence[Level],
    timings: Iterable[Timing],
    path: Path,
    anchors: Sequence[Anchor] = (),
) -> HostFit:
    """The profile of this machine as the file `path` is to hold it. Raises UsageError without scipy."""
    seconds = {
        f"{name} {k}": s for name, both in steady(timings).items() for k, s in zip((FAR, NEAR), both, strict=True)
    }
    grid = [c for c in cases() if f"{c.name} {NEAR}" in seconds]
    models = {c.name: c.make().model for c in grid if not c.block}
    blocks = {c.name: c.make().model for c in grid if c.block}
    if not models:
        raise UsageError("no case was timed", hint="run it again: effcli calibrate --host")
    peaks = _peaks(about, levels, models, seconds, path)
    fitted = fit_host(dict(_rows(about, peaks, models, path)), seconds)

    def errors(profile: Profile) -> tuple[list[Error], list[Error]]:
        of_blocks = [_error(name, model, seconds[f"{name} {NEAR}"], profile) for name, model in blocks.items()]
        return of_blocks, [_error(a.model.path, a.model, a.seconds, profile) for a in anchors]

    # how far off the fit is, then the profile that says so
    first = profile_of(profile_text(about, peaks, fitted, _UNJUDGED), path)
    judged = _judged(*errors(first), len(grid), len(models))
    text = profile_text(about, peaks, fitted, judged)
    profile = profile_of(text, path)
    return HostFit(text, profile, peaks, fitted, judged, *errors(profile))


def _rows(about: About, peaks: Peaks, models: Mapping[str, Model], path: Path) -> Iterable[tuple[str, Row]]:
    """Each case as it runs from near and from far: then its weights are not in the nearest cache."""
    near = profile_of(plain_text(about, peaks), path)
    nearest = replace(peaks.levels[0], weights=len(peaks.levels) == 1)
    far = profile_of(plain_text(about, replace(peaks, levels=[nearest, *peaks.levels[1:]])), path)
    for name, model in models.items():
        yield f"{name} {NEAR}", row_of(model, near)
        yield f"{name} {FAR}", row_of(model, far)


def _peaks(
    about: About, levels: Sequence[Level], models: Mapping[str, Model], seconds: Mapping[str, float], path: Path
) -> Peaks:
    """What the quickest cases reach, in float32 and in eight bits, and a tenth more."""
    unit = profile_of(plain_text(about, Peaks(_UNIT, _UNIT, levels)), path)
    best = {False: 0.0, True: 0.0}
    for name, model in models.items():
        by_type = {False: 0.0, True: 0.0}
        for term, count in row_of(model, unit):
            by_type[is_narrow(term.kind)] += count * term.compute_s * _UNIT
        for narrow, ops in by_type.items():
            if ops > _OF_TYPE * sum(by_type.values()):
                best[narrow] = max(best[narrow], ops / seconds[f"{name} {NEAR}"])
    return Peaks(_ABOVE * (best[False] or _UNIT), _ABOVE * (best[True] or best[False] or _UNIT), levels)


def _error(name: str, model: Model, measured_s: float, profile: Profile) -> Error:
    latency = estimate(model, profile).latency
    assert latency is not None
    return Error(name, measured_s, latency.expected_s)


def _judged(blocks: Sequence[Error], anchors: Sequence[Error], measurements: int, models: int) -> Judged:
    """One scale from whole networks, where there are some; the interval from what is then left.

    exp(± 1.1 · t · √(mean square of log measured / expected)), t the 90 % quantile of Student's law.
    """
    off = [math.log(a.measured_s / a.expected_s) for a in anchors]
    scale = quantile(off, 0.5)
    # blocks judge the fit without a scale, whole networks with it
    left = [math.log(b.measured_s / b.expected_s) for b in blocks] + [one - scale for one in off]
    spread = max(math.sqrt(sum(x * x for x in left) / len(left)) if left else 0.0, _LEAST_SD)
    error = sum(abs(math.exp(-x) - 1) for x in left) / max(1, len(left))
    reach = _NETWORKS_OVER_BLOCKS * student_quantile(len(left)) * spread
    return Judged((math.exp(-reach), math.exp(reach)), error, measurements, models, math.exp(scale), len(off))
