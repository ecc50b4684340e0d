"""A fit finds what measurements were made of, says what they cannot tell, and is not led astray by a few."""

from __future__ import annotations

import math
import random
import sys

import pytest
from msgspec.structs import replace
from synthetic import NETWORKS, USUAL, board, cases_on

from efficiency_cli.errors import UsageError
from efficiency_cli.measure.fit import NOISE_SD, SCALE_SD, fit

pytest.importorskip("scipy")

OWN = ("board", "own")


def factors(found):
    return {p.name: p.factor for p in found.parameters if not p.refused}


def refused(found):
    return {p.name for p in found.parameters if p.refused}


def slower(cases, factor):
    return [replace(c, measured_s=c.measured_s * factor) for c in cases]


def test_a_known_scale_is_found(tmp_path):
    path = board(tmp_path)
    found = fit(slower(cases_on(path, path), 1.6))
    # eight measurements of a tenth each against a prior of 0.7
    assert found.scales[OWN] == pytest.approx(1.6, rel=0.03)
    assert all(f == pytest.approx(1, abs=0.05) for f in factors(found).values())
    assert found.predicted_s(slower(cases_on(path, path), 1)) == pytest.approx(
        [1.6 * c.measured_s for c in cases_on(path, path)], rel=0.03
    )


SLOW_VECTOR = dict.fromkeys(("elementwise", "pooling", "normalization", "softmax"), 0.01)


@pytest.mark.parametrize(
    ("name", "usual", "changed", "factor"),
    [
        ("depthwise", {}, {"depthwise": 0.05}, 2.0),
        ("depthwise", {}, {"depthwise": 0.2}, 0.5),
        ("vector", SLOW_VECTOR, {k: v / 2 for k, v in SLOW_VECTOR.items()}, 2.0),
        ("memory", {"memory": 0.1}, {"memory": 0.05}, 2.0),
    ],
)
def test_a_known_ratio_is_found(tmp_path, name, usual, changed, factor):
    path = board(tmp_path, efficiency={**USUAL, **usual})
    truth = board(tmp_path, "truth", efficiency={**USUAL, **usual, **changed})
    cases = cases_on(path, truth)
    found = fit(cases)
    # what was known before pulls a little
    assert factors(found)[name] == pytest.approx(factor, rel=0.2)
    assert found.predicted_s(cases) == pytest.approx([c.measured_s for c in cases], rel=0.06)
    others = [f for ratio, f in factors(found).items() if ratio != name]
    assert others == pytest.approx([1] * len(others), abs=0.2)


def test_a_known_cost_of_kernels_is_found(tmp_path):
    path, truth = board(tmp_path, kernel="40 kcycles"), board(tmp_path, "truth", kernel="200 kcycles")
    near = factors(fit(cases_on(path, truth)))["kernel"]
    free = factors(fit([c.at_bandwidth for c in cases_on(path, truth)], free=True))["kernel"]
    assert free == pytest.approx(5, rel=0.1)
    # a profile's own number is believed more
    assert 1 < near < free


def test_a_free_fit_has_its_scale_on_computing_alone(tmp_path):
    usual = {**USUAL, "memory": 1.0}
    path = board(tmp_path, efficiency=usual)
    thirds = {k: v if k == "memory" else v / 3 for k, v in usual.items()}
    (case,) = cases_on(path, board(tmp_path, "truth", efficiency=thirds, kernel="12 kcycles"), NETWORKS[:1])
    parts = case.compute_s.sum() + case.overhead_s.sum(), case.memory_s.sum()
    assert case.measured_s == pytest.approx(3 * parts[0] + parts[1])
    free, whole = fit([case.at_bandwidth], free=True), fit([case])
    # nearly, as a prior of 0.7 pulls at one measurement of a tenth
    assert free.scales[OWN] == pytest.approx(3, rel=0.05)
    assert whole.scales[OWN] == pytest.approx(case.measured_s / sum(parts), rel=0.03)
    assert free.predicted_s([case.at_bandwidth])[0] == pytest.approx(free.scales[OWN] * parts[0] + parts[1])


def test_one_measurement_moves_the_scale_alone_and_not_all_the_way(tmp_path):
    path = board(tmp_path)
    cases = slower(cases_on(path, path, NETWORKS[:1]), 1.5)
    found = fit(cases)
    assert found.parameters == ()
    # the mean of a prior at 0 and a measurement at log 1.5, each by its precision; the weight of the soft L1 at a
    # residual this small is nearly one
    shrunk = math.log(1.5) * SCALE_SD**2 / (SCALE_SD**2 + NOISE_SD**2)
    assert math.log(found.scales[OWN]) == pytest.approx(shrunk, rel=1e-3)
    assert found.scale_sd[OWN] == pytest.approx((SCALE_SD**-2 + NOISE_SD**-2) ** -0.5, rel=1e-2)
    assert found.condition == pytest.approx(1)


def test_more_measurements_shrink_less(tmp_path):
    path = board(tmp_path)
    cases = slower(cases_on(path, path), 1.5)
    assert fit(cases[:1]).scales[OWN] < fit(cases[:2]).scales[OWN] < 1.5


def test_networks_of_one_make_tell_no_ratio(tmp_path):
    path = board(tmp_path)
    (case,) = cases_on(path, path, ["kws_dscnn_int8"])
    alike = [
        replace(
            case, measured_s=case.measured_s * f, placed=replace(case.placed, run=replace(case.placed.run, family=n))
        )
        for n, f in (("a", 1.4), ("b", 1.5), ("c", 1.6), ("d", 1.5))
    ]
    found = fit(alike)
    # every column is in proportion to every other: nothing but their sum is known
    assert factors(found) == {}
    assert refused(found) == {"depthwise", "vector", "memory", "kernel"}
    assert all("not told from the rest by these networks" in p.refused for p in found.parameters)
    assert found.scales[OWN] == pytest.approx(1.5, rel=0.02)


def test_two_families_tell_no_ratio(tmp_path):
    path, truth = board(tmp_path), board(tmp_path, "truth", efficiency={**USUAL, "depthwise": 0.03})
    assert fit(cases_on(path, truth, NETWORKS[:2])).parameters == ()


def test_an_outlier_does_not_pull(tmp_path):
    path = board(tmp_path)
    cases = slower(cases_on(path, path), 1.5)
    wrong = [replace(cases[0], measured_s=cases[0].measured_s * 10), *cases[1:]]
    whole, pulled = fit(cases), fit(wrong)
    # a least-squares mean of logarithms would move by 10^(1/8) = 1.33
    assert pulled.scales[OWN] == pytest.approx(whole.scales[OWN], rel=0.15)
    assert pulled.predicted_s(cases[4:]) == pytest.approx(whole.predicted_s(cases[4:]), rel=0.15)


def test_the_order_of_rows_does_not_matter(tmp_path):
    path, truth = board(tmp_path), board(tmp_path, "truth", efficiency={**USUAL, "depthwise": 0.06})
    cases = cases_on(path, truth)
    mixed = random.Random(3).sample(cases, len(cases))
    one, other = fit(cases), fit(mixed)
    assert one.scales[OWN] == pytest.approx(other.scales[OWN], rel=1e-6)
    assert factors(one) == pytest.approx(factors(other), rel=1e-6)
    assert [p.name for p in one.parameters] == [p.name for p in other.parameters]


def test_the_same_rows_give_the_same_digits(tmp_path):
    path = board(tmp_path)
    cases = slower(cases_on(path, path), 1.2)
    assert fit(cases) == fit(cases)


def test_a_ratio_that_was_fitted_is_held_more_firmly(tmp_path):
    loose, firm = board(tmp_path), board(tmp_path, "firm", grade="calibrated")
    truth = board(tmp_path, "truth", efficiency={**USUAL, "depthwise": 0.04})
    moved = [factors(fit(cases_on(path, truth))).get("depthwise", 1.0) for path in (loose, firm)]
    # 2.5 is the truth
    assert 1 < moved[1] < moved[0] < 2.6


def test_a_group_that_was_not_measured_has_its_own_scale(tmp_path):
    path, other = board(tmp_path), board(tmp_path, "other")
    found = fit(slower(cases_on(path, path, NETWORKS[:1]), 2))
    (unknown,) = cases_on(other, other, NETWORKS[:1])
    assert found.predicted_s([unknown]) == pytest.approx([unknown.measured_s])
    assert found.predicted_s([]).size == 0


def test_without_measurements():
    with pytest.raises(UsageError, match="no measurement to fit"):
        fit([])


def test_without_scipy_the_message_names_the_command(tmp_path, monkeypatch):
    path = board(tmp_path)
    cases = cases_on(path, path, NETWORKS[:1])
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(UsageError) as error:
        fit(cases)
    assert "pip install 'effcli[measure]'" in error.value.hint
