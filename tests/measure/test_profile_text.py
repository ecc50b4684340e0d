"""The YAML of a calibration: it loads, nothing in it is doubtful, and all else is as in the profile it stands on."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from synthetic import NETWORKS, USUAL, board, cases_on

from efficiency_cli.errors import UsageError
from efficiency_cli.graph.read import read_model
from efficiency_cli.hardware.lint import lint
from efficiency_cli.hardware.load import load_profile, profile_of, shipped_dir
from efficiency_cli.measure.calibration import fitted_runtimes
from efficiency_cli.measure.fit import Fit, Parameter
from efficiency_cli.measure.place import Placed
from efficiency_cli.measure.profile_text import check_place, profile_text, quoted
from efficiency_cli.roofline.estimate import estimate

SOURCE = "effcli calibrate over runs.csv (sha256 0123456789ab, 3 rows): 3 measurements"
ROUNDING = 1e-3
# a version that says nothing itself, one with a scale of its own, and one that is not told from the first
VERSIONS = """\
  own-2:
    base: own
    name: Own 2
  own-3:
    base: own-2
    name: Own 3
    scale: {value: 1.5, source: s, kind: derived}
  apart:
    name: Apart
    grade: datasheet
    overlap: {value: 1, source: s, kind: derived}
"""


def a_fit(groups, scale=1.25, free=False, **ratios):
    parameters = tuple(Parameter("own", name, factor, 0.1, 0.2) for name, factor in ratios.items())
    return Fit(dict.fromkeys(groups, scale), dict.fromkeys(groups, 0.05), parameters, 0.1, 1.0, free)


def fitted_on(profile, runtimes, found):
    """Three networks on each of `runtimes`."""
    cases = []
    for runtime in runtimes:
        cases += cases_on(replace(profile, default_runtime=runtime), profile, NETWORKS[:3])
    return fitted_runtimes([c.at_bandwidth for c in cases] if found.free else cases, [], found)


def seconds(profile, runtime, name="kws_dscnn_int8"):
    path = cases_on(profile, profile, [name])[0].placed.run.path
    return estimate(read_model(path), profile, runtime=runtime).latency.expected_s


FITS = [
    {},
    {"depthwise": 1.4, "kernel": 2.0},
    {"free": True, "scale": 6.0},
    {"scale": 0.7, "vector": 3.0, "memory": 0.8},
]


@pytest.mark.parametrize("given", FITS, ids=str)
@pytest.mark.parametrize("runtimes", [["own"], ["own", "own-2"], ["own-2"], ["own-3"], ["own", "own-3"]], ids=str)
def test_what_is_written_is_the_fit_and_nothing_else(tmp_path, given, runtimes):
    profile = load_profile(board(tmp_path, more=VERSIONS))
    found = a_fit([("board", r) for r in runtimes], **given)
    fitted = fitted_on(profile, runtimes, found)
    path = tmp_path / "mine.yaml"
    path.write_text(profile_text(path, fitted, SOURCE), encoding="utf-8")
    now = load_profile(path)
    for one in fitted:
        predicted = found.predicted_s(one.cases)
        for case, expected in zip(one.cases, predicted, strict=True):
            again = estimate(read_model(case.placed.run.path), now, runtime=one.runtime.id).latency
            assert again.expected_s == pytest.approx(expected, rel=ROUNDING)
            assert again.bound_s <= again.lower_s <= again.expected_s <= again.upper_s
    for runtime in profile.runtimes:
        if runtime.id not in runtimes:
            assert seconds(now, runtime.id) == seconds(profile, runtime.id)
            assert now.runtime(runtime.id).grade == runtime.grade
            assert now.runtime(runtime.id).interval_factors == runtime.interval_factors
    assert [str(f) for f in lint(path)] == []


def test_what_is_written_is_small(tmp_path):
    profile = load_profile(board(tmp_path))
    text = profile_text(tmp_path / "mine.yaml", fitted_on(profile, ["own"], a_fit([("board", "own")])), SOURCE)
    # scale, interval and calibration of one runtime
    assert [line.split(":")[0].strip() for line in text.splitlines()] == [
        "# mine",
        *("schema_version", "base", "name", "sources", "calibration", "runtime", "runtimes", "own", "grade", "scale"),
        *("interval", "lower", "upper", "calibration", "measurements", "models", "source"),
    ]
    assert "scale: {value: 1.25, source: calibration, kind: calibrated" in text
    assert SOURCE in text


def test_a_clock_of_all_measurements_is_that_of_the_profile(tmp_path):
    path = board(tmp_path)
    profile, slow = load_profile(path), load_profile(path, (), ["clock=50 MHz"])
    fitted = fitted_on(slow, ["own"], a_fit([("board", "own")]))
    text = profile_text(tmp_path / "mine.yaml", fitted, SOURCE)
    assert "clock: {value: 50 MHz, source: calibration, kind: measured" in text
    assert 'name: "board for tests, calibrated at 50 MHz"' in text
    now = profile_of(text, tmp_path / "mine.yaml")
    assert now.clock.value == 50e6
    assert seconds(now, "own") == pytest.approx(1.25 * 2 * seconds(profile, "own"), rel=ROUNDING)
    mixed = fitted_on(slow, ["own"], a_fit([("board", "own")]))[0]
    mixed = replace(mixed, cases=(*mixed.cases, *fitted_on(profile, ["own"], a_fit([("board", "own")]))[0].cases))
    assert "clock" not in profile_text(tmp_path / "mine.yaml", [mixed], SOURCE)


def test_a_runtime_of_a_finer_profile(tmp_path):
    efficiency = {**USUAL, "gemm": 0.4, "attention": 0.3, "decode-attention": 0.1}
    profile = load_profile(board(tmp_path, efficiency=efficiency, classes={"gemm": "2000 cycles"}))
    found = a_fit([("board", "own")], attention=1.5, kernel=2.0)
    path = tmp_path / "mine.yaml"
    now = profile_of(profile_text(path, fitted_on(profile, ["own"], found), SOURCE), path).runtime()
    assert now.efficiency_of("attention", "decode-attention") == pytest.approx(0.1 / 1.5, rel=ROUNDING)
    assert now.efficiency_of("attention") == pytest.approx(0.3 / 1.5, rel=ROUNDING)
    assert now.efficiency_of("dense", "gemm") == 0.4
    assert (now.dispatch.classes["gemm"].text, now.dispatch.kernel.text) == ("4000 cycles", "8000 cycles")


def test_a_shipped_profile_under_its_own_name(tmp_path):
    profile = load_profile("cortex-m7")
    cases = cases_on(profile, profile, NETWORKS[:1])
    one = fitted_runtimes(cases, [], a_fit([("cortex-m7", profile.default_runtime)]))
    path = tmp_path / "cortex-m7.yaml"
    check_place(path, profile)
    path.write_text(profile_text(path, one, SOURCE), encoding="utf-8")
    assert seconds(load_profile("cortex-m7", [tmp_path]), None) == pytest.approx(
        1.25 * seconds(profile, None), rel=1e-3
    )
    assert [f for f in lint(path) if f.level == "error"] == []


def test_the_base_must_be_found_from_where_the_file_is(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    own = load_profile(board(here))
    check_place(here / "mine.yaml", own)
    with pytest.raises(UsageError) as error:
        check_place(there / "mine.yaml", own)
    assert "would stand on 'board', which is not there" in error.value.what
    assert str(here / "mine.yaml") in error.value.hint
    # of that name there is another one
    board(there)
    with pytest.raises(UsageError, match="the calibration is of"):
        check_place(there / "mine.yaml", own)
    for path in (here / "board.yaml", there / "board.yaml"):
        with pytest.raises(UsageError, match="would stand on itself"):
            check_place(path, own)
    with pytest.raises(UsageError, match="would stand on itself"):
        check_place(shipped_dir() / "cortex-m7.yaml", load_profile("cortex-m7"))


@pytest.mark.parametrize("name", ["mine", "mine.txt", "my board.yaml", ".yaml", "a:b.yaml"])
def test_a_profile_is_named_by_its_file(tmp_path, name):
    with pytest.raises(UsageError, match="is no name for a profile"):
        check_place(tmp_path / name, load_profile("cortex-m7"))


@pytest.mark.parametrize(
    "text", ['a "b" \\ c', "tab\tline\nend", "\x1b[31m", "naïve – µ", "# no: comment", "\ud800", "😀", "\u2028"]
)
def test_any_text_is_one_line_of_yaml(tmp_path, text):
    profile = load_profile(board(tmp_path))
    one = fitted_on(profile, ["own"], a_fit([("board", "own")]))
    written = profile_text(tmp_path / "mine.yaml", one, f"from {text}.", name=f"{text}.")
    now = profile_of(written, tmp_path / "mine.yaml")
    safe = "".join(c if c.isprintable() and ord(c) < 0xD800 else "?" for c in text)
    assert (now.sources["calibration"], now.name) == (f"from {safe}.", f"{safe}.")
    assert quoted(text).count("\n") == 0


def test_the_default_is_the_profiles_or_what_was_measured_most(tmp_path):
    profile = load_profile(board(tmp_path, more=VERSIONS))
    path = tmp_path / "mine.yaml"

    def default(*runtimes):
        fitted = fitted_on(profile, runtimes, a_fit([("board", r) for r in runtimes]))
        fitted = [replace(one, profile=profile, cases=one.cases[: 1 + k]) for k, one in enumerate(fitted)]
        return profile_of(profile_text(path, fitted, SOURCE), path).default_runtime

    assert default("own", "own-2") == "own"
    assert default("own-2", "own-3") == "own-3"


def test_placed_runs_find_the_calibrated_runtime(tmp_path):
    from efficiency_cli.measure.place import place

    profile = load_profile(board(tmp_path))
    path = tmp_path / "mine.yaml"
    path.write_text(profile_text(path, fitted_on(profile, ["own"], a_fit([("board", "own")])), SOURCE))
    run = cases_on(profile, profile, NETWORKS[:1])[0].placed.run
    (placed,), _ = place([replace(run, runtime="Own")], hw=[str(path)])
    assert isinstance(placed, Placed)
    assert placed.profile.runtime(placed.runtime).grade == "calibrated"
