"""The time of a kernel: the formula by hand, and what must hold for any kernel on any machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import kernel, kernels, level, machine, profile, profiles, q
from msgspec.structs import replace

from efficiency_cli.costs import Product
from efficiency_cli.errors import ProfileError
from efficiency_cli.graph.model import MAC_CLASSES, DType, OpClass
from efficiency_cli.hardware.profile import DEFAULT_INTERVAL, Dispatch, HalfSize, Peaks, Profile, Tile
from efficiency_cli.roofline.latency import KernelTime, Machine, Timer
from efficiency_cli.roofline.network import Kernel

networks = st.lists(kernels, min_size=1, max_size=6)


def timed(k: Kernel, weight_bytes: int | None = None, overlap: float | None = None, **numbers: Any) -> KernelTime:
    given_profile = profile(**numbers)
    return Timer(machine(given_profile, overlap), k.weight_bytes if weight_bytes is None else weight_bytes).time(k)


def run(given_profile: Profile, ks: list[Kernel], overlap: float | None = None) -> tuple[Timer, tuple[KernelTime, ...]]:
    timer = Timer(machine(given_profile, overlap), sum(k.weight_bytes for k in ks))
    return timer, tuple(timer.time(k) for k in ks)


# --- the formula ---

# 600 operations at 100 a second; 20 bytes of weights and 10 of activations at 10 a second
WORK = kernel(ops=600, weights=20, read=7, written=3)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({}, 600 / 100),
        ({"overlap": 0}, 600 / 100 + (20 + 10) / 10),
        ({"overlap": 0.75}, 600 / 100 + 0.25 * (20 + 10) / 10),
        ({"efficiency": {"dense": 0.5}}, 600 / (100 * 0.5)),
        ({"efficiency": {"memory": 0.1}}, (20 + 10) / (10 * 0.1)),
        ({"efficiency": {"memory": 0.1}, "overlap": 0}, 30 / (10 * 0.1) + 600 / 100),
        ({"efficiency": {"softmax": 0.1}}, 600 / 100),
        ({"kernel_s": 0.5}, 600 / 100 + 0.5),
        ({"peaks": {"float32": 50.0}}, 600 / 50),
        ({"peaks": {"float32": 1e9}}, (20 + 10) / 10),
        ({"memory": [level("ram", 1.0)]}, 20 + 10),
    ],
)
def test_the_expected_time(numbers: Mapping[str, Any], expected: float) -> None:
    assert timed(WORK, **numbers).times.expected_s == pytest.approx(expected)


def test_the_parts_of_the_time() -> None:
    result = timed(WORK, efficiency={"dense": 0.5, "memory": 0.75}, kernel_s=0.5)
    assert result.compute_s == pytest.approx(600 / 50)
    assert result.weight_s == pytest.approx(20 / 7.5)
    assert result.activation_s == pytest.approx(10 / 7.5)
    assert result.memory_s == pytest.approx(30 / 7.5)
    assert (result.overhead_s, result.bound_by) == (0.5, "compute")
    assert result.margin == pytest.approx((600 / 50) / (30 / 7.5))


def test_the_textbook_bound_knows_no_efficiency_and_no_overhead() -> None:
    result = timed(WORK, efficiency={"dense": 0.01, "memory": 0.01}, overlap=0, kernel_s=9, run_s=9)
    assert result.times.bound_s == max(600 / 100, 30 / 10)


def test_every_repeat_is_dispatched() -> None:
    assert timed(kernel(ops=600, repeat=3), kernel_s=0.5).overhead_s == 3 * 0.5


def test_what_is_not_a_mac_runs_at_the_vector_peak() -> None:
    for op_class in OpClass:
        result = timed(kernel(ops=600, op_class=op_class), peaks={"float32": (100.0, 20.0)})
        assert result.compute_s == pytest.approx(600 / (100 if op_class in MAC_CLASSES else 20))


@pytest.mark.parametrize(
    ("dtype", "peak_dtype", "seconds"),
    [
        (DType.INT8, "int8", 600 / 400),
        (DType.UINT8, "int8", 600 / 400),
        (DType.INT16, "int8", 600 / 400),
        (None, "float32", 600 / 100),
    ],
)
def test_the_peak_of_the_type(dtype: DType | None, peak_dtype: str, seconds: float) -> None:
    result = timed(kernel(ops=600, dtype=dtype), peaks={"int8": 400.0, "float32": 100.0})
    assert (result.peak_dtype, result.compute_s) == (peak_dtype, pytest.approx(seconds))


@pytest.mark.parametrize(
    ("k", "numbers", "bound_by"),
    [
        (kernel(ops=600, read=10), {}, "compute"),
        (kernel(ops=10, read=600), {}, "memory"),
        (kernel(ops=10, read=10), {"kernel_s": 99}, "overhead"),
        (kernel(read=10), {}, "memory"),
        (kernel(), {"kernel_s": 1}, "overhead"),
        (kernel(), {}, "memory"),
    ],
)
def test_what_binds(k: Kernel, numbers: Mapping[str, Any], bound_by: str) -> None:
    assert timed(k, **numbers).bound_by == bound_by


def test_nothing_beside_the_winner_is_an_infinite_margin() -> None:
    assert timed(kernel(ops=600)).margin == math.inf
    assert timed(kernel(read=600)).margin == math.inf


# --- memory levels ---

CACHE, RAM = level("cache", 100.0, 50), level("ram", 10.0)


@pytest.mark.parametrize(
    ("k", "weight_bytes", "levels"),
    [
        # 10 + 30 bytes fit the cache of 50 together
        (kernel(weights=10, read=30), 10, ("cache", "cache")),
        # the network's weights do not stay there; what this kernel needs of them still passes through
        (kernel(weights=10, read=30), 51, ("ram", "cache")),
        (kernel(weights=30, read=30), 30, ("cache", "ram")),
        (kernel(weights=10, read=60), 10, ("cache", "ram")),
        (kernel(read=30), 51, ("", "cache")),
        # one run of three needs 20 bytes
        (kernel(read=60, repeat=3), 0, ("", "cache")),
    ],
)
def test_where_bytes_come_from(k: Kernel, weight_bytes: int, levels: tuple[str, str]) -> None:
    result = timed(k, weight_bytes, memory=[CACHE, RAM])
    assert (result.weight_level, result.activation_level) == levels
    speed = {"cache": 100.0, "ram": 10.0, "": 1.0}
    assert result.memory_s == pytest.approx(
        k.weight_bytes / speed[levels[0]] + (k.read_bytes + k.written_bytes) / speed[levels[1]]
    )


def test_levels_hold_what_they_say() -> None:
    memory = [level("tcm", 100.0, 50, ["activations"]), level("flash", 5.0, None, ["weights"])]
    result = timed(kernel(weights=10, read=30), memory=memory)
    assert (result.weight_level, result.activation_level) == ("flash", "tcm")


def test_what_fits_nowhere_is_in_the_last_level() -> None:
    memory = [level("sram", 100.0, 50), level("psram", 10.0, 100)]
    result = timed(kernel(weights=200, read=300), memory=memory)
    assert (result.weight_level, result.activation_level) == ("psram", "psram")


# --- a whole run ---


def test_a_run_is_its_kernels_and_its_start() -> None:
    timer, times = run(profile(run_s=7.0, kernel_s=0.5, interval=(0.8, 1.5)), [WORK, WORK])
    total = timer.total(times)
    assert total.expected_s == pytest.approx(2 * (6 + 0.5) + 7)
    assert total.bound_s == 2 * 6
    assert (total.lower_s, total.upper_s) == (pytest.approx(0.8 * 20), pytest.approx(1.5 * 20))


def test_what_data_decide_the_size_of_may_take_nothing_but_its_start() -> None:
    timer, times = run(profile(run_s=7.0, kernel_s=0.5, interval=(0.8, 1.5)), [WORK, replace(WORK, at_most=True)])
    sure, largest = (t.times for t in times)
    assert largest.expected_s == sure.expected_s == pytest.approx(6.5)
    assert (largest.bound_s, largest.lower_s) == (0, pytest.approx(0.8 * 0.5))
    assert largest.upper_s == sure.upper_s
    total = timer.total(times)
    assert (total.bound_s, total.expected_s, total.upper_s) == (6, pytest.approx(20), pytest.approx(1.5 * 20))
    assert total.lower_s == pytest.approx(0.8 * (7 + 6.5 + 0.5))


def test_without_an_interval_it_is_a_wide_one() -> None:
    times = timed(kernel(ops=600, read=60), overlap=0).times
    low, high = DEFAULT_INTERVAL
    assert times.expected_s == 6 + 6
    assert (times.lower_s, times.upper_s) == (max(6.0, 12 * low), pytest.approx(12 * high))


def test_an_unknown_runtime_is_an_error() -> None:
    with pytest.raises(ProfileError, match="has no runtime 'fast'"):
        Machine.of(profile(), "fast")


def test_a_runtime_s_overlap_unless_another_is_given() -> None:
    assert machine(profile(overlap=0.25)).overlap == 0.25
    assert machine(profile(overlap=0.25), 0.0).overlap == 0.0


def test_levels_that_computing_hides_worse_have_an_overlap_of_their_own() -> None:
    # 10 bytes of activations at 10 a second from the near level, 20 of weights at 5 from the far one
    near = level("near", 10.0, 15, ["activations"])
    far = level("far", 5.0, None, ["weights"], overlap=0.25)
    machine_of_both = profile(memory=[near, far], overlap=0.75)
    assert machine(machine_of_both).overlaps == {"far": 0.25}
    time = Timer(machine(machine_of_both), 20).time(WORK)
    assert time.overlap == pytest.approx((0.75 * 1 + 0.25 * 4) / (1 + 4))
    assert time.times.expected_s == pytest.approx(600 / 100 + (1 - 0.75) * 1 + (1 - 0.25) * 4)
    # the user's is for all
    assert Timer(machine(machine_of_both, 1.0), 20).time(WORK).times.expected_s == pytest.approx(600 / 100)
    # a kernel that moves nothing
    assert Timer(machine(machine_of_both), 0).time(kernel(ops=600)).overlap == 0.75


def test_what_a_memory_does_not_hold_has_the_overlap_of_the_next() -> None:
    near, far = level("near", 10.0, 15, overlap=0.75), level("far", 5.0, overlap=0.25)
    filled_by_software = replace(profile(memory=[near, far], overlap=1), machine_class="mcu")
    # of 20 bytes of weights 15 are near, of 20 bytes alive 5 are far: 1.5 s and 1 s, 0.5 s and 1 s
    time = Timer(machine(filled_by_software), 20).time(WORK, live_bytes=20)
    assert (time.weight_s, time.activation_s) == (pytest.approx(2.5), pytest.approx(1.5))
    assert time.weight_overlap == pytest.approx((0.75 * 1.5 + 0.25 * 1) / 2.5)
    assert time.activation_overlap == pytest.approx((0.75 * 0.5 + 0.25 * 1) / 1.5)
    assert time.overlap == pytest.approx((0.75 * 2 + 0.25 * 2) / 4)


def test_a_calibration_in_another_type_widens_the_interval() -> None:
    calibrated = profile(interval=(0.9, 1.1))
    runtime = replace(calibrated.runtimes[0], grade="calibrated", dtype="int8")
    calibrated = replace(calibrated, runtimes=(runtime,))
    own = Timer(machine(calibrated), 0, "int8").time(WORK).times
    other = Timer(machine(calibrated), 0, "float32").time(WORK).times
    assert own.upper_s == pytest.approx(1.1 * own.expected_s)
    assert other.upper_s == pytest.approx(DEFAULT_INTERVAL[1] * other.expected_s)


# --- laws ---

SLACK = 1 + 1e-9  # rounding


@settings(max_examples=100, deadline=None)
@given(profiles(), networks)
def test_the_interval_is_in_order(given_profile: Profile, ks: list[Kernel]) -> None:
    timer, times = run(given_profile, ks)
    for t in (*(t.times for t in times), timer.total(times)):
        assert 0 <= t.bound_s <= t.lower_s <= t.expected_s <= t.upper_s


@settings(max_examples=100, deadline=None)
@given(profiles(), networks)
def test_no_kernel_is_faster_than_its_arithmetic_or_its_bytes(given_profile: Profile, ks: list[Kernel]) -> None:
    fastest = max(m.bytes_per_s for m in given_profile.memory)
    _, times = run(given_profile, ks)
    for t in times:
        peak, _ = given_profile.peak(t.dtype, t.kernel.unit)
        assert t.times.bound_s * SLACK >= t.kernel.ops / peak
        assert t.times.bound_s * SLACK >= t.kernel.bytes_moved / fastest
        assert t.compute_s * SLACK >= t.kernel.ops / peak
        assert t.times.expected_s * SLACK >= t.overhead_s


@settings(max_examples=100, deadline=None)
@given(profiles(), networks)
def test_full_overlap_is_fastest_and_none_is_the_sum(given_profile: Profile, ks: list[Kernel]) -> None:
    full, own, none = (run(given_profile, ks, overlap)[1] for overlap in (1.0, None, 0.0))
    for f, o, n in zip(full, own, none, strict=True):
        assert f.times.expected_s <= o.times.expected_s * SLACK <= n.times.expected_s * SLACK**2
        assert f.times.bound_s == n.times.bound_s
        assert n.times.expected_s == pytest.approx(n.compute_s + n.memory_s + n.overhead_s)


@settings(max_examples=100, deadline=None)
@given(profiles(), networks, st.data())
def test_doubling_a_bandwidth_never_slows(given_profile: Profile, ks: list[Kernel], data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(given_profile.memory) - 1))
    faster = [
        replace(m, bandwidth=q(2 * m.bytes_per_s)) if k == which else m for k, m in enumerate(given_profile.memory)
    ]
    _never_slower(given_profile, replace(given_profile, memory=tuple(faster)), ks)


@settings(max_examples=100, deadline=None)
@given(profiles(), networks, st.data())
def test_doubling_a_peak_never_slows(given_profile: Profile, ks: list[Kernel], data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(sorted(given_profile.compute)))
    peaks = given_profile.compute[dtype]
    faster = Peaks(q(2 * peaks.matrix.value), q(2 * peaks.vector.value) if peaks.vector else None)
    _never_slower(given_profile, replace(given_profile, compute={**given_profile.compute, dtype: faster}), ks)


def _never_slower(before: Profile, after: Profile, ks: list[Kernel]) -> None:
    for old, new in zip(run(before, ks)[1], run(after, ks)[1], strict=True):
        assert new.times.expected_s <= old.times.expected_s * SLACK
        assert new.times.bound_s <= old.times.bound_s * SLACK


@settings(max_examples=100, deadline=None)
@given(profiles(), networks)
def test_a_run_takes_as_long_as_its_parts(given_profile: Profile, ks: list[Kernel]) -> None:
    timer, times = run(given_profile, ks)
    total, start = timer.total(times), given_profile.runtimes[0].run_s
    assert total.expected_s == pytest.approx(sum(t.times.expected_s for t in times) + start)
    assert total.bound_s == pytest.approx(sum(t.times.bound_s for t in times))


@settings(max_examples=100, deadline=None)
@given(profiles(), kernels, st.integers(2, 9))
def test_repeats_take_proportionally_longer(given_profile: Profile, k: Kernel, times: int) -> None:
    once = kernel(ops=k.ops, weights=k.weight_bytes, read=k.read_bytes, op_class=k.op_class, dtype=k.dtype)
    many = kernel(
        ops=k.ops * times, weights=k.weight_bytes * times, read=k.read_bytes * times,
        op_class=k.op_class, dtype=k.dtype, repeat=times,
    )  # fmt: skip
    timer = Timer(machine(given_profile), k.weight_bytes)
    assert timer.time(many).times.expected_s == pytest.approx(times * timer.time(once).times.expected_s)


@settings(max_examples=50, deadline=None)
@given(profiles(), networks)
def test_the_same_question_has_the_same_answer(given_profile: Profile, ks: list[Kernel]) -> None:
    assert run(given_profile, ks)[1] == run(given_profile, ks)[1]


# --- what a runtime may say more finely ---


def with_runtime(given_profile: Profile, **changes: Any) -> Profile:
    return replace(given_profile, runtimes=(replace(given_profile.runtimes[0], **changes),))


def test_a_scale_is_on_everything_and_never_under_the_bound() -> None:
    plain = profile(overlap=0, kernel_s=0.5, run_s=2.0)
    doubled = with_runtime(plain, scale=q(2))
    timer = Timer(machine(doubled), 20)
    time = timer.time(WORK)
    assert time.times.expected_s == pytest.approx(2 * (600 / 100 + (20 + 10) / 10 + 0.5))
    assert timer.total([time]).expected_s == pytest.approx(2 * (600 / 100 + 30 / 10 + 0.5 + 2.0))
    quick = Timer(machine(with_runtime(plain, scale=q(0.01))), 20).time(WORK)
    assert quick.times.expected_s == quick.times.bound_s == 600 / 100


def test_a_variant_of_dense_work_has_its_own_efficiency_or_its_class() -> None:
    numbers = {"efficiency": {"dense": 0.5, "gemv": 0.1}}
    assert timed(replace(WORK, variant="gemv"), **numbers).compute_s == pytest.approx(600 / (100 * 0.1))
    assert timed(replace(WORK, variant="gemm"), **numbers).compute_s == pytest.approx(600 / (100 * 0.5))


def test_a_class_may_cost_its_own_time_to_start() -> None:
    given_profile = profile(kernel_s=0.5)
    given_profile = with_runtime(given_profile, dispatch=Dispatch(q(0.5), None, {"softmax": q(3), "gemv": q(4)}))
    timer = Timer(machine(given_profile), 0)
    of = {
        name: timer.time(k).overhead_s
        for name, k in {
            "dense": kernel(ops=1, repeat=2),
            "softmax": kernel(ops=1, op_class=OpClass.SOFTMAX, repeat=2),
            "gemv": replace(kernel(ops=1), variant="gemv"),
        }.items()
    }
    assert of == {"dense": 2 * 0.5, "softmax": 2 * 3, "gemv": 4}


@pytest.mark.parametrize(
    ("product", "use"),
    [
        (Product(1, 64, 64, 64), 1.0),
        (Product(9, 1, 64, 64), 1 / 16),
        (Product(1, 16, 65, 64), 65 / 96),
        (Product(1, 17, 1, 7), 17 / 32 * 1 / 32),  # k is not padded
    ],
)
def test_products_are_padded_to_whole_tiles(product: Product, use: float) -> None:
    given_profile = with_runtime(profile(), tiles={"dense": Tile(m=q(16), n=q(32))})
    time = Timer(machine(given_profile), 0).time(replace(kernel(ops=600), product=product))
    assert time.tile_use == pytest.approx(use)
    assert time.compute_s == pytest.approx(600 / (100 * use))
    assert time.times.bound_s == 600 / 100


@pytest.mark.parametrize(
    ("product", "use"),
    [
        (Product(1, 8, 64, 64), 8 / (8 + 8) * 64 / (64 + 4)),  # m at its half size
        (Product(9, 1, 4, 64), 1 / (1 + 8) * 4 / (4 + 4)),
        (None, 1.0),
    ],
)
def test_small_products_are_slower(product: Product | None, use: float) -> None:
    given_profile = with_runtime(profile(), half_sizes={"dense": HalfSize(m=q(8), n=q(4))})
    time = Timer(machine(given_profile), 0).time(replace(kernel(ops=600), product=product))
    assert time.size_use == pytest.approx(use)
    assert time.compute_s == pytest.approx(600 / (100 * use))
    assert time.times.bound_s == 600 / 100


def spilling(kind: str) -> Profile:
    near = replace(level("near", 10.0, 100, ["activations"]), kind=kind)
    return profile(peaks={"float32": 1e9}, memory=[near, level("far", 2.0)])


def test_what_a_full_memory_cannot_hold_is_one_level_further_out() -> None:
    k = kernel(ops=1, read=40, written=20)
    fits = Timer(machine(spilling("memory")), 0).time(k, 100)
    assert (fits.memory_s, fits.spilled_bytes, fits.spill_level) == (60 / 10, 0, "")
    over = Timer(machine(spilling("memory")), 0).time(k, 125)
    assert over.memory_s == pytest.approx(35 / 10 + 25 / 2)
    assert (over.spilled_bytes, over.spill_level, over.activation_level) == (25, "far", "near")
    # no more than the kernel touches
    assert Timer(machine(spilling("memory")), 0).time(k, 10**6).memory_s == pytest.approx(60 / 2)


def test_a_cache_looks_at_what_the_kernel_works_on_alone() -> None:
    k = kernel(ops=1, read=40, written=20)
    assert Timer(machine(spilling("cache")), 0).time(k, 10**6).memory_s == 60 / 10
    assert Timer(machine(spilling("cache")), 0).time(kernel(ops=1, read=101), 101).memory_s == 101 / 2


def test_a_memory_keeps_the_weights_that_fit_and_a_cache_none() -> None:
    k = kernel(ops=1, weights=400)

    def weights_at(kind: str) -> float:
        near = replace(level("near", 10.0, 100, ["weights"]), kind=kind)
        return Timer(machine(profile(peaks={"float32": 1e9}, memory=[near, level("far", 2.0)])), 400).time(k).weight_s

    assert weights_at("memory") == pytest.approx(100 / 10 + 300 / 2)
    assert weights_at("cache") == pytest.approx(400 / 2)
