"""What a fit sees of a network: the parts of its estimate, which add up to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from synthetic import NETWORKS, SAMPLES, board, cases_on, placed_on

from efficiency_cli.graph.read import read_model
from efficiency_cli.hardware.kinds import OP_CLASSES
from efficiency_cli.hardware.load import load_profile
from efficiency_cli.measure.cases import (
    CLASSES,
    COLUMNS,
    KERNEL,
    MEMORY,
    RATIOS,
    RUN,
    VECTOR,
    Stack,
    case_of,
    without_repeats,
)
from efficiency_cli.roofline.estimate import estimate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return board(tmp_path)


def test_every_class_is_in_a_column_and_in_one_only():
    named = [c for classes in CLASSES.values() for c in classes]
    assert sorted([*named, "dense"]) == sorted(OP_CLASSES)
    assert set(CLASSES) < set(RATIOS)
    assert (COLUMNS, len(set(RATIOS))) == (1 + 7, 7)
    assert (RATIOS[MEMORY - 1], RATIOS[KERNEL - 1], RATIOS[RUN - 1]) == ("memory", "kernel", "run")
    assert CLASSES["vector"] == VECTOR


@pytest.mark.parametrize("overlap", [0, 0.3, 1])
@pytest.mark.parametrize("scale", [None, 1.7])
def test_the_parts_are_the_estimate(tmp_path, overlap, scale):
    path = board(tmp_path, overlap=overlap, scale=scale)
    cases = cases_on(path, path)
    totals = Stack(cases).parts(np.ones((len(cases), COLUMNS))).sum(axis=1)
    # measured as the profile says
    assert totals == pytest.approx([c.measured_s for c in cases], rel=1e-12)


def test_factors_are_on_the_costs_of_their_columns(path):
    profile = load_profile(path)
    (case,) = cases_on(path, path, ["kws_dscnn_int8"])
    times = estimate(read_model(str(SAMPLES / "kws_dscnn_int8.onnx")), profile).times
    depthwise = sum(t.compute_s for t in times if t.kernel.op_class.value == "depthwise")
    factors = np.ones((1, COLUMNS))
    factors[0, 1 + RATIOS.index("depthwise")] = 3
    before, after = Stack([case]).parts(np.ones((1, COLUMNS))).sum(), Stack([case]).parts(factors).sum()
    assert after - before == pytest.approx(2 * depthwise)
    factors = np.ones((1, COLUMNS))
    factors[0, KERNEL] = 2
    # 4000 cycles a kernel at 100 MHz
    assert Stack([case]).parts(factors).sum() - before == pytest.approx(len(times) * 4000 / 100e6)


def test_what_overlaps_goes_to_the_longer_part(tmp_path):
    path = board(tmp_path, overlap=1, kernel="")
    (case,) = cases_on(path, path, ["resnet50"])
    parts = Stack([case]).parts(np.ones((1, COLUMNS)))[0]
    longer = case.compute_s >= case.memory_s
    assert parts[MEMORY] == pytest.approx(case.memory_s[~longer].sum())
    assert parts[0] == pytest.approx(case.compute_s[longer & (case.column == 0)].sum())


def test_at_its_bandwidth_memory_has_neither_share_nor_scale(tmp_path):
    path = board(tmp_path, scale=3)
    (case,) = cases_on(path, path, ["ic_resnet8_int8"])
    moved = sum(k.bytes_moved for k in estimate(read_model(case.placed.run.path), load_profile(path)).kernels)
    # 4 B a cycle at 100 MHz
    assert case.at_bandwidth.memory_s.sum() == pytest.approx(moved / 400e6)
    # half of the bandwidth, three times as slow
    assert case.memory_s.sum() == pytest.approx(3 * moved / 200e6)


def test_a_log_that_was_published_twice_counts_once(path):
    cases = cases_on(path, path)
    again = [replace(c, placed=replace(c.placed, run=replace(c.placed.run, place="other.csv:9"))) for c in cases]
    slower = replace(
        cases[0], measured_s=1.0, placed=replace(cases[0].placed, run=replace(cases[0].placed.run, measured_s=1.0))
    )
    assert without_repeats([*cases, *again, slower]) == [*cases, slower]


def test_boards_share_a_scale_with_their_core_and_versions_the_ratios(path, tmp_path):
    (tmp_path / "mine.yaml").write_text("schema_version: 1\nbase: board\nname: mine\n")
    more = "  own-2:\n    base: own\n    name: Own 2\n"
    versions = load_profile(board(tmp_path, "versions", more=more))
    core, own = load_profile(path), load_profile(tmp_path / "mine.yaml")
    run = placed_on(core, core, NETWORKS[:1])[0]
    network = read_model(run.run.path)

    def case(profile, runtime):
        placed = replace(run, profile=profile, runtime=runtime)
        return case_of(placed, estimate(network, profile, runtime=runtime))

    assert case(own, "own").group == case(core, "own").group == ("board", "own")
    assert case(versions, "own-2").group != case(versions, "own").group
    assert case(versions, "own-2").share == case(versions, "own").share == "own"


def test_an_estimate_without_a_machine_has_no_times(path):
    (placed,) = placed_on(path, path, NETWORKS[:1])
    with pytest.raises(ValueError, match="no times"):
        case_of(placed, estimate(read_model(placed.run.path)))
