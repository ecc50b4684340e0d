"""Joules of a kernel: either power times time, or the energies of its single acts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from machines import kernel, kernels, level, machine, profile, q
from onnx_text import read

import efficiency_cli as eff
from efficiency_cli.graph.model import DType
from efficiency_cli.hardware.profile import Energy
from efficiency_cli.roofline.energy import kernel_energy
from efficiency_cli.roofline.latency import Timer
from efficiency_cli.roofline.network import Kernel

# 600 operations at 100 a second take 6 s; 30 bytes at 10 a second are hidden behind them
WORK = kernel(ops=600, weights=20, read=7, written=3)
ACTS = Energy(per_op={"float32": q(2.0)}, per_byte={"ram": q(5.0)})


def joules(energy: Energy | None, k: Kernel = WORK, **numbers: Any) -> float | None:
    timer = Timer(machine(profile(**numbers)), k.weight_bytes)
    return kernel_energy(energy, timer.time(k))


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
