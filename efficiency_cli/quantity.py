"""Numbers with units: text to SI base units and back. The only place that knows units.

Base units inside the program are seconds, bytes, operations, hertz, joules and watts.
Quantities counted in clock cycles ("4 OP/cycle") become SI with a clock: `parse_clocked`.
Rates and counts scale by 1000 (kB, GB/s); memory capacity is printed by 1024 (KiB, MiB).
GB and GiB are different units here, always.
"""

from __future__ import annotations

import math
import re

_SI = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_SMALL = {"m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def _table(base: str, *prefix_sets: dict[str, float], words: tuple[str, ...] = ()) -> dict[str, float]:
    table = {p + base: f for prefixes in prefix_sets for p, f in prefixes.items()}
    return table | dict.fromkeys(words, 1.0)


# dimension -> accepted unit -> factor to the base unit
UNITS: dict[str, dict[str, float]] = {
    "time": _table("s", {"": 1.0}, _SMALL) | {"min": 60.0},
    "bytes": _table("B", _SI, _BINARY),
    "bandwidth": _table("B/s", _SI, _BINARY),
    "rate": _table("OP/s", _SI) | _table("OPS", _SI) | _table("FLOP/s", _SI) | _table("FLOPS", _SI),
    "frequency": _table("Hz", _SI),
    "energy": _table("J", {"": 1.0}, _SMALL),
    "power": _table("W", _SI, _SMALL),
    "energy_per_op": _table("J/OP", {"": 1.0}, _SMALL),
    "energy_per_byte": _table("J/B", {"": 1.0}, _SMALL),
    "count": _table("", _SI),
    "per_second": _table("/s", _SI),
    "fraction": {"": 1.0, "%": 0.01},
    "rate_per_cycle": _table("OP/cycle", _SI),
    "bandwidth_per_cycle": _table("B/cycle", _SI),
    "energy_per_cycle": _table("J/cycle", {"": 1.0}, _SMALL),
    "cycles": {"cycles": 1.0, "cycle": 1.0, "kcycles": 1e3},
}

# dimension -> (the same thing counted in clock cycles, power of the clock that converts it)
_CLOCKED = {
    "rate": ("rate_per_cycle", 1),
    "bandwidth": ("bandwidth_per_cycle", 1),
    "power": ("energy_per_cycle", 1),
    "time": ("cycles", -1),
}

# no number with a unit is longer; the bound also keeps hostile text away from the regular expression
_LONGEST = 100

_NUMBER = re.compile(r"\s*([-+]?(?:\d+(?:_\d+)*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S.*?)?\s*$")


def split(text: str) -> tuple[float, str]:
    """The number and the unit of `text` as written: "102.4 GB/s" -> (102.4, "GB/s").

    Raises ValueError when there is no number in front.
    """
    match = _NUMBER.match(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f"'{_shortened(text)}' is not a number")
    return float(match[1]), match[2] or ""


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def parse(text: str, dimension: str) -> float:
    """The value of `text` ("102.4 GB/s") in the base unit of `dimension` (a key of UNITS).

    Raises ValueError with a message that names the accepted units; a unit is required
    except for counts and fractions.
    """
    try:
        number, unit = split(text)
    except ValueError as error:
        raise ValueError(f"{error} with a unit such as {_examples(dimension)}") from None
    factor = UNITS[dimension].get(unit)
    if factor is None:
        raise ValueError(f"{_unit_problem(unit, dimension)} in '{text}': write {_examples(dimension)}")
    return _finite(number * factor, text)


def _finite(value: float, text: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"'{text}' is not a finite number")
    return value


def parse_clocked(text: str, dimension: str, clock_hz: float | None) -> float:
    """As `parse`, and a rate, bandwidth, power or time may be counted in cycles of a clock of
    `clock_hz` (above 0).

    "4 OP/cycle" at 480 MHz is 4 · 480e6 OP/s; "4000 cycles" is 4000 / 480e6 s.
    Raises ValueError as `parse` does, and when cycles are given without a clock.
    """
    per_cycle, power = _CLOCKED.get(dimension, ("", 0))
    if not per_cycle or not _has_unit(text, per_cycle):
        return parse(text, dimension)
    if clock_hz is None:
        raise ValueError(f"'{text}' is counted in cycles and no clock is given")
    return _finite(parse(text, per_cycle) * clock_hz**power, text)


def _has_unit(text: str, dimension: str) -> bool:
    try:
        return split(text)[1] in UNITS[dimension]
    except ValueError:
        return False


def scaled(text: str, factor: float) -> str:
    """`text` with its number multiplied and its unit kept: ("25.6 GB/s", 2) -> "51.2 GB/s".

    Raises ValueError when `text` has no number.
    """
    number, unit = split(text)
    return f"{number * factor:.12g} {unit}".rstrip()


def has_binary_prefix(text: str) -> bool:
    """Is `text` in KiB, MiB …, not in kB, MB …? False where it has no number."""
    try:
        return split(text)[1].startswith(tuple(_BINARY))
    except ValueError:
        return False


def _unit_problem(unit: str, dimension: str) -> str:
    if not unit:
        return "a unit is required"
    others = [name for name, table in UNITS.items() if unit in table]
    if not others:
        return f"unknown unit '{unit}'"
    wanted = dimension.replace("_", " ")
    return f"'{unit}' is a unit of {others[0].replace('_', ' ')}, not of {wanted},"


def _examples(dimension: str) -> str:
    shown = {
        "time": "'15 ms'",
        "bytes": "'256 KiB' or '1 MB'",
        "bandwidth": "'102.4 GB/s'",
        "rate": "'1.92 GOP/s' or '82.6 TFLOP/s'",
        "frequency": "'480 MHz'",
        "energy": "'20 mJ'",
        "power": "'450 W'",
        "energy_per_op": "'1.2 pJ/OP'",
        "energy_per_byte": "'15 pJ/B'",
        "count": "'4096' or '4k'",
        "per_second": "'60 /s'",
        "fraction": "'0.8' or '80 %'",
        "rate_per_cycle": "'4 OP/cycle'",
        "bandwidth_per_cycle": "'8 B/cycle'",
        "energy_per_cycle": "'0.38 nJ/cycle'",
        "cycles": "'4000 cycles'",
    }
    return shown[dimension]


def _three_digits(value: float) -> str:
    if value == 0:
        return "0"
    # the power of ten after rounding: 99.97 is shown as 100, not as 100.0
    magnitude = int(f"{value:.2e}".split("e")[1])
    return f"{value:.{max(0, 2 - magnitude)}f}"


def _scaled(value: float, prefixes: list[tuple[float, str]], unit: str) -> str:
    magnitude = abs(value)
    # 999.5 prints as "1000" with three digits: it belongs to the next prefix
    for factor, prefix in prefixes:
        if magnitude >= factor * 0.9995:
            return f"{_three_digits(value / factor)} {prefix}{unit}".rstrip()
    factor, prefix = prefixes[-1]
    return f"{_three_digits(value / factor)} {prefix}{unit}".rstrip()


_UP = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")]
_DOWN = [(1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p")]
_CAPACITY = [(2.0**40, "Ti"), (2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"), (1.0, "")]


def format_count(value: float, unit: str = "") -> str:
    """Counts and rates: three significant digits, SI prefix ("7.49 M", "1.02 GB/s" with unit "B/s")."""
    if isinstance(value, int) and abs(value) < 1000:
        return f"{value} {unit}".rstrip()
    return _scaled(value, _UP, unit) if value else f"0 {unit}".rstrip()


def rate_unit(dtype: str) -> str:
    """The unit a peak of this data type is given in: operations are FLOP where they are floating-point."""
    return "FLOP/s" if "float" in dtype else "OP/s"


def format_bytes(value: float) -> str:
    """Bytes moved or stored, SI ("310 kB")."""
    return format_count(value, "B")


def format_capacity(value: float) -> str:
    """Memory capacity, binary ("256 KiB")."""
    return _scaled(value, _CAPACITY, "B") if value else "0 B"


def format_time(seconds: float) -> str:
    """Seconds with a prefix: "8.91 ms", "71.0 ms", "1.20 s"."""
    return _scaled(seconds, _DOWN, "s") if seconds else "0 s"


def format_energy(joules: float) -> str:
    """Joules with a prefix: "18.0 mJ"."""
    return _scaled(joules, _DOWN, "J") if joules else "0 J"


def format_power(watts: float) -> str:
    """Watts with a prefix: "45.0 mW"."""
    return _scaled(watts, _DOWN, "W") if watts else "0 W"


def format_percent(fraction: float) -> str:
    """As in "12.5 %"; whole numbers from 10 % of more than 99.5 %."""
    percent = 100 * fraction
    if percent and abs(percent) < 0.1:
        return "<0.1 %"
    return f"{percent:.1f} %" if abs(percent) < 99.95 else f"{percent:.0f} %"
