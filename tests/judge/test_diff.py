"""What changed between two snapshots; the parts of a change sum to it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import chain, kernel, node, snapshot, tensor

from efficiency_cli.judge.diff import ATTRIBUTED, diff, parse_tolerance
from efficiency_cli.judge.gauge import GAUGES

LATENCY = GAUGES["latency"]


def test_a_change_is_attributed_to_the_kernels_it_comes_from():
    before = snapshot([kernel("a", 4), kernel("b", 3, op="Gemm"), kernel("gone", 2, op="Relu")])
    after = snapshot([kernel("a", 6), kernel("b", 3, op="Gemm"), kernel("new", 1, op="Tanh")])
    found = diff(before, after)
    assert [(k.either.name, pytest.approx(c)) for k, c in found.attribution(LATENCY)] == [
        ("a", 0.002),
        ("gone", -0.002),
        ("new", 0.001),
    ]
    assert found.total("latency").change == pytest.approx(0.001)
    assert found.outside(LATENCY) == 0


def test_what_belongs_to_no_kernel_is_said():
    before, after = snapshot([kernel("a", 4)], run_ms=1.0), snapshot([kernel("a", 4)], run_ms=1.5)
    found = diff(before, after)
    assert found.attribution(LATENCY) == []
    assert found.outside(LATENCY) == pytest.approx(0.0005)


names = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)
times = st.floats(0.001, 1000)


@given(names, names, st.data())
def test_the_parts_sum_to_the_change(ours, theirs, data):
    def shot(found):
        macs = {n: data.draw(st.integers(0, 10**9)) for n in found}
        return snapshot([kernel(n, data.draw(times), macs=macs[n]) for n in found], run_ms=data.draw(times))

    found = diff(shot(ours), shot(theirs))
    for name in ATTRIBUTED:
        gauge, total = GAUGES[name], found.total(name)
        if name == "energy":
            continue  # the kernels of these snapshots have none
        parts = math.fsum(c for _, c in found.attribution(gauge)) + found.outside(gauge)
        scale = max(total.before, total.after)
        assert parts == pytest.approx(total.change, abs=1e-8 * scale)


@given(names, st.data())
def test_nothing_changes_against_itself(ours, data):
    same = snapshot([kernel(n, data.draw(times)) for n in ours], nodes=chain("Conv", "Relu"))
    found = diff(same, same)
    assert (found.nodes, found.same) == ((), 2)
    assert all(not t.change for t in found.totals)
    assert found.attribution(LATENCY) == []


def test_the_other_way_round_it_is_the_opposite():
    a = snapshot([kernel("a", 4), kernel("b", 3)])
    b = snapshot([kernel("a", 6)])
    there, back = diff(a, b), diff(b, a)
    assert [(k.either.name, c) for k, c in there.attribution(LATENCY)] == [
        (k.either.name, -c) for k, c in back.attribution(LATENCY)
    ]


def test_of_a_node_it_is_said_what_changed():
    x = tensor("x", kind="input")
    before = [node("conv", "Conv", [x, tensor("w", (8, 3), kind="weight")], [tensor("y", (1, 8))])]
    after = [node("conv", "Conv", [x, tensor("w", (16, 3), "int8", "weight")], [tensor("y", (1, 16))], ops=200)]
    found = diff(snapshot([kernel("conv", 1)], nodes=before), snapshot([kernel("conv", 1)], nodes=after))
    (change,) = found.nodes
    assert [(f.name, f.before, f.after) for f in change.fields] == [
        ("output", "float32[1x8]", "float32[1x16]"),
        ("input 1", "float32[8x3]", "int8[16x3]"),
        ("OPs", "100", "200"),
    ]


def test_without_machines_operations_are_attributed():
    before, after = snapshot([kernel("a", macs=5)], hardware=None), snapshot([kernel("a", macs=8)], hardware=None)
    found = diff(before, after)
    assert found.explained.name == "macs"
    assert found.total("latency") is None


@pytest.mark.parametrize(
    ("text", "before", "after", "exceeded"),
    [
        ("latency=5%", 10, 10.5, False),
        ("latency=5%", 10, 10.6, True),
        ("latency=5%", 10, 1, False),
        ("latency=1ms", 10, 11.1, True),
        ("latency=1ms", 10, 10.9, False),
        ("throughput=5%", 10, 10.4, False),  # 1 - 10/10.4 = 3.8 %
        ("throughput=3%", 10, 10.4, True),
        ("macs=0%", 10, 99, False),
    ],
)
def test_tolerances(text, before, after, exceeded):
    found = diff(snapshot([kernel("a", before)]), snapshot([kernel("a", after)]))
    tolerance = parse_tolerance(text)
    assert tolerance.exceeded(found.total(tolerance.name)) is exceeded


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency", "as in: --fail-on latency=5%"),
        ("latency=", "is not METRIC=LIMIT"),
        ("latncy=5%", "did you mean 'latency'?"),
        ("latency=5", "a unit is required"),
        ("latency=-5%", "is negative"),
    ],
)
def test_what_is_no_tolerance(text, said):
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        parse_tolerance(text)
