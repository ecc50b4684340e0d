"""`effcli explain`: the node that is meant, what is printed of it, and that its arithmetic is right."""

from __future__ import annotations

import itertools
import json
import math
import re
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "reports"))

from estimates import HOSTILE, hostile  # noqa: E402

SAMPLES = ROOT / "samples"
RESNET = SAMPLES / "resnet50.onnx"
STEM = "/stem/conv/Conv"
DECODER = [SAMPLES / "decoder_kv.onnx", "/model/layers/layers.0/self_attn/MatMul_1"]
DECODER += ["--dim", "sequence=1", "--dim", "past_sequence_length=128", "--dim", "total_sequence_length=129"]


def calculations(text: str) -> list[tuple[str, str, float]]:
    """Name, arithmetic and result of each term as printed; continued lines are joined."""
    found, name, numbers = [], "", ""
    for line in re.sub(r"\n {6,}(?=\S)", " ", text).splitlines():
        match = re.fullmatch(r"  (\w+) = ([a-z].*)", line)
        if match:
            name, numbers = match[1], ""
        elif name and (result := re.fullmatch(r"    = ([-\d.e]+)(?: [A-Z/a-z]+)?(?:  \(.*\))?", line)):
            found.append((name, numbers or result[1], float(result[1])))
            name = ""
        elif name and line.startswith("    = "):
            numbers = line.removeprefix("    = ")
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        [SAMPLES / "vww_mobilenetv1_int8.onnx", STEM, "--hw", "cortex-m7"],
        [RESNET, "/conv1/Conv", "--hw", "h100"],
        [SAMPLES / "bert_small.onnx", "#1", "--hw", "a100", "--dim", "sequence=128", "--overlap", "0.5"],
        [*DECODER, "--hw", "rtx-4090", "--set", "memory.dram.bandwidth=2x"],
    ],
    ids=["vww", "resnet50", "bert", "decoder"],
)
def test_the_arithmetic_shown_gives_the_result_shown(effcli, arguments):
    result = effcli("explain", *arguments)
    assert result.code == 0
    found = calculations(result.out)
    assert {"ops", "compute_s", "memory_s", "expected_s", "bound_s", "lower_s", "upper_s"} <= {n for n, _, _ in found}
    for name, numbers, value in found:
        assert math.isclose(eval(numbers), value, rel_tol=1e-5), name


def test_lines_are_narrow_and_prose_is_whole(effcli, vww):
    out = effcli("explain", vww, STEM, "--hw", "cortex-m7").out
    title, *lines = out.splitlines()
    assert title == f"{STEM} (Conv) in {vww} on cortex-m7 (x-cube-ai)"
    assert max(map(len, lines)) <= 80
    assert "Arm DDI 0489" in out
    assert "compute.int8.matrix (derived, trm)" in out
    assert "4 OP/cycle" in out
    assert "1·8·48·48 outputs × 3/1 · 3·3 taps" in out
    # TensorFlow pads at the end alone: the last row and the last column miss one tap of three
    assert f"{8 * 3 * (48 * 3 - 1) ** 2:,} not on padding" in out
    assert "limited by compute" in out


def test_a_narrow_terminal(effcli, vww, monkeypatch):
    monkeypatch.setattr("efficiency_cli.commands.output._width", lambda: 60)
    _, *lines = effcli("explain", vww, STEM, "--hw", "cortex-m7").out.splitlines()
    # names and figures beside each other stay whole
    assert [line for line in lines if len(line) > 60 and " = " in line] == []
    assert sum(len(line) > 60 for line in lines) < len(lines) / 20
    monkeypatch.setattr("efficiency_cli.commands.output._width", lambda: 200)
    assert effcli("explain", vww, STEM).out == wide(effcli, vww, monkeypatch)


def wide(effcli, vww, monkeypatch) -> str:
    """As in a pipe, where there is no width."""
    monkeypatch.setattr("efficiency_cli.commands.output._width", lambda: None)
    return effcli("explain", vww, STEM).out


def test_without_a_machine(effcli):
    result = effcli("explain", RESNET, "/conv1/Conv")
    assert (result.code, result.err) == (0, "")
    assert "118,013,952" in result.out
    assert "--hw ID" in result.out
    assert "compute_s" not in result.out


def test_a_calibration_in_another_type_is_none(effcli, vww):
    assert "grade calibrated: 20 measurements" in effcli("explain", vww, STEM, "--hw", "cortex-m7").out
    out = effcli("explain", RESNET, "/conv1/Conv", "--hw", "cortex-m7").out
    assert "grade calibrated in int8, not in float32" in out
    assert "20 measurements" not in out


# --- which node --------------------------------------------------------------------------------


def node_of(effcli, *arguments) -> str:
    result = effcli("explain", "-f", "json", *arguments)
    assert result.code == 0, result.err
    return json.loads(result.out)["node"]["name"]


@pytest.mark.parametrize(
    ("wanted", "name", "noted"),
    [
        ("/conv1/Conv", "/conv1/Conv", False),
        ("#0", "/conv1/Conv", False),
        ("maxpool", "/maxpool/MaxPool", True),
        ("layer1.0/conv1/Conv", "/layer1/layer1.0/conv1/Conv", True),
        ("LAYER4.2/CONV3", "/layer4/layer4.2/conv3/Conv", True),
        ("/maxpool/MaxPool_output_0", "/maxpool/MaxPool", True),
        ("downsample/downsample.0/Conv", None, False),
    ],
)
def test_the_node_that_is_meant(effcli, wanted, name, noted):
    if name is None:
        assert effcli("explain", RESNET, wanted).code == 2
        return
    assert node_of(effcli, RESNET, wanted) == name
    assert ("is taken for" in effcli("explain", RESNET, wanted).err) == noted


def test_several_are_listed(effcli):
    result = effcli("explain", RESNET, "conv1/Conv")
    assert (result.code, result.out) == (2, "")
    assert "error: 'conv1/Conv' is in the names of 17 nodes" in result.err
    assert "  /layer1/layer1.0/conv1/Conv\n" in result.err
    assert "  and 7 more\n" in result.err


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("/maxpol/MaxPool", "did you mean '/maxpool/MaxPool'?"),
        ("zzzzzz", "effcli analyze"),
        ("", "the model has no node ''"),
        ("#56", "there is no kernel #56"),
        ("#56", "they are #0 to #55"),
    ],
)
def test_no_such_node(effcli, wanted, said):
    result = effcli("explain", RESNET, wanted)
    assert (result.code, result.out) == (2, "")
    assert said in result.err


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names(effcli, tmp_path, name):
    """Exactly as it is, and as reports show it; nothing of it acts."""
    from efficiency_cli.reports.escape import shown

    path = hostile(tmp_path, None).model.path
    assert node_of(effcli, path, "--", name) == name
    result = effcli("explain", path, "--hw", "cortex-m7", "--", shown(name))
    assert result.code == 0
    for text in (result.out, result.err):
        assert all(c.isprintable() or c == "\n" for c in text)
    assert f"{shown(name)} (Relu)" in result.out


def test_markdown_cannot_be_left(effcli, tmp_path):
    path = hostile(tmp_path, None).model.path
    out = effcli("explain", path, "--hw", "cortex-m7", "-f", "markdown", "--", "a|b`c``d").out
    fences = [line for line in out.splitlines() if line.startswith("```")]
    assert len(fences) % 2 == 0
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", out, flags=re.DOTALL | re.MULTILINE)
    assert "|" not in outside
    assert "`" not in outside


def test_a_branch_that_is_not_counted(effcli, tmp_path):
    def branch(name: str, op: str, repeats: int) -> onnx.GraphProto:
        chain = ["x", *(f"{name}{k}" for k in range(repeats))]
        nodes = [helper.make_node(op, [a], [b], name=b) for a, b in itertools.pairwise(chain)]
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(chain[-1], TensorProto.FLOAT, [8])])

    node = helper.make_node(
        "If", ["c"], ["y"], name="choice", then_branch=branch("cheap", "Relu", 1), else_branch=branch("dear", "Exp", 3)
    )
    value = helper.make_tensor_value_info
    inputs = [value("c", TensorProto.BOOL, []), value("x", TensorProto.FLOAT, [8])]
    graph = helper.make_graph([node], "g", inputs, [value("y", TensorProto.FLOAT, [8])])
    path = tmp_path / "if.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    assert node_of(effcli, path, "dear1") == "dear1"
    assert "in a branch that is not counted" in effcli("explain", path, "cheap0").err
    assert "graph/choice.else_branch: 1 runs, 3 nodes" in effcli("explain", path, "choice").out


# --- formats -----------------------------------------------------------------------------------


def test_json(effcli, vww):
    result = effcli("explain", vww, STEM, "--hw", "cortex-m7", "-f", "json")
    data = json.loads(result.out)
    about = ["schema_version", "tool", "command", "model", "hardware", "phase", "context"]
    assert list(data) == [*about, "node", "kernel", "terms"]
    assert (data["schema_version"], data["command"]) == (1, "explain")
    assert data["hardware"]["id"] == "cortex-m7"
    report = json.loads(effcli("analyze", vww, "--hw", "cortex-m7", "-f", "json").out)
    reported = next(n for n in report["nodes"] if n["name"] == STEM)
    assert reported.items() <= data["node"].items()
    assert report["kernels"][0].items() <= data["kernel"].items()
    assert data["node"]["macs"] == 8 * 48 * 48 * 3 * 3 * 3
    for term in data["terms"]:
        values = {o["symbol"]: o["value"] for o in term["operands"]}
        assert math.isclose(eval(term["expression"], {}, values), term["value"], rel_tol=1e-12)
        assert math.isclose(eval(term["numbers"]), term["value"], rel_tol=1e-5)
    peak = next(o for t in data["terms"] for o in t["operands"] if o["key"] == "compute.int8.matrix")
    assert (peak["text"], peak["kind"]) == ("4 OP/cycle", "derived")
    assert peak["source"].startswith("Arm DDI 0489")


def test_several_machines(effcli, vww):
    machines = "cortex-m7,a100"
    data = json.loads(effcli("explain", vww, STEM, "--hw", machines, "-f", "json").out)
    assert [r["hardware"]["id"] for r in data["results"]] == machines.split(",")
    out = effcli("explain", vww, STEM, "--hw", machines).out
    assert f"{STEM} (Conv) in {vww} on a100" in out


def test_formats_are_its_own(effcli, vww):
    result = effcli("explain", vww, STEM, "-f", "csv")
    assert result.code == 2
    assert "formats: table, json, markdown" in result.err
    assert effcli("analyze", vww, "-f", "explain").code == 2


def test_the_same_input_gives_the_same_bytes(effcli, tmp_path, vww):
    first = effcli("explain", vww, "#3", "--hw", "cortex-m7", "-f", f"json:{tmp_path / 'a.json'}", "-f", "table").out
    again = effcli("explain", vww, "#3", "--hw", "cortex-m7", "-f", f"json:{tmp_path / 'b.json'}", "-f", "table").out
    assert first == again
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_missing_size_names_this_command(effcli):
    result = effcli("explain", SAMPLES / "bert_small.onnx", "#0")
    assert result.code == 2
    assert "hint: effcli explain" in result.err


def test_a_terminal_without_unicode(effcli, vww, monkeypatch):
    monkeypatch.setattr("efficiency_cli.commands.output.speaks_unicode", lambda: False)
    assert effcli("explain", vww, STEM, "--hw", "cortex-m7").out.isascii()
