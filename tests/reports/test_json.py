"""The JSON report: as interface.md has it, valid against its own schema, exact, the same every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from estimates import HOSTILE, MOBILENET, VWW, hostile, sample

from efficiency_cli.reports import View, render
from efficiency_cli.reports.schema import report_schema

SCHEMA = report_schema()
# the keys that interface.md promises
PROMISED = {
    "": "schema_version tool command model hardware totals coverage assumptions nodes kernels",
    "tool": "name version",
    "model": "path file_bytes opset nodes dims",
    "hardware": "id runtime dtype grade provenance",
    "totals": """macs flops ops ops_by_dtype parameters auxiliary_parameters weight_bytes weight_bytes_by_dtype
        activation_elements activation_bytes peak_activation_bytes peak_activation_at ram_bytes flash_bytes fits
        bytes_moved weight_bytes_read activation_bytes_read activation_bytes_written arithmetic_intensity kernels
        latency_s throughput_per_s energy_j time_share receptive_field kv_cache_bytes""",
    "coverage": "nodes bytes unmodelled unknown_shapes",
}
NODE = "name op domain inputs outputs macs flops ops parameters bytes_moved kernel receptive_field path"
KERNEL = """index name nodes op_class macs ops bytes_moved dtype time_s compute_s memory_s overhead_s bound
    arithmetic_intensity energy_j peak_live_bytes"""


def report(*estimates: Any) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in JSON")

    found = json.loads(render("json", estimates, View()), parse_constant=refuse)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize("change", [("totals", "macs"), ("model", "path"), ("coverage", "nodes")])
def test_the_schema_refuses_what_is_not_a_report(change: tuple[str, str]) -> None:
    found = report(sample(VWW, "cortex-m7"))
    del found[change[0]][change[1]]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(found)


@pytest.mark.parametrize("hardware", ["cortex-m7", "rtx-4090", None])
@pytest.mark.parametrize("model", [VWW, MOBILENET, "ad_autoencoder_float.onnx", "kws_dscnn_int8.onnx"])
def test_reports_are_valid_and_hold_what_was_promised(model: str, hardware: str | None) -> None:
    found = report(sample(model, hardware))
    for part, keys in PROMISED.items():
        holder = found[part] if part else found
        if holder is None:
            assert hardware is None
            continue
        assert set(keys.split()) <= set(holder)
    assert set(NODE.split()) <= set(found["nodes"][0])
    assert set(KERNEL.split()) <= set(found["kernels"][0])


def test_figures_are_the_estimate_s() -> None:
    estimate = sample(VWW, "cortex-m7")
    found = report(estimate)
    totals = found["totals"]
    assert totals["macs"] == 7_489_664
    assert totals["latency_s"] == {
        "bound": estimate.latency.bound_s,
        "lower": estimate.latency.lower_s,
        "expected": estimate.latency.expected_s,
        "upper": estimate.latency.upper_s,
    }
    assert totals["throughput_per_s"] == 1 / estimate.latency.expected_s
    assert totals["flash_bytes"] == estimate.totals.weight_bytes
    assert totals["ram_bytes"] == estimate.totals.peak_activation_bytes
    assert sum(k["macs"] for k in found["kernels"]) == totals["macs"]
    assert sum(n["macs"] for n in found["nodes"]) == totals["macs"]
    assert sum(n["parameters"] for n in found["nodes"]) == totals["parameters"]
    assert found["hardware"]["grade"] == "calibrated"
    assert found["hardware"]["calibration"]["measurements"] > 0


def test_one_memory_for_all_holds_all() -> None:
    totals = report(sample(VWW, "rtx-4090"))["totals"]
    assert totals["ram_bytes"] == totals["weight_bytes"] + totals["peak_activation_bytes"]
    assert totals["flash_bytes"] is None


def test_without_a_machine_what_needs_one_is_null() -> None:
    found = report(sample(VWW))
    assert found["hardware"] is None
    for key in ("latency_s", "throughput_per_s", "energy_j", "time_share", "fits", "ram_bytes"):
        assert found["totals"][key] is None
    assert all(k["time_s"] is None and k["bound"] is None for k in found["kernels"])


def test_every_node_that_runs_knows_its_kernel() -> None:
    found = report(sample(VWW, "cortex-m7"))
    for node in found["nodes"]:
        assert (node["kernel"] is None) == (node["absorbed"] is not None)
        if node["kernel"] is not None:
            assert node["name"] in found["kernels"][node["kernel"]]["nodes"]


def test_provenance_has_the_chosen_runtime_alone() -> None:
    provenance = report(sample(VWW, "cortex-m7"))["hardware"]["provenance"]
    keys = [p["key"] for p in provenance]
    runtimes = {k.split(".")[1] for k in keys if k.startswith("runtimes.")}
    assert runtimes == {"x-cube-ai"}
    assert any(k.startswith("memory.flash") for k in keys)
    assert all(p["source"] for p in provenance)


def test_names_are_exact(tmp_path: Path) -> None:
    text = render("json", [hostile(tmp_path)], View())
    assert text.isascii()
    found = report(hostile(tmp_path))
    assert [n["name"] for n in found["nodes"]] == [*HOSTILE, "unknown"]
    assert found["coverage"]["unmodelled"] == [
        {"domain": "[b]dom\x1b|", "op": "=Op()", "count": 1, "nodes": ["unknown"]}
    ]
    assert found["assumptions"]


def test_receptive_fields_say_where_they_end() -> None:
    found = report(sample("resnet50.onnx"))
    assert found["totals"]["receptive_field"] == {"output": [None, None]}
    geometry = found["totals"]["receptive_field_geometry"]["output"]
    # 7x7 /2, then a 3x3 /2 pool; 3, 4, 6 and 3 blocks with one 3x3 at strides 4, 8, 16, 32, whose
    # first of each later stage still has the stride before: 1 + 6 + 2*2 + 2*4*3 + 2*(4+8*3) + ...
    assert geometry["bounded_size"] == [1 + 6 + 4 + 24 + (8 + 48) + (16 + 160) + (32 + 128)] * 2
    assert geometry["stride"] == [32, 32]
    by_name = {n["name"]: n for n in found["nodes"]}
    assert by_name["/conv1/Conv"]["receptive_field"] == [7, 7]
    assert by_name["/conv1/Conv"]["receptive_field_geometry"]["stride"] == [2, 2]
    assert by_name["/maxpool/MaxPool"]["receptive_field"] == [7 + 2 * 2] * 2


def test_several_come_as_results() -> None:
    estimates = [sample(VWW, "cortex-m7"), sample(VWW, "rtx-4090")]
    found = report(*estimates)
    assert set(found) == {"schema_version", "tool", "command", "results"}
    assert found["results"] == [report(e) for e in estimates]


def test_the_same_input_gives_the_same_bytes() -> None:
    estimate = sample(VWW, "cortex-m7")
    assert render("json", [estimate], View()) == render("json", [estimate], View(top=1, sort="macs"))
    assert estimate.to_dict() == json.loads(render("json", [estimate], View()))


def test_a_node_and_a_kernel_take_one_line_each() -> None:
    estimate = sample(VWW, "cortex-m7")
    text = render("json", [estimate], View())
    starts = [line for line in text.splitlines() if line.startswith('    {"')]
    assert len(starts) == len(estimate.network.nodes) + len(estimate.kernels)
