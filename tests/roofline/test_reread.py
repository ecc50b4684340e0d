"""Weights of a recurrent state: read again each step where the nearest cache does not keep them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from efficiency_cli.graph.read import read_model
from efficiency_cli.hardware.load import load_profile
from efficiency_cli.roofline.estimate import estimate
from efficiency_cli.roofline.explain import explain

STEPS, WIDTH, HIDDEN = 5, 8, 32
# R of a GRU: (directions, gates · hidden, hidden) in float32
STATE_BYTES = 1 * 3 * HIDDEN * HIDDEN * 4
WEIGHT_BYTES = STATE_BYTES + 3 * HIDDEN * WIDTH * 4

PROFILE = """\
schema_version: 1
name: two levels
class: {machine}
sources: {{here: "made up"}}
compute:
  float32:
    matrix: {{value: 1 GOP/s, source: here, kind: measured}}
memory:
  near:
    size: {{value: {near} B, source: here, kind: measured}}
    bandwidth: {{value: 4 GB/s, source: here, kind: measured}}
    holds: [activations]
  far:
    size: {{value: 1 GiB, source: here, kind: measured}}
    bandwidth: {{value: 1 GB/s, source: here, kind: measured}}
    holds: [weights, activations]
runtime: own
runtimes:
  own:
    name: own
    grade: datasheet
    overlap: {{value: 0, source: here, kind: measured}}
    efficiency:
      memory: {{value: 0.5, source: here, kind: measured}}
"""


@pytest.fixture
def model(tmp_path):
    weights = {"w": (1, 3 * HIDDEN, WIDTH), "r": (1, 3 * HIDDEN, HIDDEN)}
    graph = helper.make_graph(
        [helper.make_node("GRU", ["x", "w", "r"], ["", "h"], "cell", hidden_size=HIDDEN)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [STEPS, 1, WIDTH])],
        [helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, 1, HIDDEN])],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()],
    )
    path = tmp_path / "gru.onnx"
    path.write_bytes(helper.make_model(graph, ir_version=8).SerializeToString())
    return read_model(str(path))


def machine(folder, near, machine_class="cpu"):
    path = folder / "machine.yaml"
    path.write_text(PROFILE.format(near=near, machine=machine_class), encoding="utf-8")
    return load_profile(str(path))


@pytest.mark.parametrize(
    ("near", "machine_class", "again"),
    [
        (STATE_BYTES, "cpu", 0),
        (STATE_BYTES - 1, "cpu", (STEPS - 1) * STATE_BYTES),
        (STATE_BYTES - 1, "mcu", 0),
    ],
)
def test_what_a_cache_does_not_keep_is_read_each_step(tmp_path, model, near, machine_class, again):
    (time,) = estimate(model, machine(tmp_path, near, machine_class)).times
    assert time.kernel.weight_bytes == WEIGHT_BYTES
    assert time.weight_s == pytest.approx((WEIGHT_BYTES + again) / (1e9 * 0.5))
    assert time.reread_level == ("far" if again else "")


def test_the_textbook_bound_reads_them_once(tmp_path, model):
    bounds = [estimate(model, machine(tmp_path, near)).latency.bound_s for near in (STATE_BYTES, STATE_BYTES - 1)]
    assert bounds[0] == bounds[1]


def test_explained(tmp_path, model):
    found = explain(estimate(model, machine(tmp_path, STATE_BYTES - 1)), "cell")
    text = repr(found)
    assert "rereads * reread_bytes / reread_bandwidth" in text
    assert str(STATE_BYTES) in text


def test_what_is_read_again_is_hidden_as_well_as_the_level_that_it_comes_from(tmp_path, model):
    path = tmp_path / "machine.yaml"
    middle = """  middle:
    size: {value: 64 KiB, source: here, kind: measured}
    bandwidth: {value: 2 GB/s, source: here, kind: measured}
    holds: [activations]
    overlap: {value: 0.5, source: here, kind: measured}
"""
    text = PROFILE.format(near=STATE_BYTES - 1, machine="cpu").replace("  far:\n", f"{middle}  far:\n")
    path.write_text(text, encoding="utf-8")
    whole = estimate(model, load_profile(str(path)))
    (time,) = whole.times
    assert time.reread_level == "middle"
    again, moved = (STEPS - 1) * STATE_BYTES / 2e9, time.kernel.read_bytes + time.kernel.written_bytes
    total = WEIGHT_BYTES / 1e9 + again + moved / 4e9
    assert time.overlap == pytest.approx(0.5 * again / total)
    terms = {t.name: t for t in explain(whole, "cell").kernel.terms}
    operands = {o.symbol: o.value for o in terms["overlap"].operands}
    assert operands["weight_overlap"] == pytest.approx(0.5 * again / (WEIGHT_BYTES / 1e9 + again))
    assert terms["overlap"].value == pytest.approx(
        (operands["weight_overlap"] * time.weight_s + operands["activation_overlap"] * time.activation_s)
        / time.memory_s
    )
