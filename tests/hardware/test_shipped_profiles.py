"""The shipped machines beside each other: peaks by hand, orders that must hold, and limits of physics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from efficiency_cli.hardware.lint import lint
from efficiency_cli.hardware.load import load_profile, profile_ids, profiles
from efficiency_cli.hardware.profile import Profile, numbers

WANTED = """t4 l4 l40s a10 rtx-3090 rtx-4090 rtx-5090 a100 h100 h200 b200 mi300x jetson-orin-nano jetson-agx-orin
    apple-m1 apple-m2 apple-m3 apple-m4 apple-m2-ultra graviton3 ryzen-7-5800x epyc-7763 epyc-9654 xeon-8480
    snapdragon-8-gen-3 raspberry-pi-4 raspberry-pi-5 hailo-8 coral-edgetpu ethos-u55 ethos-u65""".split()
LEAST_MACHINES = 40

GPUS = [p.id for p in profiles() if p.machine_class == "gpu"]
# GPUs with units for matrix products apart from those for vectors
TENSOR_GPUS = [i for i in GPUS if i != "apple-m2-ultra"]
NVIDIA = [i for i in TENSOR_GPUS if i != "mi300x"]


def test_the_machines_asked_for_are_there() -> None:
    assert set(profile_ids()) >= set(WANTED)
    assert len(profile_ids()) >= LEAST_MACHINES


@pytest.mark.parametrize("name", profile_ids())
def test_every_profile_is_clean_and_says_where_each_number_is_from(name: str) -> None:
    assert [str(finding) for finding in lint(name)] == []
    profile = load_profile(name)
    assert all(number.source in profile.sources for _, number in numbers(profile))
    assert profile.description


# --- peaks: units × operations a cycle × clock, one MAC is two operations ---

PEAKS = [
    # 40 SMs: 64 lanes; 8 tensor cores of 64 FMA in float16
    ("t4", "float32", 40 * 64 * 2 * 1.59e9),
    ("t4", "float16", 40 * 8 * 64 * 2 * 1.59e9),
    ("t4", "int8", 40 * 8 * 128 * 2 * 1.59e9),
    # 58, 142 and 72 SMs: 128 lanes; 4 tensor cores of 128 FMA in float16
    ("l4", "float32", 58 * 128 * 2 * 2.04e9),
    ("l4", "float16", 58 * 4 * 128 * 2 * 2.04e9),
    ("l4", "float8e4m3fn", 58 * 4 * 256 * 2 * 2.04e9),
    ("l40s", "float32", 142 * 128 * 2 * 2.52e9),
    ("l40s", "bfloat16", 142 * 4 * 128 * 2 * 2.52e9),
    ("l40s", "int8", 142 * 4 * 256 * 2 * 2.52e9),
    ("a10", "float32", 72 * 128 * 2 * 1.695e9),
    ("a10", "float16", 72 * 4 * 128 * 2 * 1.695e9),
    ("a10", "int4", 72 * 4 * 512 * 2 * 1.695e9),
    # GeForce: half the rate where sums are float32
    ("rtx-3090", "float32", 82 * 128 * 2 * 1.695e9),
    ("rtx-3090", "float16", 82 * 4 * 64 * 2 * 1.695e9),
    ("rtx-3090", "int8", 82 * 4 * 256 * 2 * 1.695e9),
    ("rtx-5090", "float32", 170 * 128 * 2 * 2.407e9),
    ("rtx-5090", "bfloat16", 170 * 4 * 64 * 2 * 2.407e9),
    ("rtx-5090", "int8", 170 * 4 * 256 * 2 * 2.407e9),
    ("rtx-5090", "float4e2m1", 170 * 4 * 512 * 2 * 2.407e9),
    ("b200", "float32", 148 * 128 * 2 * 1.965e9),
    ("b200", "float16", 148 * 4 * 1024 * 2 * 1.856e9),
    ("b200", "float4e2m1", 148 * 4 * 4096 * 2 * 1.856e9),
    # 304 compute units of four matrix cores
    ("mi300x", "float32", 304 * 4 * 32 * 2 * 2.1e9),
    ("mi300x", "float16", 304 * 4 * 256 * 2 * 2.1e9),
    ("mi300x", "int8", 304 * 4 * 512 * 2 * 2.1e9),
    ("jetson-agx-orin", "int8", 170e12 / 2),
    ("jetson-agx-orin", "float32", 2048 * 2 * 1.3e9),
    ("jetson-orin-nx", "int8", 60e12 / 2),
    ("apple-m2-ultra", "float32", 76 * 128 * 2 * 1.398e9),
    # performance cores and efficiency cores
    ("apple-m1", "float32", 4 * 4 * 4 * 2 * 3.2e9 + 4 * 2 * 4 * 2 * 2.06e9),
    ("apple-m4", "int8", 4 * 478.2e9 + 6 * 75.3e9),
    ("graviton3", "float32", 64 * 2 * 8 * 2 * 2.6e9),
    ("graviton3", "int8", 64 * 4 * 32 * 2 * 2.6e9),
    ("epyc-7763", "float32", 64 * 2 * 8 * 2 * 3.5e9),
    ("epyc-9654", "float32", 96 * 1 * 16 * 2 * 3.7e9),
    ("epyc-9654", "int8", 96 * 1 * 64 * 2 * 3.7e9),
    ("snapdragon-8-gen-3", "float32", (32 * 3.3 + 16 * (3 * 3.2 + 2 * 3.0) + 8 * 2 * 2.3) * 1e9),
    ("hailo-8", "int8", 26e12),
    ("ethos-u65", "int8", 512 * 2 * 1e9),
]


@pytest.mark.parametrize(("name", "dtype", "expected"), PEAKS)
def test_peaks_follow_from_what_the_chip_is_made_of(name: str, dtype: str, expected: float) -> None:
    value, used = load_profile(name).peak(dtype)
    assert used == dtype
    # the makers round, and an L40S is stated at a lower clock for its tensor cores
    assert value == pytest.approx(expected, rel=0.02)


# bus width in bytes × transfers a second
BANDWIDTHS = [
    ("t4", 256 / 8 * 10e9),
    ("l4", 192 / 8 * 12.5e9),
    ("l40s", 384 / 8 * 18e9),
    ("a10", 384 / 8 * 12.5e9),
    ("rtx-3090", 384 / 8 * 19.5e9),
    ("rtx-5090", 512 / 8 * 28e9),
    ("a100-40gb", 5120 / 8 * 2.43e9),
    ("h100", 5120 / 8 * 5.23e9),
    ("b200", 8192 / 8 * 8e9),
    ("mi300x", 8192 / 8 * 5.2e9),
    ("jetson-agx-orin", 256 / 8 * 6.4e9),
    ("jetson-orin-nx", 128 / 8 * 6.4e9),
    ("apple-m1", 128 / 8 * 4.266e9),
    ("apple-m4", 128 / 8 * 7.5e9),
    ("apple-m2-ultra", 1024 / 8 * 6.4e9),
    ("graviton3", 8 * 8 * 4.8e9),
    ("epyc-7763", 8 * 8 * 3.2e9),
    ("epyc-9654", 12 * 8 * 4.8e9),
    ("snapdragon-8-gen-3", 64 / 8 * 9.6e9),
    ("hailo-8", 4 * 8e9 * 128 / 130 / 8),
]


@pytest.mark.parametrize(("name", "expected"), BANDWIDTHS)
def test_bandwidths_follow_from_the_bus(name: str, expected: float) -> None:
    # 800 GB/s is Apple's rounding of 819
    assert load_profile(name).memory[-1].bytes_per_s == pytest.approx(expected, rel=0.025)


# --- orders ---


@pytest.mark.parametrize("name", TENSOR_GPUS)
def test_narrow_types_are_no_slower_than_wide_ones(name: str) -> None:
    peaks = {dtype: p.matrix.value for dtype, p in load_profile(name).compute.items()}
    orders = [
        ("int4", "int8", "float16", "tfloat32", "float32", "float64"),
        ("float4e2m1", "float8e4m3fn", "bfloat16", "tfloat32"),
    ]
    for order in orders:
        given = [peaks[dtype] for dtype in order if dtype in peaks]
        assert given == sorted(given, reverse=True), order
    # dense int8 is twice dense float16, four times where a GeForce sums float16 products at half the rate
    assert peaks["int8"] / peaks["float16"] == pytest.approx(4 if name.startswith("rtx") else 2, rel=0.02)


@pytest.mark.parametrize("name", TENSOR_GPUS)
def test_vectors_are_slower_than_matrix_units(name: str) -> None:
    for dtype, peaks in load_profile(name).compute.items():
        if peaks.vector is not None:
            assert peaks.vector.value <= peaks.matrix.value, dtype


LATER_AND_FASTER = [
    ("h200", "h100"),
    ("h100", "a100"),
    ("b200", "h200"),
    ("a100", "a100-40gb"),
    ("rtx-5090", "rtx-4090"),
    ("rtx-4090", "rtx-3090"),
    ("jetson-agx-orin", "jetson-orin-nx"),
    ("jetson-orin-nx", "jetson-orin-nano"),
    ("l40s", "l4"),
    ("apple-m4", "apple-m1"),
    ("epyc-9654", "epyc-7763"),
    ("raspberry-pi-5", "raspberry-pi-4"),
]


@pytest.mark.parametrize(("fast", "slow"), LATER_AND_FASTER)
def test_bandwidth_and_peaks_grow_with_the_generation(fast: str, slow: str) -> None:
    new, old = load_profile(fast), load_profile(slow)
    assert new.memory[-1].bytes_per_s > old.memory[-1].bytes_per_s
    for dtype in ("float32", "int8"):
        assert new.peak(dtype)[0] >= old.peak(dtype)[0]


def test_a_h200_is_a_h100_with_other_memory() -> None:
    new, old = load_profile("h200"), load_profile("h100")
    assert {d: p.matrix.value for d, p in new.compute.items()} == {d: p.matrix.value for d, p in old.compute.items()}
    assert new.memory[-1].bytes_per_s / old.memory[-1].bytes_per_s == pytest.approx(4.8 / 3.35)


# --- limits ---

# dense operations a second and watts: the largest of each class there is today, with room
HIGHEST_PEAK = {"mcu": 1e12, "cpu": 1e15, "gpu": 2e16, "npu": 1e14}
HIGHEST_BANDWIDTH = {"mcu": 1e11, "cpu": 2e13, "gpu": 5e13, "npu": 5e13}
# dense operations a joule: 9 PFLOP/s of float4 in 1000 W, with room
HIGHEST_OPS_PER_JOULE = 3e13


def peaks_of(profile: Profile) -> Iterator[tuple[str, float]]:
    for dtype, peaks in profile.compute.items():
        yield dtype, peaks.matrix.value
        if peaks.vector is not None:
            yield dtype, peaks.vector.value


@pytest.mark.parametrize("name", profile_ids())
def test_nothing_is_beyond_what_its_class_can_be(name: str) -> None:
    profile = load_profile(name)
    highest = max(value for _, value in peaks_of(profile))
    assert 1e6 <= highest <= HIGHEST_PEAK[profile.machine_class]
    for level in profile.memory:
        assert 1e6 <= level.bytes_per_s <= HIGHEST_BANDWIDTH[profile.machine_class]
    if profile.energy and profile.energy.active_power:
        assert highest / profile.energy.active_power.value <= HIGHEST_OPS_PER_JOULE


@pytest.mark.parametrize("name", profile_ids())
def test_levels_grow_outwards(name: str) -> None:
    sizes = [level.size_bytes for level in load_profile(name).memory if level.size_bytes is not None]
    # flash and RAM of a microcontroller stand beside each other
    if load_profile(name).machine_class in ("cpu", "gpu"):
        assert sizes == sorted(sizes)


# --- runtimes ---


@pytest.mark.parametrize("name", NVIDIA)
def test_nvidia_gpus_know_tensorrt_and_pytorch(name: str) -> None:
    profile = load_profile(name)
    assert profile.default_runtime == "tensorrt"
    assert {"tensorrt", "pytorch"} <= {runtime.id for runtime in profile.runtimes}


@pytest.mark.parametrize("name", TENSOR_GPUS)
def test_gpu_classes_are_told_apart(name: str) -> None:
    for runtime in load_profile(name).runtimes:
        if runtime.id in ("tensorrt", "pytorch", "migraphx"):
            assert runtime.kernel_s > 0
            dense, depthwise = runtime.efficiency_of("dense"), runtime.efficiency_of("depthwise")
            # no matrix unit takes one channel at a time
            assert depthwise < dense
            assert 0.5 < runtime.efficiency_of("memory") < 1


def test_pytorch_is_calibrated_where_it_was_measured_and_derived_elsewhere() -> None:
    grades = {name: load_profile(name).runtime("pytorch").grade for name in TENSOR_GPUS}
    assert {name for name, grade in grades.items() if grade == "calibrated"} == {"rtx-4090", "rtx-5090"}
    assert set(grades.values()) == {"calibrated", "derived"}
    for name in ("rtx-4090", "rtx-5090"):
        calibration = load_profile(name).runtime("pytorch").calibration
        assert calibration is not None
        assert calibration.held_out_error is not None
        assert 0.05 < calibration.held_out_error < 0.2
