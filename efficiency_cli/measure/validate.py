"""Estimates beside measurements: how far off each is, and how far off they are by machine, runtime or network.

Relative error = expected / measured − 1: 0.1 is an estimate that is 10 % too long. `score` makes the figures from
any given predictions, so that a fit can be judged on what it has not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.errors import EffcliError, MissingDimension
from efficiency_cli.graph.read import read_model
from efficiency_cli.measure.place import Placed, Unplaced, dtype_meant
from efficiency_cli.roofline.estimate import Estimate, count, estimate
from efficiency_cli.roofline.latency import Times

# fewer pairs have no rank correlation worth the name: two are always in the same or the opposite order
FEWEST_RANKED = 3
# open sizes named in a reason
_MOST_NAMED = 3
# types of one width that a table does not tell apart
_SAME = {"uint8": "int8", "uint16": "int16", "tfloat32": "float32"}

# called with how many of how many rows are done
Progress = Callable[[int, int], None]


class Result(Struct, frozen=True):
    """One measurement with its estimate. `notes` are what was assumed for it."""

    placed: Placed
    latency: Times
    energy_j: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def error(self) -> float:
        """expected / measured − 1."""
        return self.latency.expected_s / self.placed.run.measured_s - 1

    @property
    def energy_error(self) -> float | None:
        """The same of energy; None where it was not measured, or the profile has no figures."""
        measured = self.placed.run.energy_j
        return None if measured is None or self.energy_j is None else self.energy_j / measured - 1

    @property
    def within(self) -> bool:
        """Whether the measurement is in the interval."""
        return self.latency.lower_s <= self.placed.run.measured_s <= self.latency.upper_s


class Summary(Struct, frozen=True):
    """The errors of one group. `mape`, `median`, `p90` and `max` are of |error|, `bias` is its mean with sign.

    `spearman` is the rank correlation of measured and expected (None below FEWEST_RANKED and for constants),
    `coverage` the fraction of measurements inside the interval (None where there is no interval).
    """

    by: str
    key: str
    n: int
    mape: float
    median: float
    p90: float
    max: float
    bias: float
    spearman: float | None
    coverage: float | None


class Validation(Struct, frozen=True):
    """All measurements with their estimates in the table's order, figures by group, and rows without an estimate."""

    results: tuple[Result, ...]
    summary: tuple[Summary, ...]
    unplaced: tuple[Unplaced, ...] = ()
    energy_summary: tuple[Summary, ...] = ()

    @property
    def overall(self) -> Summary | None:
        """The figures of all rows; None without any."""
        return self.summary[0] if self.summary else None

    def groups(self, by: str, *, energy: bool = False) -> list[Summary]:
        return [s for s in (self.energy_summary if energy else self.summary) if s.by == by]


# what rows can be grouped by: each is a column of the results
_KEYS: Mapping[str, Callable[[Placed], str]] = {
    "device": lambda p: p.run.device,
    "runtime": lambda p: p.runtime,
    "family": lambda p: p.run.family,
    "hardware": lambda p: p.profile.id,
    "core": lambda p: p.run.core,
    "product": lambda p: p.run.runtime,
    "version": lambda p: " ".join(filter(None, (p.run.runtime, p.run.version))),
    "precision": lambda p: p.run.precision,
    "model": lambda p: p.run.onnx,
}
GROUPS = tuple(_KEYS)
# those that every validation has
STANDARD = ("device", "runtime", "family", "hardware")
ALL = "all"
# between the parts of a group by two columns, and of its keys
JOINT = "+"
_BETWEEN = ", "


def validate(
    placed: Sequence[Placed],
    unplaced: Sequence[Unplaced] = (),
    *,
    by: Sequence[str] = (),
    overlap: float | None = None,
    progress: Progress | None = None,
) -> Validation:
    """Every placed run beside its estimate. A model that cannot be read makes its rows unplaced, with the reason.

    `by` are groups besides STANDARD, as "product" or "product+core".
    """
    found: dict[int, Result] = {}
    failed: list[tuple[int, Unplaced]] = []
    for done, (index, outcome) in enumerate(estimated(placed, overlap=overlap), start=1):
        if isinstance(outcome, Unplaced):
            failed.append((index, outcome))
        else:
            found[index] = result_of(placed[index], outcome)
        if progress is not None:
            progress(done, len(placed))
    results = [found[k] for k in sorted(found)]
    without = [*unplaced, *(u for _, u in sorted(failed, key=lambda f: f[0]))]
    return scored(results, without, by)


def estimated(placed: Sequence[Placed], *, overlap: float | None = None) -> Iterator[tuple[int, Estimate | Unplaced]]:
    """The index in `placed` and the estimate of each run, or why there is none.

    Runs of one model come one after the other: it is read and counted once, and then forgotten.
    """
    together: dict[tuple[object, ...], list[int]] = {}
    for index, one in enumerate(placed):
        together.setdefault((one.run.path, tuple(sorted(one.run.dims.items()))), []).append(index)
    for indices in together.values():
        yield from _of_one_model(placed, indices, overlap)


def _of_one_model(
    placed: Sequence[Placed], indices: Sequence[int], overlap: float | None
) -> Iterator[tuple[int, Estimate | Unplaced]]:
    first = placed[indices[0]].run
    try:
        if first.path is None:
            raise EffcliError(f"the model '{first.onnx}' is not there: say where models are with --models DIR")
        network = count(read_model(first.path, dims=first.dims))
    except (EffcliError, OSError, RecursionError) as error:
        yield from ((k, Unplaced(placed[k].run, _reason(error))) for k in indices)
        return
    for k in indices:
        one = placed[k]
        try:
            yield k, estimate(network, one.profile, runtime=one.runtime, overlap=overlap)
        except EffcliError as error:
            yield k, Unplaced(one.run, _reason(error))


def _reason(error: Exception) -> str:
    if isinstance(error, MissingDimension):
        named = f" ({'; '.join(error.where[:_MOST_NAMED])})" if error.where else ""
        return f"{error.what}{named}: give it in the column 'dims', as NAME=N"
    if isinstance(error, RecursionError):
        return "the model is nested too deeply"
    return error.what if isinstance(error, EffcliError) else str(error)


def result_of(placed: Placed, found: Estimate) -> Result:
    """A run beside its estimate on a machine."""
    assert found.latency is not None
    told = (placed.assumption, _contradiction(placed.run.precision, found.dtype))
    return Result(placed, found.latency, found.energy_j, tuple(filter(None, (*told, *found.assumptions))))


def _contradiction(precision: str, dtype: str) -> str:
    meant = dtype_meant(precision)
    if not meant or meant == _SAME.get(dtype, dtype):
        return ""
    return f"measured in {precision}, the model computes in {dtype}"


# --- figures -----------------------------------------------------------------------------------


def score(
    placed: Sequence[Placed], latencies: Sequence[Times], unplaced: Sequence[Unplaced] = (), by: Sequence[str] = ()
) -> Validation:
    """The figures of given predictions, one for each of `placed` (of a fit that has not seen it, say)."""
    return scored([Result(p, t) for p, t in zip(placed, latencies, strict=True)], unplaced, by)


def scored(results: Sequence[Result], unplaced: Sequence[Unplaced] = (), by: Sequence[str] = ()) -> Validation:
    """Results with their figures: of all, by STANDARD, and by what else is asked for."""
    groups = tuple(dict.fromkeys((*STANDARD, *by)))
    return Validation(
        results=tuple(results),
        summary=_summaries(results, groups, _latency_figures),
        unplaced=tuple(unplaced),
        energy_summary=_summaries([r for r in results if r.energy_error is not None], groups, _energy_figures),
    )


def key_of(placed: Placed, by: str) -> str:
    """The group of a run: "X-CUBE-AI", or of "product+core" "X-CUBE-AI, Cortex-M7"; '' where the row is silent."""
    return _BETWEEN.join(_KEYS[part](placed) for part in by.split(JOINT))


_Figures = Callable[[str, str, Sequence[Result]], Summary]


def _summaries(results: Sequence[Result], groups: Iterable[str], figures: _Figures) -> tuple[Summary, ...]:
    if not results:
        return ()
    found = [figures(ALL, ALL, results)]
    for by in groups:
        members: dict[str, list[Result]] = {}
        for result in results:
            members.setdefault(key_of(result.placed, by), []).append(result)
        found += [figures(by, key, members[key]) for key in sorted(members)]
    return tuple(found)


def _latency_figures(by: str, key: str, results: Sequence[Result]) -> Summary:
    pairs = [(r.placed.run.measured_s, r.latency.expected_s) for r in results]
    figures = summarize(by, key, pairs)
    return replace(figures, coverage=sum(r.within for r in results) / len(results))


def _energy_figures(by: str, key: str, results: Sequence[Result]) -> Summary:
    return summarize(by, key, [(r.placed.run.energy_j or math.nan, r.energy_j or 0.0) for r in results])


def summarize(by: str, key: str, pairs: Sequence[tuple[float, float]]) -> Summary:
    """The figures of (measured, expected) pairs, at least one; without `coverage`."""
    errors = [expected / measured - 1 for measured, expected in pairs]
    sizes = sorted(map(abs, errors))
    n = len(pairs)
    return Summary(
        by=by,
        key=key,
        n=n,
        mape=math.fsum(sizes) / n,
        median=quantile(sizes, 0.5),
        p90=quantile(sizes, 0.9),
        max=sizes[-1],
        bias=math.fsum(errors) / n,
        spearman=spearman([m for m, _ in pairs], [e for _, e in pairs]),
        coverage=None,
    )


def quantile(ordered: Sequence[float], fraction: float) -> float:
    """Of sorted values, with straight lines between them: position (n − 1) · fraction."""
    position = (len(ordered) - 1) * fraction
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Pearson's correlation of the ranks, equal values sharing their mean rank; None where it says nothing."""
    if len(one) < FEWEST_RANKED:
        return None
    a, b = ranks(one), ranks(other)
    mean = (len(one) + 1) / 2
    spread_a = math.fsum((x - mean) ** 2 for x in a)
    spread_b = math.fsum((x - mean) ** 2 for x in b)
    if not spread_a or not spread_b:
        return None
    together = math.fsum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    # rounding may lead out of -1 … 1
    return max(-1.0, min(1.0, together / math.sqrt(spread_a * spread_b)))


def ranks(values: Sequence[float]) -> list[float]:
    """1 for the smallest; equal values get the mean of their ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for k in order[start : end + 1]:
            found[k] = (start + end) / 2 + 1
        start = end + 1
    return found
