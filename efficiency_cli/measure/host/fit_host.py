"""Timed cases -> what each kind of kernel costs: robust least squares on logarithms, never above the peaks.

What the cases tell nothing of stays where kinds of one type have it in common: a second fit is drawn to the medians
of the first. How much computing and moving overlap is what explains the cases best, first of all levels of memory
together, then of the furthest. See `features` for the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from efficiency_cli.measure.host.features import COMPUTE, HALVES, MOVE, RUN, START, Row, Unknown, is_narrow, plain_kind
from efficiency_cli.measure.host.timing import quantile

# standard deviations on natural logarithms: of a case around the fit, of a kind around others, of a half size
_NOISE_SD, _KIND_SD, _HALF_SD = 0.1, 1.0, 1.5
# residuals beyond so many of them count less (soft L1)
_ROBUST_FROM = 1.5
# of the search: steps, the relative gain that is none, the longest step, and how steps are damped
_MOST_STEPS, _CONVERGED, _LONGEST_STEP = 300, 1e-6, 1.0
_FIRST_DAMPING, _MOST_DAMPING, _EASED = 1e-2, 1e9, 3.0
# before anything is known, and bounds: a run starts in 6 µs, a kernel in 2 µs, is half as fast as the peaks …
_BEFORE = {RUN: 6e-6, START: 2e-6, COMPUTE: 2.0, MOVE: 1.5, **dict.fromkeys(HALVES, 0.3)}
_LEAST = {RUN: 1e-7, START: 1e-8, COMPUTE: 1.0, MOVE: 1.0, **dict.fromkeys(HALVES, 1e-3)}
_MOST = {RUN: 1e-3, START: 1e-3, COMPUTE: 1e5, MOVE: 1e4, **dict.fromkeys(HALVES, 500.0)}
OVERLAPS = (0.0, 0.25, 0.5, 0.75)
THE_RUN = Unknown(RUN, RUN)

# of numpy, whose types say little of what is in them
Array = Any


class Fitted(Struct, frozen=True):
    """Values of the unknowns; `residuals` of the cases that were fitted (log measured / fitted), by name.

    `far_overlap` is that of the furthest of several levels of memory.
    """

    values: Mapping[Unknown, float]
    classes: Mapping[str, str]
    overlap: float
    far_overlap: float
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
        """What kinds of a class have in common, unsigned weights aside: the median; None where there is none."""
        alike = [
            value
            for unknown, value in self.values.items()
            if unknown.part == part
            and is_narrow(unknown.kind) == narrow
            and not unknown.kind.startswith("uint")
            and self.classes.get(plain_kind(unknown.kind)) == op_class
        ]
        return quantile(alike, 0.5) if alike else None


def fit_host(rows: Mapping[str, Row], seconds: Mapping[str, float]) -> Fitted:
    """The fit to the cases in `seconds`. Deterministic."""
    names = sorted(name for name in seconds if name in rows)
    measured = np.log([seconds[n] for n in names])
    of_names = [rows[n] for n in names]
    alike = min((_Problem(of_names, measured, o, o) for o in OVERLAPS), key=_loss_of)
    apart = [_Problem(of_names, measured, alike.overlap, far) for far in OVERLAPS if far != alike.overlap]
    best = min([alike, *apart], key=_loss_of)
    residuals = dict(zip(names, map(float, measured - best.predicted(best.x)), strict=True))
    classes = {plain_kind(kind): t.op_class for n in names for t, _ in rows[n] for kind in (t.kind, t.moving)}
    values = {u: float(v) for u, v in zip(best.of, np.exp(best.x), strict=True)}
    return Fitted(values, classes, best.overlap, best.far_overlap, residuals)


def _loss_of(problem: _Problem) -> float:
    return problem.loss


class _Problem:
    """Unknowns on logarithms, kernels as rows of arrays. `x` is the solution, `loss` how much it leaves."""

    def __init__(self, rows: Sequence[Row], measured: Array, overlap: float, far_overlap: float) -> None:
        self.measured, self.overlap, self.far_overlap = measured, overlap, far_overlap
        place: dict[Unknown, int] = {THE_RUN: 0}
        self._read(rows, place)
        self.of = list(place)
        self.lower, self.upper = (np.log([bound[u.part] for u in self.of]) for bound in (_LEAST, _MOST))
        self.sd = np.array([_HALF_SD if u.part in HALVES else _KIND_SD for u in self.of])
        centre = np.log([_BEFORE[u.part] for u in self.of])
        x = self._solved(centre, centre)
        # once more, towards what kinds have in common
        self.x = self._solved(self._shared(x), x)
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
        far = np.array([t.far for _, t, _ in terms])
        self.beside = 1 - self.overlap - (self.far_overlap - self.overlap) * far
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
        return np.where(longer, 1.0, self.beside), np.where(longer, self.beside, 1.0)

    def _total(self, x: Array, each: Array) -> Array:
        return math.exp(x[0]) + np.bincount(self.case, self.count * each, len(self.measured))

    def predicted(self, x: Array) -> Array:
        compute, memory, start, _ = self._parts(x)
        of_compute, of_memory = self._weights(compute, memory)
        return np.log(self._total(x, of_compute * compute + of_memory * memory + start))

    def _slopes(self, x: Array) -> Array:
        """∂ predicted / ∂ x, a row a case."""
        compute, memory, start, factors = self._parts(x)
        of_compute, of_memory = self._weights(compute, memory)
        total = self._total(x, of_compute * compute + of_memory * memory + start)
        computing = self.count * of_compute * compute
        parts = [(self.compute_at, computing), (self.memory_at, self.count * of_memory * memory)]
        parts += [(self.start_at, self.count * start)]
        parts += [(self.half_at[:, k], computing * (1 - 1 / factors[:, k])) for k in range(len(HALVES))]
        # the last column is that of no unknown
        width = len(x) + 1
        found = np.zeros(len(self.measured) * width)
        for at, values in parts:
            found += np.bincount(self.case * width + at % width, values, len(found))
        slopes = found.reshape(-1, width)
        slopes[:, 0] = math.exp(x[0])
        return slopes[:, :-1] / total[:, None]

    def _loss(self, off: Array, drawn: Array) -> float:
        root = np.sqrt(1 + (off / _ROBUST_FROM) ** 2)
        return float(2 * _ROBUST_FROM**2 * np.sum(root - 1) + np.sum(drawn**2))

    def _solved(self, centre: Array, x: Array) -> Array:
        """The values, drawn to `centre` where the cases do not tell them; the search begins at `x`.

        Levenberg and Marquardt's steps on the reweighted normal equations, cut off at the bounds.
        """
        middle = np.clip(centre, self.lower, self.upper)
        x, damping = np.clip(x, self.lower, self.upper), _FIRST_DAMPING
        off, drawn = (self.predicted(x) - self.measured) / _NOISE_SD, (x - middle) / self.sd
        loss = self._loss(off, drawn)
        for _ in range(_MOST_STEPS):
            weights = 1 / np.sqrt(1 + (off / _ROBUST_FROM) ** 2)
            slopes = self._slopes(x) / _NOISE_SD
            square = slopes.T @ (slopes * weights[:, None]) + np.diag(self.sd**-2)
            slope = slopes.T @ (weights * off) + drawn / self.sd
            # what lies at a bound and would go beyond it stays
            free = ~(((x <= self.lower) & (slope > 0)) | ((x >= self.upper) & (slope < 0)))
            gained = 0.0
            while damping < _MOST_DAMPING:
                damped = square[np.ix_(free, free)] + damping * np.diag(np.diag(square)[free])
                new = x.copy()
                new[free] -= np.clip(np.linalg.solve(damped, slope[free]), -_LONGEST_STEP, _LONGEST_STEP)
                new = np.clip(new, self.lower, self.upper)
                off_then, drawn_then = (self.predicted(new) - self.measured) / _NOISE_SD, (new - middle) / self.sd
                loss_then = self._loss(off_then, drawn_then)
                if loss_then < loss:
                    gained = (loss - loss_then) / loss
                    x, off, drawn, loss, damping = new, off_then, drawn_then, loss_then, damping / _EASED
                    break
                damping *= _EASED
            if gained < _CONVERGED:
                break
        return x
