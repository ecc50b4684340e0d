"""Errors, ranks and coverage by hand; and whole tables of small networks, read once each."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import a_run, machine, runtime

import efficiency_cli.measure.validate as validation_module
from efficiency_cli.hardware.load import load_profile
from efficiency_cli.measure.place import Placed, Unplaced, place
from efficiency_cli.measure.runs import Run, read_runs
from efficiency_cli.measure.validate import (
    STANDARD,
    Summary,
    Validation,
    key_of,
    quantile,
    ranks,
    score,
    spearman,
    summarize,
    validate,
)
from efficiency_cli.roofline.latency import Times

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "mcu" / "measurements.csv"


def model(path: Path, columns: int = 32, rows: str = "1") -> Path:
    """y = x · w with x [rows, 64], w [64, columns]: rows · 64 · columns MACs."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [int(rows) if rows.isdigit() else rows, 64])],
        [onnx.helper.make_tensor_value_info("y", 1, [int(rows) if rows.isdigit() else rows, columns])],
        [onnx.helper.make_tensor("w", 1, [64, columns], [0.5] * (64 * columns))],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A folder with a machine of one operation a cycle at 100 MHz, and net.onnx."""
    machine(tmp_path, "m", runtime("plain", dtype="float32"))
    model(tmp_path / "net.onnx")
    return tmp_path


def times(expected: float, lower: float = 0.8, upper: float = 1.25) -> Times:
    return Times(expected / 10, expected * lower, expected, expected * upper)


def checked(folder: Path, *runs: Run, **choices: object) -> Validation:
    placed, unplaced = place(runs, hw_dirs=[folder])
    return validate(placed, unplaced, **choices)


# --- figures -----------------------------------------------------------------------------------


def test_figures_by_hand():
    # errors: +100 %, -50 %, +25 %, 0
    pairs = [(1.0, 2.0), (4.0, 2.0), (4.0, 5.0), (8.0, 8.0)]
    found = summarize("all", "all", pairs)
    assert found == Summary(
        by="all",
        key="all",
        n=4,
        mape=(1 + 0.5 + 0.25 + 0) / 4,
        median=(0.25 + 0.5) / 2,
        # 0, .25, .5, 1 at position 3 · 0.9 = 2.7
        p90=pytest.approx(0.5 + 0.7 * (1 - 0.5)),
        max=1.0,
        bias=(1 - 0.5 + 0.25 + 0) / 4,
        # ranks 1, 2.5, 2.5, 4 and 1.5, 1.5, 3, 4, around 2.5
        spearman=(-1.5 * -1 + 0 * -1 + 0 * 0.5 + 1.5 * 1.5) / math.sqrt((1.5**2 * 2) * (1 + 1 + 0.5**2 + 1.5**2)),
        coverage=None,
    )


@pytest.mark.parametrize(
    ("values", "expected"), [([3.0, 1.0, 2.0], [3, 1, 2]), ([5.0, 5.0, 1.0, 5.0], [3, 3, 1, 3]), ([], []), ([7.0], [1])]
)
def test_ranks_share_ties(values, expected):
    assert ranks(values) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3], [10, 20, 40], 1),
        ([1, 2, 3], [3, 2, 1], -1),
        ([1, 2, 3, 4], [1, 3, 2, 4], 1 - 6 * 2 / (4 * (16 - 1))),
        ([1, 2], [1, 2], None),
        ([1, 1, 1], [1, 2, 3], None),
        ([1, 2, 3], [5, 5, 5], None),
    ],
)
def test_rank_correlation(one, other, expected):
    assert spearman(one, other) == (None if expected is None else pytest.approx(expected))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=30))
def test_rank_correlation_is_scipys(pairs):
    stats = pytest.importorskip("scipy.stats")
    one, other = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    found = spearman(one, other)
    if len(set(one)) > 1 and len(set(other)) > 1:
        assert found == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-12)
    else:
        assert found is None


@pytest.mark.parametrize(("fraction", "expected"), [(0, 1), (0.5, 3), (1, 10), (0.9, 4 + 0.6 * (10 - 4))])
def test_quantiles_lie_on_straight_lines(fraction, expected):
    assert quantile([1, 2, 3, 4, 10], fraction) == pytest.approx(expected)
    assert quantile([7.0], fraction) == 7


@given(st.lists(st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)), min_size=1, max_size=40), st.floats(0.01, 100))
def test_laws(pairs, factor):
    found = summarize("all", "all", pairs)
    assert 0 <= found.median <= found.p90 + 1e-12
    assert found.p90 <= found.max + 1e-9 * found.max
    assert abs(found.bias) <= found.mape * (1 + 1e-9) <= found.max * (1 + 2e-9)
    # seconds or milliseconds: the same figures
    scaled = summarize("all", "all", [(a * factor, b * factor) for a, b in pairs])
    assert scaled.mape == pytest.approx(found.mape, rel=1e-6, abs=1e-9)


# --- given predictions -------------------------------------------------------------------------


@pytest.fixture
def placed(bench: Path) -> list[Placed]:
    profile = load_profile("m", [bench])
    facts = [
        ("a", "D1", "R", "C", 0.010),
        ("a", "D2", "R", "C", 0.020),
        ("b", "D1", "S", "C", 0.030),
        ("b", "D2", "S", "", 0.040),
    ]
    return [
        Placed(a_run(family=f, device=d, runtime=r, core=c, measured_s=s), profile, "plain", "")
        for f, d, r, c, s in facts
    ]


def test_given_predictions_are_scored_by_group(placed):
    found = score(placed, [times(0.011), times(0.018), times(0.030), times(0.060)])
    assert [r.error for r in found.results] == pytest.approx([0.1, -0.1, 0, 0.5])
    assert found.overall is not None
    assert (found.overall.n, found.overall.by) == (4, "all")
    assert found.overall.mape == pytest.approx((0.1 + 0.1 + 0 + 0.5) / 4)
    # 10 in 8.8…13.75, 20 in 14.4…22.5, 30 in 24…37.5, 40 below 48
    assert found.overall.coverage == 3 / 4
    assert [(s.key, s.n, s.mape) for s in found.groups("family")] == [
        ("a", 2, pytest.approx(0.1)),
        ("b", 2, pytest.approx(0.25)),
    ]
    assert [(s.key, s.bias) for s in found.groups("device")] == [
        ("D1", pytest.approx(0.05)),
        ("D2", pytest.approx(0.2)),
    ]
    assert {s.by for s in found.summary} == {"all", *STANDARD}


def test_parts_sum_to_the_whole(placed):
    found = score(placed, [times(0.01)] * 4, by=["product+core", "model"])
    for by in (*STANDARD, "product+core", "model"):
        groups = found.groups(by)
        assert sum(g.n for g in groups) == 4
        whole = found.overall.mape if found.overall else 0
        assert sum(g.n * g.mape for g in groups) / 4 == pytest.approx(whole)
        assert max(g.max for g in groups) == (found.overall.max if found.overall else 0)


def test_groups_by_several_columns(placed):
    found = score(placed, [times(0.01)] * 4, by=["product+core"])
    assert [g.key for g in found.groups("product+core")] == ["R, C", "S, ", "S, C"]
    assert key_of(placed[0], "product") == "R"


def test_a_measurement_on_the_edge_of_the_interval_is_inside(placed):
    exact = Times(0.001, 0.010, 0.011, 0.012)
    assert score(placed[:1], [exact]).results[0].within


def test_nothing_has_no_figures():
    found = score([], [], [Unplaced(a_run(), "why")])
    assert found.overall is None
    assert found.summary == ()
    assert len(found.unplaced) == 1


def test_predictions_must_be_as_many_as_rows(placed):
    with pytest.raises(ValueError, match="shorter"):
        score(placed, [times(1)])


# --- tables ------------------------------------------------------------------------------------


def test_an_estimate_beside_its_measurement(bench):
    # 2 · 64 · 32 operations at one a cycle of 50 MHz; bytes overlap
    compute_s = 2 * 64 * 32 / 50e6
    moved_s = 4 * (64 + 64 * 32 + 32) / (4 * 50e6)
    run = a_run(path=str(bench / "net.onnx"), device="m", clock_hz=50e6, runtime="plain", measured_s=1e-4)
    (result,) = checked(bench, run).results
    assert result.latency.expected_s == pytest.approx(max(compute_s, moved_s))
    assert result.latency.lower_s == pytest.approx(max(compute_s * 0.8, result.latency.bound_s))
    assert result.error == pytest.approx(compute_s / 1e-4 - 1)
    assert result.notes == ()
    (added,) = checked(bench, run, overlap=0.0).results
    assert added.latency.expected_s == pytest.approx(compute_s + moved_s)


def test_sizes_of_the_row(bench):
    model(bench / "open.onnx", rows="n")
    runs = [a_run(path=str(bench / "open.onnx"), device="m", runtime="plain", dims={"n": n}) for n in (4, 8)]
    small, large = checked(bench, *runs).results
    assert small.latency.expected_s == pytest.approx(2 * 4 * 64 * 32 / 100e6)
    assert large.latency.expected_s == pytest.approx(2 * 8 * 64 * 32 / 100e6)


def test_each_model_is_read_once_and_the_order_is_the_tables(bench, monkeypatch):
    read: list[str] = []

    def counting(path, **kwargs):
        read.append(path)
        return original(path, **kwargs)

    original = validation_module.read_model
    monkeypatch.setattr(validation_module, "read_model", counting)
    other = model(bench / "other.onnx", columns=64)
    paths = [str(bench / "net.onnx"), str(other)] * 3
    runs = [a_run(place=f"runs.csv:{k}", path=p, device="m", runtime="plain") for k, p in enumerate(paths)]
    calls: list[tuple[int, int]] = []
    found = checked(bench, *runs, progress=lambda done, of: calls.append((done, of)))
    assert sorted(read) == sorted(paths[:2])
    assert [r.placed.run.place for r in found.results] == [f"runs.csv:{k}" for k in range(6)]
    assert calls == [(k, 6) for k in range(1, 7)]


def test_a_model_that_cannot_be_read_never_stops_the_others(bench):
    (bench / "bad.onnx").write_bytes(b"\x00\x01 no model")
    model(bench / "open.onnx", rows="n")
    (bench / "empty.onnx").write_bytes(b"")
    runs = [
        a_run(path=str(bench / "bad.onnx"), device="m", runtime="plain"),
        a_run(path=str(bench / "net.onnx"), device="m", runtime="plain"),
        a_run(path=None, onnx="gone.onnx", device="m", runtime="plain"),
        a_run(path=str(bench / "net.onnx"), device="m", runtime="plain", dims={"nothing": 3}),
        a_run(path=str(bench / "empty.onnx"), device="m", runtime="plain"),
        a_run(path=str(bench / "net.onnx"), device="nowhere"),
    ]
    found = checked(bench, *runs)
    assert [r.placed.run for r in found.results] == [runs[1]]
    reasons = {id(u.run): u.reason for u in found.unplaced}
    assert len(reasons) == 5
    assert "bad.onnx" in reasons[id(runs[0])]
    assert "--models DIR" in reasons[id(runs[2])]
    assert "nothing" in reasons[id(runs[3])]
    assert "is empty" in reasons[id(runs[4])]
    assert "nowhere" in reasons[id(runs[5])]


def test_a_size_that_is_missing_names_the_column(bench):
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [1, "length"])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, "length"])],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), bench / "open.onnx")
    (told,) = checked(bench, a_run(path=str(bench / "open.onnx"), device="m", runtime="plain")).unplaced
    assert "length" in told.reason
    assert "column 'dims'" in told.reason


@pytest.mark.parametrize(
    ("precision", "told"),
    [
        ("int8", ["measured in int8, the model computes in float32"]),
        ("FP16", ["measured in FP16, the model computes in float32"]),
        ("fp32", []),
        ("float_32", []),
        ("", []),
        ("mixed", []),
    ],
)
def test_a_precision_that_contradicts_the_model_is_told(bench, precision, told):
    run = a_run(path=str(bench / "net.onnx"), device="m", runtime="plain", precision=precision)
    assert list(checked(bench, run).results[0].notes) == told


def test_what_was_assumed_stays_with_the_row(bench):
    (result,) = checked(bench, a_run(path=str(bench / "net.onnx"), device="m")).results
    assert result.notes == ("no runtime given: plain, the default of m",)


def test_energy(tmp_path):
    power = "energy:\n  active_power: {value: 10 mW, source: s, kind: derived}\n"
    machine(tmp_path, "m", runtime("plain", dtype="float32"), energy=power)
    path = str(model(tmp_path / "net.onnx"))
    joules = 0.010 * 2 * 64 * 32 / 100e6
    runs = [
        a_run(path=path, device="m", runtime="plain", energy_j=joules / 2),
        a_run(path=path, device="m", runtime="plain", energy_j=joules * 2),
        a_run(path=path, device="m", runtime="plain"),
    ]
    found = checked(tmp_path, *runs)
    assert [r.energy_error for r in found.results] == [pytest.approx(1), pytest.approx(-0.5), None]
    (whole,) = found.groups("all", energy=True)
    assert (whole.n, whole.mape, whole.bias, whole.coverage) == (2, pytest.approx(0.75), pytest.approx(0.25), None)
    assert found.overall is not None
    assert found.overall.n == 3


def test_energy_without_figures_in_the_profile_has_no_error(bench):
    run = a_run(path=str(bench / "net.onnx"), device="m", runtime="plain", energy_j=1e-6)
    found = checked(bench, run)
    assert found.results[0].energy_error is None
    assert found.energy_summary == ()


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared data")
def test_public_measurements():
    """The figures of X-CUBE-AI are better than those of one cycles/MAC (about 30 %, method.md), and none is lost."""
    runs = read_runs(str(SHARED))
    placed, unplaced = place(runs)
    found = validate(placed, unplaced, by=["product"])
    assert len(found.results) + len(found.unplaced) == len(runs) == 339
    assert len(found.results) >= 250
    figures = {s.key: s for s in found.groups("product")}
    assert figures["X-CUBE-AI"].n == 124
    assert figures["X-CUBE-AI"].mape < 0.30
    assert all(s.spearman is not None and s.spearman > 0.8 for s in figures.values() if s.n >= 20)
