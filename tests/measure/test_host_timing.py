"""Medians, intervals, warm-up and disturbed runs, of times that are made up: nothing here depends on a machine."""

from __future__ import annotations

import random

import pytest

from efficiency_cli.measure.host.timing import Timed, Wanted, deviation, quantile, timed, warmup_of


def times(*seconds, switched=(), warmup=0):
    flags = tuple(k in switched for k in range(len(seconds)))
    return Timed(tuple(seconds), tuple(seconds), flags, warmup)


class Clock:
    """Time that passes only while something runs."""

    def __init__(self, takes):
        self.now = 0.0
        self.takes = iter(takes)

    def __call__(self):
        return self.now

    def run(self):
        self.now += next(self.takes)


def timed_with(takes, wanted):
    clock = Clock(takes)
    return timed(clock.run, wanted, clock=clock)


def test_quantiles_between_ranks():
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert quantile([1.0, 2.0, 3.0], 0.25) == 1.5
    assert quantile([], 0.5) == 0.0
    # 1.4826 * median of |1-3|, |2-3|, |3-3|, |4-3|, |100-3|
    assert deviation([1, 2, 3, 4, 100]) == pytest.approx(1.4826 * 1)


def test_the_first_slow_runs_are_warm_up():
    assert warmup_of([9.0, 3.0, 1.5] + [1.0] * 20) == 3
    assert warmup_of([1.0] * 20) == 0
    # a slow run later on is none
    assert warmup_of([1.0] * 5 + [8.0] + [1.0] * 20) == 0
    # single lucky runs at the start are not the end of it
    assert warmup_of([5.0, 1.0, 5.0, 5.0, 5.0, 5.0] + [1.0] * 20) == 6
    # at most half
    assert warmup_of([9.0, 8.0, 7.0, 6.0, 5.0, 4.0]) <= 3


@pytest.mark.parametrize(("seconds", "expected"), [((), 0), ((1.0,), 0), ((2.0, 1.0), 1), ((1.0, 1.0), 0)])
def test_warm_up_of_very_few_runs(seconds, expected):
    assert warmup_of(seconds) == expected


def test_noise_is_no_warm_up():
    generator = random.Random(3)
    found = [warmup_of([generator.gauss(1, 0.05) for _ in range(60)]) for _ in range(200)]
    assert sum(found) / len(found) < 2


def test_the_interval_of_the_median_is_by_ranks():
    found = times(*[float(k) for k in range(1, 101)])
    # 50 ± 1.96 * sqrt(100) / 2 = 40.2 and 59.8: the values there, outwards
    assert found.median_within_s == (41.0, 61.0)
    assert found.median_s == 50.5


def test_the_interval_holds_the_median():
    generator = random.Random(5)
    inside = 0
    for _ in range(400):
        low, high = times(*[generator.expovariate(1.0) for _ in range(41)]).median_within_s
        inside += low <= 0.6931 <= high  # ln 2
    assert inside > 0.92 * 400


def test_disturbed_runs_are_left_out_unless_few_are_left():
    found = times(*[1.0] * 10, 5.0, 6.0, switched={10, 11})
    assert (found.disturbed, len(found.counted), found.median_s) == (2, 10, 1.0)
    most = times(1.0, *[5.0] * 9, switched=set(range(1, 10)))
    assert (most.disturbed, most.median_s) == (0, 5.0)


def test_outliers_are_far_above_the_median():
    assert times(*[1.0, 1.01] * 20, 3.0, 4.0).outliers == 2
    assert times(*[1.0, 1.01] * 20, 0.2).outliers == 0


def test_time_taken_away():
    found = Timed((2.0, 2.0), (1.0, 2.0), (False, False), 0)
    assert found.taken_away == 1 / 4


def test_asked_for_runs_are_made_behind_the_warm_up():
    found = timed_with([5.0] * 3 + [1.0] * 10, Wanted(runs=10, warmup=3))
    assert (found.warmup, found.steady) == (3, [1.0] * 10)


def test_steady_times_end_early_and_noisy_ones_at_the_limit():
    steady = timed_with([0.01] * 5000, Wanted())
    assert 1.0 <= sum(steady.seconds) <= 1.2
    generator = random.Random(1)
    noisy = timed_with([generator.uniform(0.01, 0.1) for _ in range(5000)], Wanted(longest_s=5))
    assert 5.0 <= sum(noisy.seconds) <= 5.2


def test_long_runs_are_few():
    assert len(timed_with([3.0] * 50, Wanted()).seconds) == 5


def test_an_interruption_keeps_the_runs_so_far():
    def takes():
        yield from [1.0, 1.0, 1.0]
        raise KeyboardInterrupt

    found = timed_with(takes(), Wanted(runs=10, warmup=0))
    assert (found.interrupted, found.seconds) == (True, (1.0, 1.0, 1.0))


def test_an_interruption_before_the_first_run_is_raised():
    def run():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        timed(run)
