"""`--set`: what it changes, what it marks, and what it refuses."""

from __future__ import annotations

import pytest

from efficiency_cli.errors import UsageError
from efficiency_cli.hardware.load import load_profile

M7 = load_profile("cortex-m7")


def test_times_multiplies_and_keeps_the_unit() -> None:
    sram = load_profile("cortex-m7", overrides=["memory.sram.bandwidth=2x"]).memory[0].bandwidth
    assert (sram.text, sram.source, sram.kind, sram.note) == ("8 B/cycle", "--set", "derived", "")
    assert sram.value == 2 * M7.memory[0].bytes_per_s


def test_a_value_replaces_the_number() -> None:
    profile = load_profile("cortex-m7", overrides=["compute.int8.matrix=1 TOP/s", "clock=600MHz"])
    assert profile.peak("int8") == (1e12, "int8")
    assert profile.peak("int16") == (4 * 600e6, "int16")
    assert profile.clock is not None
    assert profile.clock.source == "--set"


def test_a_runtimes_key_is_set_in_every_runtime() -> None:
    profile = load_profile("cortex-m7", overrides=["overlap=0.25", "efficiency.memory=1"])
    assert {r.overlap_fraction for r in profile.runtimes} == {0.25}
    assert {r.efficiency_of("memory") for r in profile.runtimes} == {1.0}
    assert {r.efficiency_of("dense") for r in profile.runtimes} == {r.efficiency_of("dense") for r in M7.runtimes}


def test_a_number_may_be_added() -> None:
    profile = load_profile("ethos-u55", overrides=["energy.active_power=50 mW", "dispatch.run=1 ms"])
    assert profile.energy is not None
    assert profile.energy.active_power is not None
    assert profile.energy.active_power.value == pytest.approx(0.05)
    assert profile.runtime().run_s == pytest.approx(1e-3)


def test_text_may_be_set() -> None:
    profile = load_profile("cortex-m7", overrides=["runtime=plumerai", "name=Mine"])
    assert (profile.name, profile.runtime().id) == ("Mine", "plumerai")


def test_later_settings_see_earlier_ones() -> None:
    profile = load_profile("cortex-m7", overrides=["clock=100 MHz", "clock=3x"])
    assert profile.clock is not None
    assert profile.clock.value == pytest.approx(300e6)


def test_nothing_leaks_into_the_next_load() -> None:
    load_profile("cortex-m7", overrides=["clock=1 MHz"])
    assert load_profile("cortex-m7") == M7


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("clok=3", "unknown key 'clok'", "did you mean 'clock'?"),
        ("memory.flsh.bandwidth=2x", "unknown key 'flsh'", "did you mean 'flash'?"),
        ("memory.hbm.bandwidth=2x", "unknown key 'hbm'", "memory has: sram, flash"),
        ("compute.int9.matrix=1 OP/s", "unknown key 'int9'", "did you mean 'int8'?"),
        ("overlapp=0", "unknown key 'overlapp'", "did you mean 'overlap'?"),
        ("compute.int8=1 OP/s", "'compute.int8' is a group", "matrix, vector"),
        ("memory=1", "'memory' is a group", "sram, flash"),
        ("aliases=x", "'aliases' is a list", ""),
        ("clock.value=1 Hz", "'clock' has nothing below it", ""),
        ("compute.int4.matrix=2x", "multiplies a number the profile does not have", ""),
        ("clock", "is not KEY=VALUE", "--set clock=600MHz"),
        ("=3", "is not KEY=VALUE", ""),
        ("clock=", "is not KEY=VALUE", ""),
    ],
)
def test_what_cannot_be_set(text: str, what: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_profile("cortex-m7", overrides=[text])
    assert what in caught.value.what
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clock=3 GB", "'GB' is a unit of bytes, not of frequency"),
        ("clock=0x", "is zero"),
        ("overlap=2", "is above 1"),
        ("memory.sram.size=-1 KiB", "is negative"),
        ("runtime=x-cube", "unknown default runtime 'x-cube'; did you mean 'x-cube-ai'?"),
        ("memory.sram.bandwidth=1e999x", "is not a number"),
    ],
)
def test_a_value_that_does_not_fit_names_the_option(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_profile("cortex-m7", overrides=[text])
    assert caught.value.where[0].startswith(f"--set {text}: ")
    assert message in caught.value.where[0]
