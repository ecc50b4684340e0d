"""Joules of a kernel: either power times time, or the energies of its single acts."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import kernel, kernels, level, machine, profile, q
from onnx_text import read

import efficiency_cli as eff
from efficiency_cli.graph.model import DType
from efficiency_cli.hardware.profile import (
    ACTS_INTERVAL,
    CHIP_POWER_INTERVAL,
    LIMIT_POWER_INTERVAL,
    Energy,
    Interval,
    Quantity,
)
from efficiency_cli.roofline.energy import energy_interval, kernel_energy
from efficiency_cli.roofline.latency import Timer, Times
from efficiency_cli.roofline.network import Kernel

# 600 operations at 100 a second take 6 s; 30 bytes at 10 a second are hidden behind them
WORK = kernel(ops=600, weights=20, read=7, written=3)
ACTS = Energy(per_op={"float32": q(2.0)}, per_byte={"ram": q(5.0)})


def joules(energy: Energy | None, k: Kernel = WORK, **numbers: Any) -> float | None:
    timer = Timer(machine(profile(**numbers)), k.weight_bytes)
    return kernel_energy(energy, timer.time(k))


TEN = Times(bound_s=1.0, lower_s=5.0, expected_s=10.0, upper_s=40.0)


def test_power_and_time_err_independently() -> None:
    energy = Energy(active_power=q(3.0), interval=Interval(q(0.25), q(2.0)))
    # half and a quarter: e^-√(ln²2 + ln²4); four and two times
    found = energy_interval(energy, 30.0, TEN)
    assert found.lower_j == pytest.approx(30 * math.exp(-math.hypot(math.log(2), math.log(4))))
    assert found.upper_j == pytest.approx(30 * math.exp(math.hypot(math.log(4), math.log(2))))
    assert found.expected_j == 30.0


def test_acts_depend_on_time_as_far_as_static_power_goes() -> None:
    energy = Energy(per_op={"float32": q(2.0)}, static_power=q(1.0), interval=Interval(q(1.0), q(1.0)))
    # of 40 J 10 are static: half as much, or four times
    found = energy_interval(energy, 40.0, TEN)
    assert (found.lower_j, found.upper_j) == (pytest.approx(30 + 5), pytest.approx(30 + 40))
    acts_alone = energy_interval(Energy(per_op={"float32": q(2.0)}, interval=Interval(q(0.5), q(3.0))), 40.0, TEN)
    assert (acts_alone.lower_j, acts_alone.upper_j) == (pytest.approx(20), pytest.approx(120))


def test_without_an_interval_it_is_as_wide_as_what_is_known() -> None:
    limit = Quantity(3.0, "3 W", "here", "datasheet")
    assert Energy(active_power=limit).interval_factors == LIMIT_POWER_INTERVAL
    assert Energy(active_power=q(3.0)).interval_factors == CHIP_POWER_INTERVAL
    assert Energy(per_op={"int8": q(1.0)}).interval_factors == ACTS_INTERVAL


@settings(max_examples=50, deadline=None)
@given(
    st.tuples(st.floats(0.01, 1), st.floats(1, 100)),
    st.tuples(st.floats(0, 1), st.floats(1, 100)),
    st.floats(0, 1e3),
    st.booleans(),
)
def test_lower_expected_upper(
    of_power: tuple[float, float], of_time: tuple[float, float], joules: float, acts: bool
) -> None:
    low, high = of_power
    interval = Interval(q(low), q(high))
    static = Energy(per_op={"int8": q(1.0)}, static_power=q(1.0), interval=interval)
    energy = static if acts else Energy(active_power=q(1.0), interval=interval)
    found = energy_interval(energy, joules, Times(0.0, of_time[0] * 2, 2.0, of_time[1] * 2))
    assert 0 <= found.lower_j <= found.expected_j <= found.upper_j
    # no narrower than either alone
    assert found.lower_j <= joules * low * (1 + 1e-9)
    assert found.upper_j >= joules * high * (1 - 1e-9)


def test_power_times_time() -> None:
    assert joules(Energy(active_power=q(3.0))) == pytest.approx(3 * 6)
    # a measured power already has everything in it
    assert joules(Energy(active_power=q(3.0), static_power=q(1.0), per_op={"float32": q(9.0)})) == pytest.approx(3 * 6)


def test_operations_and_bytes() -> None:
    assert joules(ACTS) == pytest.approx(600 * 2 + 30 * 5)


def test_static_power_runs_all_the_time() -> None:
    energy = Energy(static_power=q(0.5), per_op={"float32": q(2.0)}, per_byte={"ram": q(5.0)})
    assert joules(energy) == pytest.approx(600 * 2 + 30 * 5 + 0.5 * 6)


def test_bytes_cost_what_their_level_does() -> None:
    memory = [level("tcm", 10.0, 15, ["activations"]), level("flash", 10.0, None, ["weights"])]
    energy = Energy(per_op={"float32": q(2.0)}, per_byte={"tcm": q(1.0), "flash": q(7.0)})
    assert joules(energy, memory=memory) == pytest.approx(600 * 2 + 20 * 7 + 10 * 1)


def test_a_level_without_a_figure_adds_nothing() -> None:
    assert joules(Energy(per_op={"float32": q(2.0)})) == pytest.approx(600 * 2)


@pytest.mark.parametrize(
    ("dtype", "each"), [(DType.INT8, 0.25), (DType.UINT8, 0.25), (DType.FLOAT16, 2.0), (None, 2.0)]
)
def test_the_nearest_type_with_a_figure(dtype: DType | None, each: float) -> None:
    energy = Energy(per_op={"float32": q(2.0), "int8": q(0.25)})
    assert joules(energy, kernel(ops=600, dtype=dtype)) == pytest.approx(600 * each)


def test_nothing_known() -> None:
    assert joules(None) is None
    assert joules(Energy()) is None
    assert joules(Energy(static_power=q(1.0))) is None


@settings(max_examples=50, deadline=None)
@given(kernels)
def test_more_energy_an_act_never_costs_less(k: Kernel) -> None:
    more = Energy(per_op={"float32": q(3.0)}, per_byte={"ram": q(6.0)})
    low, high = joules(ACTS, k), joules(more, k)
    assert low is not None
    assert high is not None
    assert 0 <= low <= high


TEXT = "g (float[4] x) => (float[] y) { a = Exp(x)  y = Neg(a) }"


def test_a_run_is_the_sum_of_its_kernels() -> None:
    result = eff.estimate(read(TEXT), profile(energy=ACTS))
    # 4 elements, one operation each; 32 bytes in and out, twice
    assert result.energy_j == pytest.approx(sum(e or 0 for e in result.energies))
    assert result.energies[1] == pytest.approx(4 * 1 * 2 + 32 * 5)


def test_a_run_without_figures_has_no_energy() -> None:
    assert eff.estimate(read(TEXT), profile()).energy_j is None
    assert eff.estimate(read(TEXT)).energy_j is None


def test_a_run_has_the_interval_of_its_latency() -> None:
    result = eff.estimate(read(TEXT), profile(energy=Energy(active_power=q(3.0))))
    assert result.latency is not None
    assert result.energy == energy_interval(Energy(active_power=q(3.0)), result.energy_j or 0.0, result.latency)
    totals = result.to_dict()["totals"]
    assert result.energy is not None
    assert totals["energy_interval_j"] == {
        "lower": result.energy.lower_j,
        "expected": result.energy_j,
        "upper": result.energy.upper_j,
    }
    assert eff.estimate(read(TEXT), profile()).energy is None
    assert eff.estimate(read(TEXT)).to_dict()["totals"]["energy_interval_j"] is None


# --- the microcontrollers' power, against what submitters of MLPerf Tiny measured ---

MEASURED = Path(__file__).resolve().parents[3] / "shared" / "data" / "mcu" / "energy.csv"
CORES = {"Cortex-M4": "cortex-m4", "Cortex-M7": "cortex-m7", "Cortex-M33": "cortex-m33"}


def joules_a_cycle() -> list[tuple[str, str, float]]:
    """(core, submitter, J/cycle) by row; each round of a submitter is a row of its own."""
    with MEASURED.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [(r["core"], r["submitter"], float(r["mW"]) * 1e-3 / (float(r["clock_mhz"]) * 1e6)) for r in rows]


@pytest.mark.skipif(not MEASURED.is_file(), reason="the table is not beside this repository")
@pytest.mark.parametrize("core", CORES)
def test_the_shipped_power_is_that_of_the_board(core: str) -> None:
    machine = eff.load_profile(CORES[core])
    assert machine.energy is not None
    assert machine.energy.active_power is not None
    assert machine.clock is not None
    measured = [j for c, submitter, j in joules_a_cycle() if c == core and submitter == "STMicroelectronics"]
    assert machine.energy.active_power.value / machine.clock.value == pytest.approx(median(measured), rel=0.05)


@pytest.mark.skipif(not MEASURED.is_file(), reason="the table is not beside this repository")
def test_intervals_hold_most_of_what_other_submitters_measure() -> None:
    inside = []
    for core, submitter, measured in joules_a_cycle():
        others = [j for c, s, j in joules_a_cycle() if c == core and s != submitter]
        energy = eff.load_profile(CORES[core]).energy
        assert energy is not None
        if others:
            low, high = energy.interval_factors
            inside.append(low <= measured / median(others) <= high)
    assert len(inside) >= 40
    assert 0.7 <= sum(inside) / len(inside) <= 0.95
