"""Baselines: written, read back, found again from another folder, and refused where they are none."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace
from snapshots import BOARD, kernel, snapshot

from efficiency_cli.errors import UsageError
from efficiency_cli.judge.baseline import Baseline, other_profile, read_baseline, updated
from efficiency_cli.judge.snapshot import ModelPart, parse_saved
from efficiency_cli.reports.baseline import baseline_text


def shot(path="models/m.onnx", ms=4.0, hardware=BOARD, asked="", **dims):
    found = snapshot([kernel("a", ms)], path=path, hardware=hardware)
    return replace(found, model=ModelPart(path, dims), asked=asked)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "ci").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(path, *shots):
    path.write_text(baseline_text(updated((), shots, str(path), keep=False)), encoding="utf-8")
    return read_baseline(str(path))


def test_what_is_written_is_read_back(folder):
    kept = written(folder / "b.json", shot())
    assert kept.of(shot()).totals == shot().totals
    assert kept.of(shot()).kernels[0].time_s == shot().kernels[0].time_s
    assert kept.version != ""


def test_paths_are_from_the_files_folder(folder, monkeypatch):
    written(folder / "ci" / "b.json", shot())
    assert json.loads((folder / "ci" / "b.json").read_text())["results"][0]["model"]["path"] == "../models/m.onnx"
    monkeypatch.chdir(folder / "models")
    kept = read_baseline("../ci/b.json")
    assert kept.of(shot("m.onnx")) is not None
    # another file of the same name somewhere else is taken where it is the only one
    assert kept.of(shot("elsewhere/m.onnx")) is not None


def test_two_files_of_one_name_are_not_mixed_up(folder):
    kept = written(folder / "b.json", shot("one/m.onnx", 1.0), shot("two/m.onnx", 2.0))
    assert kept.of(shot("two/m.onnx")).totals.latency_s.expected == pytest.approx(0.002)
    assert kept.of(shot("three/m.onnx")) is None


def test_another_machine_runtime_or_size_is_another_entry(folder):
    kept = written(folder / "b.json", shot(batch=1), shot(batch=8, ms=9.0))
    assert kept.of(shot(batch=8)).totals.latency_s.expected == pytest.approx(0.009)
    for other in (
        shot(batch=2),
        shot(batch=1, hardware=replace(BOARD, id="other")),
        shot(batch=1, hardware=replace(BOARD, runtime="other")),
        shot(batch=1, hardware=None),
        shot(batch=1, asked="--dtype int8"),
    ):
        assert kept.of(other) is None
        assert kept.why_not(other) == "the baseline has it on board with bare, batch=1 and on board with bare, batch=8"
    assert kept.why_not(shot("new.onnx")) == "the model is not in the baseline"


def test_an_update_replaces_what_was_estimated_and_keeps_the_rest_if_asked():
    old = updated((), [shot("a.onnx", 1.0), shot("b.onnx", 2.0)], "b.json", keep=False)
    kept = updated(old, [shot("a.onnx", 3.0)], "b.json", keep=True)
    assert [(e.model.path, round(e.totals.latency_s.expected, 6)) for e in kept] == [
        ("a.onnx", 0.003),
        ("b.onnx", 0.002),
    ]
    assert [e.model.path for e in updated(old, [shot("a.onnx", 3.0)], "b.json", keep=False)] == ["a.onnx"]


def test_the_same_estimates_are_the_same_bytes_in_any_order():
    shots = [shot("a.onnx"), shot("b.onnx"), shot("a.onnx", batch=2)]
    texts = {baseline_text(updated((), order, "b.json", keep=False)) for order in (shots, shots[::-1])}
    assert len(texts) == 1


def test_a_profile_that_changed_is_noticed():
    assert other_profile(BOARD, replace(BOARD, profile="xyz"))
    assert not other_profile(BOARD, BOARD)
    # a report of analyze does not say
    assert not other_profile(replace(BOARD, profile=""), BOARD)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schema_version": 0}',
        b'{"schema_version": 1}',
        b'{"schema_version": 1, "results": 3}',
        b'{"schema_version": 1, "results": [3]}',
        b'{"schema_version": 1, "results": [{"model": {"path": 1}}]}',
        b'{"schema_version": 1, "results": [' + b"[" * 100_000,
        b"\xff\xfe",
        b"\x08\x07",
    ],
)
def test_what_is_no_report(data):
    with pytest.raises(UsageError) as error:
        parse_saved(data, "b.json")
    assert "is not a JSON report of effcli" in error.value.what


def test_a_negative_count_is_refused():
    text = baseline_text([shot()]).replace('"macs": 1000', '"macs": -1000')
    with pytest.raises(UsageError):
        parse_saved(text.encode(), "b.json")


def test_a_newer_format_is_refused():
    with pytest.raises(UsageError, match="written by a newer effcli"):
        parse_saved(b'{"schema_version": 2, "results": []}', "b.json")


def test_a_file_there_is_not():
    with pytest.raises(UsageError, match=r"cannot read nowhere\.json"):
        read_baseline("nowhere.json")


def test_an_empty_baseline_has_nothing():
    assert Baseline("b.json", ()).of(shot()) is None
