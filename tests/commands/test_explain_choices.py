"""`effcli explain` with the options that say how things count, and of which phase: each changes its number."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import onnx
import onnx.parser
import pytest

DECODER = Path(__file__).resolve().parents[2] / "samples" / "decoder_kv.onnx"
HEAD = '<ir_version: 8, opset_import: ["" : 17, "my.domain" : 1]>'
PADDED = f"""{HEAD}
g (float[1,1,4,4] x) => (float[1,1,4,4] y)
<float[1,1,3,3] w = {{0.0,1,1,1,1,1,1,1,0.0}}>
{{ y = Conv <pads = [1, 1, 1, 1]> (x, w) }}
"""
FOLD = f"""{HEAD}
g (float[4,8] x, float[8,16] w) => (float[4,16] y)
{{ y = my.domain.Fold(x, w) }}
"""
IF = f"""{HEAD}
g (float[4,8] x, float[8,8] w, bool cond) => (float[4,8] y)
{{
    y = If <then_branch = small () => (float[4,8] a) {{ a = Relu(x) }},
            else_branch = large () => (float[4,8] b) {{ b = MatMul(x, w) }}> (cond)
}}
"""
LOOP = f"""{HEAD}
g (float[4,4] x, int64 trips, bool cond) => (float[4,4] y)
{{
    y = Loop <body = body (int64 i, bool c, float[4,4] s) => (bool c2, float[4,4] s2)
        {{ c2 = Identity(c)  s2 = MatMul(s, s) }}> (trips, cond, x)
}}
"""
# one of the two products of the attention: QK^T or AV
PRODUCT = "/model/layers/layers.0/self_attn/MatMul_1"
HIDDEN = 288


@pytest.fixture
def saved(tmp_path: Path):
    def save(text: str) -> Path:
        path = tmp_path / "model.onnx"
        onnx.save(onnx.parser.parse_model(text), path)
        return path

    return save


def explained(effcli, *arguments):
    result = effcli("explain", *arguments, "-f", "json")
    assert result.code == 0, result.err
    return json.loads(result.out)


@pytest.mark.parametrize(("phase", "new", "keys"), [("prefill", 512, 512), ("decode", 1, 513)])
def test_a_node_of_a_phase(effcli, phase, new, keys):
    arguments = [DECODER, PRODUCT, "--phase", phase, "--context", "512"]
    data = explained(effcli, *arguments, "--hw", "a100")
    assert (data["phase"], data["context"]) == (phase, 512)
    assert data["node"]["macs"] == new * keys * HIDDEN
    title = effcli("explain", *arguments).out.splitlines()[0]
    assert f"; {phase}: {new} new position" in title


def test_without_a_phase_there_is_none(effcli, saved):
    data = explained(effcli, saved(PADDED), "#0")
    assert (data["phase"], data["context"]) == (None, None)
    assert (data["node"]["as_counted_by"], data["node"]["effective"]) == (None, None)


def test_a_missing_context_names_this_command(effcli):
    result = effcli("explain", DECODER, "#3", "--phase", "decode")
    assert result.code == 2
    assert f"hint: effcli explain {shlex.quote(str(DECODER))} '#3' --phase decode --context 128" in result.err


def test_taps_on_padding(effcli, saved):
    path = saved(PADDED)
    assert explained(effcli, path, "#0")["node"]["macs"] == 4 * 4 * 3 * 3
    # along an axis of 4 the taps inside are 2, 3, 3, 2
    node = explained(effcli, path, "#0", "--count", "valid")["node"]
    assert (node["macs"], node["dense_macs"]) == ((2 + 3 + 3 + 2) ** 2, 4 * 4 * 3 * 3)
    assert "and so counted" in effcli("explain", path, "#0", "--count", "valid").out


def test_the_rule_that_was_given(effcli, saved, tmp_path):
    ops = tmp_path / "ops.yaml"
    formulas = "macs: out0.numel * in1.shape[0]\n  ops: 3 * out0.numel * in1.shape[0]\n  class: dense"
    ops.write_text(f"my.domain::Fold:\n  {formulas}\n  reads: {{in1: in1.bytes // 2}}\n", encoding="utf-8")
    path = saved(FOLD)
    node = explained(effcli, path, "Fold", "--ops", ops)["node"]
    assert (node["macs"], node["ops"]) == (4 * 16 * 8, 3 * 4 * 16 * 8)
    assert node["rule"] == f"{ops}: my.domain::Fold"
    assert node["convention"] == [
        "macs: out0.numel * in1.shape[0]",
        "ops: 3 * out0.numel * in1.shape[0]",
        "class: dense",
        "reads in1: in1.bytes // 2",
    ]
    out = effcli("explain", path, "Fold", "--ops", ops).out
    assert "out0.numel * in1.shape[0] = 512 MACs" in out
    assert "reads in1: in1.bytes // 2" in out
    assert "give it one: --ops FILE" in effcli("explain", path, "Fold").out


def test_the_branch_that_was_chosen(effcli, saved):
    path = saved(IF)
    assert explained(effcli, path, "MatMul")["node"]["macs"] == 4 * 8 * 8
    result = effcli("explain", path, "MatMul_2", "--branch", "then")
    assert result.code == 2
    assert "--branch else" in result.err
    assert explained(effcli, path, "Relu", "--branch", "then")["node"]["ops"] == 4 * 8


def test_as_many_trips_as_asked(effcli, saved):
    path = saved(LOOP)
    node = explained(effcli, path, "MatMul", "--trip", "Loop_0=7")["node"]
    assert node["macs"] == 7 * 4 * 4 * 4
    assert "(64 in each of 7 runs)" in effcli("explain", path, "MatMul", "--trip", "Loop_0=7").out


@pytest.mark.parametrize(
    ("tool", "macs", "flops"),
    [("onnx-tool", 4 * 4 * 9, 2 * 4 * 4 * 9), ("fvcore", None, 4 * 4 * 9), ("calflops", 4 * 4 * 9, 2 * 4 * 4 * 9)],
)
def test_as_another_tool_counts_it(effcli, saved, tool, macs, flops):
    path = saved(PADDED)
    count = explained(effcli, path, "#0", "--convention", tool)["node"]["as_counted_by"]
    assert count == {"name": tool, "macs": macs, "flops": flops, "why": None}
    out = effcli("explain", path, "#0", "--convention", tool).out
    assert f"\n{tool}\n  node        {'' if macs is None else f'{macs} MACs, '}{flops} FLOPs\n" in out
    assert "\n  - " in out


def test_what_another_tool_does_not_count(effcli, saved):
    path = saved(FOLD)
    count = explained(effcli, path, "#0", "--convention", "onnx-tool")["node"]["as_counted_by"]
    assert (count["flops"], count["why"]) == (0, "it has no rule for this operator")


def test_counts_of_the_nodes_are_those_of_the_whole():
    from efficiency_cli.graph.read import read_model
    from efficiency_cli.roofline.conventions import NAMES, as_counted_by, node_as_counted_by
    from efficiency_cli.roofline.estimate import count

    network = count(read_model(str(DECODER.parent / "resnet50.onnx")))
    for name in NAMES:
        counts = [node_as_counted_by(name, node, network) for node in network.nodes]
        whole = as_counted_by(name, network)
        assert sum(c.flops for c in counts) == whole.flops
        if whole.macs is not None:
            assert sum(c.macs or 0 for c in counts) == whole.macs


def test_what_is_left_without_zero_weights(effcli, saved):
    path = saved(PADDED)
    found = explained(effcli, path, "#0", "--effective")["node"]["effective"]
    assert (found["macs"], found["macs_nonzero"]) == (4 * 4 * 9, 4 * 4 * (9 - 2))
    assert (found["elements"], found["zero_elements"], found["zero_channels"], found["unread"]) == (9, 2, 0, None)
    assert "112 without zero weights (2 of 9 are)" in " ".join(effcli("explain", path, "#0", "--effective").out.split())


def test_all_of_them_together(effcli, tmp_path):
    ops = tmp_path / "ops.yaml"
    ops.write_text("my.domain::Fold: {macs: out0.numel}\n", encoding="utf-8")
    result = effcli(
        *("explain", DECODER, PRODUCT, "--phase", "decode", "--context", "16", "--count", "valid", "--ops", ops),
        *("--branch", "then", "--convention", "calflops", "--batch", "2", "--hw", "cortex-m7,a100"),
    )
    assert result.code == 0, result.err
    assert result.out.count("\ncalflops\n") == 2
