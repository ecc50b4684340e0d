"""A fit in the terms of a profile: the runtimes with what was fitted put in, and the intervals they state.

A profile says efficiencies, never above 1, and one scale on all of a runtime's times; a fit says factors on costs.
`profile_text.py` writes the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli import quantity
from efficiency_cli.hardware.kinds import ATTENTION_VARIANTS, OP_CLASSES
from efficiency_cli.hardware.profile import (
    DEFAULT_INTERVAL,
    Calibration,
    Dispatch,
    Interval,
    Profile,
    Quantity,
    Runtime,
)
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
# efficiencies are at most 1, but for rounding
_ROUNDING = 1e-9
_RATIO_OF = {c: ratio for ratio, classes in CLASSES.items() for c in classes} | dict.fromkeys(
    ATTENTION_VARIANTS, "attention"
)


class Fitted(Struct, frozen=True):
    """What was fitted for one runtime of one profile: the cases, those held out, and the factors.

    `free` is that of the fit: its scale is not on memory, which is fitted against the whole bandwidth.
    """

    profile: Profile
    runtime: Runtime
    cases: tuple[Case, ...]
    held: tuple[HeldOut, ...]
    scale: float
    scale_sd: float
    parameters: tuple[Parameter, ...]
    free: bool = False

    @property
    def moved(self) -> dict[str, Parameter]:
        """By name, the ratios that the data could tell."""
        return {p.name: p for p in self.parameters if not p.refused}

    @property
    def models(self) -> int:
        return len({c.placed.run.path for c in self.cases})

    @property
    def held_out_error(self) -> float | None:
        """Mean |predicted / measured − 1| of families left out; None where none could be."""
        return math.fsum(abs(o.error) for o in self.held) / len(self.held) if self.held else None

    @property
    def is_held_out(self) -> bool:
        """Whether enough families were left out to state an interval from."""
        return len({o.case.family for o in self.held}) >= FEWEST_FOR_INTERVAL

    @property
    def interval(self) -> tuple[float, float]:
        """Factors on the expected time that hold 80 % of runs.

        From families left out where there are some of them; else the runtime's own interval, with the doubt about
        the scale added (variances on logarithms add).
        """
        if self.is_held_out:
            return interval_of(self.held)
        low, high = self.runtime.interval_factors
        own = _Z90 * UNFITTED_SD
        if self.runtime.is_fitted and self.runtime.interval_factors != DEFAULT_INTERVAL:
            return _widened(math.log(low), self.scale_sd), _widened(math.log(high), self.scale_sd)
        return _widened(-own, self.scale_sd), _widened(own, self.scale_sd)

    def factor(self, ratio: str) -> float:
        """On the cost that the profile states, the scale apart; 1 for what stayed."""
        moved = self.moved.get(ratio)
        return moved.factor if moved else 1.0

    def costs(self) -> Mapping[str, float]:
        """Class (and "memory") -> its time by the fit over that at the peak (at the whole bandwidth)."""
        runtime, scale = self.runtime, self.runtime.scale_factor * self.scale
        classes = [*OP_CLASSES, *(k for k in runtime.efficiency if k not in (*OP_CLASSES, "memory"))]
        found = {c: scale * self.factor(_RATIO_OF.get(c, "")) / runtime.efficiency_of(c) for c in classes}
        moving = 1.0 if self.free else scale / runtime.efficiency_of("memory")
        return {**found, "memory": moving * self.factor("memory")}

    def applied_to(self, runtime: Runtime) -> Runtime:
        """`runtime` (at whatever clock) with what was fitted: the same times, in the terms of a profile."""
        fitted = self.runtime.scale_factor * self.scale
        scale = self._scale()
        low, high = self.interval
        told = "families left out one at a time" if self.is_held_out else "too few families to leave out"
        return replace(
            runtime,
            grade="calibrated",
            scale=_calibrated(scale, f"± {self.scale_sd:.1%} by this fit"),
            efficiency={**runtime.efficiency, **self._efficiencies(scale)},
            dispatch=self._dispatch(runtime.dispatch, fitted / scale),
            interval=Interval(_calibrated(low, told), _calibrated(high, told)),
            calibration=Calibration(len(self.cases), self.models, SOURCE, self._rounded_error()),
        )

    def _scale(self) -> float:
        """The runtime's new scale: all of what was fitted, unless an efficiency would have to be above 1 then."""
        own, costs = self.runtime.scale_factor, self.costs()
        largest = min(costs.values())
        for scale in (own * self.scale, own):
            if scale <= largest * (1 + _ROUNDING):
                return scale
        return largest

    def _efficiencies(self, scale: float) -> dict[str, Quantity]:
        """Those that are not what they were."""
        found = {}
        for name, cost in self.costs().items():
            was, now = self.runtime.efficiency_of(name), min(scale / cost, 1.0)
            if abs(now / was - 1) > _ROUNDING:
                found[name] = _calibrated(now, self._told("memory" if name == "memory" else _RATIO_OF.get(name, "")))
        return found

    def _told(self, ratio: str) -> str:
        moved = self.moved.get(ratio)
        if moved is None:
            return "what was fitted to all of the runtime is in it"
        against = "of the whole bandwidth's" if ratio == "memory" and self.free else "of what it was to dense work"
        return f"its cost {moved.factor:.2f} {against}, ± {moved.sd:.0%}"

    def _dispatch(self, was: Dispatch, shift: float) -> Dispatch:
        """`shift` is what of the fitted scale is not in the new one."""

        def now(number: Quantity | None, ratio: str) -> Quantity | None:
            factor = shift * self.factor(ratio)
            if number is None or not number.value or abs(factor - 1) <= _ROUNDING:
                return number
            return _times(number, factor, self._told(ratio))

        classes = {name: now(number, "kernel") or number for name, number in was.classes.items()}
        return Dispatch(now(was.kernel, "kernel"), now(was.run, "run"), classes)

    def _rounded_error(self) -> float | None:
        return None if self.held_out_error is None else rounded(self.held_out_error)


def rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _calibrated(value: float, note: str) -> Quantity:
    return Quantity(rounded(value), f"{rounded(value):.12g}", SOURCE, "calibrated", note)


def _times(number: Quantity, factor: float, note: str) -> Quantity:
    """`factor` times a number with a unit, which it keeps."""
    amount, _ = quantity.split(number.text)
    exact = rounded(amount * factor) / amount
    return Quantity(number.value * exact, quantity.scaled(number.text, exact), SOURCE, "calibrated", note)


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
        free=found.free,
    )
