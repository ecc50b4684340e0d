"""`effcli validate`: a table on the command line; its formats, exit codes and what is told on standard error."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from efficiency_cli.commands import validate as command
from efficiency_cli.commands.progress import Progress
from efficiency_cli.measure import validate as measure
from efficiency_cli.measure.runs import read_runs
from efficiency_cli.reports.grid import cell_width
from efficiency_cli.reports.validation import notes_of

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
HEADER = "onnx,device,core,clock_mhz,runtime,version,precision,latency_ms,energy_uj"
ROWS = (
    "vww_mobilenetv1_int8.onnx,NUCLEO-H743ZI,Cortex-M7,480,X-CUBE-AI,9.0,int8,22,6000",
    "vww_mobilenetv1_int8.onnx,,Cortex-M7,216,X-CUBE-AI,9.0,int8,55,",
    "vww_mobilenetv1_int8.onnx,,Cortex-M4,120,Plumerai,2023.05,int8,150,",
    "vww_mobilenetv1_int8.onnx,,Cortex-M4,120,TinyThing,1,int8,150,",
)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return table(tmp_path)


def table(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "runs.csv"
    path.write_text("\n".join([header, *(rows or ROWS)]) + "\n", encoding="utf-8")
    return path


def as_json(effcli, *arguments):
    return json.loads(effcli("validate", *arguments, "--models", SAMPLES, "-f", "json").out)


def test_the_words_are_those_of_the_measurements():
    assert command.GROUPS == measure.GROUPS
    assert command.JOINT == measure.JOINT
    assert set(command.DEFAULT_GROUPS + command.MORE_GROUPS) <= set(measure.STANDARD)


def test_a_table(effcli, runs):
    result = effcli("validate", runs, "--models", SAMPLES, "--by", "product")
    assert result.code == 0
    first, _, error, *_ = result.out.splitlines()
    assert first == f"{runs}: 3 of 4 measurements, 1 model of 1 family, 3 devices"
    assert re.match(r"  Error +mean [0-9.]+ %   median ", error)
    assert re.search(r"^  product +n +mean +median +p90 +max +bias +inside$", result.out, re.MULTILINE)
    assert re.search(r"^  X-CUBE-AI +2 ", result.out, re.MULTILINE)
    assert "1 measurement has no estimate" in result.out
    assert "cortex-m4 has no runtime 'TinyThing'" in result.out
    assert len(result.out.splitlines()) <= 24


def test_json_holds_every_row_and_agrees_with_the_schema(effcli, runs):
    jsonschema = pytest.importorskip("jsonschema")
    report = as_json(effcli, runs)
    schema = json.loads(effcli("schema", "report").out)
    jsonschema.validate(report, schema)
    # anyOf may hold for another report's sake: its own definition must hold as well
    jsonschema.validate(report, {"$ref": "#/$defs/ValidationReport", "$defs": schema["$defs"]})
    broken = {**report, "results": [{**report["results"][0], "measured_s": -1.0}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, {"$ref": "#/$defs/ValidationReport", "$defs": schema["$defs"]})
    assert report["command"] == "validate"
    assert [r["place"] for r in report["results"]] == [f"{runs}:{n}" for n in (2, 3, 4)]
    assert [u["place"] for u in report["unplaced"]] == [f"{runs}:5"]
    for row in report["results"]:
        assert row["error"] == pytest.approx(row["latency_s"]["expected"] / row["measured_s"] - 1)
        assert row["within"] == (row["latency_s"]["lower"] <= row["measured_s"] <= row["latency_s"]["upper"])
    (whole,) = [s for s in report["summary"] if s["by"] == "all"]
    errors = [abs(r["error"]) for r in report["results"]]
    assert (whole["n"], whole["mape"]) == (3, pytest.approx(sum(errors) / 3))


def test_groups_have_the_words_of_the_results(effcli, runs):
    report = as_json(effcli, runs, "--by", "product", "--by", "precision")
    for by in ("device", "runtime", "family", "hardware", "product", "precision"):
        keys = {s["key"] for s in report["summary"] if s["by"] == by}
        assert keys == {r[by] for r in report["results"]}


def test_energy_has_figures_of_its_own(effcli, runs):
    report = as_json(effcli, runs)
    (row, *others) = report["results"]
    assert row["energy_error"] == pytest.approx(row["expected_energy_j"] / 6000e-6 - 1)
    assert all(o["energy_error"] is None for o in others)
    assert {s["n"] for s in report["energy_summary"]} == {1}
    assert "Energy" in effcli("validate", runs, "--models", SAMPLES).out


def test_what_is_written_can_be_read_again(effcli, runs, tmp_path):
    once = as_json(effcli, runs)
    for name in ("again.json", "again.csv"):
        path = tmp_path / name
        format = path.suffix[1:]
        assert effcli("validate", runs, "--models", SAMPLES, "-f", f"{format}:{path}").code == 0
        if format == "csv":
            # rows without an estimate have their reason; they are measurements all the same
            assert len(read_runs(str(path))) == 4
        again = as_json(effcli, path)
        for one, other in zip(once["results"], again["results"], strict=True):
            assert {**one, "place": ""} == {**other, "place": ""}
        assert [s for s in once["summary"] if s["by"] != "device"] == [
            s for s in again["summary"] if s["by"] != "device"
        ]


def test_csv(effcli, runs):
    rows = list(csv.DictReader(io.StringIO(effcli("validate", runs, "--models", SAMPLES, "-f", "csv").out)))
    assert [r["reason"] != "" for r in rows] == [False, False, False, True]
    assert float(rows[0]["measured_s"]) == pytest.approx(0.022)
    assert float(rows[0]["lower_s"]) <= float(rows[0]["expected_s"]) <= float(rows[0]["upper_s"])


def test_markdown_is_one_table_a_readme_can_hold(effcli, runs):
    result = effcli("validate", runs, "--models", SAMPLES, "-f", "markdown")
    head, rule, *rows = result.out.split("\n\n")[0].splitlines()
    assert head.startswith("| runtime | measurements | mean error | median |")
    assert rule.count("|") == head.count("|") == rows[0].count("|")
    assert rows[-1].startswith("| **all** | **3** |")
    assert "<details><summary>1 measurement has no estimate</summary>" in result.out


@pytest.mark.parametrize(("limit", "code"), [("1000%", 0), ("0.1%", 1), ("0", 1), ("0.9", 0)])
def test_max_error(effcli, runs, limit, code):
    result = effcli("validate", runs, "--models", SAMPLES, "--max-error", limit)
    assert result.code == code
    assert ("FAIL: the mean error of 3 measurements is" in result.err) == bool(code)
    assert "Error" in result.out


@pytest.mark.parametrize("limit", ["15", "-3%", "lots", "nan", "15 ms"])
def test_a_limit_is_a_percentage(effcli, runs, limit):
    result = effcli("validate", runs, "--max-error", limit)
    assert result.code == 2
    assert "--max-error: " in result.err
    assert ("did you mean '15%'?" in result.err) == (limit == "15")


def test_without_any_estimate_there_is_no_verdict(effcli, tmp_path):
    runs = table(tmp_path, "vww_mobilenetv1_int8.onnx,,Cortex-M99,1,R,1,int8,3,", "gone.onnx,,Cortex-M7,480,,,int8,3,")
    result = effcli("validate", runs, "-f", "json", "--max-error", "50%")
    assert result.code == 3
    assert "no measurement in " in result.err
    report = json.loads(result.out)
    assert (report["results"], report["summary"], len(report["unplaced"])) == ([], [], 2)
    assert effcli("validate", runs).code == 3


def test_one_machine_and_runtime_for_all(effcli, runs):
    report = as_json(effcli, runs, "--hw", "cortex-m33", "--runtime", "hale")
    assert {(r["hardware"], r["runtime"]) for r in report["results"]} == {("cortex-m33", "hale")}
    assert report["unplaced"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--hw", "cortex-m77"], "unknown hardware 'cortex-m77'"),
        (["--runtime", "hael"], "no machine has the runtime 'hael'"),
        (["--models", "nowhere"], "is not a folder"),
        (["--by", "devce"], "did you mean 'device'?"),
        (["--by", "product+"], "is not one of"),
        (["--by", "product,family"], "a table each: --by product --by core"),
        (["--set", "clock"], "is not KEY=VALUE"),
        (["-f", "junit"], "unknown format"),
        (["-f", "json:runs.csv"], "is read and cannot be written to"),
        (["--top", "0"], "--top"),
    ],
)
def test_bad_options(effcli, runs, arguments, said):
    result = effcli("validate", runs, *arguments)
    assert result.code == 2
    assert said in result.err
    assert result.out == ""


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "onnx,latency_ms\nx.onnx,nan\n", "PK\x03\x04\0", '{"results": 1}', "[[[["]
)
def test_bad_tables(effcli, tmp_path, text):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    for table_path in (path, tmp_path, tmp_path / "none.csv"):
        result = effcli("validate", table_path)
        assert result.code == 2
        assert result.out == ""


def test_top(effcli, runs):
    arguments = ["validate", runs, "--models", SAMPLES]
    assert effcli(*arguments, "--top", "1").out.count("vww_mobilenetv1_int8.onnx") == 1
    assert "Every estimate, the furthest off first" in effcli(*arguments, "--top", "all").out
    # of a table for programs: the worst rows only, on request
    assert len(effcli(*arguments, "--top", "2", "-f", "csv").out.splitlines()) == 1 + 2


def test_assumptions_are_noted_and_quiet_is_quiet(effcli, tmp_path):
    runs = table(tmp_path, "vww_mobilenetv1_int8.onnx,,Cortex-M7,480,,,fp32,22,")
    told = effcli("validate", runs, "--models", SAMPLES).err
    assert "note: 1 row: no runtime given: " in told
    assert "note: 1 row: measured in fp32, the model computes in int8" in told
    assert effcli("validate", runs, "--models", SAMPLES, "-q").err == ""


def test_assumptions_are_of_one_kind_whatever_their_counts():
    notes = [("1,024 MACs are left out",), ("7 MACs are left out", "version 7.2 read as 7.1"), ("version 8 read as 9",)]
    validation = SimpleNamespace(results=[SimpleNamespace(notes=n) for n in notes])
    assert notes_of(validation) == [
        "2 rows: MACs are left out",
        "1 row: version 7.2 read as 7.1",
        "1 row: version 8 read as 9",
    ]


def test_text_of_a_table_is_harmless(effcli, tmp_path):
    evil = "\x1b[31m<script>|=cmd()|`x` @all"
    runs = table(tmp_path, f'vww_mobilenetv1_int8.onnx,"{evil}",Cortex-M7,480,X-CUBE-AI,9,int8,22,')
    for format in ("table", "markdown", "csv", "json"):
        out = effcli("validate", runs, "--models", SAMPLES, "-f", format, "--by", "device").out
        assert "\x1b" not in out
        if format == "markdown":
            assert "<script>" not in out
            assert "@all" not in out


def test_the_same_table_gives_the_same_bytes(effcli, runs):
    for format in ("table", "markdown", "csv", "json"):
        arguments = ["validate", runs, "--models", SAMPLES, "-f", format]
        assert effcli(*arguments).out == effcli(*arguments).out


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_lines_keep_to_the_terminal(effcli, runs, monkeypatch, width):
    monkeypatch.setattr("efficiency_cli.commands.output._terminal", lambda: True)
    monkeypatch.setattr("efficiency_cli.commands.output._width", lambda: width)
    out = effcli("validate", runs, "--models", SAMPLES, "--by", "product", "--by", "device").out
    # the path is whole, so that it can be copied
    lines = [line for line in out.splitlines() if line not in (f"{runs}:",)]
    assert max(map(cell_width, lines)) <= max(width, 60)
    if width == 140:
        assert "bias" in out


def test_progress_is_for_terminals(monkeypatch, capsys):
    with Progress("estimating") as progress:
        progress.next_s = 0
        progress(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Progress("estimating") as progress:
        progress(0, 2)
        progress.next_s = 0
        progress(1, 2)
    told = capsys.readouterr().err
    assert told.count("estimating [############............] 1 of 2") == 1
    assert told.endswith("\r\x1b[K")
    with Progress("estimating", quiet=True) as progress:
        progress.next_s = 0
        progress(1, 2)
    assert capsys.readouterr().err == ""
