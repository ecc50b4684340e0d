"""What a row can be ranked by and held against: names, units, and which way is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from efficiency_cli.errors import did_you_mean
from efficiency_cli.judge.row import Row, RowTotals


class Metric(Struct, frozen=True):
    """A figure of a row, under `key` among its totals. `dimension` is a key of `quantity.UNITS`; `of` gives it in
    base units, None where it is unknown.
    """

    name: str
    key: str
    dimension: str
    of: Callable[[RowTotals], float | None]
    more_is_better: bool = False

    def of_row(self, row: Row) -> float | None:
        return None if row.totals is None else self.of(row.totals)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("latency", "latency_s", "time", lambda t: t.latency_s.expected),
        Metric("throughput", "throughput_per_s", "per_second", lambda t: t.throughput_per_s, more_is_better=True),
        Metric("energy", "energy_j", "energy", lambda t: t.energy_j),
        Metric("macs", "macs", "count", lambda t: t.macs),
        Metric("flops", "flops", "count", lambda t: t.flops),
        Metric("parameters", "parameters", "count", lambda t: t.parameters),
        Metric("flash", "flash_bytes", "bytes", lambda t: t.flash_bytes),
        Metric("peak_ram", "ram_bytes", "bytes", lambda t: t.ram_bytes),
        Metric("bytes_moved", "bytes_moved", "bytes", lambda t: t.bytes_moved),
        Metric("kernels", "kernels", "count", lambda t: t.kernels),
        Metric("kv_cache", "kv_cache_bytes", "bytes", lambda t: t.kv_cache_bytes),
    )
}


class Limit(Struct, frozen=True):
    """The most a metric may be, in its base unit; `text` as it was written."""

    metric: str
    most: float
    text: str

    def passed_by(self, row: Row) -> bool | None:
        """Whether the row is over the limit; None where the metric is not known of it."""
        value = METRICS[self.metric].of_row(row)
        return None if value is None else value > self.most


def limit_of(text: str) -> Limit:
    """'latency=15ms' -> Limit. Raises ValueError("what is wrong[\\nwhat to do]")."""
    from efficiency_cli import quantity

    name, equals, value = (part.strip() for part in text.partition("="))
    name = name.lower().replace("-", "_")
    if not equals or not value:
        raise ValueError(f"'{text}' is not METRIC=VALUE\nas in: --max latency=15ms")
    metric = METRICS.get(name)
    if metric is None:
        close = did_you_mean(name, METRICS) or "as in: --max latency=15ms"
        raise ValueError(f"'{name}' is not one of {', '.join(limited())}\n{close}")
    if metric.more_is_better:
        raise ValueError(f"more {name} is better, and --max is the most there may be\nlimit the latency: latency=15ms")
    return Limit(name, quantity.parse(value, metric.dimension), text)


def limited() -> list[str]:
    """The names that a limit can have."""
    return [metric.name for metric in METRICS.values() if not metric.more_is_better]
