"""Measurements -> scales and ratios of runtimes: a robust fit that stays near the profile where data are few.

    log measured = log scale(group) + log Σ seconds · ratio + noise

over all cases at once. The scale of a (profile, runtime) is its own; ratios (the cost of depthwise work,
of a byte, of a kernel … against dense work) are shared by all groups of a runtime and pulled towards
those of the others. What the data cannot tell apart stays as the profile has it, and is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from efficiency_cli.errors import UsageError
from efficiency_cli.measure.cases import COLUMNS, MEMORY, RATIOS, Array, Case, Stack

# Standard deviations on natural logarithms of what is known before any measurement.
# A scale: software stacks on one board differ by 4.3 times at most (MLPerf Tiny, Cortex-M4 at 120 MHz)
SCALE_SD = 0.7
# A ratio: around a profile that was fitted, and around one that was not
RATIO_SD, UNFITTED_RATIO_SD = 0.3, 0.7
# A fit of its own leaves ratios free, but a data sheet's bandwidth is known better than a piece of software
FREE_RATIO_SD = dict.fromkeys(RATIOS, 1.0) | {"memory": 0.3}
# The same ratio of two runtimes of one fit. Of 0.03 to 0.6 tried on the public microcontroller data, more freedom
# makes families left out worse for every runtime but the one with most measurements
BETWEEN_RUNTIMES_SD = 0.05
# One measurement around the model: the mean error of families left out is 8 to 15 %; and the least it may be
NOISE_SD, LEAST_NOISE_SD = 0.1, 0.03
# a ratio moves only where the data leave less than this of its variance, with so many families to hold out
MOST_VARIANCE_LEFT = 0.5
FEWEST_FAMILIES = 3
# residuals beyond this many standard deviations count less (soft L1)
ROBUST_FROM = 1.5
# rounds of reweighting, and the change on logarithms that ends them
MOST_ROUNDS, CONVERGED = 40, 1e-5


class Parameter(Struct, frozen=True):
    """A ratio of one runtime: the factor on the profile's cost and its standard deviation (on logarithms); how much
    of the variance before the data they left; `refused` says why it stayed where it was.
    """

    share: str
    name: str
    factor: float
    sd: float
    variance_left: float
    refused: str = ""


class Fit(Struct, frozen=True):
    """Factors on what the profiles say: `scales` by (profile, runtime), `parameters` the ratios by runtime.

    `scale_sd` and `noise_sd` are on natural logarithms. `condition` is that of what was fitted together.
    """

    scales: Mapping[tuple[str, str], float]
    scale_sd: Mapping[tuple[str, str], float]
    parameters: tuple[Parameter, ...]
    noise_sd: float
    condition: float
    free: bool = False

    def factors(self, share: str) -> Array:
        """By column: dense work first, then RATIOS."""
        found = np.ones(COLUMNS)
        for p in self.parameters:
            if p.share == share:
                found[1 + RATIOS.index(p.name)] = p.factor
        return found

    def predicted_s(self, cases: Sequence[Case]) -> Array:
        """Seconds; a group that no measurement was of has the profile's own scale."""
        if not cases:
            return np.zeros(0)
        factors = np.array([self.factors(c.share) for c in cases])
        scales = np.array([self.scales.get(c.group, 1.0) for c in cases])
        return np.asarray(scaled(Stack(cases).parts(factors), scales, self.free).sum(axis=1))


def fit(cases: Sequence[Case], *, free: bool = False) -> Fit:
    """The fit of all `cases`. `free`: the ratios of the profiles say next to nothing, as for a fit of one's own.

    Deterministic. Raises UsageError without scipy, or without a measurement.
    """
    if not cases:
        raise UsageError("no measurement to fit", hint="give some: --runs runs.csv, or --measured model.onnx=12.3ms")
    problem = _Problem(cases, free, _candidates(cases), {})
    while True:
        solved = problem.solved()
        weakest = solved.weakest()
        if weakest is None:
            return solved.fit()
        problem = problem.without(weakest, solved.variance_left(weakest))


def _candidates(cases: Sequence[Case]) -> tuple[str, ...]:
    """Ratios that any case has seconds in, where there are families enough to say anything of them."""
    if len({c.family for c in cases}) < FEWEST_FAMILIES:
        return ()
    parts = Stack(cases).parts(np.ones((len(cases), COLUMNS))).sum(axis=0)
    return tuple(name for name, seconds in zip(RATIOS, parts[1:], strict=True) if seconds > 0)


def scaled(parts: Array, scales: Array, free: bool) -> Array:
    """Seconds by case and column, with the scales of their groups.

    A free fit tells slow software from slow memory: its scale is that of computing and starting kernels alone.
    """
    found = parts * scales[:, None]
    if free:
        found[:, MEMORY] = parts[:, MEMORY]
    return np.asarray(found)


class _Problem:
    """The unknowns in order, all on logarithms: a scale a group, a ratio a name, its deviation a (share, name)."""

    def __init__(self, cases: Sequence[Case], free: bool, names: tuple[str, ...], refused: Mapping[str, float]) -> None:
        self.cases, self.free, self.names, self.refused = cases, free, names, refused
        self.stack = Stack(cases)
        self.log_measured = np.log([c.measured_s for c in cases])
        self.groups = sorted({c.group for c in cases})
        self.shares = sorted({c.share for c in cases})
        # one runtime alone has nothing to deviate from
        self.deviating = len(self.shares) if len(self.shares) > 1 else 0
        self.group_of = np.array([self.groups.index(c.group) for c in cases])
        self.share_of = np.array([self.shares.index(c.share) for c in cases])
        self.columns = [1 + RATIOS.index(name) for name in names]
        self.size = len(self.groups) + len(names) * (1 + self.deviating)
        self.prior_sd = self._prior_sd()

    def without(self, name: str, variance_left: float) -> _Problem:
        names = tuple(n for n in self.names if n != name)
        return _Problem(self.cases, self.free, names, {**self.refused, name: variance_left})

    def _prior_sd(self) -> Array:
        around = RATIO_SD if all(c.fitted for c in self.cases) else UNFITTED_RATIO_SD
        ratios = [FREE_RATIO_SD[n] if self.free else around for n in self.names]
        between = [BETWEEN_RUNTIMES_SD] * (len(self.names) * self.deviating)
        return np.array([SCALE_SD] * len(self.groups) + ratios + between)

    def factors(self, x: Array) -> Array:
        """By share and column."""
        start, n = len(self.groups), len(self.names)
        found = np.ones((len(self.shares), COLUMNS))
        own = x[start + n :].reshape(self.deviating, n) if self.deviating else np.zeros((1, n))
        found[:, self.columns] = np.exp(x[start : start + n] + own)
        return found

    def residuals(self, x: Array) -> tuple[Array, Array]:
        """log predicted − log measured of each case, and their derivatives by the unknowns."""
        start, n, rows = len(self.groups), len(self.names), np.arange(len(self.cases))
        scales = np.exp(x[: len(self.groups)])[self.group_of]
        parts = scaled(self.stack.parts(self.factors(x)[self.share_of]), scales, self.free)
        total = parts.sum(axis=1)
        slopes = np.zeros((len(self.cases), self.size))
        slopes[rows, self.group_of] = 1 - parts[:, MEMORY] / total if self.free else 1
        by_ratio = parts[:, self.columns] / total[:, None]
        slopes[:, start : start + n] = by_ratio
        for k in range(n if self.deviating else 0):
            slopes[rows, start + n * (1 + self.share_of) + k] = by_ratio[:, k]
        return np.log(total) - self.log_measured, slopes

    def solved(self) -> _Solved:
        least_squares = _solver()
        x, pull = np.zeros(self.size), np.diag(1 / self.prior_sd)
        for _ in range(MOST_ROUNDS):
            # soft L1 by reweighting the cases alone: the pull of what was known before stays quadratic
            weights = _weights(self.residuals(x)[0]) / NOISE_SD

            def value(y: Array, w: Array = weights) -> Array:
                return np.concatenate([w * self.residuals(y)[0], y / self.prior_sd])

            def slope(y: Array, w: Array = weights) -> Array:
                return np.concatenate([w[:, None] * self.residuals(y)[1], pull])

            # MINPACK: the singular values of the other methods take a busy machine's threads a hundred times as long
            new = least_squares(value, x, jac=slope, method="lm", xtol=1e-10, ftol=1e-10).x
            moved, x = float(np.max(np.abs(new - x))), new
            if moved < CONVERGED:
                break
        return _Solved(self, x)


def _solver() -> Callable[..., Any]:
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise UsageError("fitting needs scipy", hint="install it: pip install 'effcli[measure]'") from None
    found: Callable[..., Any] = least_squares
    return found


def _weights(errors: Array) -> Array:
    """Square roots of the weights that make a sum of squares a soft L1 one: 1 near zero, falling as 1/√|z|."""
    return np.asarray((1 + (errors / NOISE_SD / ROBUST_FROM) ** 2) ** -0.25)


class _Solved:
    """The solution of a problem, and how well the data know it."""

    def __init__(self, problem: _Problem, x: Array) -> None:
        self.problem, self.x = problem, x
        self.errors, self.slopes = problem.residuals(x)
        weighted = self.slopes * (_weights(self.errors) / NOISE_SD)[:, None]
        self.covariance = np.linalg.inv(weighted.T @ weighted + np.diag(problem.prior_sd**-2.0))

    def noise_sd(self) -> float:
        """Of the residuals, robustly: 1.4826 · median |r| is a normal law's standard deviation."""
        count = len(self.errors)
        free = count - len(self.problem.groups) - len(self.problem.names)
        if free < 2:
            return NOISE_SD
        return max(1.4826 * float(np.median(np.abs(self.errors))) * math.sqrt(count / free), LEAST_NOISE_SD)

    def _index(self, name: str) -> int:
        return len(self.problem.groups) + self.problem.names.index(name)

    def variance_left(self, name: str) -> float:
        k = self._index(name)
        return float(self.covariance[k, k] / self.problem.prior_sd[k] ** 2)

    def weakest(self) -> str | None:
        """The ratio that the data say least of, where that is too little to move it."""
        left = {name: self.variance_left(name) for name in self.problem.names}
        worst = max(left, key=lambda n: left[n], default=None)
        return worst if worst is not None and left[worst] > MOST_VARIANCE_LEFT else None

    def condition(self) -> float:
        """Of scales and ratios together, each column scaled to length 1: 1 is best, 30 hard to tell apart."""
        used = self.slopes[:, : len(self.problem.groups) + len(self.problem.names)]
        lengths = np.linalg.norm(used, axis=0)
        return float(np.linalg.cond(used / np.where(lengths > 0, lengths, 1)))

    def fit(self) -> Fit:
        groups, sd = self.problem.groups, np.sqrt(np.diag(self.covariance))
        return Fit(
            scales={g: math.exp(s) for g, s in zip(groups, self.x, strict=False)},
            scale_sd={g: float(s) for g, s in zip(groups, sd, strict=False)},
            parameters=tuple(self._parameters(sd)),
            noise_sd=self.noise_sd(),
            condition=self.condition(),
            free=self.problem.free,
        )

    def _parameters(self, sd: Array) -> list[Parameter]:
        problem, factors = self.problem, self.problem.factors(self.x)
        found = []
        for share, row in zip(problem.shares, factors, strict=True):
            for name, column in zip(problem.names, problem.columns, strict=True):
                left = self.variance_left(name)
                found.append(Parameter(share, name, float(row[column]), float(sd[self._index(name)]), left))
            for name, left in problem.refused.items():
                found.append(Parameter(share, name, 1.0, 0.0, left, "not told from the rest by these networks"))
        return found
