"""Families left out one at a time: nothing of a family is in the fit that predicts it, and intervals rest on that."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace
from synthetic import NETWORKS, board, cases_on

from efficiency_cli.measure.fit import LEAST_NOISE_SD, fit
from efficiency_cli.measure.hold_out import HeldOut, held_out, interval_of, intervals_without_family

pytest.importorskip("scipy")


def of(case, *, family="", measured=None, share="", group=None):
    run = replace(case.placed.run, family=family or case.family)
    return replace(
        case,
        placed=replace(case.placed, run=run),
        measured_s=case.measured_s if measured is None else measured,
        share=share or case.share,
        group=group or case.group,
    )


@pytest.fixture
def cases(tmp_path):
    path = board(tmp_path)
    return [replace(c, measured_s=1.3 * c.measured_s) for c in cases_on(path, path, NETWORKS[:4])]


def test_each_is_predicted_by_the_others(cases):
    steps = []
    found, alone = held_out(cases, progress=lambda done, of_how_many: steps.append((done, of_how_many)))
    assert alone == []
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert sorted(h.case.family for h in found) == sorted(c.family for c in cases)
    for one in found:
        others = [c for c in cases if c.family != one.case.family]
        assert one.predicted_s == pytest.approx(float(fit(others).predicted_s([one.case])[0]))
        assert one.error == pytest.approx(one.predicted_s / one.case.measured_s - 1)
        assert one.log_ratio == pytest.approx(-math.log1p(one.error))


def test_what_a_family_measured_does_not_reach_its_own_prediction(cases):
    before = {h.case.family: h.predicted_s for h in held_out(cases)[0]}
    wrong = [of(cases[0], measured=cases[0].measured_s * 5), *cases[1:]]
    after = {h.case.family: h.predicted_s for h in held_out(wrong)[0]}
    assert after[cases[0].family] == before[cases[0].family]
    assert after[cases[1].family] != before[cases[1].family]


def test_sizes_of_one_network_are_left_out_together(cases):
    one_family = [of(cases[0], family="f"), of(cases[1], family="f"), *cases[2:]]
    found, _ = held_out(one_family)
    left = {h.predicted_s for h in found if h.case.family == "f"}
    expected = fit(cases[2:]).predicted_s(one_family[:2])
    assert left == set(map(float, expected))


def test_a_scale_that_only_one_family_tells_is_alone(cases):
    elsewhere = of(cases[0], group=("other", "own"))
    found, alone = held_out([elsewhere, *cases[1:]])
    assert alone == [elsewhere]
    assert len(found) == 3


def test_one_family_leaves_nothing(cases):
    found, alone = held_out([of(c, family="f") for c in cases])
    assert (found, len(alone)) == ([], 4)


def held(case, family, ratio, share="own"):
    """measured / predicted is `ratio`."""
    return HeldOut(of(case, family=family, share=share, measured=ratio), 1.0)


def test_an_interval_by_hand(cases):
    found = [held(cases[0], "a", 1.2), held(cases[0], "a", 1 / 1.2), held(cases[0], "b", 1.1), held(cases[0], "c", 1.0)]
    # a family's mean square of logarithms, and the mean of these over families
    spread = math.sqrt((math.log(1.2) ** 2 + math.log(1.1) ** 2 + 0) / 3)
    # the 90 % quantile of Student's law with 3 · 3 degrees of freedom
    reach = 1.3830287 * spread
    assert interval_of(found) == pytest.approx((math.exp(-reach), math.exp(reach)))


def test_an_interval_is_never_narrower_than_a_measurement(cases):
    low, high = interval_of([held(cases[0], name, 1.0) for name in "abc"])
    assert (low, high) == pytest.approx((math.exp(-1.3830287 * LEAST_NOISE_SD), math.exp(1.3830287 * LEAST_NOISE_SD)))


def test_a_family_is_judged_by_the_interval_of_others(cases):
    found = [
        held(cases[0], "a", 3.0),
        held(cases[0], "b", 1.1),
        held(cases[0], "c", 1.1),
        held(cases[0], "x", 1.1, "tool"),
    ]
    of_a, of_b, _, of_x = intervals_without_family(found)
    assert of_a == interval_of(found[1:3])
    assert of_b == interval_of([found[0], found[2]])
    assert of_x is None
