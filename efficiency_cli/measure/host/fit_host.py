"""Timed cases -> what each kind of kernel costs: robust least squares on logarithms, never above the peaks.

    seconds of a case = run + Σ kernels · t0[kind] + Σ compute_s · slope[kind] + Σ memory_s · slope[kind]

with compute_s and memory_s at the machine's peaks, so that no slope is below one. A kind with few cases is pulled
towards its class, a class towards all: what cannot be told apart stays alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from efficiency_cli.errors import UsageError
from efficiency_cli.measure.host.features import START, Row, Unknown, class_of, unknowns
from efficiency_cli.measure.host.session import INSTALL
from efficiency_cli.measure.host.timing import quantile

# standard deviations on natural logarithms: of a case around the fit, and of a kind around its class
_NOISE_SD, _KIND_SD = 0.1, 1.0
# residuals beyond so many of them count less (soft L1); rounds of reweighting, and the change that ends them
_ROBUST_FROM, _ROUNDS, _CONVERGED = 1.5, 15, 1e-3
# before anything is known: a kernel starts in two microseconds, a slope is two
_START_S, _SLOPE = 2e-6, 2.0
# and in any case within these: a kind is at most so many times slower than the machine
_LEAST_START_S, _MOST_START_S, _MOST_SLOPE = 1e-8, 1e-3, 1e5


class Fitted(Struct, frozen=True):
    """Values of the unknowns; `residuals` of the cases that were fitted (log measured / fitted), by name."""

    values: Mapping[Unknown, float]
    run_s: float
    residuals: Mapping[str, float]

    def seconds(self, row: Row) -> float:
        """What the fit says of a network. A kind that no case had is as its class."""
        return self.run_s + sum(amount * self.value(u) for u, amount in row.terms.items())

    def value(self, unknown: Unknown) -> float:
        found = self.values.get(unknown)
        return self.of_class(unknown) if found is None else found

    def of_class(self, unknown: Unknown) -> float:
        """The typical value of a part: the geometric mean of all kinds that there are."""
        alike = [v for u, v in self.values.items() if u.part == unknown.part and v > 0]
        return math.exp(sum(map(math.log, alike)) / len(alike)) if alike else _before(unknown)

    @property
    def spread(self) -> float:
        """The mean absolute residual of the cases."""
        return sum(abs(r) for r in self.residuals.values()) / max(1, len(self.residuals))


def _before(unknown: Unknown) -> float:
    """Seconds, or a slope, before anything is known."""
    return _START_S if unknown.part == START else _SLOPE


def fit_host(rows: Mapping[str, Row], seconds: Mapping[str, float], run_s: float) -> Fitted:
    """The fit to the cases in `seconds`. `run_s` is what a run costs whatever it does. Deterministic.

    Raises UsageError without scipy.
    """
    names = sorted(name for name in seconds if name in rows)
    of = unknowns([rows[n] for n in names])
    place = {u: k for k, u in enumerate(of)}
    amounts = np.zeros((len(names), len(of)))
    for k, name in enumerate(names):
        for unknown, amount in rows[name].terms.items():
            amounts[k, place[unknown]] = amount
    measured = np.array([seconds[n] for n in names])
    problem = _Problem(amounts, measured, run_s, of)
    x = problem.solved(np.array([_before(u) for u in of]))
    # once more, towards what kinds of one class have in common
    x = problem.solved(_shared(of, x))
    fitted = amounts @ x + run_s
    residuals = {n: float(math.log(seconds[n] / f)) for n, f in zip(names, fitted, strict=True)}
    return Fitted({u: float(v) for u, v in zip(of, x, strict=True)}, run_s, residuals)


def _shared(of: Sequence[Unknown], x: Any) -> Any:
    """For each unknown the median of its part among kinds of one type."""
    groups: dict[tuple[str, bool], list[float]] = {}
    for u, value in zip(of, x, strict=True):
        groups.setdefault((u.part, class_of(u.kind) != u.kind), []).append(float(value))
    return np.array([quantile(groups[u.part, class_of(u.kind) != u.kind], 0.5) for u in of])


class _Problem:
    """Unknowns on logarithms: log (run + amounts · e^x) = log measured, and x near its centre."""

    def __init__(self, amounts: Any, measured: Any, run_s: float, of: Sequence[Unknown]) -> None:
        self.amounts, self.run_s = amounts, run_s
        self.log_measured = np.log(measured)
        start = np.array([u.part == START for u in of])
        self.lower = np.where(start, math.log(_LEAST_START_S), 0.0)
        self.upper = np.where(start, math.log(_MOST_START_S), math.log(_MOST_SLOPE))

    def errors(self, x: Any) -> Any:
        return np.log(self.run_s + self.amounts @ np.exp(x)) - self.log_measured

    def slopes(self, x: Any) -> Any:
        parts = self.amounts * np.exp(x)
        return parts / (self.run_s + parts.sum(axis=1))[:, None]

    def solved(self, centre: Any) -> Any:
        """The values, from a centre that they are pulled to where the cases do not tell them."""
        solver, middle = _solver(), np.clip(np.log(centre), self.lower + 1e-6, self.upper - 1e-6)
        x = middle
        for _ in range(_ROUNDS):
            weights = (1 + (self.errors(x) / _NOISE_SD / _ROBUST_FROM) ** 2) ** -0.25 / _NOISE_SD

            def value(y: Any, w: Any = weights) -> Any:
                return np.concatenate([w * self.errors(y), (y - middle) / _KIND_SD])

            def slope(y: Any, w: Any = weights) -> Any:
                return np.vstack([w[:, None] * self.slopes(y), np.eye(len(y)) / _KIND_SD])

            new = solver(value, x, jac=slope, bounds=(self.lower, self.upper), xtol=1e-6, ftol=1e-6).x
            moved, x = float(np.max(np.abs(new - x))), np.clip(new, self.lower + 1e-6, self.upper - 1e-6)
            if moved < _CONVERGED:
                break
        return np.exp(x)


def _solver() -> Callable[..., Any]:
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise UsageError("fitting needs scipy", hint=INSTALL) from None
    found: Callable[..., Any] = least_squares
    return found
