"""`effcli measure`: what it prints and writes, when it ends in an error, what is kept when the user has enough."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

from efficiency_cli.measure.host import measurement as measuring
from efficiency_cli.measure.host import session

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
MODEL = SAMPLES / "kws_dscnn_float.onnx"
QUICK = ("--random-weights", "--runs", "3", "--warmup", "1", "--threads", "1")


def test_a_table(effcli):
    result = effcli("measure", MODEL, *QUICK)
    assert result.code == 0
    first, _, measured, *_ = result.out.splitlines()
    assert first.startswith(f"{MODEL} with onnxruntime ")
    assert "(CPU, 1 thread)" in first
    assert "median, known to" in measured
    assert "3 runs after 1 to warm up" in measured
    assert "Where the time goes (5 of " in result.out


def test_with_an_estimate_beside_it(effcli):
    result = effcli("measure", MODEL, *QUICK, "--hw", "epyc-7763", "--top", "2")
    assert "Estimate " in result.out
    assert "Where they differ (2 of " in result.out
    assert "epyc-7763, onnxruntime" in result.out


def test_the_json_is_a_table_of_measurements(effcli, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    result = effcli("measure", MODEL, *QUICK, "--hw", "epyc-7763", "-f", "json:runs.json")
    assert result.code == 0
    report = json.loads((tmp_path / "runs.json").read_text())
    (row,) = report["results"]
    assert row["measured_s"] == row["times_s"]["median"] > 0
    assert row["error"] == pytest.approx(row["latency_s"]["expected"] / row["measured_s"] - 1)
    assert (row["precision"], row["threads"], row["runtime"]) == ("float32", 1, "onnxruntime")
    assert sum(k["measured_s"] for k in row["kernels"]) <= row["measured_s"] * 1.0001
    jsonschema.validate(report, json.loads(effcli("schema", "report").out))
    judged = json.loads(effcli("validate", "runs.json", "--hw", "epyc-7763", "-f", "json").out)
    assert judged["results"][0]["error"] == pytest.approx(row["error"])


def test_csv(effcli):
    result = effcli("measure", MODEL, *QUICK, "--no-kernels", "-f", "csv")
    (row,) = csv.DictReader(io.StringIO(result.out))
    assert float(row["measured_s"]) > 0
    assert (row["runs"], row["error"]) == ("3", "")


def test_several_networks(effcli):
    other = SAMPLES / "ic_resnet8_float.onnx"
    result = effcli("measure", MODEL, other, *QUICK, "--no-kernels")
    assert result.code == 0
    for line, model in zip(result.out.splitlines()[1:], (MODEL, other), strict=True):
        assert line.startswith(f"  {model} ")


def test_one_of_several_that_cannot_be_measured(effcli, tmp_path):
    (tmp_path / "bad.onnx").write_text("no model")
    result = effcli("measure", "bad.onnx", MODEL, *QUICK, "--no-kernels")
    assert result.code == 2
    assert "error: 1 of 2 models were not measured" in result.err
    assert str(MODEL) in result.out


def test_without_weights(effcli):
    result = effcli("measure", MODEL, "--runs", "3")
    assert result.code == 2
    assert "has no weights" in result.err
    assert "--random-weights" in result.err


@pytest.mark.parametrize("more", [QUICK, ()])
def test_without_onnxruntime(effcli, monkeypatch, more):
    """It is the first thing told, also of a model whose weights are not there."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = effcli("measure", MODEL, *more)
    assert result.code == 2
    assert result.err.splitlines() == ["error: measuring needs onnxruntime", f"hint: {session.INSTALL}"]


def test_a_model_that_onnxruntime_refuses(effcli, tmp_path):
    from onnx import TensorProto, helper, save

    node = helper.make_node("NoSuchOperator", ["x"], ["y"], domain="my.domain")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    result_value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph([node], "g", [value], [result_value])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 1)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "odd.onnx")
    result = effcli("measure", "odd.onnx", *QUICK)
    assert result.code == 2
    assert "does not run odd.onnx" in result.err
    assert "NoSuchOperator" in result.err


def test_ctrl_c_keeps_what_was_measured(effcli, monkeypatch, tmp_path):
    real, left = measuring.timed, [1]

    def timed(run, wanted=None, **rest):
        if left.pop() if left else 0:
            return real(run, wanted, **rest)

        def enough():
            raise KeyboardInterrupt

        return real(enough, wanted, **rest)

    monkeypatch.setattr(measuring, "timed", timed)
    result = effcli("measure", MODEL, MODEL, *QUICK, "--no-kernels", "-f", "json:runs.json")
    assert result.code == 130
    report = json.loads((tmp_path / "runs.json").read_text())
    assert len(report["results"]) == 1
    assert report["skipped"] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--provider", "tpu"), "onnxruntime has no provider 'tpu' here"),
        (("--runs", "0"), "--runs"),
        (("--warmup", "-1"), "--warmup"),
        (("--hw", "cortex-m4,cortex-m7"), "2 machines are named"),
    ],
)
def test_bad_options(effcli, arguments, told):
    result = effcli("measure", MODEL, *QUICK, *arguments)
    assert result.code == 2
    assert told in result.err


def test_standard_input_is_refused(effcli):
    assert "name its file" in effcli("measure", "-").err
