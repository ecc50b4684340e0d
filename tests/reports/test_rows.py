"""Groups lose nothing: their sums are the totals; blocks are named as deep as stays readable."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from estimates import HOSTILE, MOBILENET, VWW, hostile, sample

from efficiency_cli.reports import GROUPS, SORTS
from efficiency_cli.reports.rows import MOST_BLOCKS, ordered, rows_of


@pytest.mark.parametrize("model", [VWW, MOBILENET])
@pytest.mark.parametrize("hardware", ["cortex-m7", "rtx-4090"])
@pytest.mark.parametrize("group", GROUPS)
def test_rows_sum_to_the_totals(model: str, hardware: str, group: str) -> None:
    estimate = sample(model, hardware)
    rows = rows_of(estimate, group)
    assert sum(r.macs for r in rows) == estimate.totals.macs
    assert sum(r.ops for r in rows) == estimate.totals.ops
    kernel_time = sum(t.times.expected_s for t in estimate.times)
    assert sum(r.time.expected_s for r in rows) == pytest.approx(kernel_time)
    assert sum(r.time.bound_s for r in rows) == pytest.approx(sum(t.times.bound_s for t in estimate.times))
    assert sum(r.energy_j for r in rows) == pytest.approx(estimate.energy_j)
    if group != "node":
        assert sum(r.bytes_moved for r in rows) == estimate.totals.bytes_moved
        assert sum(r.count for r in rows) == len(estimate.kernels)


@pytest.mark.parametrize("group", GROUPS)
def test_without_a_machine_there_are_counts_and_no_times(group: str) -> None:
    rows = rows_of(sample(VWW), group)
    assert sum(r.macs for r in rows) == 7_489_664
    assert all(r.time is None and r.energy_j is None for r in rows)


def test_blocks_are_the_modules_of_the_network() -> None:
    names = [r.name for r in rows_of(sample("resnet50.onnx"), "block")]
    # conv1, maxpool, 3 + 4 + 6 + 3 residual blocks, avgpool, fc
    assert len(names) == 2 + 16 + 2
    assert names[0] == "conv1"
    assert "layer3/layer3.5" in names


def test_blocks_of_names_without_a_slash_are_parts_between_dots(tmp_path: Path) -> None:
    rows = rows_of(hostile(tmp_path), "block")
    assert len(rows) <= MOST_BLOCKS
    assert sum(r.count for r in rows) == len(HOSTILE) + 1


def test_operators_are_grouped_by_kind() -> None:
    counts = {r.name: r.count for r in rows_of(sample(VWW), "op")}
    # MobileNetV1: 13 blocks of a depthwise and a pointwise convolution
    assert counts["Conv depthwise"] == 13
    assert counts["Conv pointwise"] == 13
    assert counts["Conv 3x3"] == 1


@pytest.mark.parametrize("by", SORTS)
def test_sorting_keeps_every_row(by: str) -> None:
    rows = rows_of(sample(VWW, "cortex-m7"), "kernel")
    assert sorted(r.index for r in ordered(rows, by)) == list(range(len(rows)))


def test_sorting_puts_the_largest_first() -> None:
    rows = rows_of(sample(VWW, "cortex-m7"), "kernel")
    times = [r.time.expected_s for r in ordered(rows, "time")]
    assert times == sorted(times, reverse=True)
    assert ordered(rows, "macs")[0].macs == max(r.macs for r in rows)
    assert ordered(rows, "bytes")[0].bytes_moved == max(r.bytes_moved for r in rows)
    assert [r.index for r in ordered(rows, "order")] == list(range(len(rows)))


def test_time_without_a_machine_sorts_by_macs() -> None:
    rows = rows_of(sample(VWW), "kernel")
    assert ordered(rows, "time") == ordered(rows, "macs")


def test_an_operator_without_a_rule_is_marked(tmp_path: Path) -> None:
    last = rows_of(hostile(tmp_path), "kernel")[-1]
    assert last.op == "=Op()"
    assert not last.modelled
    assert math.isfinite(last.time.expected_s)
