"""The tool against every conformance vector, and the vectors against their own rules."""

from __future__ import annotations

import json
from collections import Counter

import export
import onnx
import pytest
import score
from conformance_vectors import BYTES, REQUIRED, Vector, evaluate, load

from efficiency_cli.costs.control_flow import Choices
from efficiency_cli.graph.read import read_model
from efficiency_cli.roofline.estimate import Estimate, estimate

VECTORS = load()


def _estimate(vector: Vector, folder, count: str = "dense") -> Estimate:
    path = folder / "model.onnx"
    onnx.save(vector.model(), path)
    settings = vector.settings
    choices = Choices(count=count, branch=settings.get("branch", "max"), trips=settings.get("trips", {}))
    return estimate(read_model(str(path), dims=settings.get("dims")), choices=choices)


def _counted(result: Estimate) -> dict[str, int]:
    totals = result.totals
    return {
        "macs": totals.macs,
        "flops": totals.ops,
        "parameters": totals.parameters,
        "auxiliary_parameters": totals.auxiliary_parameters,
        "weight_bytes": totals.weight_bytes,
        "node_bytes": sum(node.bytes_moved for node in result.network.nodes),
        "bytes_moved": totals.bytes_moved,
        "kv_cache_bytes": totals.kv_cache_bytes,
    }


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v.family}-{v.name}")
def test_the_tool_counts_as_the_vector_says(vector, tmp_path):
    result = _estimate(vector, tmp_path)
    found = _counted(result)
    if "valid_macs" in vector.expressions:
        found["valid_macs"] = _estimate(vector, tmp_path, count="valid").totals.macs
    wrong = {
        key: f"{found[key]} instead of {vector.expressions[key]} = {value}"
        for key, value in vector.expected.items()
        if found[key] != value
    }
    assert not wrong, f"{vector.why}: {wrong}"
    if vector.flops_by_type:
        assert result.totals.ops_by_dtype == vector.flops_by_type
    missing = sorted(f"{u.domain}::{u.op}".removeprefix("::") for u in result.coverage.unmodelled)
    assert missing == vector.flags.get("not_modelled", [])
    assert any("lower bound" in note for note in result.notes) == vector.flags.get("lower_bound", False)
    assert bool(result.assumptions) or not vector.flags.get("batch_assumed", False)


def test_there_are_at_least_250_vectors_of_different_names():
    assert len(VECTORS) >= 250
    assert [name for name, count in Counter(v.name for v in VECTORS).items() if count > 1] == []


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v.name)
def test_a_vector_is_complete(vector):
    assert set(REQUIRED) <= vector.expressions.keys()
    assert any(key in vector.expressions for key in BYTES)
    assert "\n" not in vector.why
    assert ("model" in vector.source) != ("nodes" in vector.source)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("2*3 + 4", 10), ("(8/4)*3 - 1", 5), ("4611686018427387904*2", 2**63)],
)
def test_an_expression_is_a_calculation(text, value):
    assert evaluate(text) == value


@pytest.mark.parametrize("text", ["", "x", "2**62", "1/0", "7/2", "1.5", "True", "f(1)", "2 if 1 else 3", "1 +"])
def test_an_expression_is_nothing_but_integers(text):
    with pytest.raises(ValueError, match=r"expression|integers|even"):
        evaluate(text)


def test_the_runner_writes_every_vector(tmp_path):
    export.export(tmp_path)
    expected = json.loads((tmp_path / "expected.json").read_text())
    assert [v["name"] for v in expected["vectors"]] == [v.name for v in VECTORS]
    for entry in expected["vectors"]:
        model = onnx.load(tmp_path / entry["file"])
        if not entry["flags"].get("opaque"):
            onnx.checker.check_model(model)


def test_answers_are_scored_by_family_and_metric():
    vector = next(v for v in VECTORS if v.name == "linear_128_to_128")
    expected = {"vectors": [{"name": vector.name, "family": vector.family, "expected": vector.expected}]}
    expected["vectors"][0]["calculation"] = dict(vector.expressions)
    tally, wrong = score.score(expected, {"linear_128_to_128": {"macs": 128, "parameters": 16512}})
    assert tally["matmul", "macs", "wrong"] == tally["matmul", "parameters", "right"] == 1
    assert tally["matmul", "flops", "missing"] == 1
    assert wrong == ["linear_128_to_128: macs 128 instead of 128*128 = 16384"]
    assert any(line.split() == ["matmul", "macs", "0", "1", "0"] for line in score.table(tally))


def test_the_runners_say_how_they_are_used(tmp_path, capsys):
    assert export.main([]) == score.main([]) == 2
    assert capsys.readouterr().err.count("usage: python tests/conformance/") == 2
    assert export.main([str(tmp_path)]) == 0
    (tmp_path / "counts.json").write_text("{}")
    assert score.main([str(tmp_path / "expected.json"), str(tmp_path / "counts.json")]) == 0
