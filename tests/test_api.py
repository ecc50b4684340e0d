"""The Python API: the names of the README, imported on first use, and what they give."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import efficiency_cli as eff

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = str(ROOT / "samples" / "vww_mobilenetv1_int8.onnx")
BERT = str(ROOT / "samples" / "bert_small.onnx")


def fresh(program: str) -> str:
    """What `program` prints in a process of its own."""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.strip()


# --- names ---


def test_every_public_name_is_there() -> None:
    for name in eff.__all__:
        assert getattr(eff, name) is not None
    assert set(dir(eff)) == set(eff.__all__)
    assert {"read_model", "load_profile", "profiles", "estimate", "EffcliError", "ExitCode"} <= set(eff.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(eff, "estimat")
    with pytest.raises(AttributeError, match="module 'efficiency_cli' has no attribute 'estimat'"):
        _ = eff.estimat  # type: ignore[attr-defined]


def test_importing_it_imports_nothing_heavy() -> None:
    program = "import sys, efficiency_cli; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = set(json.loads(fresh(program).replace("'", '"')))
    assert loaded & {"onnx", "numpy", "google", "rich", "click", "yaml", "msgspec"} == set()


def test_the_machines_need_no_onnx() -> None:
    program = """
import sys, efficiency_cli as eff
print(eff.load_profile("cortex-m7").id, "onnx" in sys.modules, "numpy" in sys.modules)
"""
    assert fresh(program) == "cortex-m7 False False"


def test_the_example_in_the_module_s_docstring_runs() -> None:
    assert eff.__doc__ is not None
    example = "\n".join(line[4:] for line in eff.__doc__.splitlines() if line.startswith("    "))
    example = example.replace("model.onnx", BERT).replace('"batch": 8', '"batch": 8, "sequence": 16')
    one = eff.estimate(eff.read_model(BERT, dims={"sequence": 16})).totals.macs
    assert fresh(f"{example}\nprint(result.totals.macs, machine.id)") == f"{8 * one} cortex-m7"


# --- a model ---


def test_reading_a_model() -> None:
    model = eff.read_model(BERT, dims={"sequence": 16}, batch=2)
    assert isinstance(model, eff.Model)
    assert (model.dims["batch"], model.dims["sequence"]) == (2, 16)
    assert isinstance(model.graph, eff.Graph)
    assert all(isinstance(node, eff.Node) for node in model.graph.nodes)
    assert isinstance(model.graph.tensors["input_ids"], eff.Tensor)
    assert model.graph.tensors["input_ids"].shape == (2, 16)


@pytest.mark.parametrize("shape", [(3, 16), [3, 16]])
def test_a_shape_is_any_sequence(shape: tuple[int, ...] | list[int]) -> None:
    names = ("input_ids", "attention_mask", "token_type_ids")
    model = eff.read_model(BERT, shapes=dict.fromkeys(names, shape))
    assert model.graph.tensors["input_ids"].shape == (3, 16)


def test_errors_are_one_family() -> None:
    for wrong in (lambda: eff.read_model("absent.onnx"), lambda: eff.read_model(BERT), lambda: eff.load_profile("m99")):
        with pytest.raises(eff.EffcliError) as caught:
            wrong()
        assert caught.value.exit_code is eff.ExitCode.ERROR
        assert caught.value.hint


# --- a machine ---


def test_machines_by_name_and_by_pattern() -> None:
    assert isinstance(eff.load_profile("cortex-m7"), eff.Profile)
    found = [machine.id for machine in eff.profiles("cortex-m*")]
    assert "cortex-m7" in found
    assert all(name.startswith("cortex-m") for name in found)
    assert len(eff.profiles()) >= 16


# --- many ---


def test_comparing_models_and_machines() -> None:
    table = eff.compare([eff.read_model(SAMPLE)], eff.profiles("cortex-m4,cortex-m7"))
    assert isinstance(table, eff.Comparison)
    best, other = table.ranked()
    assert best.row.hardware is not None
    assert (best.row.hardware.id, best.rank, best.vs_best, other.rank) == ("cortex-m7", 1, 1.0, 2)
    assert table.matrix().machines == ("cortex-m4", "cortex-m7")
    missing = eff.compare(["absent.onnx"], eff.profiles("a100"), types=[eff.Types()])
    assert [row.error for row in missing.errors] == ["cannot read the model absent.onnx: not found"]


# --- an estimate ---


def test_counts_need_no_machine() -> None:
    result = eff.estimate(eff.read_model(SAMPLE))
    assert isinstance(result, eff.Estimate)
    assert result.totals.macs == 7_489_664
    assert (result.latency, result.machine, result.times, result.throughput_per_s) == (None, None, (), None)


def test_an_estimate_on_a_machine() -> None:
    result = eff.estimate(eff.read_model(SAMPLE), eff.load_profile("cortex-m7"))
    assert result.latency is not None
    assert 0 < result.latency.bound_s <= result.latency.lower_s <= result.latency.expected_s <= result.latency.upper_s
    assert len(result.kernels) == len(result.times) == result.totals.kernels
    assert result.throughput_per_s == pytest.approx(1 / result.latency.expected_s)


def test_a_model_is_counted_once_for_every_machine() -> None:
    model = eff.read_model(SAMPLE)
    one, other = (eff.estimate(model, eff.load_profile(name)) for name in ("cortex-m7", "h100"))
    assert one.network is other.network
    assert one.totals.macs == other.totals.macs


def test_the_report_as_plain_data() -> None:
    result = eff.estimate(eff.read_model(SAMPLE), eff.load_profile("cortex-m7"))
    report = json.loads(json.dumps(result.to_dict()))
    assert report["schema_version"] == 1
    assert report["totals"]["macs"] == 7_489_664
    assert len(report["kernels"]) == len(result.kernels)


def test_the_same_question_has_the_same_answer() -> None:
    reports = [
        json.dumps(eff.estimate(eff.read_model(SAMPLE), eff.load_profile("cortex-m4")).to_dict()) for _ in range(2)
    ]
    assert reports[0] == reports[1]
