"""The same network otherwise, and the largest size that fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import level, profile

import efficiency_cli as eff
from efficiency_cli.errors import UsageError
from efficiency_cli.graph.model import Model
from efficiency_cli.hardware.profile import Profile
from efficiency_cli.roofline.memory.footprint import footprint_of
from efficiency_cli.roofline.memory.what_if import (
    LARGEST,
    Largest,
    Needed,
    as_int8,
    largest,
    shared_level,
    what_ifs,
)

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
VWW = SAMPLES / "vww_mobilenetv1_float.onnx"
# the first pointwise convolution: 48 x 48 in 8 channels become 16, one byte each
PEAK = 48 * 48 * (8 + 16)


def machine(ram: int) -> Profile:
    return profile(memory=[level("sram", 1.0, ram, ["activations"]), level("flash", 1.0, 10**7, ["weights"])])


def found(path: Path, on: Profile | None, batch: int = 1) -> dict[str, tuple[float, float, bool | None]]:
    def need_of(model: Model) -> Needed:
        f = footprint_of(eff.estimate(model, on))
        return Needed(f.ram, f.flash.total, f.fits, f.levels)

    def reread(change: Mapping[str, object]) -> Model:
        return eff.read_model(str(path), **change)  # type: ignore[arg-type]

    model = eff.read_model(str(path), batch=batch)
    return {w.change: (w.ram, w.flash, w.fits) for w in what_ifs(model, need_of, reread, batch)}


def test_a_float_network_in_int8() -> None:
    int8 = found(VWW, machine(60_000))["as int8"]
    quantized = footprint_of(eff.estimate(eff.read_model(str(SAMPLES / "vww_mobilenetv1_int8.onnx")))).flash
    # weights in 8 bits and biases in 32, as the network that was really quantised
    assert int8 == (PEAK, quantized.data, True)
    assert found(VWW, machine(PEAK - 1))["as int8"][2] is False


def test_a_quantised_network_is_not_made_int8() -> None:
    assert as_int8(eff.read_model(str(SAMPLES / "vww_mobilenetv1_int8.onnx"))) is None


def test_one_at_a_time() -> None:
    several = found(VWW, machine(4 * PEAK), batch=4)
    assert several["at batch 1"][0] == 4 * PEAK
    assert several["at batch 1"][2] is True
    assert "at batch 1" not in found(VWW, machine(4 * PEAK))


def test_the_largest_image_that_fits() -> None:
    resnet = SAMPLES / "resnet50.onnx"
    peak = {
        side: footprint_of(eff.estimate(eff.read_model(str(resnet), shapes={"input": (1, 3, side, side)}))).ram
        for side in (96, 160, 192)
    }
    on = profile(memory=[level("sram", 1.0, peak[160], ["activations"]), level("flash", 1.0, 10**9, ["weights"])])
    assert found(resnet, on)["at 160x160"][2] is True
    small = profile(memory=[level("sram", 1.0, peak[96] - 1, ["activations"]), level("flash", 1.0, 10**9, ["weights"])])
    assert found(resnet, small)["at 96x96"] == (peak[96], found(resnet, on)["at 160x160"][1], False)


def test_what_the_network_does_not_take_is_left_out() -> None:
    def refuse(_: Mapping[str, object]) -> Model:
        raise UsageError("no")

    model = eff.read_model(str(VWW), batch=4)
    names = [w.change for w in what_ifs(model, lambda _: Needed(1, 1, True, ()), refuse, 4)]
    assert names == ["as int8"]


# --- the largest that fits ---


@given(st.integers(0, 10**6), st.integers(1, 10**4), st.integers(1, 10**5))
def test_the_largest_of_what_grows_evenly(fixed: int, each: int, size: int) -> None:
    trials = []

    def need(n: int) -> float:
        trials.append(n)
        return fixed + each * n

    assert largest("batch", need, need(size), "hbm") == Largest("batch", size, fixed + each * size, "hbm", need(size))
    # the room's, 1 and 2, and two at the end or, where that is near, one on the way
    assert len(trials) <= 6


@given(st.integers(1, 2000))
def test_the_largest_of_what_grows_faster_and_faster_fits(size: int) -> None:
    room = size * size + 100.0 * size
    answer = largest("context", lambda n: n * n + 100.0 * n, room, "hbm")
    assert answer is not None
    assert answer.need <= room
    assert answer.value >= 0.99 * size - 1


def test_where_nothing_fits_or_nothing_grows_there_is_no_largest() -> None:
    assert largest("batch", lambda n: 10.0 * n, 9.0, "hbm") is None
    assert largest("batch", lambda _: 5.0, 9.0, "hbm") is None
    assert largest("batch", lambda _: None, 9.0, "hbm") is None


def test_a_size_is_not_searched_for_ever() -> None:
    answer = largest("batch", lambda n: float(n), 1e18, "hbm")
    assert answer is not None
    assert answer.value <= LARGEST


@pytest.mark.parametrize(("id_", "expected"), [("a100", "dram"), ("cortex-m7", None)])
def test_only_a_memory_of_weights_and_activations_limits_batches(id_: str, expected: str | None) -> None:
    estimate = eff.estimate(eff.read_model(str(VWW)), eff.load_profile(id_))
    shared = shared_level(estimate)
    assert (shared.name if shared else None) == expected
