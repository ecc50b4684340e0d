"""Rows find their machine, clock and runtime; what is taken for something else is said, and nothing is dropped."""

from __future__ import annotations

from pathlib import Path

import pytest
from tables import a_run, machine, runtime

from efficiency_cli.errors import ProfileError, UsageError
from efficiency_cli.measure.place import Placed, Unplaced, place, slug

ENGINE = (
    runtime("engine-9", product="Engine AI", versions=("9", "10"))
    + runtime("engine-7-1", product="Engine AI", versions=("7.1",))
    + runtime("engine-7-3", product="Engine AI", versions=("7.3", "8.0"))
    + runtime("other")
)


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    """A folder with a core, a chip and a board."""
    machine(tmp_path, "core-x0plus", ENGINE)
    machine(tmp_path, "stm32a1b2", ENGINE)
    machine(tmp_path, "boards-own", ENGINE, aliases="b-u1_own kit, ra9x9")
    return tmp_path


def one(folder: Path, *hw: str, chosen: str | None = None, **given: object) -> Placed:
    placed, unplaced = place([a_run(**given)], hw=hw, hw_dirs=[folder], runtime=chosen)
    assert not unplaced, unplaced[0].reason
    return placed[0]


def reason(folder: Path, *hw: str, chosen: str | None = None, **given: object) -> str:
    placed, unplaced = place([a_run(**given)], hw=hw, hw_dirs=[folder], runtime=chosen)
    assert not placed
    return unplaced[0].reason


# --- machines ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cortex-M7", "cortex-m7"),
        ("Cortex-M0+", "cortex-m0plus"),
        ("nRF5340 DK", "nrf5340-dk"),
        ("B_U585I_IOT02A", "b-u585i-iot02a"),
        ("microTVM+CMSIS-NN", "microtvm-cmsis-nn"),
        ("  ", ""),
        ("µ", ""),
    ],
)
def test_slugs(text, expected):
    assert slug(text) == expected


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("STM32A1B2", "stm32a1b2"),
        ("stm32a1b2", "stm32a1b2"),
        ("NUCLEO-A1B2ZI", "stm32a1b2"),
        ("NUCLEO-A1B2ZI-Q", "stm32a1b2"),
        ("Nucleo-A1B2ZIT6-P", "stm32a1b2"),
        ("DISCO-A1B2NG", "stm32a1b2"),
        ("STM32A1B2I-DISCO", "stm32a1b2"),
        ("STM32A1B2RE", "stm32a1b2"),
        ("B-U1_OWN KIT", "boards-own"),
        ("EK-RA9X9", "boards-own"),
    ],
)
def test_a_machine_is_found_by_its_device(boards, device, expected):
    assert one(boards, device=device, core="Core-X0+").profile.id == expected


@pytest.mark.parametrize("device", ["", "RP9990", "STM32A1B3ZI", "XSTM32A1B2", "STM32A1B", "STM32A1B2-something-else"])
def test_another_device_is_found_by_its_core(boards, device):
    assert one(boards, device=device, core="Core-X0+").profile.id == "core-x0plus"


def test_what_is_no_machine_is_told_with_the_next_step(boards):
    told = reason(boards, device="Board-9", core="Core-X99")
    assert "device 'Board-9', core 'Core-X99'" in told
    assert "--hw ID" in told
    assert "neither a device nor a core" in reason(boards)


def test_one_machine_is_that_of_every_row(boards):
    assert one(boards, "boards-own", device="STM32A1B2").profile.id == "boards-own"


def test_a_core_that_is_another_machine_is_told(boards):
    machine(boards, "core-x0", runtime("tiny"))
    machine(boards, "mine", runtime("tiny"))
    forced = "core 'Core-X0+': core-x0 taken, as --hw says"
    assert forced in one(boards, "core-x0", core="Core-X0+").assumption
    # its own, one that no machine is called, and none
    for core in ("Core-X0", "Core-Z", ""):
        assert "taken" not in one(boards, "core-x0", core=core).assumption
    assert "mine taken" in one(boards, "mine", core="Core-X0").assumption
    # a board that stands on the core
    path = boards / "mine.yaml"
    path.write_text("schema_version: 1\nbase: core-x0\nname: mine\nsources: {s: none}\n")
    assert "taken" not in one(boards, "mine", core="Core-X0").assumption


def test_several_machines_are_those_to_choose_from(boards):
    asked = ("boards-own,core-x0plus",)
    assert one(boards, *asked, device="NUCLEO-A1B2ZI", core="Core-X0+").profile.id == "core-x0plus"
    assert "no machine for" in reason(boards, *asked, device="NUCLEO-A1B2ZI")


def test_hardware_that_is_not_there_is_refused(boards):
    with pytest.raises(ProfileError):
        one(boards, "stm32a1b3", device="x")


def test_a_broken_profile_hides_no_other_and_is_named(boards):
    (boards / "broken.yaml").write_text("name: [")
    assert one(boards, device="STM32A1B2").profile.id == "stm32a1b2"
    assert "'broken'" in reason(boards, device="broken")


# --- clocks ------------------------------------------------------------------------------------


def test_the_clock_of_the_row_replaces_that_of_the_profile(boards):
    at_50 = one(boards, core="Core-X0+", clock_hz=50e6).profile
    usual = one(boards, core="Core-X0+").profile
    assert at_50.clock is not None
    assert at_50.clock.value == 50e6
    assert at_50.peak("int8")[0] == 50e6 * 1
    assert at_50.memory[0].bytes_per_s == 50e6 * 4
    assert usual.peak("int8")[0] == 100e6 * 1


def test_a_clock_loads_a_profile_once(boards):
    runs = [a_run(core="Core-X0+", clock_hz=hz) for hz in (50e6, 33333333.25, 50e6, 33333333.25)]
    placed, _ = place(runs, hw_dirs=[boards])
    assert placed[0].profile is placed[2].profile
    assert placed[1].profile is placed[3].profile
    assert placed[1].profile.clock is not None
    assert placed[1].profile.clock.value == 33333333.25


def test_a_machine_without_a_clock_says_that_it_has_none(tmp_path):
    machine(tmp_path, "big", runtime("plain"), clock="")
    found = one(tmp_path, device="big", runtime="plain", clock_hz=3e9)
    assert "without a clock" in found.assumption
    assert found.profile.peak("int8")[0] == 100e6


def test_settings_change_every_machine(boards):
    placed, _ = place([a_run(core="Core-X0+", clock_hz=50e6)], hw_dirs=[boards], overrides=["memory.ram.bandwidth=2x"])
    assert placed[0].profile.memory[0].bytes_per_s == 2 * 4 * 50e6
    with pytest.raises(UsageError):
        place([a_run(core="Core-X0+")], hw_dirs=[boards], overrides=["memory.rom.bandwidth=2x"])


# --- runtimes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "expected", "assumed"),
    [
        ("7.1.0", "engine-7-1", ""),
        ("v7.1", "engine-7-1", ""),
        ("7.3.0", "engine-7-3", ""),
        ("8.0", "engine-7-3", ""),
        ("9", "engine-9", ""),
        ("9.1.2", "engine-9", ""),
        ("10.2", "engine-9", ""),
        # between two: the nearer, the older of two as near
        ("7.2", "engine-7-1", "version 7.2 read as 7.1"),
        ("7.10", "engine-7-3", "version 7.10 read as 7.3"),
        ("8.1.0", "engine-7-3", "version 8.1.0 read as 8.0"),
        ("11", "engine-9", "version 11 read as 10"),
        ("5", "engine-7-1", "version 5 read as 7.1"),
        # none to go by: the default
        ("", "engine-9", "no version given: engine-9 assumed"),
        ("(unstated)", "engine-9", "version '(unstated)': engine-9 assumed"),
    ],
)
def test_the_version_chooses_among_runtimes_of_a_product(boards, version, expected, assumed):
    found = one(boards, core="Core-X0+", runtime="Engine-AI", version=version)
    assert (found.runtime, found.assumption) == (expected, assumed)


def test_the_longest_prefix_wins(tmp_path):
    machine(
        tmp_path,
        "m",
        runtime("old", product="R", versions=("1.0",)) + runtime("new", product="R", versions=("1.0.175",)),
    )
    assert one(tmp_path, device="m", runtime="R", version="1.0").runtime == "old"
    assert one(tmp_path, device="m", runtime="R", version="1.0.175").runtime == "new"
    assert one(tmp_path, device="m", runtime="R", version="1.0.17").runtime == "old"


@pytest.mark.parametrize(("version", "expected"), [("v0.5/reference", "ref"), ("v0.7/renesas", "any"), ("", "any")])
def test_a_runtime_without_versions_is_for_the_others(tmp_path, version, expected):
    machine(tmp_path, "m", runtime("any", product="T") + runtime("ref", product="T", versions=("v0.5/reference",)))
    found = one(tmp_path, device="m", runtime="T", version=version)
    assert (found.runtime, found.assumption) == (expected, "")


def test_a_version_of_letters_and_dates(tmp_path):
    machine(
        tmp_path,
        "m",
        runtime("a", product="P", versions=("2023.05",)) + runtime("b", product="P", versions=("2024.11",)),
    )
    assert one(tmp_path, device="m", runtime="P", version="2023.05.1").assumption == ""
    assert one(tmp_path, device="m", runtime="P", version="2024.2").assumption == "version 2024.2 read as 2024.11"


def test_the_beginning_of_a_name_is_said(tmp_path):
    machine(tmp_path, "m", runtime("tf-fast", name="Tensor Lite with kernels"))
    assert one(tmp_path, device="m", runtime="TF").assumption == "runtime 'TF' read as tf-fast"
    assert one(tmp_path, device="m", runtime="Tensor Lite").assumption == "runtime 'Tensor Lite' read as tf-fast"
    assert one(tmp_path, device="m", runtime="tf-fast").assumption == ""
    assert "no runtime 'Tensor Li'" in reason(tmp_path, device="m", runtime="Tensor Li")


def test_a_product_is_not_found_by_the_beginning_of_its_name(boards):
    """A profile that says what a table calls a runtime means nothing else."""
    assert "no runtime 'Engine'" in reason(boards, core="Core-X0+", runtime="Engine")


@pytest.mark.parametrize("name", ["Engine AI-maxperf", "TinyThing", "+"])
def test_an_unknown_runtime_is_never_guessed(boards, name):
    told = reason(boards, core="Core-X0+", runtime=name)
    assert f"core-x0plus has no runtime '{name}', it has Engine AI, other" in told
    assert "--runtime NAME" in told


def test_no_runtime_is_the_default_and_said(boards):
    found = one(boards, core="Core-X0+")
    assert (found.runtime, found.assumption) == ("engine-9", "no runtime given: engine-9, the default of core-x0plus")


def test_a_runtime_that_is_given_is_that_of_every_row(boards):
    found = one(boards, chosen="OTHER", core="Core-X0+", runtime="TinyThing")
    assert (found.runtime, found.assumption) == ("other", "")


def test_a_given_runtime_that_some_machines_lack_leaves_out_their_rows(boards):
    machine(boards, "small", runtime("tiny"))
    placed, unplaced = place([a_run(device="small"), a_run(core="Core-X0+")], hw_dirs=[boards], runtime="tiny")
    assert [p.profile.id for p in placed] == ["small"]
    assert "core-x0plus has no runtime 'tiny'" in unplaced[0].reason


def test_a_given_runtime_that_no_machine_has_is_refused(boards):
    with pytest.raises(ProfileError) as raised:
        reason(boards, chosen="enginee", core="Core-X0+")
    assert "no machine has the runtime 'enginee'" in raised.value.what
    assert "did you mean 'engine-9'?" in raised.value.hint


def test_a_given_runtime_that_the_only_machine_lacks_is_refused_by_its_name(boards):
    with pytest.raises(ProfileError) as raised:
        reason(boards, "core-x0plus", chosen="enginee")
    assert "core-x0plus has no runtime 'enginee'" in raised.value.what


def test_every_row_is_either_placed_or_told(boards):
    runs = [a_run(core=core, runtime=name) for core in ("Core-X0+", "none") for name in ("Engine AI", "other", "none")]
    placed, unplaced = place(runs, hw_dirs=[boards])
    assert all(isinstance(p, Placed) for p in placed)
    assert all(isinstance(u, Unplaced) and u.reason for u in unplaced)
    assert sorted(map(id, [x.run for x in (*placed, *unplaced)])) == sorted(map(id, runs))
    assert len(placed) == 2
