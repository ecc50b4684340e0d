"""`effcli compare`: models and machines on the command line; formats, exit codes, what standard error says."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from efficiency_cli.commands import as_if, comparing
from efficiency_cli.commands import compare as command
from efficiency_cli.judge import batch, rank
from efficiency_cli.reports import comparison
from efficiency_cli.reports.grid import cell_width

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"

VWW = SAMPLES / "vww_mobilenetv1_int8.onnx"
KWS = SAMPLES / "kws_dscnn_int8.onnx"
FLOAT = SAMPLES / "kws_dscnn_float.onnx"


def as_json(effcli, *arguments):
    return json.loads(effcli("compare", *arguments, "-f", "json").out)


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_the_words_are_those_of_the_judgement():
    assert command.SORTS == rank.SORTS
    assert float(comparing.DEFAULT_TIMEOUT.removesuffix("s")) == batch.DEFAULT_TIMEOUT_S
    assert comparing.STREAM == comparison.STREAM
    assert comparison.formats()[0] == "table"


# --- what is compared ---


def test_one_pair(effcli):
    result = effcli("compare", VWW, "--hw", "cortex-m7")
    assert result.code == 0
    first, *_, row = result.out.splitlines()
    assert first == f"{VWW} on cortex-m7, x-cube-ai: 1 estimate, int8"
    (found,) = as_json(effcli, VWW, "--hw", "cortex-m7")["results"]
    assert (found["rank"], found["vs_best"]) == (1, 1.0)
    analyzed = json.loads(effcli("analyze", VWW, "--hw", "cortex-m7", "-f", "json").out)
    assert found["totals"]["latency_s"] == analyzed["totals"]["latency_s"]
    assert re.match(r"  1 +cortex-m7 +[0-9.]+ ms ", row)


def test_a_board_for_a_model(effcli):
    result = effcli("compare", VWW, "--hw", "cortex-m4,cortex-m7,a100")
    assert result.code == 0
    assert re.search(r"^  Best +a100 ", result.out, re.MULTILINE)
    report = as_json(effcli, VWW, "--hw", "cortex-m4,cortex-m7,a100")
    assert [(r["hardware"]["id"], r["rank"]) for r in report["results"]] == [
        ("a100", 1),
        ("cortex-m7", 2),
        ("cortex-m4", 3),
    ]


def test_a_matrix_of_several_and_several(effcli):
    result = effcli("compare", VWW, KWS, "--hw", "cortex-m7,a100")
    assert re.search(r"^  model +cortex-m7 +a100$", result.out, re.MULTILINE)
    assert re.search(rf"^  {KWS} +[0-9.]+ ms +[0-9.]+ µs\*$", result.out, re.MULTILINE)
    assert "limited by" not in result.out
    assert "limited by" in effcli("compare", VWW, KWS, "--hw", "cortex-m7,a100", "-v").out


def test_batches_and_types(effcli):
    report = as_json(effcli, FLOAT, "--hw", "a100", "--batch", "1,4", "--dtype", "stored,int8", "--sort", "order")
    rows = [(r["batch"], r["as_if"], r["hardware"]["dtype"], r["totals"]["batch"]) for r in report["results"]]
    assert rows == [(1, "", "float32", 1), (1, "int8", "int8", 1), (4, "", "float32", 4), (4, "int8", "int8", 4)]
    assert len({r["totals"]["macs"] for r in report["results"][:2]}) == 1
    again = as_json(effcli, FLOAT, "--hw", "a100", "--batch", "1", "--batch", "4,1", "--dtype", "stored,INT8",
                    "--sort", "order")  # fmt: skip
    assert again == report


def test_weight_bits_hold_for_all_types(effcli):
    report = as_json(effcli, FLOAT, "--hw", "a100", "--dtype", "stored,float16", "--weight-bits", "4")
    assert {r["as_if"] for r in report["results"]} == {"int4/stored", "int4/float16"}


def test_folders_and_globs(effcli, tmp_path):
    folder = tmp_path / "zoo" / "deeper"
    folder.mkdir(parents=True)
    (tmp_path / "zoo" / ".hidden").mkdir()
    for place in ("zoo/b.onnx", "zoo/a.onnx", "zoo/deeper/c.onnx", "zoo/.hidden/d.onnx", "zoo/notes.txt"):
        (tmp_path / place).write_bytes(KWS.read_bytes())
    found = as_json(effcli, "zoo", "zoo/[ab].onnx", "--hw", "a100", "--sort", "order")
    assert [r["model"]["path"] for r in found["results"]] == ["zoo/a.onnx", "zoo/b.onnx", "zoo/deeper/c.onnx"]
    found = as_json(effcli, "zoo/**/*.onnx", "--hw", "a100", "--sort", "order")
    assert {r["model"]["path"] for r in found["results"]} == {"zoo/a.onnx", "zoo/b.onnx", "zoo/deeper/c.onnx"}
    os.rename(tmp_path / "zoo" / "a.onnx", tmp_path / "zoo" / "[x].onnx")
    found = as_json(effcli, "zoo/[x].onnx", "--hw", "a100")
    assert [r["model"]["path"] for r in found["results"]] == ["zoo/[x].onnx"]


@pytest.mark.parametrize(("word", "said"), [("none/*.onnx", "no file matches"), (".", "no .onnx file is in '.'")])
def test_nothing_to_compare_is_inconclusive(effcli, word, said):
    result = effcli("compare", word, "--hw", "a100")
    assert result.code == 3
    assert said in result.err


def test_a_runtime_and_a_changed_machine(effcli):
    report = as_json(effcli, VWW, "--hw", "cortex-m4,cortex-m7", "--runtime", "plumerai", "--set", "clock=100MHz")
    assert {r["hardware"]["runtime"] for r in report["results"]} == {"plumerai"}


def test_standard_input(effcli, monkeypatch):
    class Stream:
        buffer = io.BytesIO(VWW.read_bytes())

    monkeypatch.setattr(sys, "stdin", Stream())
    result = effcli("compare", "-", "--hw", "a100", "--jobs", "2")
    assert result.code == 2
    assert "standard input cannot be read with --jobs" in result.err


# --- limits ---


def test_over_a_limit(effcli):
    result = effcli("compare", VWW, "--hw", "cortex-m4,a100", "--max", "latency=50ms")
    assert result.code == 1
    assert "1 of 2 over latency=50ms" in result.out
    (fail,) = [line for line in result.err.splitlines() if line.startswith("FAIL: ")]
    assert re.fullmatch(rf"FAIL: {re.escape(str(VWW))} on cortex-m4: latency \d+ ms is over 50ms, [\d.]+ % more", fail)
    report = json.loads(
        effcli("compare", VWW, "--hw", "cortex-m4,a100", "--max", "latency=50ms", "--max", "macs=1", "-f", "json").out
    )
    over = {r["hardware"]["id"]: r["over"] for r in report["results"]}
    assert over == {"cortex-m4": ["latency=50ms", "macs=1"], "a100": ["macs=1"]}


def test_under_all_limits(effcli):
    assert effcli("compare", VWW, "--hw", "a100", "--max", "latency=50ms", "--max", "kernels=100").code == 0


def test_limits_hold_without_a_report(effcli, tmp_path):
    result = effcli("compare", VWW, KWS, "--hw", "cortex-m4", "--max", "latency=100ms", "-f", "jsonl:rows.jsonl")
    assert (result.code, result.out) == (1, "")
    assert result.err.count("FAIL: ") == 1
    assert len(lines_of((tmp_path / "rows.jsonl").read_text())) == 3


def test_what_is_not_known_is_not_judged(effcli):
    result = effcli("compare", VWW, "--hw", "graviton3", "--max", "energy=1nJ")
    assert result.code == 0
    assert "note: 1 figures that --max limits are not known" in result.err


# --- what goes wrong ---


def test_a_bad_model_in_several_batches_is_no_more_models(effcli):
    result = effcli("compare", "a.onnx", "--hw", "a100", "--batch", "1,8")
    assert result.code == 2
    assert "2 model-batch pairs without an estimate" in result.out
    assert "error: 2 of 2 model-batch pairs have no estimate" in result.err


def test_one_bad_model_does_not_stop_the_run(effcli, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    result = effcli("compare", VWW, "bad.onnx", KWS, "--hw", "a100,l4")
    assert result.code == 2
    assert "error: 1 of 3 models have no estimate" in result.err
    assert str(KWS) in result.out
    assert re.search(r"1 model without an estimate\n  bad.onnx: ", result.out)
    result = effcli("compare", VWW, "bad.onnx", "--hw", "a100,l4", "-f", "json", "--max", "macs=1")
    report = json.loads(result.out)
    assert (result.code, report["errors"]) == (2, 1)
    assert "FAIL: " in result.err
    (bad,) = [r for r in report["results"] if r["error"]]
    assert (bad["model"]["path"], bad["hardware"], bad["totals"], bad["rank"]) == ("bad.onnx", None, None, None)


def test_a_single_bad_model_is_an_error_like_any_other(effcli, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    result = effcli("compare", "bad.onnx", "--hw", "a100")
    assert (result.code, result.out) == (2, "")
    assert "bad.onnx" in result.err
    missing = effcli("compare", SAMPLES / "bert_small.onnx", "--hw", "a100")
    model = shlex.quote(str(SAMPLES / "bert_small.onnx"))
    assert f"hint: effcli compare {model} --hw a100 --dim sequence=128" in missing.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "missing argument"),
        ([VWW], "compare needs machines"),
        ([VWW, "--hw", "nothing"], "unknown hardware"),
        ([VWW, "--hw", "a100", "--max", "latency=15"], "a unit is required"),
        ([VWW, "--hw", "a100", "--batch", "1,x"], "is not a whole number above 0"),
        ([VWW, "--hw", "a100", "--dtype", "int8,inte4"], "'inte4' is not a type"),
        ([VWW, "--hw", "a100", "--sort", "latenci"], "did you mean 'latency'?"),
        ([VWW, "--hw", "a100", "--jobs", "0"], "is not a whole number above 0"),
        ([VWW, "--hw", "a100", "--jobs", "9999"], "is more than 256 processes"),
        ([VWW, "--hw", "a100", "--timeout", "0s"], "is not a time above 0"),
        ([VWW, "--hw", "a100", "--timeout", "5"], "a unit is required"),
        ([VWW, "--hw", "a100", "--jobs", "2", "--dask", "x"], "exclude each other"),
        ([VWW, "--hw", "a100", "--resume"], "--resume needs one file of rows"),
        ([VWW, "--hw", "a100", "--resume", "-f", "jsonl"], "--resume needs one file of rows"),
        ([VWW, "--hw", "a100", "-f", "jsonl:nowhere/rows.jsonl"], "does not exist"),
        ([VWW, "--hw", "a100", "-f", f"jsonl:{VWW}"], "is read and cannot be written to"),
        ([VWW, "--hw", "a100", "-f", "yaml"], "unknown format 'yaml'"),
    ],
)
def test_what_cannot_be_asked(effcli, arguments, said):
    result = effcli("compare", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_sizes_that_no_model_has(effcli):
    result = effcli("compare", VWW, KWS, "--hw", "a100", "--dim", "nobody=3")
    assert result.code == 0
    assert "note: no model has 'nobody', for which a size is given" in result.err


# --- formats ---


def test_json_agrees_with_the_schema(effcli, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    report = as_json(effcli, VWW, "bad.onnx", "--hw", "a100,cortex-m0plus", "--max", "latency=1ms")
    schema = json.loads(effcli("schema", "report").out)
    jsonschema.validate(report, schema)
    definition = {"$ref": "#/$defs/ComparisonReport", "$defs": schema["$defs"]}
    jsonschema.validate(report, definition)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**report, "results": [{**report["results"][0], "totals": {"macs": -1}}]}, definition)
    rows = lines_of(effcli("compare", VWW, "bad.onnx", "--hw", "a100", "-f", "jsonl").out)[1:]
    for row in rows:
        jsonschema.validate(row, {"$ref": "#/$defs/Row", "$defs": schema["$defs"]})


def test_the_matrix_in_every_format(effcli):
    asked = (VWW, KWS, "--hw", "cortex-m7,a100", "--matrix")
    report = as_json(effcli, *asked)["matrix"]
    assert (report["metric"], report["hardware"]) == ("latency_s", ["cortex-m7", "a100"])
    assert [line["model"] for line in report["lines"]] == [str(VWW), str(KWS)]
    rows = list(csv.DictReader(io.StringIO(effcli("compare", *asked, "-f", "csv").out)))
    assert [[float(r["latency_s:cortex-m7"]), float(r["latency_s:a100"])] for r in rows] == [
        line["values"] for line in report["lines"]
    ]
    markdown = effcli("compare", *asked, "-f", "markdown").out
    assert "| model | <code>cortex-m7</code> | <code>a100</code> |" in markdown
    assert "<details>" not in markdown
    table = effcli("compare", VWW, "--hw", "cortex-m7", "--matrix").out
    assert re.search(r"^  model +cortex-m7$", table, re.MULTILINE)
    assert "vs best" not in table


def test_csv_has_the_rows_of_json(effcli):
    asked = (VWW, KWS, "--hw", "cortex-m7,a100,cortex-m0plus")
    report = as_json(effcli, *asked)["results"]
    rows = list(csv.DictReader(io.StringIO(effcli("compare", *asked, "-f", "csv").out)))
    assert len(rows) == len(report) == 6
    for row, result in zip(rows, report, strict=True):
        assert (row["model"], row["hardware"]) == (result["model"]["path"], result["hardware"]["id"])
        assert float(row["expected_s"]) == result["totals"]["latency_s"]["expected"]
        assert float(row["vs_best"]) == result["vs_best"]
        share = result["totals"]["time_share"]
        assert row["limited_by"] == max(share, key=share.get)


def test_markdown(effcli):
    one = effcli("compare", VWW, "--hw", "cortex-m7,a100", "-f", "markdown").out
    assert "| # | hardware | runtime | latency |" in one
    several = effcli("compare", VWW, KWS, "--hw", "cortex-m7,a100", "-f", "markdown").out
    assert several.index("| model | <code>cortex-m7</code>") < several.index("<details><summary>every estimate")


def test_hostile_names(effcli, tmp_path):
    name = "x\x1b[31m`|<img>@you\n=1+1.onnx"
    (tmp_path / name).write_bytes(KWS.read_bytes())
    for format in ("table", "json", "jsonl", "csv", "markdown"):
        result = effcli("compare", name, VWW, "--hw", "a100,l4", "-f", format)
        assert "\x1b" not in result.out + result.err
        assert "<img" not in result.out or format != "markdown"


def test_several_formats_at_once(effcli, tmp_path):
    result = effcli("compare", VWW, KWS, "--hw", "a100,l4", "-f", "table", "-f", "json:r.json", "-f", "jsonl:r.jsonl")
    assert result.code == 0
    assert result.out.startswith("2 models on 2 machines")
    rows = lines_of((tmp_path / "r.jsonl").read_text())[1:]
    results = json.loads((tmp_path / "r.json").read_text())["results"]
    assert sorted(map(json.dumps, rows)) == sorted(
        json.dumps({k: v for k, v in r.items() if k not in ("rank", "vs_best", "over")}) for r in results
    )


# --- many ---


def test_jobs_change_nothing_but_the_time(effcli):
    asked = (SAMPLES / "*_int8.onnx", SAMPLES / "bert_small.onnx", "--hw", "cortex-m4,a100", "--batch", "1,2")
    alone, shared = (effcli("compare", *asked, *jobs) for jobs in ([], ["--jobs", "2"]))
    assert alone == shared
    assert alone.code == 2  # BERT's sequence is open


def test_a_file_goes_on_where_it_ends(effcli, tmp_path):
    asked = (VWW, KWS, FLOAT, "--hw", "cortex-m4,a100")
    first = effcli("compare", *asked, "-f", "jsonl:rows.jsonl", "-f", "json")
    whole = (tmp_path / "rows.jsonl").read_bytes()
    (tmp_path / "rows.jsonl").write_bytes(whole[: len(whole) * 2 // 3])
    again = effcli("compare", *asked, "-f", "jsonl:rows.jsonl", "-f", "json", "--resume")
    assert (tmp_path / "rows.jsonl").read_bytes() == whole
    assert again.out == first.out
    assert "note: 1 of 3 models were in rows.jsonl already" in again.err
    other = effcli("compare", *asked[:2], "--hw", "a100", "-f", "jsonl:rows.jsonl", "--resume")
    assert other.code == 2
    assert "it answers another question" in other.err
    assert (tmp_path / "rows.jsonl").read_bytes() == whole


def test_without_resume_a_file_is_written_anew(effcli, tmp_path):
    (tmp_path / "rows.jsonl").write_text("old\n")
    assert effcli("compare", VWW, "--hw", "a100", "-f", "jsonl:rows.jsonl").code == 0
    assert len(lines_of((tmp_path / "rows.jsonl").read_text())) == 2


# --- terminals ---


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("more", [[], ["--matrix"], ["--max", "latency=1ms"]])
def test_widths(effcli, monkeypatch, width, more):
    from efficiency_cli.commands import output

    monkeypatch.setattr(output, "_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    for models in ([VWW], [VWW, KWS, FLOAT]):
        result = effcli("compare", *models, "--hw", "cortex-m*,a100,h100", *more)
        assert max(map(cell_width, result.out.splitlines()[1:])) <= width
        assert "\x1b" not in result.out


def test_a_locale_without_unicode():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "NO_COLOR": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "efficiency_cli", "compare", str(VWW), str(KWS), "--hw", "a100,cortex-m3", "-v"],
        cwd=ROOT, env=environment, capture_output=True, check=True,
    )  # fmt: skip
    assert run.stdout.isascii()
    assert b"\\x" not in run.stdout
    assert b"us" in run.stdout


def test_a_pipe_is_not_cut(effcli):
    lines = effcli("compare", VWW, KWS, "--hw", "cortex-m*,a100,h100,l4,t4,a10").out.splitlines()
    assert len([line for line in lines if line.startswith("  model")]) == 1
    assert max(map(len, lines)) > 140


def test_types_are_named_alike():
    assert comparing._Types().parse("stored,fp16") == (None, "float16")
    assert comparing._Types().parse("int8")[0] in as_if.NAMES
