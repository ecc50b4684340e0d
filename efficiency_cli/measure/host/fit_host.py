"""Timed cases -> what each kind of kernel costs: robust least squares on logarithms, never above the peaks.

What the cases tell nothing of stays where kinds of one type have it in common: a second fit is drawn to the medians
of the first. How much computing and moving overlap is what explains the cases best. See `features` for the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from efficiency_cli.errors import UsageError
from efficiency_cli.measure.host.features import COMPUTE, HALVES, MOVE, RUN, START, Row, Unknown, is_narrow, plain_kind
from efficiency_cli.measure.host.session import INSTALL
from efficiency_cli.measure.host.timing import quantile

# standard deviations on natural logarithms: of a case around the fit, of a kind around others, of a half size
_NOISE_SD, _KIND_SD, _HALF_SD = 0.1, 1.0, 1.5
# residuals beyond so many of them count less (soft L1); rounds of reweighting, and the change that ends them
_ROBUST_FROM, _ROUNDS, _CONVERGED, _EVALUATIONS = 1.5, 6, 1e-2, 30
# before anything is known, and bounds: a run starts in 6 µs, a kernel in 2 µs, is half as fast as the peaks …
_BEFORE = {RUN: 6e-6, START: 2e-6, COMPUTE: 2.0, MOVE: 1.5, **dict.fromkeys(HALVES, 0.3)}
_LEAST = {RUN: 1e-7, START: 1e-8, COMPUTE: 1.0, MOVE: 1.0, **dict.fromkeys(HALVES, 1e-3)}
_MOST = {RUN: 1e-3, START: 1e-3, COMPUTE: 1e5, MOVE: 1e4, **dict.fromkeys(HALVES, 500.0)}
_EDGE = 1e-6
OVERLAPS = (0.0, 0.25, 0.5, 0.75)
THE_RUN = Unknown(RUN, RUN)

# of numpy, whose types say little of what is in them
Array = Any


class Fitted(Struct, frozen=True):
    """Values of the unknowns; `residuals` of the cases that were fitted (log measured / fitted), by name."""

    values: Mapping[Unknown, float]
    classes: Mapping[str, str]
    overlap: float
    residuals: Mapping[str, float]

    @property
    def run_s(self) -> float:
        return self.values[THE_RUN]

    @property
    def spread(self) -> float:
        """The mean absolute residual of the cases."""
        return sum(abs(r) for r in self.residuals.values()) / max(1, len(self.residuals))

    def kinds(self, part: str) -> list[str]:
        return sorted(u.kind for u in self.values if u.part == part)

    def of_class(self, part: str, op_class: str, narrow: bool = False) -> float | None:
        """What kinds of a class have in common: the median; None where there is none."""
        alike = [
            value
            for unknown, value in self.values.items()
            if unknown.part == part
            and is_narrow(unknown.kind) == narrow
            and self.classes.get(plain_kind(unknown.kind)) == op_class
        ]
        return quantile(alike, 0.5) if alike else None


def fit_host(rows: Mapping[str, Row], seconds: Mapping[str, float]) -> Fitted:
    """The fit to the cases in `seconds`. Deterministic. Raises UsageError without scipy."""
    names = sorted(name for name in seconds if name in rows)
    measured = np.log([seconds[n] for n in names])
    fits = [_Problem([rows[n] for n in names], measured, overlap) for overlap in OVERLAPS]
    best = min(fits, key=lambda f: f.loss)
    residuals = dict(zip(names, map(float, measured - best.predicted(best.x)), strict=True))
    classes = {plain_kind(kind): t.op_class for n in names for t, _ in rows[n] for kind in (t.kind, t.moving)}
    values = {u: float(v) for u, v in zip(best.of, np.exp(best.x), strict=True)}
    return Fitted(values, classes, best.overlap, residuals)


class _Problem:
    """Unknowns on logarithms, kernels as rows of arrays. `x` is the solution, `loss` how much it leaves."""

    def __init__(self, rows: Sequence[Row], measured: Array, overlap: float) -> None:
        self.measured, self.overlap = measured, overlap
        place: dict[Unknown, int] = {THE_RUN: 0}
        self._read(rows, place)
        self.of = list(place)
        self.lower, self.upper = (np.log([bound[u.part] for u in self.of]) for bound in (_LEAST, _MOST))
        self.sd = np.array([_HALF_SD if u.part in HALVES else _KIND_SD for u in self.of])
        x = self._solved(np.log([_BEFORE[u.part] for u in self.of]))
        # once more, towards what kinds have in common
        self.x = self._solved(self._shared(x))
        self.loss = float(np.sum(np.sqrt(1 + ((self.predicted(self.x) - measured) / _NOISE_SD) ** 2)))

    def _read(self, rows: Sequence[Row], place: dict[Unknown, int]) -> None:
        """Kernels one below the other. An unknown that a kernel lacks has the place behind the last one."""

        def at(wanted: bool, part: str, kind: str) -> int:
            return place.setdefault(Unknown(part, kind), len(place)) if wanted else -1

        terms = [(k, term, count) for k, row in enumerate(rows) for term, count in row]
        self.case = np.array([k for k, _, _ in terms])
        self.count = np.array([float(count) for _, _, count in terms])
        self.starts = np.array([t.starts for _, t, _ in terms])
        self.compute_s = np.array([t.compute_s for _, t, _ in terms])
        self.memory_s = np.array([t.memory_s for _, t, _ in terms])
        self.inverse = np.array([[1 / size if size else 0.0 for size in t.sizes] for _, t, _ in terms])
        self.start_at = np.array([at(True, START, t.kind) for _, t, _ in terms])
        self.compute_at = np.array([at(t.compute_s > 0, COMPUTE, t.kind) for _, t, _ in terms])
        self.memory_at = np.array([at(t.memory_s > 0, MOVE, t.moving) for _, t, _ in terms])
        self.half_at = np.array(
            [[at(size > 0, part, t.kind) for part, size in zip(HALVES, t.sizes, strict=True)] for _, t, _ in terms]
        )

    def _shared(self, x: Array) -> Array:
        """For each unknown the median of its part among kinds of one type."""
        groups: dict[tuple[str, bool], list[float]] = {}
        for u, value in zip(self.of, x, strict=True):
            groups.setdefault((u.part, is_narrow(u.kind)), []).append(float(value))
        return np.array([quantile(groups[u.part, is_narrow(u.kind)], 0.5) for u in self.of])

    def _parts(self, x: Array) -> tuple[Array, Array, Array, Array]:
        """Of each kernel the seconds of computing, moving and starting, and its factors of size."""
        value = np.append(np.exp(x), 0.0)
        factors = 1 + value[self.half_at] * self.inverse
        compute = self.compute_s * value[self.compute_at] * factors.prod(axis=1)
        return compute, self.memory_s * value[self.memory_at], self.starts * value[self.start_at], factors

    def _weights(self, compute: Array, memory: Array) -> tuple[Array, Array]:
        longer = compute >= memory
        return np.where(longer, 1.0, 1 - self.overlap), np.where(longer, 1 - self.overlap, 1.0)

    def _total(self, x: Array, each: Array) -> Array:
        return math.exp(x[0]) + np.bincount(self.case, self.count * each, len(self.measured))

    def predicted(self, x: Array) -> Array:
        compute, memory, start, _ = self._parts(x)
        of_compute, of_memory = self._weights(compute, memory)
        return np.log(self._total(x, of_compute * compute + of_memory * memory + start))

    def _slopes(self, x: Array) -> Array:
        compute, memory, start, factors = self._parts(x)
        of_compute, of_memory = self._weights(compute, memory)
        computing = self.count * of_compute * compute
        total = self._total(x, of_compute * compute + of_memory * memory + start)
        found = np.zeros((len(self.measured), len(x) + 1))
        np.add.at(found, (self.case, self.compute_at), computing)
        np.add.at(found, (self.case, self.memory_at), self.count * of_memory * memory)
        np.add.at(found, (self.case, self.start_at), self.count * start)
        for k in range(len(HALVES)):
            np.add.at(found, (self.case, self.half_at[:, k]), computing * (1 - 1 / factors[:, k]))
        found[:, 0] = math.exp(x[0])
        return found[:, :-1] / total[:, None]

    def _solved(self, centre: Array) -> Array:
        """The values, from a centre that they are drawn to where the cases do not tell them."""
        solver = _solver()
        middle = np.clip(centre, self.lower + _EDGE, self.upper - _EDGE)
        x, pull = middle, np.diag(1 / self.sd)
        for _ in range(_ROUNDS):
            off = (self.predicted(x) - self.measured) / _NOISE_SD / _ROBUST_FROM
            weights = (1 + off**2) ** -0.25 / _NOISE_SD

            def value(y: Array, w: Array = weights) -> Array:
                return np.concatenate([w * (self.predicted(y) - self.measured), (y - middle) / self.sd])

            def slope(y: Array, w: Array = weights) -> Array:
                return np.vstack([w[:, None] * self._slopes(y), pull])

            bounds = (self.lower, self.upper)
            new = solver(value, x, jac=slope, bounds=bounds, xtol=1e-5, ftol=1e-5, max_nfev=_EVALUATIONS).x
            moved, x = float(np.max(np.abs(new - x))), np.clip(new, self.lower + _EDGE, self.upper - _EDGE)
            if moved < _CONVERGED:
                break
        return x


def _solver() -> Callable[..., Any]:
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise UsageError("fitting needs scipy", hint=INSTALL) from None
    found: Callable[..., Any] = least_squares
    return found
