"""A fit in the terms of a profile: the times of the fit come out of the new runtime, whatever the profile says how."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace
from synthetic import NETWORKS, USUAL, board, cases_on

from efficiency_cli.graph.read import read_model
from efficiency_cli.hardware.kinds import ATTENTION_VARIANTS, DENSE_VARIANTS
from efficiency_cli.hardware.profile import DEFAULT_INTERVAL
from efficiency_cli.measure.calibration import SOURCE, UNFITTED_SD, Fitted, fitted_runtimes, rounded
from efficiency_cli.measure.fit import Fit, Parameter, fit
from efficiency_cli.measure.hold_out import HeldOut, interval_of
from efficiency_cli.roofline.estimate import estimate

# numbers are written with four digits
ROUNDING = 1e-3
EVERY_KEY = {
    "dense": 0.5,
    "gemm": 0.6,
    "gemv": 0.3,
    "packed-gemm": 0.2,
    "pointwise": 0.7,
    "depthwise": 0.1,
    "attention": 0.4,
    "decode-attention": 0.2,
    "elementwise": 0.1,
    "memory": 0.5,
}


def a_fit(free=False, scale=1.2, **ratios):
    parameters = tuple(Parameter("own", name, factor, 0.1, 0.2) for name, factor in ratios.items())
    return Fit({("board", "own"): scale}, {("board", "own"): 0.05}, parameters, 0.1, 1.0, free)


def fitted_of(path, found, names=NETWORKS[:3]):
    cases = cases_on(path, path, names)
    cases = [c.at_bandwidth for c in cases] if found.free else cases
    (one,) = fitted_runtimes(cases, [], found)
    return one


def with_fit(one: Fitted, case):
    """The estimate of the profile with the fit put in."""
    profile, run = case.placed.profile, case.placed.run
    profile = replace(profile, runtimes=(one.applied_to(profile.runtimes[0]),))
    return estimate(read_model(run.path, dims=run.dims), profile)


FITS = [
    a_fit(),
    a_fit(scale=0.6),
    a_fit(depthwise=1.4, vector=0.8, memory=1.2, kernel=3.0),
    a_fit(depthwise=0.05, memory=0.3),
    a_fit(free=True, memory=1.5),
    a_fit(free=True, scale=8.0, depthwise=2.0),
    a_fit(free=True, scale=0.5, memory=2.0, kernel=0.3),
    a_fit(attention=2.0, depthwise=0.5),
]


@pytest.mark.parametrize("found", FITS, ids=str)
@pytest.mark.parametrize("usual", [USUAL, {"dense": 1.0}, EVERY_KEY], ids=["usual", "datasheet", "finer"])
@pytest.mark.parametrize("scale", [None, 1.7])
def test_the_new_runtime_has_the_times_of_the_fit(tmp_path, found, usual, scale):
    path = board(tmp_path, efficiency=usual, scale=scale, classes={"gemm": "9000 cycles"})
    names = ("ad_autoencoder_int8", "kws_dscnn_int8", "bert_small")
    one = fitted_of(path, found, names)
    for case, predicted in zip(one.cases, found.predicted_s(one.cases), strict=True):
        now = with_fit(one, case)
        assert now.latency.expected_s >= predicted * (1 - ROUNDING)
        # but for kernels that the fit would have faster than their bound
        over = sum(t.times.expected_s - _unbounded(t, 0.0) for t in now.times)
        assert now.latency.expected_s - over == pytest.approx(predicted, rel=ROUNDING)
        if usual is USUAL and found.scales["board", "own"] > 1 and all(p.factor > 0.5 for p in found.parameters):
            assert over == pytest.approx(0, abs=1e-9)


def _unbounded(time, overlap):
    longer, shorter = max(time.compute_s, time.memory_s), min(time.compute_s, time.memory_s)
    return longer + (1 - overlap) * shorter + time.overhead_s


@pytest.mark.parametrize("found", FITS, ids=str)
@pytest.mark.parametrize("usual", [USUAL, {"dense": 1.0}, EVERY_KEY], ids=["usual", "datasheet", "finer"])
def test_no_efficiency_is_above_one(tmp_path, found, usual):
    one = fitted_of(board(tmp_path, efficiency=usual), found)
    now = one.applied_to(one.runtime)
    assert all(0 < q.value <= 1 for q in now.efficiency.values())


def test_a_scale_alone_changes_nothing_else(tmp_path):
    one = fitted_of(board(tmp_path, scale=1.5), a_fit(scale=1.2))
    now = one.applied_to(one.runtime)
    assert now.scale is not None
    assert (now.scale.value, now.scale.text, now.scale.source, now.scale.kind) == (1.8, "1.8", SOURCE, "calibrated")
    assert (now.efficiency, now.dispatch) == (one.runtime.efficiency, one.runtime.dispatch)
    assert now.grade == "calibrated"


def test_a_ratio_is_on_every_key_of_its_class(tmp_path):
    one = fitted_of(board(tmp_path, efficiency=EVERY_KEY), a_fit(scale=1.0, attention=2.0))
    now = one.applied_to(one.runtime)
    assert now.efficiency_of("attention") == pytest.approx(0.4 / 2)
    assert now.efficiency_of("attention", "decode-attention") == pytest.approx(0.2 / 2)
    for name in ("dense", "gemm", "gemv", "packed-gemm", "pointwise", "depthwise", "memory"):
        assert now.efficiency[name] == one.runtime.efficiency[name]
    assert {"gemm", "gemv", "packed-gemm", "pointwise"} < set(DENSE_VARIANTS)
    assert "decode-attention" in ATTENTION_VARIANTS


def test_kernels_of_all_classes_cost_more(tmp_path):
    one = fitted_of(board(tmp_path, classes={"gemm": "9000 cycles"}), a_fit(kernel=1.5))
    now = one.applied_to(one.runtime).dispatch
    assert (now.kernel.text, now.classes["gemm"].text) == ("6000 cycles", "13500 cycles")
    # at 100 MHz
    assert now.classes["gemm"].value == pytest.approx(13500 / 100e6)
    assert now.run is None


def test_a_free_fit_has_memory_out_of_the_scale(tmp_path):
    one = fitted_of(board(tmp_path), a_fit(free=True, scale=0.8, memory=2.0))
    now = one.applied_to(one.runtime)
    # bytes at half of the bandwidth, whatever the scale: 0.8 / 0.4 = 1 / 0.5
    assert now.scale_factor == pytest.approx(0.8)
    assert now.efficiency_of("memory") == pytest.approx(0.4)


def test_a_slow_runtime_on_fast_memory(tmp_path):
    one = fitted_of(board(tmp_path), a_fit(free=True, scale=8.0))
    now = one.applied_to(one.runtime)
    # the scale cannot be 8: bytes would have to move at eight times the bandwidth
    assert now.scale_factor == 1
    assert now.efficiency_of("memory") == 1
    assert now.efficiency_of("dense") == pytest.approx(0.5 / 8)
    assert now.dispatch.kernel.text == "32000 cycles"


def test_what_it_rests_on(tmp_path):
    pytest.importorskip("scipy")
    one = fitted_of(board(tmp_path), a_fit())
    assert one.held_out_error is None
    assert one.applied_to(one.runtime).calibration.measurements == 3
    held = tuple(HeldOut(replace(c, measured_s=1.0), 1.25) for c in one.cases)
    judged = replace(one, held=held)
    assert judged.held_out_error == 0.25
    assert judged.interval == interval_of(held)
    assert judged.applied_to(one.runtime).calibration.held_out_error == 0.25
    assert judged.applied_to(one.runtime).calibration.source == SOURCE


def test_without_families_the_interval_is_the_profiles_and_the_scales(tmp_path):
    one = fitted_of(board(tmp_path, grade="calibrated"), a_fit(), NETWORKS[:1])
    low, high = one.interval
    # 0.8 to 1.25, and 90 % of a normal law of 5 %
    assert math.log(high) == pytest.approx(math.hypot(math.log(1.25), 1.2816 * 0.05))
    assert low == pytest.approx(1 / high)
    derived = fitted_of(board(tmp_path), a_fit(), NETWORKS[:1])
    assert math.log(derived.interval[1]) == pytest.approx(1.2816 * math.hypot(UNFITTED_SD, 0.05))
    assert derived.interval != DEFAULT_INTERVAL


def test_a_board_has_the_runtimes_that_were_measured(tmp_path):
    pytest.importorskip("scipy")
    path, other = board(tmp_path), board(tmp_path, "other")
    cases = [*cases_on(path, path, NETWORKS[:2]), *cases_on(other, other, NETWORKS[:1])]
    one, two = fitted_runtimes(cases, [], fit(cases))
    assert (one.profile.id, len(one.cases), one.models) == ("board", 2, 2)
    assert (two.profile.id, len(two.cases)) == ("other", 1)


def test_rounding():
    assert rounded(0.123456) == 0.1235
    assert rounded(45155.3) == 45160
