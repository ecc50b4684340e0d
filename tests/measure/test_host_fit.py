"""The fit of this machine: what cases were made with comes out of them, and the profile says it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from efficiency_cli.graph.model import OpClass
from efficiency_cli.hardware.lint import lint
from efficiency_cli.hardware.load import load_profile, profile_of
from efficiency_cli.measure.host.calibrate_host import fit_machine
from efficiency_cli.measure.host.features import COMPUTE, MOVE, START, Term, Unknown, row_of
from efficiency_cli.measure.host.fit_host import fit_host
from efficiency_cli.measure.host.grid import cases
from efficiency_cli.measure.host.host_profile import About, Peaks, channel_block, plain_text, profile_text
from efficiency_cli.measure.host.levels import Level, shared_level
from efficiency_cli.measure.host.machine import Cache, Host
from efficiency_cli.measure.host.microbench import Timing, order, steady
from efficiency_cli.roofline.estimate import estimate

HOST = Host(
    cpu="Some CPU 4711",
    vendor="",
    family="family 1 model 2 stepping 3",
    cores=2,
    caches=(Cache(1, 32 << 10, 1), Cache(2, 1 << 20, 1)),
    instructions=("avx2",),
    memory_bytes=8 << 30,
    clock_hz=None,
    system="Linux x86_64",
    virtual=False,
    versions={"onnxruntime": "1.32.0"},
)
ABOUT = About("some-cpu", HOST, 1, "a test")
LEVELS = [Level("l2", 1 << 20, 50e9), Level("l3", 16 << 20, 20e9), Level("memory", 8 << 30, 10e9)]


def seconds_of(row, overlap, far_overlap, run, start, compute, move, half):
    """The formula of the module, in plain words."""
    total = run
    for term, count in row:
        m = term.sizes[0]
        c = term.compute_s * compute * (1 + half / m) if m else term.compute_s * compute
        v = term.memory_s * move
        beside = term.far * (1 - far_overlap) + (1 - term.far) * (1 - overlap)
        total += count * (start * term.starts + max(c, v) + beside * min(c, v))
    return total


def test_what_cases_were_made_with_comes_out_of_them():
    rng = np.random.default_rng(1)
    rows = {}
    for k in range(60):
        m = int(rng.choice([1, 2, 8, 64, 1024]))
        work, moved = 10 ** rng.uniform(-7, -4, 2)
        term = Term("gemm", "gemm", "dense", work, moved, 1.0, (m, 64, 64), far=1.0 if k % 3 == 0 else 0.0)
        rows[f"case {k}"] = [(term, int(rng.integers(1, 9)))]
    true = {"overlap": 0.5, "far_overlap": 0.25, "run": 5e-6, "start": 3e-6, "compute": 1.25, "move": 2.0, "half": 10.0}
    found = fit_host(rows, {name: seconds_of(row, **true) for name, row in rows.items()})
    assert (found.overlap, found.far_overlap) == (true["overlap"], true["far_overlap"])
    assert found.run_s == pytest.approx(true["run"], rel=0.1)
    # n and k are the same in all cases: their factors and the slope are told apart by nothing
    factor = 1.0
    for part in ("half n", "half k"):
        factor *= 1 + found.values[Unknown(part, "gemm")] / 64
    assert found.values[Unknown(COMPUTE, "gemm")] * factor == pytest.approx(true["compute"], rel=0.03)
    assert found.values[Unknown(MOVE, "gemm")] == pytest.approx(true["move"], rel=0.03)
    assert found.values[Unknown(START, "gemm")] == pytest.approx(true["start"], rel=0.1)
    assert found.values[Unknown("half m", "gemm")] == pytest.approx(true["half"], rel=0.05)
    assert found.spread < 0.01


def test_nothing_is_faster_than_the_peaks():
    rows = {f"case {k}": [(Term("gemm", "gemm", "dense", k * 1e-5, 1e-7, 1.0, (64, 64, 64)), 1)] for k in range(1, 9)}
    found = fit_host(rows, {name: 0.5 * row[0][0].compute_s for name, row in rows.items()})
    assert found.values[Unknown(COMPUTE, "gemm")] == pytest.approx(1.0)


def test_one_wild_case_does_not_move_the_others():
    rows = {f"case {k}": [(Term("Relu", "elementwise", "elementwise", 0.0, k * 1e-5, 1.0), 1)] for k in range(1, 20)}
    seconds = {name: 6e-6 + 2e-6 + 3 * row[0][0].memory_s for name, row in rows.items()}
    calm = fit_host(rows, seconds).values[Unknown(MOVE, "elementwise")]
    wild = fit_host(rows, seconds | {"case 10": 50 * seconds["case 10"]}).values[Unknown(MOVE, "elementwise")]
    assert wild == pytest.approx(calm, rel=0.05)


def timings(profile, slower=1.0):
    """What a machine would take that is as `profile` says."""
    for case in cases(quick=True):
        latency = estimate(case.make().model, profile).latency
        yield Timing(case.name, slower * latency.expected_s, slower * latency.expected_s, 1e-4)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = tmp_path_factory.mktemp("host") / "some-cpu.yaml"
    true = profile_of(plain_text(ABOUT, Peaks(50e9, 150e9, LEVELS)), path)
    made = fit_machine(ABOUT, LEVELS, list(timings(true, 1.5)), path)
    path.write_text(made.text, encoding="utf-8")
    return made, path


def test_the_profile_loads_and_is_sound(found):
    made, path = found
    profile = load_profile(str(path))
    assert profile == made.profile
    assert [f for f in lint(profile) if f.level == "error"] == []
    runtime = profile.runtime()
    assert (runtime.grade, runtime.calibration.models) == ("measured", sum(not c.block for c in cases(quick=True)))
    assert runtime.channel_block.value == channel_block(HOST) == 8


def test_the_profile_expects_what_was_measured(found):
    made, _ = found
    for case, timing in zip(cases(quick=True), timings(made.profile), strict=True):
        assert case.name == timing.name
    off = [abs(math.log(b.expected_s / b.measured_s)) for b in made.blocks]
    # the machine is in the form of the model: what is left is what the grid cannot tell apart
    assert sum(off) / len(off) < 0.1
    assert made.judged.interval[0] < 1 < made.judged.interval[1]


def test_every_class_has_a_number_for_operators_that_no_case_has(found):
    made, _ = found
    runtime = made.profile.runtime()
    assert {c.value for c in OpClass} - {"recurrent", "movement"} <= set(runtime.efficiency)
    assert {c.value for c in OpClass} <= set(runtime.traffic)


def test_weights_that_no_near_cache_holds_come_from_further_out(tmp_path):
    # 16 products of 64 x 256 floats are 1 MiB: the nearest cache of 1 MiB holds them, one of half of it does not
    case = next(c for c in cases() if c.name == "gemm 16x64x256")
    seconds = []
    for size in (1 << 20, 1 << 19):
        levels = [Level("l2", size, 50e9), *LEVELS[1:]]
        profile = profile_of(plain_text(ABOUT, Peaks(1e9, 1e9, levels)), tmp_path / "m.yaml")
        seconds.append(sum(term.memory_s * count for term, count in row_of(case.make().model, profile)))
    weights, activations = 16 * 64 * 256 * 4, 16 * 16 * (64 + 256) * 4
    biases = 8 * (64 + 256) * 4
    near, far = activations / 50e9, (weights + biases) / 20e9
    assert seconds[1] == pytest.approx(near + far)
    assert seconds[0] in (pytest.approx((weights + biases + activations) / 50e9), pytest.approx(near + far))


def test_terms_tell_what_comes_from_the_furthest_level(tmp_path):
    case = next(c for c in cases() if c.name == "streamed gemm 16x768x3072")
    profile = profile_of(plain_text(ABOUT, Peaks(1e9, 1e9, LEVELS)), tmp_path / "m.yaml")
    for term, _ in row_of(case.make().model, profile):
        weights, activations = 768 * 3072 * 4, 16 * (768 + 3072) * 4
        assert term.far == pytest.approx(weights / 10e9 / (weights / 10e9 + activations / 50e9), rel=0.01)
    near = next(c for c in cases() if c.name == "gemm 16x64x256")
    assert {term.far for term, _ in row_of(near.make().model, profile)} == {0.0}


def test_a_profile_says_what_computing_hides_of_the_furthest_level(found):
    made, _ = found
    for far, own in ((made.fitted.overlap, None), (0.25 if made.fitted.overlap else 0.5, "0.25")):
        text = profile_text(ABOUT, Peaks(1e9, 1e9, LEVELS), replace(made.fitted, far_overlap=far), made.judged)
        profile = profile_of(text, Path("some-cpu.yaml"))
        assert [m.overlap.value if m.overlap else None for m in profile.memory] == [None, None, own and far]


# --- timings -----------------------------------------------------------------------------------


def test_every_pass_is_shuffled_and_what_is_done_is_left_out():
    grid = cases(quick=True)
    first = order(grid, {}, 2)
    assert len(first) == 2 * len(grid)
    assert [c.name for c in first[: len(grid)]] != [c.name for c in grid]
    assert {c.name for c in first[: len(grid)]} == {c.name for c in grid}
    assert order(grid, {}, 2) == first
    done = dict.fromkeys((c.name for c in grid[:5]), 1) | {grid[5].name: 2}
    assert len(order(grid, done, 2)) == 2 * len(grid) - 5 - 2


def test_a_slow_moment_is_divided_out_by_the_reference():
    quick = [Timing("a", 2e-3, 1e-3, 1e-4) for _ in range(3)]
    slow = [Timing("b", 4e-3, 2e-3, 2e-4) for _ in range(3)]
    assert steady([*quick, *slow])["b"] == pytest.approx((2e-3, 1e-3))
    assert steady([*quick, *slow])["a"] == pytest.approx((2e-3, 1e-3))


def test_of_several_passes_the_second_best_counts():
    seconds = (5e-3, 1e-3, 2e-3)
    assert steady([Timing("a", s, s, 1e-4) for s in seconds])["a"] == (2e-3, 2e-3)


@pytest.mark.parametrize(
    ("rates", "size"),
    [
        ({8: 28.0, 16: 27.0, 32: 28.0, 64: 15.0, 128: 15.0}, 32),
        ({8: 28.0, 16: 20.0, 32: 16.0, 64: 15.0}, 8),  # nearer to the slow one
        ({8: 16.0, 16: 15.0, 32: 15.0}, None),
        ({8: 16.0}, None),
        ({}, None),
    ],
)
def test_how_far_a_shared_cache_reaches(rates, size):
    found = shared_level(rates)
    assert (found.size if found is not None else None) == size


def test_the_grid_has_every_case_once_and_every_case_is_a_network():
    grid = cases()
    assert len({c.name for c in grid}) == len(grid) > 600
    assert 100 < len(cases(quick=True)) < len(grid) / 3
    for case in grid:
        made = case.make()
        assert made.model.graph.nodes
        unknown = [t.name for t in made.model.graph.tensors.values() if t.shape is None]
        assert not unknown, case.name
