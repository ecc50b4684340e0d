"""Kernels from a profiler's events, its own share removed; and whose kernels they are."""

from __future__ import annotations

import json

import pytest

from efficiency_cli.graph.read import read_model
from efficiency_cli.measure.host.counterparts import _candidates, paired
from efficiency_cli.measure.host.profile_run import KernelRun, kernel_runs, overheads
from efficiency_cli.roofline.estimate import estimate


def event(name, op, micros, at, inputs=1):
    shapes = {"input_type_shape": [{"float": [1, 4]}] * inputs, "output_type_shape": [{"float": [1, 4]}]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": at, "dur": micros, "args": {"op_name": op, **shapes}}


RUN = {"cat": "Session", "name": "model_run", "ts": 0, "dur": 1}


def test_the_share_of_the_profiler_is_what_all_take_longer():
    # (10 + 20) - 24 = 6 µs too long, in parts of 1.6 + 0.22 * operands
    shares = overheads([2, 4], [10e-6, 20e-6], 24e-6)
    weights = [1.6 + 0.22 * 2, 1.6 + 0.22 * 4]
    assert sum(shares) == pytest.approx(6e-6)
    assert shares[0] / shares[1] == pytest.approx(weights[0] / weights[1])


def test_no_kernel_is_left_with_less_than_nothing():
    shares = overheads([2, 2, 2], [1e-6, 50e-6, 50e-6], 61e-6)
    assert shares[0] == pytest.approx(1e-6)
    assert sum(shares) == pytest.approx(40e-6)


def test_nothing_is_taken_off_where_kernels_take_less_than_the_run():
    assert overheads([2, 2], [10e-6, 10e-6], 25e-6) == [0, 0]


def test_kernels_of_runs_like_the_last():
    events = [event("a", "Conv", 900, 1), RUN]  # warming up
    for k in range(3):
        events += [event("a", "Conv", 10 + k, 1), event("b", "Relu", 5, 2), RUN]
    found = kernel_runs(json.dumps(events), 1.0, skip=1)
    assert [(k.name, k.op) for k in found] == [("a", "Conv"), ("b", "Relu")]
    # the 0.3 quantile of 10, 11, 12
    assert found[0].seconds == pytest.approx(10.6e-6)
    assert found[0].outputs == ("float 1x4",)


def test_nodes_with_bodies_count_by_their_kernels():
    events = [event("inner", "Add", 4, 2), event("loop", "Loop", 9, 1), RUN]
    assert [k.name for k in kernel_runs(json.dumps(events), 1.0)] == ["inner"]


@pytest.mark.parametrize(
    "name",
    [
        "/a/MatMul/MatMulAddFusion",
        "/a/MatMul_token_12",
        "fused /a/MatMul",
        "/a/MatMul_nchwc",
        "/a/MatMul/MatMulScaleFusion/",
    ],
)
def test_names_that_rewrites_leave(name):
    assert "/a/MatMul" in list(_candidates(name))


def test_kernels_beside_those_of_an_estimate(samples, cortex):
    model = read_model(str(samples / "ic_resnet8_float.onnx"))
    times = estimate(model, cortex).times
    first = times[0].kernel
    runs = [
        KernelRun("ReorderInput", "ReorderInput", 1e-6, (), ()),
        KernelRun(f"{first.nodes[0]}_nchwc", "Conv", 5e-6, (), ()),
        KernelRun(f"fused {first.nodes[0]}", "Conv", 2e-6, (), ()),
    ]
    pairs = paired(runs, times, model.graph)
    assert pairs[0].estimate is None
    assert pairs[0].measured_s == 1e-6
    assert pairs[1].measured_s == pytest.approx(7e-6)
    assert pairs[1].difference_s == pytest.approx(times[0].times.expected_s - 7e-6)
    assert len(pairs) == 1 + len(times)


@pytest.fixture
def samples():
    from pathlib import Path

    return Path(__file__).resolve().parents[2] / "samples"


@pytest.fixture
def cortex():
    from efficiency_cli.hardware.load import load_profile

    return load_profile("cortex-m7")
