"""Every unit with every prefix, both ways, and what a wrong one says."""

from __future__ import annotations

import contextlib
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efficiency_cli import quantity
from efficiency_cli.quantity import UNITS

SI = {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
SMALL = {"": 1, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
BINARY = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4}

# dimension -> base unit -> prefixes, written out a second time: a wrong factor in the table shows
EXPECTED = [
    ("time", "s", SMALL),
    ("bytes", "B", SI | BINARY),
    ("bandwidth", "B/s", SI | BINARY),
    ("rate", "OP/s", SI),
    ("rate", "OPS", SI),
    ("rate", "FLOP/s", SI),
    ("rate", "FLOPS", SI),
    ("frequency", "Hz", SI),
    ("energy", "J", SMALL),
    ("power", "W", SI | SMALL),
    ("energy_per_op", "J/OP", SMALL),
    ("energy_per_byte", "J/B", SMALL),
    ("count", "", SI),
    ("per_second", "/s", SI),
    ("rate_per_cycle", "OP/cycle", SI),
    ("bandwidth_per_cycle", "B/cycle", SI),
    ("energy_per_cycle", "J/cycle", SMALL),
]
UNIT_ROWS = [(d, p + u, f) for d, u, prefixes in EXPECTED for p, f in prefixes.items()]
WORDS = [
    ("time", "min", 60),
    ("fraction", "", 1),
    ("fraction", "%", 0.01),
    ("cycles", "cycles", 1),
    ("cycles", "cycle", 1),
    ("cycles", "kcycles", 1000),
]


@pytest.mark.parametrize(("dimension", "unit", "factor"), UNIT_ROWS + WORDS)
def test_each_unit_has_its_factor(dimension: str, unit: str, factor: float) -> None:
    assert quantity.parse(f"2.5 {unit}", dimension) == pytest.approx(2.5 * factor, rel=1e-12)
    assert quantity.parse(f"2.5{unit}", dimension) == pytest.approx(2.5 * factor, rel=1e-12)


def test_there_are_no_units_besides_these() -> None:
    assert {(d, u) for d, table in UNITS.items() for u in table} == {(d, u) for d, u, _ in UNIT_ROWS + WORDS}


def test_gigabytes_are_not_gibibytes() -> None:
    assert quantity.parse("1 GiB", "bytes") - quantity.parse("1 GB", "bytes") == 1024**3 - 10**9


@pytest.mark.parametrize(
    ("text", "value"),
    [("1_000", 1000), (" 7 ", 7), (".5", 0.5), ("1e3", 1000), ("1.5E+2k", 150_000), ("-3", -3)],
)
def test_ways_to_write_a_number(text: str, value: float) -> None:
    assert quantity.parse(text, "count") == value


@pytest.mark.parametrize(
    ("text", "dimension", "message"),
    [
        ("", "time", "'' is not a number with a unit such as '15 ms'"),
        ("fast", "time", "'fast' is not a number with a unit such as '15 ms'"),
        ("nan s", "time", "'nan s' is not a number with a unit such as '15 ms'"),
        ("15", "time", "a unit is required in '15': write '15 ms'"),
        ("15 msec", "time", "unknown unit 'msec' in '15 msec': write '15 ms'"),
        ("5 GB", "bandwidth", "'GB' is a unit of bytes, not of bandwidth, in '5 GB': write '102.4 GB/s'"),
        ("5 gb", "bytes", "unknown unit 'gb' in '5 gb': write '256 KiB' or '1 MB'"),
        ("1e999 s", "time", "'1e999 s' is not a finite number"),
        ("0x10", "count", "unknown unit 'x10' in '0x10': write '4096' or '4k'"),
    ],
)
def test_what_a_wrong_text_says(text: str, dimension: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        quantity.parse(text, dimension)


@pytest.mark.parametrize("dimension", UNITS)
def test_the_example_in_an_error_is_right(dimension: str) -> None:
    with pytest.raises(ValueError, match="'") as caught:
        quantity.parse("nonsense", dimension)
    for example in str(caught.value).split("such as ")[1].split(" or "):
        quantity.parse(example.strip("'"), dimension)


def test_a_long_text_is_refused_at_once_and_shown_short() -> None:
    with pytest.raises(ValueError, match="…") as caught:
        quantity.parse("1 a" + " " * 1_000_000 + "b", "time")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("4 OP/cycle", "rate", 4 * 480e6),
        ("2 GOP/s", "rate", 2e9),
        ("8 B/cycle", "bandwidth", 8 * 480e6),
        ("0.5 nJ/cycle", "power", 0.5e-9 * 480e6),
        ("4000 cycles", "time", 4000 / 480e6),
        ("20 µs", "time", 20e-6),
        ("50 %", "fraction", 0.5),
    ],
)
def test_cycles_follow_the_clock(text: str, dimension: str, value: float) -> None:
    assert quantity.parse_clocked(text, dimension, 480e6) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "dimension", "clock", "message"),
    [
        ("4 OP/cycle", "rate", None, "counted in cycles and no clock is given"),
        ("4 OP/cycle", "bytes", 1e6, "'OP/cycle' is a unit of rate per cycle, not of bytes"),
        ("1e308 OP/cycle", "rate", 1e9, "not a finite number"),
    ],
)
def test_cycles_that_cannot_be_counted(text: str, dimension: str, clock: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantity.parse_clocked(text, dimension, clock)


def test_scaling_keeps_the_unit() -> None:
    assert quantity.scaled("25.6 GB/s", 2) == "51.2 GB/s"
    assert quantity.scaled("3", 0.5) == "1.5"
    with pytest.raises(ValueError, match="not a number"):
        quantity.scaled("fast", 2)


@pytest.mark.parametrize(("text", "binary"), [("4 KiB", True), ("4 GiB/s", True), ("4 kB", False), ("x", False)])
def test_binary_prefixes(text: str, binary: bool) -> None:
    assert quantity.has_binary_prefix(text) is binary


FORMATTED = [
    (quantity.format_count(999), "999"),
    (quantity.format_count(7_489_664), "7.49 M"),
    (quantity.format_count(999_500), "1.00 M"),
    (quantity.format_count(1_024_000_000.0, "B/s"), "1.02 GB/s"),
    (quantity.format_count(0), "0"),
    (quantity.format_bytes(310_000), "310 kB"),
    (quantity.format_capacity(256 * 1024), "256 KiB"),
    (quantity.format_capacity(0), "0 B"),
    (quantity.format_time(0.00891), "8.91 ms"),
    (quantity.format_time(0.071), "71.0 ms"),
    (quantity.format_time(1.2), "1.20 s"),
    (quantity.format_time(0), "0 s"),
    (quantity.format_energy(0.018), "18.0 mJ"),
    (quantity.format_power(0.045), "45.0 mW"),
    (quantity.format_percent(0.125), "12.5 %"),
    (quantity.format_percent(1), "100 %"),
    (quantity.format_percent(0.0001), "<0.1 %"),
]


@pytest.mark.parametrize(("shown", "expected"), FORMATTED)
def test_how_numbers_are_shown(shown: str, expected: str) -> None:
    assert shown == expected


# what is printed reads back within half a unit of the third digit
@given(st.floats(1e-11, 1e3))
def test_a_printed_time_reads_back(seconds: float) -> None:
    assert quantity.parse(quantity.format_time(seconds), "time") == pytest.approx(seconds, rel=6e-3)


@given(st.floats(1, 1e20))
def test_a_printed_rate_reads_back(rate: float) -> None:
    assert quantity.parse(quantity.format_count(rate, "OP/s"), "rate") == pytest.approx(rate, rel=6e-3)


@given(st.integers(1, 2**44))
def test_a_printed_capacity_reads_back(size: int) -> None:
    assert quantity.parse(quantity.format_capacity(size), "bytes") == pytest.approx(size, rel=6e-3)


@given(st.floats(1, 1e17))
def test_three_digits_are_shown(value: float) -> None:
    digits = [c for c in quantity.format_count(value, "B").split()[0] if c.isdigit()]
    assert len(digits) == 3


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_a_value_error(text: str) -> None:
    for dimension in UNITS:
        with contextlib.suppress(ValueError):
            assert math.isfinite(quantity.parse_clocked(text, dimension, 1e6))
