"""A fit as a profile: the YAML that changes what was fitted and stands on the shipped profile for all else.

What is written: scale, efficiencies and dispatch of the runtimes, their interval, and what they rest on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from efficiency_cli import quantity
from efficiency_cli.hardware.profile import DEFAULT_INTERVAL, Profile, Quantity, Runtime
from efficiency_cli.measure.cases import CLASSES, Case
from efficiency_cli.measure.fit import Fit, Parameter
from efficiency_cli.measure.hold_out import FEWEST_FOR_INTERVAL, HeldOut, interval_of

# Of networks that no measurement is of, on a runtime described by data sheets, once one measurement has set the
# scale: mean error 20 % over the boards of the public microcontroller data, a standard deviation of 0.25
UNFITTED_SD = 0.25
# the 90 % quantile of the normal law
_Z90 = 1.2816
# the key of the source that every fitted number names
SOURCE = "calibration"
# digits of a fitted number; its standard deviation is rarely below 1 %
_DIGITS = 4


class Fitted(Struct, frozen=True):
    """What was fitted for one runtime of one profile: the cases, those held out, and the factors."""

    profile: Profile
    runtime: Runtime
    cases: tuple[Case, ...]
    held: tuple[HeldOut, ...]
    scale: float
    scale_sd: float
    parameters: tuple[Parameter, ...]

    @property
    def moved(self) -> dict[str, Parameter]:
        """By name, the ratios that the data could tell."""
        return {p.name: p for p in self.parameters if not p.refused}

    @property
    def held_out_error(self) -> float | None:
        """Mean |predicted / measured − 1| of families left out; None where none could be."""
        return sum(abs(o.error) for o in self.held) / len(self.held) if self.held else None

    @property
    def interval(self) -> tuple[float, float]:
        """Factors on the expected time that hold 80 % of runs.

        From families left out where there are some of them; else the runtime's own interval, with the doubt about
        the scale added (variances on logarithms add).
        """
        if len({o.case.family for o in self.held}) >= FEWEST_FOR_INTERVAL:
            return interval_of(self.held)
        low, high = self.runtime.interval_factors
        own = _Z90 * UNFITTED_SD
        if self.runtime.is_fitted and self.runtime.interval_factors != DEFAULT_INTERVAL:
            return _widened(math.log(low), self.scale_sd), _widened(math.log(high), self.scale_sd)
        return _widened(-own, self.scale_sd), _widened(own, self.scale_sd)


def _widened(log_factor: float, sd: float) -> float:
    return math.exp(math.copysign(math.hypot(log_factor, _Z90 * sd), log_factor))


def fitted_runtimes(cases: Sequence[Case], held: Sequence[HeldOut], found: Fit) -> list[Fitted]:
    """The fit by profile and runtime, in the cases' order. Held-out ones are those of the whole product."""
    together: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        together.setdefault((case.placed.profile.path, case.placed.runtime), []).append(case)
    return [_fitted(members, held, found) for members in together.values()]


def _fitted(members: Sequence[Case], held: Sequence[HeldOut], found: Fit) -> Fitted:
    first = members[0]
    profile = first.placed.profile
    return Fitted(
        profile=profile,
        runtime=profile.runtime(first.placed.runtime),
        cases=tuple(members),
        held=tuple(o for o in held if o.case.share == first.share),
        scale=found.scales[first.group],
        scale_sd=found.scale_sd[first.group],
        parameters=tuple(p for p in found.parameters if p.share == first.share),
    )


def profile_text(id_: str, fitted: Sequence[Fitted], source: str) -> str:
    """The YAML of a profile called `id_` with these runtimes of one profile; the first is the default.

    `source` says which measurements, in a few words.
    """
    profile = fitted[0].profile
    lines = [
        f"# {id_}: {profile.id} with what effcli calibrate fitted; all else is as there.",
        "schema_version: 1",
        f"base: {profile.id}",
        "sources:",
        f"  {SOURCE}: {_quoted(source)}",
        *_clock(profile, fitted),
        f"runtime: {fitted[0].runtime.id}",
        "runtimes:",
    ]
    for one in fitted:
        lines += _runtime(one)
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A YAML text in double quotes; what JSON escapes, YAML does too."""
    escaped = re.sub(r'[\\"]', lambda m: "\\" + m[0], text)
    return '"' + re.sub(r"[^\x20-\x7e\u00a0-\ud7ff]", "?", escaped) + '"'


def _clock(profile: Profile, fitted: Sequence[Fitted]) -> list[str]:
    """The clock of the measurements, where they all had one."""
    clocks = {c.placed.profile.clock for one in fitted for c in one.cases}
    (clock,) = clocks if len(clocks) == 1 else (None,)
    if clock is None or clock.source != "--set":
        return []
    number = f"{{value: {clock.text}, source: {SOURCE}, kind: measured, note: that of the measurements}}"
    return [f"clock: {number}"]


def _runtime(one: Fitted) -> Iterator[str]:
    runtime = one.runtime
    yield f"  {runtime.id}:"
    yield "    grade: calibrated"
    yield f"    scale: {_number(one.runtime.scale_factor * one.scale, f'± {one.scale_sd:.1%} by this fit')}"
    yield from _efficiencies(one)
    kernel = one.moved.get("kernel")
    run = one.moved.get("run")
    if kernel is not None or run is not None:
        yield "    dispatch:"
        yield from _dispatch(runtime, "kernel", kernel)
        yield from _dispatch(runtime, "run", run)
    low, high = one.interval
    told = "families left out one at a time" if one.held else "too few families to leave one out"
    yield "    interval:"
    yield f"      lower: {_number(low, told)}"
    yield f"      upper: {_number(high, told)}"
    yield "    calibration:"
    yield f"      measurements: {len(one.cases)}"
    yield f"      models: {len({c.placed.run.path for c in one.cases})}"
    if one.held_out_error is not None:
        yield f"      held_out_error: {one.held_out_error:.{_DIGITS}g}"
    yield f"      source: {SOURCE}"


def _number(value: float, note: str) -> str:
    return f"{{value: {value:.{_DIGITS}g}, source: {SOURCE}, kind: calibrated, note: {_quoted(note)}}}"


def _efficiencies(one: Fitted) -> Iterator[str]:
    new = dict(efficiencies(one))
    if new:
        yield "    efficiency:"
        for name, (value, note) in new.items():
            yield f"      {name}: {_number(value, note)}"


def efficiencies(one: Fitted) -> Iterator[tuple[str, tuple[float, str]]]:
    """Class -> its new efficiency, at most 1, and what the fit says of it."""
    for ratio, parameter in one.moved.items():
        told = f"its cost {parameter.factor:.2f} times what it was, ± {parameter.sd:.0%}"
        for op_class in CLASSES.get(ratio, ()):
            yield op_class, (min(one.runtime.efficiency_of(op_class) / parameter.factor, 1.0), told)
        if ratio == "memory":
            yield ratio, (min(one.cases[0].memory_share / parameter.factor, 1.0), told)


def _dispatch(runtime: Runtime, key: str, parameter: Parameter | None) -> Iterator[str]:
    was: Quantity | None = getattr(runtime.dispatch, key)
    if parameter is None or was is None:
        return
    value = quantity.scaled(f"{was.text}", float(f"{parameter.factor:.{_DIGITS}g}"))
    told = f"{parameter.factor:.2f} times what it was, ± {parameter.sd:.0%}"
    yield f"      {key}: {{value: {value}, source: {SOURCE}, kind: calibrated, note: {_quoted(told)}}}"
