"""Limits as people write them: units are required, contradictions refused, names suggested."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efficiency_cli import quantity
from efficiency_cli.judge.budget import Budget, parse_budget, parse_limit
from efficiency_cli.judge.gauge import GAUGES, NAMES, worsening


@pytest.mark.parametrize(
    ("name", "text", "side", "value"),
    [
        ("latency", "15 ms", "max", 0.015),
        ("latency", "<= 15ms", "max", 0.015),
        ("latency", "≤ 15 ms", "max", 0.015),
        ("latency", ">= 1 us", "min", 1e-6),
        ("throughput", "60 /s", "min", 60.0),
        ("throughput", ">= 1.2k/s", "min", 1200.0),
        ("throughput", "<= 100 /s", "max", 100.0),
        ("peak_ram", "256 KiB", "max", 256 * 1024),
        ("flash", "1 MB", "max", 1e6),
        ("macs", "7.5M", "max", 7.5e6),
        ("kernels", "30", "max", 30.0),
        ("energy", "20 mJ", "max", 0.02),
        ("coverage", ">= 99 %", "min", 0.99),
        ("coverage", "99%", "min", 0.99),
        ("latency_increase", "5 %", "max", 0.05),
        ("latency_increase", "0%", "max", 0.0),
        ("throughput_decrease", "5 %", "max", 0.05),
    ],
)
def test_limits(name, text, side, value):
    found_side, found = parse_limit(name, text)
    assert found_side == side
    assert found == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("latency", "15", "a unit is required"),
        ("throughput", "60", "a unit is required"),
        ("latency", "15 mW", "'mW' is a unit of power, not of time"),
        ("latency_increase", "0.05", "write '0.05 %' or '5 %'"),
        ("coverage", "0.99", "write '0.99 %' or '99 %'"),
        ("latency", "-5 ms", "is negative"),
        ("latency", "0 ms", "is zero"),
        ("latency", "< 5 ms", "write <= or >="),
        ("latency", "= 5 ms", "write <= or >="),
        ("latency", "soon", "'soon' is not a number"),
        ("latency", "", "is not a number"),
        ("latency", "1e999 s", "not a finite number"),
        ("latency_increase", ">= 5 %", "has a most, not a least"),
    ],
)
def test_what_is_no_limit(name, text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_limit(name, text)


def test_an_option_says_which_side_is_meant():
    assert parse_budget("latency=15ms", "max", "--max") == Budget("latency", "max", 0.015, "15ms", place="--max")
    assert parse_budget("latency<=15ms", "max", "--max").text == "<=15ms"
    assert parse_budget("throughput=60/s", "min", "--min").side == "min"
    # more than so many is what --max means, for a metric of which more is better as well
    assert parse_budget("throughput=60/s", "max", "--max").side == "max"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency", "as in: --max latency=15ms"),
        ("=15ms", "is not METRIC=LIMIT"),
        ("latncy=15ms", "did you mean 'latency'?"),
        ("throughput_increase=5%", "did you mean 'throughput_decrease'?"),
        ("latency>=15ms", "contradicts max"),
        ("cost=3", "metrics: latency, throughput"),
    ],
)
def test_what_is_no_budget(text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_budget(text, "max", "--max")


def test_at_the_limit_it_holds():
    most, least = Budget("latency", "max", 0.015, "15 ms"), Budget("throughput", "min", 60.0, "60 /s")
    assert most.holds(0.015)
    assert not most.holds(0.0150000001)
    assert least.holds(60.0)
    assert not least.holds(59.999)


def test_every_metric_of_the_design_is_there():
    wanted = "latency throughput macs flops parameters flash peak_ram bytes_moved energy kernels coverage kv_cache"
    assert set(GAUGES) == set(wanted.split())
    assert set(NAMES) - set(GAUGES) == {
        *(f"{name}_increase" for name in GAUGES if name not in ("throughput", "coverage")),
        "throughput_decrease",
        "coverage_decrease",
    }


def test_worse_is_more_or_less():
    latency, throughput = GAUGES["latency"], GAUGES["throughput"]
    assert worsening(latency, 0.020, 0.021) == pytest.approx(0.05)
    assert worsening(latency, 0.020, 0.019) == pytest.approx(-0.05)
    assert worsening(throughput, 100.0, 95.0) == pytest.approx(0.05)
    assert worsening(GAUGES["macs"], 0.0, 0.0) == 0.0
    assert worsening(GAUGES["macs"], 0.0, 1.0) == float("inf")


@given(st.sampled_from(sorted(GAUGES)), st.floats(1e-9, 1e12), st.floats(0, 2))
def test_a_limit_that_is_written_holds_and_is_no_looser_than_its_digits(name, value, headroom):
    gauge = GAUGES[name]
    value = min(value, 1.0) if gauge.dimension == "fraction" else value
    value = max(value, 1.0) if gauge.dimension in ("count", "bytes") else value
    text = gauge.limit_text(value, headroom)
    limit = quantity.parse(text, gauge.dimension)
    wanted = value if gauge.more_is_better else value * (1 + headroom)
    if gauge.more_is_better:
        assert wanted * 0.98 <= limit <= wanted
    else:
        assert wanted <= limit <= wanted * 1.02
