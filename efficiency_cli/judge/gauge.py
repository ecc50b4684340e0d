"""How a metric is taken from an estimate to be judged: whole, by kernel, and on which side of its interval.

Names, units and the better side are those of `metrics.py`. Budgets, baselines, `diff --fail-on`, config files and
their JSON Schema are made from the list below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from efficiency_cli import quantity
from efficiency_cli.judge.metrics import METRICS
from efficiency_cli.judge.snapshot import Kernel, Snapshot

On = Literal["bound", "lower", "expected", "upper"]
ON: tuple[On, ...] = ("bound", "lower", "expected", "upper")
DEFAULT_ON: On = "expected"
# of a change: what dividing and subtracting two numbers may lose, and nobody means by a limit
ROUNDING = 1e-9
# less than one of the third digit
_STEP = 0.0005


class Gauge(Struct, frozen=True):
    """A metric that can be judged. `dimension` is a key of `quantity.UNITS`.

    `of` is None where an estimate does not have it, which `needs` says; `part` is what a kernel adds to it
    (None: it is no sum over kernels). `capacity` is memory, shown in KiB; `intervals` are what it can be judged on.
    """

    name: str
    dimension: str
    more_is_better: bool
    doc: str
    of: Callable[[Snapshot, On], float | None]
    part: Callable[[Kernel, On], float] | None = None
    needs: str = ""
    capacity: bool = False
    intervals: tuple[On, ...] = ()

    @property
    def worsening_name(self) -> str:
        """The name of its change for the worse: "latency_increase", "throughput_decrease"."""
        return f"{self.name}_{'decrease' if self.more_is_better else 'increase'}"

    def shown(self, value: float) -> str:
        """The value with its unit, in three significant digits."""
        return quantity.format_capacity(value) if self.capacity else _SHOWN[self.dimension](value)

    def limit_text(self, value: float, headroom: float = 0.0) -> str:
        """A limit in three digits that `value` is within, with `headroom` where less is better."""
        wanted = value if self.more_is_better else value * (1 + headroom)
        text, tried = self._written(wanted), wanted
        while not self._within(text, wanted):
            tried *= 1 - _STEP if self.more_is_better else 1 + _STEP
            text = self._written(tried)
        return text

    def _written(self, value: float) -> str:
        """As shown, in a form that can be read back: no "<0.1 %"."""
        return f"{100 * value:.3g} %" if self.dimension == "fraction" else self.shown(value)

    def _within(self, text: str, value: float) -> bool:
        limit = quantity.parse(text, self.dimension)
        return limit <= value if self.more_is_better else limit >= value


_SHOWN: dict[str, Callable[[float], str]] = {
    "time": quantity.format_time,
    "bytes": quantity.format_bytes,
    "energy": quantity.format_energy,
    "count": quantity.format_count,
    "fraction": quantity.format_percent,
    "per_second": lambda value: quantity.format_count(value, "/s"),
}


def _latency(snapshot: Snapshot, on: On) -> float | None:
    times = snapshot.totals.latency_s
    return getattr(times, on) if times is not None else None


def _throughput(snapshot: Snapshot, on: On) -> float | None:
    seconds = _latency(snapshot, on)
    return snapshot.totals.batch / seconds if seconds else None


def _energy(snapshot: Snapshot, on: On) -> float | None:
    if on == "expected":
        return snapshot.totals.energy_j
    joules = snapshot.totals.energy_interval_j
    return getattr(joules, on, None) if joules is not None else None


def _flash(snapshot: Snapshot, on: On) -> float | None:  # noqa: ARG001
    totals = snapshot.totals
    return totals.weight_bytes if totals.flash_bytes is None else totals.flash_bytes


def _peak_ram(snapshot: Snapshot, on: On) -> float | None:  # noqa: ARG001
    totals = snapshot.totals
    return totals.peak_activation_bytes if totals.ram_bytes is None else totals.ram_bytes


def _coverage(snapshot: Snapshot, on: On) -> float | None:  # noqa: ARG001
    return min(snapshot.coverage.nodes, snapshot.coverage.bytes)


def _total(name: str) -> Callable[[Snapshot, On], float | None]:
    return lambda snapshot, _: getattr(snapshot.totals, name)


def _time_of(kernel: Kernel, on: On) -> float:
    return getattr(kernel.time_s, on) if kernel.time_s is not None else 0.0


def _part(name: str) -> Callable[[Kernel, On], float]:
    return lambda kernel, _: getattr(kernel, name) or 0


def _gauge(
    name: str,
    doc: str,
    of: Callable[[Snapshot, On], float | None],
    part: Callable[[Kernel, On], float] | None = None,
    needs: str = "",
    intervals: tuple[On, ...] = (),
) -> Gauge:
    known = METRICS[name]
    capacity = name in ("flash", "peak_ram", "kv_cache")
    return Gauge(name, known.dimension, known.more_is_better, doc, of, part, needs, capacity, intervals)


_MACHINE = "a machine: --hw ID"

GAUGES: dict[str, Gauge] = {
    g.name: g
    for g in (
        _gauge("latency", "seconds of one run", _latency, _time_of, _MACHINE, ON),
        _gauge("throughput", "inferences a second: batch / latency", _throughput, _time_of, _MACHINE, ON),
        _gauge("macs", "multiply-accumulate pairs of one run", _total("macs"), _part("macs")),
        _gauge("flops", "operations of one run", _total("flops"), _part("ops")),
        _gauge("parameters", "elements of the weights", _total("parameters")),
        _gauge("flash", "bytes of the weights as they are stored", _flash, _part("weight_bytes_read")),
        _gauge(
            "peak_ram", "most bytes of activations alive at once; and of weights, if both share a memory", _peak_ram
        ),
        _gauge("bytes_moved", "bytes that kernels read and write", _total("bytes_moved"), _part("bytes_moved")),
        _gauge(
            "energy",
            "joules of one run",
            _energy,
            _part("energy_j"),
            "a machine with energy figures",
            ("lower", "expected", "upper"),
        ),
        _gauge("kernels", "launches of one run", _total("kernels")),
        _gauge("kv_cache", "bytes of the key/value cache after the run", _total("kv_cache_bytes")),
        Gauge("coverage", "fraction", True, "share of nodes, or of bytes if that is less, with a cost rule", _coverage),
    )
}

# every name a budget may have -> its metric, and whether it is a change against the baseline
NAMES: dict[str, tuple[Gauge, bool]] = {
    **{g.name: (g, False) for g in GAUGES.values()},
    **{g.worsening_name: (g, True) for g in GAUGES.values()},
}


def worsening(gauge: Gauge, before: float, now: float) -> float:
    """By which fraction of `before` it is worse `now`: negative where it is better, inf from nothing."""
    change = before - now if gauge.more_is_better else now - before
    if before:
        return change / before
    return float("inf") if change > 0 else 0.0
