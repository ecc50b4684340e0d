"""Findings: at the limit and beyond it, against a baseline and without one, and why."""

from __future__ import annotations

import pytest
from snapshots import kernel, snapshot

from efficiency_cli.errors import EffcliError, ExitCode, Inconclusive
from efficiency_cli.judge.budget import Budget, parse_budget
from efficiency_cli.judge.verdict import ACCEPTED, Result, Verdict, judge, unbudgeted

NOW = snapshot([kernel("a", 6), kernel("b", 3, op="Gemm"), kernel("c", 1)])
BEFORE = snapshot([kernel("a", 4), kernel("b", 3, op="Gemm"), kernel("gone", 2, op="Relu")])


def budget(text: str, **more) -> Budget:
    from msgspec.structs import replace

    side = "min" if text.startswith(("throughput=", "coverage=")) else "max"
    return replace(parse_budget(text, side, f"--{side}"), **more)


def one(text: str, now=NOW, before=None, **more):
    (found,) = judge(now, [budget(text, **more)], before)
    return found


def test_a_budget_that_holds():
    found = one("latency=10ms")
    assert (found.status, found.value) == ("pass", pytest.approx(0.010))
    assert found.over == pytest.approx(0.0)
    assert found.why is None


def test_a_budget_that_is_exceeded_says_by_how_much_and_the_largest_kernels():
    found = one("latency=8ms")
    assert found.status == "fail"
    assert found.over == pytest.approx(0.002)
    assert found.why is not None
    assert found.why.kind == "largest"
    assert [(r.name, r.now) for r in found.why.reasons] == [("a", 0.006), ("b", 0.003), ("c", 0.001)]


def test_a_level_of_warn_warns():
    assert one("latency=8ms", level="warn").status == "warn"


@pytest.mark.parametrize(("on", "value"), [("bound", 0.005), ("lower", 0.008), ("expected", 0.010), ("upper", 0.020)])
def test_each_number_of_the_interval_can_be_judged(on, value):
    assert one("latency=1s", on=on).value == pytest.approx(value)
    # the throughput is that of the latency which is judged
    assert one("throughput=1/s", on=on).value == pytest.approx(1 / value)


def test_a_throughput_that_is_too_low_falls_short():
    found = one("throughput=150/s")
    assert found.status == "fail"
    assert found.over == pytest.approx(150 - 1 / 0.010)


def test_against_a_baseline_growth_is_judged_and_the_kernels_that_grew_are_named():
    found = one("latency_increase=5%", before=BEFORE)
    assert found.status == "fail"
    assert found.value == pytest.approx((6 + 3 + 1) / (4 + 3 + 2) - 1)
    assert found.why is not None
    assert found.why.kind == "grew"
    # b is as it was; "c" and "gone" differ in their operators: one is new
    assert [(r.name, r.before) for r in found.why.reasons] == [("a", 0.004), ("c", None)]


def test_a_gain_is_no_growth():
    assert one("latency_increase=0%", now=BEFORE, before=NOW).status == "pass"


def test_a_throughput_may_decrease_by_so_much():
    assert one("throughput_decrease=9%", before=BEFORE).status == "fail"
    assert one("throughput_decrease=10.1%", before=BEFORE).status == "pass"  # 1 - 9/10


def test_absolute_and_relative_together_catch_slow_drift():
    """Twenty steps of 4 % each pass a tolerance of 5 % with the baseline renewed each time; the limit catches them."""
    caught, before = 0, snapshot([kernel("a", 10)])
    for step in range(1, 21):
        now = snapshot([kernel("a", 10 * 1.04**step)])
        absolute, relative = judge(now, [budget("latency=15ms"), budget("latency_increase=5%")], before)
        assert relative.status == "pass"
        caught = caught or (step if absolute.status == "fail" else 0)
        before = now
    # 1.04**10 = 1.480, 1.04**11 = 1.539
    assert caught == 11


def test_without_a_baseline_a_change_is_not_passed():
    found = one("latency_increase=5%")
    assert (found.status, found.inconclusive) == ("skip", True)
    assert found.skipped == "there is no baseline"
    assert not one("latency_increase=5%", level="warn").inconclusive


def test_who_accepts_the_change_is_not_failed_for_it():
    (found,) = judge(NOW, [budget("latency_increase=5%")], BEFORE, accepting=True)
    assert (found.status, found.skipped, found.inconclusive) == ("skip", ACCEPTED, False)


def test_from_nothing_any_growth_is_too_much():
    empty = snapshot([kernel("v", 1, op="Relu", macs=0)])
    found = one("macs_increase=500%", before=empty)
    assert (found.status, found.value) == ("fail", float("inf"))


def test_what_needs_a_machine_is_not_passed_without_one():
    counted = snapshot([kernel("a")], hardware=None)
    found = one("latency=15ms", now=counted)
    assert (found.status, found.inconclusive) == ("skip", True)
    assert "needs a machine" in found.skipped
    assert one("macs=1k", now=counted).status == "pass"


def test_ram_and_flash_are_those_of_the_machine_where_it_says():
    shared = snapshot([kernel("a", 1, macs=1000)], ram_bytes=5000, flash_bytes=None)
    assert one("peak_ram=10kB", now=shared).value == 5000
    # weights that share the RAM are weights all the same
    assert one("flash=10kB", now=shared).value == 100
    apart = snapshot([kernel("a", 1)], ram_bytes=700, flash_bytes=300)
    assert (one("peak_ram=10kB", now=apart).value, one("flash=10kB", now=apart).value) == (700, 300)


def test_coverage_names_what_has_no_rule():
    found = one("coverage=99%", now=snapshot([kernel("a", 1)], unmodelled=2))
    assert (found.status, found.value) == ("fail", pytest.approx(0.8))
    assert found.why is not None
    assert [(r.name, r.now) for r in found.why.reasons] == [("my.domain::Fold", 2)]


def test_why_of_counts_and_peaks():
    assert [(r.name, r.now) for r in one("kernels=1").why.reasons] == [("Conv", 2), ("Gemm", 1)]
    assert one("kernels=1", before=BEFORE).why.reasons[0].before == 1
    assert one("peak_ram=1B").why.kind == "peak"
    assert one("parameters=1").why.unit == "flash"


def test_codes_in_their_order():
    def result(*findings, error=None, gaps=()):
        return Result("m", "board", findings, NOW, error=error, gaps=gaps)

    passed, failed, unjudged = one("latency=10ms"), one("latency=8ms"), one("latency_increase=5%")
    assert Verdict((result(passed),)).code == ExitCode.OK
    assert Verdict((result(passed, failed),)).code == ExitCode.FINDING
    assert Verdict((result(failed), result(unjudged))).code == ExitCode.INCONCLUSIVE
    assert Verdict((result(passed, gaps=("not modelled: Fold",)),)).code == ExitCode.INCONCLUSIVE
    assert Verdict((result(failed), result(error=Inconclusive("no match")))).code == ExitCode.INCONCLUSIVE
    assert Verdict((result(unjudged), result(error=EffcliError("broken")))).code == ExitCode.ERROR
    assert Verdict((result(one("latency=8ms", level="warn")),)).code == ExitCode.OK


def test_what_moved_is_told_whether_it_is_judged_or_not():
    found = Result("m", "board", (), NOW, BEFORE)
    assert found.moved["latency"] == (pytest.approx(0.009), pytest.approx(0.010))
    assert "kernels" not in found.moved
    assert Result("m", "board", (), NOW, NOW).moved == {}


def test_what_has_no_budget_is_named():
    found = Result("m", "board", (one("latency=10ms"), one("macs_increase=5%", before=NOW)), NOW)
    names = [g.name for g in unbudgeted(found)]
    assert "latency" not in names
    assert "macs" not in names
    assert {"throughput", "flash", "coverage"} <= set(names)
