"""`effcli analyze` with the options that say how things count: each changes its number, and says so."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnx.parser
import pytest

LOOP = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[4,4] x, int64 trips, bool cond) => (float[4,4] y)
{
    y = Loop <body = body (int64 i, bool c, float[4,4] s) => (bool c2, float[4,4] s2)
        { c2 = Identity(c)  s2 = MatMul(s, s) }> (trips, cond, x)
}
"""
IF = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[4,8] x, float[8,8] w, bool cond) => (float[4,8] y)
{
    y = If <then_branch = small () => (float[4,8] a) { a = Relu(x) },
            else_branch = large () => (float[4,8] b) { b = MatMul(x, w) }> (cond)
}
"""
PADDED = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[1,1,4,4] x, float[1,1,3,3] w) => (float[1,1,4,4] y)
{ y = Conv <pads = [1, 1, 1, 1]> (x, w) }
"""
FOLD = """
<ir_version: 8, opset_import: ["" : 17, "my.domain" : 1]>
g (float[4,8] x, float[8,16] w) => (float[4,16] y)
{ y = my.domain.Fold(x, w) }
"""


@pytest.fixture
def saved(tmp_path: Path):
    def save(text: str, **names: str) -> Path:
        model = onnx.parser.parse_model(text)
        for node in model.graph.node:
            node.name = names.get(node.op_type, node.name)
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return path

    return save


def analyzed(effcli, *arguments):
    result = effcli("analyze", *arguments, "-f", "json")
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_a_loop_runs_as_often_as_asked(effcli, saved):
    path = saved(LOOP, Loop="steps")
    assert analyzed(effcli, path)["totals"]["macs"] == 4 * 4 * 4
    report = analyzed(effcli, path, "--trip", "steps=7")
    assert report["totals"]["macs"] == 7 * 4 * 4 * 4
    assert "'steps' (Loop): 7 trips, as asked" in report["notes"]


def test_trips_from_the_environment(effcli, saved, monkeypatch):
    monkeypatch.setenv("EFFCLI_TRIP", "steps=3")
    assert analyzed(effcli, saved(LOOP, Loop="steps"))["totals"]["macs"] == 3 * 4 * 4 * 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stepz=7", ("no Loop 'stepz'", "did you mean 'steps'?")),
        ("steps", ("not NAME=N",)),
        ("steps=-1", ("not a number of trips",)),
        ("steps=99999999999", ("not a number of trips",)),
    ],
)
def test_a_wrong_trip(effcli, saved, text, words):
    result = effcli("analyze", saved(LOOP, Loop="steps"), "--trip", text)
    assert result.code == 2
    assert all(word in result.err for word in words)


def test_a_trip_where_there_is_no_loop(effcli, saved):
    result = effcli("analyze", saved(PADDED), "--trip", "a=1")
    assert result.code == 2
    assert "no loops at all" in result.err


@pytest.mark.parametrize(("branch", "macs"), [("max", 4 * 8 * 8), ("then", 0), ("else", 4 * 8 * 8)])
def test_the_branch_asked_for(effcli, saved, branch, macs):
    report = analyzed(effcli, saved(IF, If="choice"), "--branch", branch)
    assert report["totals"]["macs"] == macs
    assert any("'choice'" in note for note in report["notes"])


def test_taps_on_padding(effcli, saved):
    path = saved(PADDED)
    assert analyzed(effcli, path)["totals"]["macs"] == 4 * 4 * 3 * 3
    report = analyzed(effcli, path, "--count", "valid")
    # along an axis of 4 the taps inside are 2, 3, 3, 2
    assert report["totals"]["macs"] == (2 + 3 + 3 + 2) ** 2
    assert any("padding" in line for line in report["assumptions"])


@pytest.mark.parametrize(("option", "value"), [("--count", "denze"), ("--branch", "thn")])
def test_wrong_words(effcli, saved, option, value):
    result = effcli("analyze", saved(PADDED), option, value)
    assert result.code == 2
    assert "did you mean" in result.err


@pytest.fixture
def ops(tmp_path: Path) -> Path:
    path = tmp_path / "ops.yaml"
    path.write_text('my.domain::Fold: {macs: "out0.numel * in1.shape[0]", class: dense}\n', encoding="utf-8")
    return path


def test_an_operator_of_ones_own(effcli, saved, ops):
    path = saved(FOLD)
    before = analyzed(effcli, path)
    assert before["totals"]["macs"] == 0
    assert [u["op"] for u in before["coverage"]["unmodelled"]] == ["Fold"]
    report = analyzed(effcli, path, "--ops", ops)
    assert report["totals"]["macs"] == 4 * 16 * 8
    assert report["coverage"]["unmodelled"] == []
    assert any("my.domain::Fold (1 node)" in a and "ops.yaml" in a for a in report["assumptions"])
    # for that run alone
    assert analyzed(effcli, path)["totals"]["macs"] == 0


def test_an_own_operator_is_complete(effcli, saved, ops):
    path = saved(FOLD)
    assert effcli("analyze", path, "--strict").code == 3
    assert effcli("analyze", path, "--strict", "--ops", ops).code == 0


def test_a_wrong_file_of_operators(effcli, saved, ops):
    ops.write_text("my.domain::Fold:\n  macs: in0.nummel\n", encoding="utf-8")
    result = effcli("analyze", saved(FOLD), "--ops", ops)
    assert result.code == 2
    assert "ops.yaml:2:13: 'nummel'" in result.err


SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "decoder_kv.onnx"


def test_a_phase_with_its_times(effcli):
    report = analyzed(effcli, SAMPLE, "--phase", "decode", "--context", "64", "--hw", "a100")
    totals = report["totals"]
    assert (totals["phase"], totals["context"]) == ("decode", 64)
    assert totals["kv_cache_bytes"] == 65 * totals["kv_cache_bytes_per_token"]
    assert totals["tpot_s"] == totals["latency_s"]
    # 64 positions at once take longer than one
    assert totals["ttft_s"]["expected"] > totals["tpot_s"]["expected"]


def test_a_phase_on_the_first_screen(effcli):
    result = effcli("analyze", SAMPLE, "--phase", "prefill", "--context", "64", "--hw", "a100")
    assert result.code == 0
    line = next(line for line in result.out.splitlines() if "Phase" in line)
    assert "prefill: 64 new positions" in line
    assert "first token" in line
    assert "KV cache" in result.out
    assert "assumed" not in result.err.replace("'batch'", "").partition("sequence")[2]


@pytest.mark.parametrize("given", [("--dim", "past_sequence_length=64"), ("--shape", "input_ids=1x1")])
def test_sizes_of_one_phase_are_no_mistake_in_the_other(effcli, given):
    totals = analyzed(effcli, SAMPLE, "--phase", "decode", "--context", "64", "--hw", "a100", *given)["totals"]
    assert totals["tpot_s"] == totals["latency_s"]
    assert totals["ttft_s"] is None


def test_a_decoder_makes_tokens(effcli):
    arguments = (SAMPLE, "--context", "64", "--hw", "a100")
    assert " tokens/s" in effcli("analyze", *arguments, "--phase", "decode").out
    assert " inferences/s" in effcli("analyze", *arguments, "--phase", "prefill").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--phase", "decode"), ("needs the number of tokens: --context N", "--context 128")),
        (("--phase", "decod"), ("did you mean 'decode'?",)),
        (("--context", "8"), ("--context needs a phase", "--phase prefill")),
        (("--phase", "decode", "--context", "0"), ("--context: '0' is not a whole number above 0",)),
    ],
)
def test_a_wrong_phase(effcli, arguments, words):
    result = effcli("analyze", SAMPLE, *arguments)
    assert result.code == 2
    assert all(word in result.err for word in words), result.err


def test_a_phase_of_a_model_whose_names_are_no_text(effcli, tmp_path):
    # protobuf hands such names on as bytes
    data = SAMPLE.read_bytes()
    assert b"input_ids" in data
    (tmp_path / "damaged.onnx").write_bytes(data.replace(b"input_ids", b"input\x80ids"))
    result = effcli("analyze", "damaged.onnx", "--phase", "decode", "--context", "8")
    assert (result.code, result.out) == (2, "")
    assert "names that are not UTF-8 text" in result.err


def test_no_phase_without_a_cache(effcli, saved):
    result = effcli("analyze", saved(PADDED), "--phase", "prefill", "--context", "8")
    assert result.code == 2
    assert "needs a decoder" in result.err


def test_zeros_are_counted_when_asked(effcli, tmp_path):
    text = PADDED.replace(", float[1,1,3,3] w) =>", ") =>").replace(
        "\n{ y", "\n<float[1,1,3,3] w = {0.0,1,1,1,1,1,1,1,0.0}>\n{ y"
    )
    path = tmp_path / "zeros.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    assert analyzed(effcli, path)["totals"]["effective"] is None
    found = analyzed(effcli, path, "--effective")["totals"]["effective"]
    assert found["macs"] == 4 * 4 * 9
    assert found["macs_nonzero"] == 4 * 4 * 7
    assert (found["channels"], found["zero_channels"]) == (1, 0)
    assert (found["elements"], found["zero_elements"], found["unread"]) == (9, 2, [])
    assert "22.2 % of weights are zero" in effcli("analyze", path, "--effective").out


@pytest.mark.parametrize(
    ("name", "macs", "flops"),
    [("onnx-tool", 4 * 4 * 9, 2 * 4 * 4 * 9), ("fvcore", None, 4 * 4 * 9), ("calflops", 4 * 4 * 9, 2 * 4 * 4 * 9)],
)
def test_totals_of_another_tool(effcli, saved, name, macs, flops):
    path = saved(PADDED)
    assert analyzed(effcli, path)["totals"]["convention"] is None
    found = analyzed(effcli, path, "--convention", name)["totals"]["convention"]
    assert (found["name"], found["macs"], found["flops"]) == (name, macs, flops)
    assert found["differences"]
    # as that tool counts, whatever is asked of ours
    valid = analyzed(effcli, path, "--convention", name, "--count", "valid")["totals"]
    assert valid["convention"] == found
    shown = effcli("analyze", path, "--convention", name)
    line = next(line for line in shown.out.splitlines() if line.strip().startswith(name))
    assert f"{flops} FLOPs" in line


@pytest.mark.parametrize("name", ["onnx-tool", "fvcore", "calflops"])
def test_how_another_tool_differs_is_said(effcli, saved, name):
    """With -v in the table, always in Markdown and JSON; once, with the source."""
    path = saved(PADDED)
    found = analyzed(effcli, path, "--convention", name)["totals"]["convention"]
    assert " at " in found["source"]
    plain = effcli("analyze", path, "--convention", name).out
    verbose = effcli("analyze", path, "--convention", name, "-v").out
    for said in (*found["differences"], f"source: {found['source']}"):
        assert said not in plain
        assert verbose.count(f"- {said}\n") == 1
    for extra in ((), ("-v",)):
        markdown = effcli("analyze", path, "--convention", name, "-f", "markdown", *extra).out
        assert markdown.count(found["source"].partition(" ")[0].replace("_", "&#95;")) == 1


def test_the_words_of_the_option_are_the_conventions(effcli):
    from efficiency_cli.roofline.conventions import NAMES

    assert "|".join(NAMES) in effcli("analyze", "--help").out
