"""The shipped machines: all there, clean, and true to the documents they cite."""

from __future__ import annotations

import subprocess
import sys

import pytest

from efficiency_cli.hardware.lint import lint
from efficiency_cli.hardware.load import load_profile, profile_ids

WANTED = {
    "cortex-m0plus",
    "cortex-m4",
    "cortex-m7",
    "cortex-m33",
    "cortex-m55",
    "cortex-m85",
    "esp32-s3",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "ryzen-7-5800x",
    "xeon-8480",
    "apple-m2",
    "jetson-orin-nano",
    "rtx-4090",
    "a100",
    "h100",
    "h200",
    "ethos-u55",
    "coral-edgetpu",
}


def test_all_wanted_machines_are_there() -> None:
    assert set(profile_ids()) >= WANTED


@pytest.mark.parametrize("name", profile_ids())
def test_lint_has_nothing_to_say(name: str) -> None:
    assert [str(f) for f in lint(name)] == []


# Dense peaks recomputed from what the chips are made of: units × operations a cycle × clock.
PEAKS = [
    ("cortex-m4", "int8", 2 * 2 * 120e6),
    ("cortex-m7", "int8", 2 * 2 * 480e6),
    ("cortex-m33", "int8", 2 * 2 * 160e6),
    ("cortex-m0plus", "int8", 1 * 64e6),
    ("cortex-m55", "int8", 8 * 2 * 800e6),
    ("cortex-m85", "float32", 2 * 2 * 480e6),
    ("esp32-s3", "int8", 16 * 2 * 240e6),
    ("ethos-u55", "int8", 256 * 2 * 500e6),
    ("coral-edgetpu", "int8", 4e12),
    ("raspberry-pi-4", "float32", 4 * 4 * 2 * 1.5e9),
    ("raspberry-pi-5", "int8", 4 * 32 * 2 * 2.4e9),
    ("ryzen-7-5800x", "float32", 8 * 2 * 8 * 2 * 4.7e9),
    ("xeon-8480", "int8", 56 * 2048 * 3.0e9),
    ("jetson-orin-nano", "int8", 20e12),
    # tensor cores × dense FMA a cycle × 2 × boost clock
    ("a100", "float16", 108 * 4 * 256 * 2 * 1.41e9),
    ("a100", "int8", 108 * 4 * 512 * 2 * 1.41e9),
    ("a100", "float32", 108 * 64 * 2 * 1.41e9),
    ("h100", "float16", 132 * 4 * 512 * 2 * 1.83e9),
    ("h100", "float8e4m3fn", 132 * 4 * 1024 * 2 * 1.83e9),
    ("h200", "int8", 132 * 4 * 1024 * 2 * 1.83e9),
    ("rtx-4090", "float16", 128 * 4 * 64 * 2 * 2.52e9),
    ("rtx-4090", "int8", 128 * 4 * 256 * 2 * 2.52e9),
    ("rtx-4090", "float32", 128 * 128 * 2 * 2.52e9),
]


@pytest.mark.parametrize(("name", "dtype", "expected"), PEAKS)
def test_peaks_are_dense(name: str, dtype: str, expected: float) -> None:
    value, used = load_profile(name).peak(dtype)
    assert used == dtype
    assert value == pytest.approx(expected, rel=0.03)


# bus width in bytes × transfers a second
BANDWIDTHS = [
    ("raspberry-pi-4", 4 * 3200e6),
    ("raspberry-pi-5", 4 * 4267e6),
    ("ryzen-7-5800x", 2 * 8 * 3200e6),
    ("xeon-8480", 8 * 8 * 4800e6),
    ("jetson-orin-nano", 16 * 4266e6),
    ("rtx-4090", 384 / 8 * 21e9),
    ("a100", 5120 / 8 * 3.186e9),
]


@pytest.mark.parametrize(("name", "expected"), BANDWIDTHS)
def test_memory_bandwidths_follow_from_bus_and_rate(name: str, expected: float) -> None:
    assert load_profile(name).memory[-1].bytes_per_s == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", profile_ids())
def test_every_runtime_reaches_less_than_the_machine_has(name: str) -> None:
    profile = load_profile(name)
    for runtime in profile.runtimes:
        lower, upper = runtime.interval_factors
        assert lower <= 1 <= upper
        assert all(0 < e.value <= 1 for e in runtime.efficiency.values())
        assert runtime.dtype in profile.compute


@pytest.mark.parametrize("name", [i for i in profile_ids() if i.startswith("cortex-m")])
def test_microcontrollers_know_tflm_with_cmsis_nn(name: str) -> None:
    assert load_profile(name).runtime("tflm-cmsis-nn").dtype == "int8"


def test_loading_profiles_imports_nothing_heavy() -> None:
    code = (
        "import sys; from efficiency_cli.hardware.load import profiles; profiles();"
        "print([m for m in ('onnx', 'numpy', 'rich', 'google') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
