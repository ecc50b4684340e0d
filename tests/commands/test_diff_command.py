"""`effcli diff` on the command line: models and reports, exit codes, formats, bad input."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
BOARD = SAMPLES / "ci-project" / "boards" / "sensor-hub.yaml"
KEYWORD = SAMPLES / "ci-project" / "models" / "keyword.onnx"
WIDER = SAMPLES / "ci-project" / "pull-request" / "keyword.onnx"
FLOAT, INT8 = SAMPLES / "vww_mobilenetv1_float.onnx", SAMPLES / "vww_mobilenetv1_int8.onnx"


def as_json(effcli, *arguments):
    return json.loads(effcli("diff", *arguments, "-f", "json").out)


@pytest.mark.parametrize("hardware", ["cortex-m7", "cortex-m4", "a100", "raspberry-pi-4", "epyc-7763"])
def test_int8_against_float(effcli, hardware):
    """The kernels that gained, and the sum of what they gained is what the whole gained."""
    report = as_json(effcli, FLOAT, INT8, "--hw", hardware)
    for name, part in report["attribution"].items():
        total = report["totals"][name]
        assert part["change"] == total["change"]
        kernels = math.fsum(k["changes"][name]["change"] for k in report["kernels"])
        scale = max(abs(total["before"]), abs(total["after"]))
        assert kernels + part["outside"] == pytest.approx(total["change"], abs=1e-9 * scale)
        # the same machine starts a run at the same cost: no sign of how the sums were rounded. onnxruntime converts
        # between uint8 and float32 around what it has no integer kernels for
        assert part["outside"] < 0 if (name, hardware) == ("flops", "epyc-7763") else part["outside"] == 0
    # every float kernel has its int8 one: the same layers, whatever stands between them
    assert all(k["before"] and k["after"] for k in report["kernels"] if k["changes"]["macs"]["after"])
    assert report["totals"]["macs"]["change"] == 0
    # on all cores of a server what is converted takes longer than what is gained
    assert (report["totals"]["latency"]["change"] < 0) == (hardware != "epyc-7763")


def test_a_screen(effcli):
    result = effcli("diff", KEYWORD, WIDER, "--hw", BOARD)
    assert (result.code, result.err) == (0, "")
    assert "  macs           2.66 M    3.59 M  +35.1 %     +932 k" in result.out
    assert "Where the change of latency comes from (5 kernels that changed)" in result.out
    assert "Nodes: 42 the same, 26 changed" in result.out
    assert "the same: kernels, kv_cache, coverage" in result.out


def test_nothing_changed(effcli):
    result = effcli("diff", KEYWORD, KEYWORD, "--hw", BOARD, "--fail-on", "latency=0%", "--fail-on", "macs=0")
    assert (result.code, result.err) == (0, "")
    assert "Nodes: 68 the same" in result.out
    assert "Where the change" not in result.out


def test_fail_on(effcli):
    asked = ("diff", KEYWORD, WIDER, "--hw", BOARD)
    result = effcli(*asked, "--fail-on", "latency=5%", "--fail-on", "flash=1MiB", "--fail-on", "throughput=10%")
    assert result.code == 1
    assert result.err.splitlines() == [
        "FAIL: latency: 27.9 ms before, 37.5 ms after: +34.4 %; 5% is allowed",
        "FAIL: throughput: 35.9 /s before, 26.7 /s after: -25.6 %; 10% is allowed",
    ]
    assert effcli(*asked, "--fail-on", "latency=5%", "--exit-zero").code == 0
    assert effcli(*asked, "--fail-on", "latency=35%", "--fail-on", "latency=10ms").code == 0
    # the other way round it is a gain
    assert effcli("diff", WIDER, KEYWORD, "--hw", BOARD, "--fail-on", "latency=0%").code == 0


def test_what_cannot_be_judged_is_inconclusive(effcli):
    result = effcli("diff", KEYWORD, WIDER, "--fail-on", "latency=5%")
    assert result.code == 3
    assert "latency is not known of both" in result.err
    assert result.out.startswith("before  ")


def test_saved_reports_are_as_good_as_models(effcli):
    for model, name in ((KEYWORD, "a.json"), (WIDER, "b.json")):
        effcli("analyze", model, "--hw", BOARD, "-f", f"json:{name}")
    direct = as_json(effcli, KEYWORD, WIDER, "--hw", BOARD)
    saved = as_json(effcli, "a.json", "b.json")
    for key in ("totals", "attribution", "kernels", "nodes"):
        assert saved[key] == direct[key]
    # a model beside a report, on a machine that is found by its id no more: it is not shipped
    mixed = effcli("diff", "a.json", WIDER, "-f", "json")
    assert mixed.code == 2
    assert json.loads(effcli("diff", "a.json", WIDER, "--hw", BOARD, "-f", "json").out)["kernels"] == direct["kernels"]


def test_a_model_beside_a_report_is_put_on_its_machine(effcli):
    effcli("analyze", FLOAT, "--hw", "cortex-m4", "--runtime", "plumerai", "-f", "json:float.json")
    report = as_json(effcli, "float.json", INT8)
    assert report["before"]["hardware"]["runtime"] == report["after"]["hardware"]["runtime"] == "plumerai"


def test_a_baseline_has_no_nodes_and_is_compared_by_kernels(effcli):
    baseline = SAMPLES / "ci-project" / "effcli-baseline.json"
    report = as_json(effcli, baseline, WIDER, "--hw", BOARD)
    assert report["nodes"] is None
    assert report["attribution"]["latency"]["kernels"] == pytest.approx(0.03746722 - 0.02787778)
    assert all(k["before"] for k in report["kernels"])


def test_a_report_of_several_machines(effcli):
    effcli("analyze", KEYWORD, "--hw", "cortex-m4,cortex-m7", "-f", "json:both.json")
    result = effcli("diff", "both.json", WIDER)
    assert result.code == 2
    assert "both.json holds 2 estimates" in result.err
    assert effcli("diff", "both.json", WIDER, "--hw", "cortex-m7").code == 0


def test_different_machines_are_noted(effcli):
    for hw in ("cortex-m4", "cortex-m7"):
        effcli("analyze", KEYWORD, "--hw", hw, "-f", f"json:{hw}.json")
    result = effcli("diff", "cortex-m4.json", "cortex-m7.json")
    assert result.code == 0
    assert "note: not on the same machine: cortex-m4 with x-cube-ai, and cortex-m7 with x-cube-ai" in result.err


def test_csv_has_every_kernel_the_largest_change_first(effcli):
    rows = list(csv.DictReader(io.StringIO(effcli("diff", KEYWORD, WIDER, "--hw", BOARD, "-f", "csv").out)))
    assert len(rows) == 12
    changes = [abs(float(r["latency_change_s"])) for r in rows]
    assert changes == sorted(changes, reverse=True)
    assert sum(float(r["latency_change_s"]) for r in rows) == pytest.approx(0.03746722 - 0.02787778)


def test_markdown(effcli):
    text = effcli("diff", FLOAT, INT8, "--hw", "cortex-m7", "-f", "markdown").out
    assert text.startswith("### <code>")
    assert text.count("<details") == text.count("</details>") == 2
    assert "| latency |" in text


def test_json_satisfies_its_schema(effcli):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(effcli("schema", "report").out)
    own = {"$ref": "#/$defs/DiffReport", "$defs": schema["$defs"]}
    for arguments in ((FLOAT, INT8, "--hw", "a100", "--fail-on", "latency=1%"), (KEYWORD, FLOAT)):
        report = as_json(effcli, *arguments)
        jsonschema.validate(report, own)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**report, "totals": []}, own)


@pytest.mark.parametrize("format", ["table", "json", "csv", "markdown"])
def test_two_runs_give_the_same_bytes(effcli, format):
    first, second = (effcli("diff", FLOAT, INT8, "--hw", "a100", "-f", format).out for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((KEYWORD,), "missing argument AFTER"),
        ((KEYWORD, "no.onnx"), "no.onnx"),
        ((KEYWORD, "-"), "not standard input"),
        ((KEYWORD, WIDER, "--fail-on", "latncy=5%"), "did you mean 'latency'?"),
        ((KEYWORD, WIDER, "--fail-on", "latency=5"), "--fail-on: a unit is required"),
        ((KEYWORD, WIDER, "--hw", "cortex-m4,cortex-m7"), "diff takes one machine, --hw names 2"),
        ((KEYWORD, WIDER, "-f", "junit"), "unknown format 'junit'"),
        (("bad.json", WIDER), "bad.json is not a JSON report of effcli"),
    ],
)
def test_bad_input(effcli, arguments, said):
    Path("bad.json").write_text('{"a": 1}')
    result = effcli("diff", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said.lower() in result.err.lower()


def test_hostile_names_are_shown_and_never_act(effcli):
    effcli("analyze", KEYWORD, "--hw", BOARD, "-f", "json:a.json")
    text = Path("a.json").read_text()
    name = "/blocks/blocks.3/pointwise/Conv"
    Path("b.json").write_text(text.replace(name, "\\u001b[31m|<b>\\n@someone"))
    for format in ("table", "csv", "markdown"):
        out = effcli("diff", "a.json", "b.json", "-f", format).out
        assert "\x1b" not in out
    markdown = effcli("diff", "a.json", "b.json", "-f", "markdown").out
    assert "<b>" not in markdown
