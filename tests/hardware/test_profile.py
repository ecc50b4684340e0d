"""What the numbers of a profile mean: fallbacks of types, ridge points, clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from efficiency_cli.hardware.kinds import DTYPES, FLOAT_BITS, INTEGER_BITS, SAME_PEAK
from efficiency_cli.hardware.load import load_profile, profile_ids
from efficiency_cli.hardware.profile import DEFAULT_INTERVAL, Peaks, Profile, Quantity, fallbacks, numbers


def rate(value: float) -> Quantity:
    return Quantity(value, f"{value:g} OP/s", "test", "derived")


def machine(**peaks: Peaks) -> Profile:
    return replace(load_profile("cortex-m7"), compute=peaks)


def test_a_type_runs_at_its_own_peak_first() -> None:
    profile = machine(int8=Peaks(rate(8)), float32=Peaks(rate(2), rate(1)))
    assert profile.peak("int8") == (8, "int8")
    assert profile.peak("float32", "vector") == (1, "float32")


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ("uint8", "int8"),
        ("bool", "int8"),
        ("int4", "int8"),
        ("int16", "int32"),
        ("int64", "int32"),
        ("float8e4m3fn", "float16"),
        ("bfloat16", "float32"),
        ("float64", "float32"),
        ("string", "float32"),
    ],
)
def test_a_type_without_a_peak_runs_as_the_next_wider(asked: str, used: str) -> None:
    kinds = ("int8", "int32", "float16", "float32")
    profile = machine(**{k: Peaks(rate(i + 1)) for i, k in enumerate(kinds)})
    assert profile.peak(asked) == (kinds.index(used) + 1, used)


def test_a_family_without_any_peak_uses_the_other() -> None:
    assert machine(int8=Peaks(rate(8)), int16=Peaks(rate(4))).peak("float32") == (4, "int16")
    assert machine(float16=Peaks(rate(4)), float32=Peaks(rate(2))).peak("int8") == (4, "float16")


def test_vector_work_without_vector_peaks_uses_matrix_ones() -> None:
    assert machine(int8=Peaks(rate(8)), float32=Peaks(rate(2))).peak("int8", "vector") == (8, "int8")
    assert machine(int8=Peaks(rate(8)), int32=Peaks(rate(2), rate(1))).peak("int8", "vector") == (1, "int32")


@pytest.mark.parametrize("dtype", [*DTYPES, *SAME_PEAK, "string", "anything"])
def test_fallbacks_name_every_type_once(dtype: str) -> None:
    order = fallbacks(dtype)
    assert sorted(order) == sorted(DTYPES)
    same = SAME_PEAK.get(dtype, dtype)
    assert order[0] == (same if same in DTYPES else "float64")


def test_integers_fall_back_to_integers_before_floats() -> None:
    order = fallbacks("int8")
    assert set(order[: len(INTEGER_BITS)]) == set(INTEGER_BITS)
    assert set(order[len(INTEGER_BITS) :]) == set(FLOAT_BITS)


def test_the_ridge_point_is_peak_over_bandwidth() -> None:
    a100 = load_profile("a100")
    assert a100.ridge_point("float16") == pytest.approx(312e12 / 2039e9)
    assert a100.ridge_point("float16", "l2") == pytest.approx(312e12 / (5120 * 1410e6))


def test_a_runtime_without_an_interval_has_the_wide_one() -> None:
    runtime = replace(load_profile("cortex-m7").runtime(), interval=None)
    assert runtime.interval_factors == DEFAULT_INTERVAL


@given(st.floats(0.1, 10))
def test_doubling_the_clock_doubles_what_is_counted_in_cycles(factor: float) -> None:
    slow = load_profile("cortex-m7")
    fast = load_profile("cortex-m7", overrides=[f"clock={factor:.6f}x"])
    factor = float(f"{factor:.6f}")
    assert fast.peak("int8")[0] == pytest.approx(factor * slow.peak("int8")[0])
    assert fast.memory[0].bytes_per_s == pytest.approx(factor * slow.memory[0].bytes_per_s)
    assert fast.runtime().kernel_s == pytest.approx(slow.runtime().kernel_s / factor)
    assert fast.ridge_point("int8") == pytest.approx(slow.ridge_point("int8"))


@pytest.mark.parametrize("name", profile_ids())
def test_numbers_walks_every_number_once(name: str) -> None:
    profile = load_profile(name)
    paths = [path for path, _ in numbers(profile)]
    assert len(paths) == len(set(paths))
    assert f"memory.{profile.memory[-1].name}.bandwidth" in paths
    assert f"runtimes.{profile.default_runtime}.overlap" in paths
