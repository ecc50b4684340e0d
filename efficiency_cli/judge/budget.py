"""A budget: a metric, the limit someone set for it, and how strictly it is meant. No limit is made up here.

latency: 15 ms                 at most, on the better side of the metric
throughput: ">= 60 /s"         at least
latency_increase: 5 %          against the baseline
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from efficiency_cli import quantity
from efficiency_cli.errors import did_you_mean
from efficiency_cli.judge.gauge import DEFAULT_ON, GAUGES, NAMES, ROUNDING, Gauge, On

Side = Literal["max", "min"]
Level = Literal["error", "warn"]
LEVELS: tuple[Level, ...] = ("error", "warn")

_SIGNS: dict[str, Side] = {"<=": "max", "≤": "max", ">=": "min", "≥": "min"}
SIGN_OF: dict[Side, str] = {"max": "<=", "min": ">="}


class Budget(Struct, frozen=True):
    """`name` (of `gauge.NAMES`) may be at most (or at least) `limit`, which stands as `text` at `place`."""

    name: str
    side: Side
    limit: float
    text: str
    level: Level = "error"
    on: On = DEFAULT_ON
    message: str = ""
    place: str = ""

    @property
    def gauge(self) -> Gauge:
        return NAMES[self.name][0]

    @property
    def relative(self) -> bool:
        """Whether it judges the change against the baseline."""
        return NAMES[self.name][1]

    def holds(self, value: float) -> bool:
        """Whether `value` is within the limit, at which it still is."""
        if self.relative:
            return value <= self.limit + ROUNDING
        return value <= self.limit if self.side == "max" else value >= self.limit


def check_name(name: str) -> None:
    """Raises ValueError("what[\\nhint]") for a name that no metric has."""
    if name in NAMES:
        return
    stem, _, change = name.rpartition("_")
    if stem in GAUGES and change in ("increase", "decrease"):
        known = GAUGES[stem].worsening_name
        raise ValueError(f"'{name}' would be a change for the better\ndid you mean '{known}'?")
    close = did_you_mean(name, NAMES) or f"metrics: {', '.join(GAUGES)}; each with _increase against a baseline"
    raise ValueError(f"unknown metric '{name}'\n{close}")


def parse_limit(name: str, text: str, side: Side | None = None) -> tuple[Side, float]:
    """The side and value of "15 ms", "<= 15 ms" or ">= 60 /s" for the metric `name`.

    Without a sign the side is `side`, or the metric's own. Raises ValueError("what").
    """
    gauge, relative = NAMES[name]
    rest = text.strip()
    own: Side = "max" if relative or not gauge.more_is_better else "min"
    found = side or own
    for sign, meant in _SIGNS.items():
        if rest.startswith(sign):
            if side is not None and meant != side:
                raise ValueError(f"'{text}' contradicts {side}")
            found, rest = meant, rest[len(sign) :].strip()
            break
    else:
        if rest[:1] in ("<", ">", "="):
            raise ValueError(f"'{text}': write <= or >= before a limit")
    if relative and found == "min":
        raise ValueError(f"'{text}': a change against the baseline has a most, not a least")
    dimension = "fraction" if relative else gauge.dimension
    value = quantity.parse(rest, dimension)
    if dimension == "fraction" and "%" not in rest:
        raise ValueError(f"a unit is required in '{text}': write '{rest} %' or '{100 * value:g} %'")
    if value < 0:
        raise ValueError(f"'{text}' is negative")
    if not value and not relative and found == "max":
        raise ValueError(f"'{text}' is zero")
    return found, value


def parse_budget(text: str, side: Side | None, place: str) -> Budget:
    """The budget of METRIC=LIMIT, as given to --max (`side` "max") or --min. Raises ValueError("what[\\nhint]")."""
    example = "--min throughput=60/s" if side == "min" else "--max latency=15ms"
    name, equals, limit = text.partition("=")
    name = name.strip().lower()
    # METRIC<=LIMIT reads well, and means what it says
    if name.endswith(("<", ">")):
        name, limit = name[:-1].strip(), f"{name[-1]}={limit}"
    if not equals or not name:
        raise ValueError(f"'{text}' is not METRIC=LIMIT\nas in: {example}")
    check_name(name)
    found, value = parse_limit(name, limit, side)
    return Budget(name, found, value, limit.strip(), place=place)
