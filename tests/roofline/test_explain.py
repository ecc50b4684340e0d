"""A node taken apart: every term recomputes, every byte has its tensor, every number of a profile its line."""

from __future__ import annotations

import math
import sys
from functools import cache
from pathlib import Path

import pytest

from efficiency_cli.graph.read import read_model
from efficiency_cli.hardware.load import load_profile
from efficiency_cli.hardware.profile import numbers
from efficiency_cli.roofline.estimate import Estimate, estimate
from efficiency_cli.roofline.explain import Explanation, explain
from efficiency_cli.roofline.terms import Term

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "graph"))

from onnx_text import read  # noqa: E402

VWW = "vww_mobilenetv1_int8"
DIMS = {
    "bert_small": {"sequence": 128},
    "decoder_kv": {"sequence": 1, "past_sequence_length": 128, "total_sequence_length": 129},
}


@cache
def sample(name: str, hardware: str = "", *, overlap: float | None = None, overrides: tuple[str, ...] = ()) -> Estimate:
    model = read_model(str(ROOT / "samples" / f"{name}.onnx"), dims=DIMS.get(name, {}))
    profile = load_profile(hardware, (), overrides) if hardware else None
    return estimate(model, profile, overlap=overlap)


def terms_of(explanation: Explanation) -> tuple[Term, ...]:
    return explanation.terms + (explanation.kernel.terms if explanation.kernel else ())


def term(explanation: Explanation, name: str) -> Term:
    return next(t for t in terms_of(explanation) if t.name == name)


def evaluated(expression: str, values: dict[str, float]) -> float:
    return eval(expression, {"__builtins__": {}, "max": max, "min": min}, values)


def assert_recomputes(explanation: Explanation) -> None:
    for one in terms_of(explanation):
        exact = evaluated(one.expression, {o.symbol: o.value for o in one.operands})
        assert math.isclose(exact, one.value, rel_tol=1e-12), one
        # seven digits of each number
        assert math.isclose(evaluated(one.filled, {}), one.value, rel_tol=3e-6), one


# --- arithmetic --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hardware"),
    [
        (VWW, "cortex-m7"),
        (VWW, "ethos-u55"),
        ("resnet50", "h100"),
        ("resnet50", "raspberry-pi-5"),
        ("resnet50", ""),
        ("resnet50", "xeon-emerald-rapids"),
        ("bert_small", "a100"),
        ("bert_small", "xeon-emerald-rapids"),
        ("decoder_kv", "rtx-4090"),
        ("decoder_kv", "cortex-m0plus"),
    ],
)
def test_every_term_of_every_kernel_recomputes(name: str, hardware: str) -> None:
    whole = sample(name, hardware)
    for kernel in whole.kernels[:: 1 + len(whole.kernels) // 60]:
        assert_recomputes(explain(whole, kernel.name))


@pytest.mark.parametrize("name", [VWW, "resnet50", "bert_small", "decoder_kv"])
def test_every_node_can_be_explained(name: str) -> None:
    whole = sample(name, "cortex-m7")
    nodes = [n.node.name for n in whole.network.nodes]
    for node in nodes[:: 1 + len(nodes) // 100]:
        explanation = explain(whole, node)
        assert explanation.counted.node.name == node
        assert_recomputes(explanation)


def test_the_values_are_those_of_the_estimate() -> None:
    whole = sample(VWW, "cortex-m7")
    for time, energy in zip(whole.times, whole.energies, strict=True):
        found = explain(whole, time.kernel.name)
        assert term(found, "expected_s").value == time.times.expected_s
        assert term(found, "bound_s").value == time.times.bound_s
        assert term(found, "lower_s").value == time.times.lower_s
        assert term(found, "upper_s").value == time.times.upper_s
        assert term(found, "compute_s").value == time.compute_s
        assert term(found, "memory_s").value == time.memory_s
        assert term(found, "energy_j").value == energy


def test_an_int8_convolution_by_hand() -> None:
    """Stem of visual wake words, 3×3 stride 2 on 96×96, with its Relu on a Cortex-M7 at 480 MHz."""
    found = explain(sample(VWW, "cortex-m7"), "/stem/conv/Conv")
    macs, bias, relu = 8 * 48 * 48 * 3 * 3 * 3, 8 * 48 * 48, 8 * 48 * 48
    assert found.counted.macs == macs
    assert term(found, "node_ops").value == 2 * macs + bias
    assert term(found, "ops").value == 2 * macs + bias + relu
    # TensorFlow pads 96 to 97 at the end: of 48 outputs along an axis the last misses one tap of three
    assert found.dense.valid_macs == 8 * 3 * (48 * 3 - 1) ** 2
    assert found.formula == "1·8·48·48 outputs × 3/1 · 3·3 taps"
    # weights and zero points int8, biases int32, scales float32: one of each a channel
    assert term(found, "weight_bytes").value == 8 * 3 * 3 * 3 + 8 * 4 + 8 + 8 * 4 + 8 * 4
    assert term(found, "read_bytes").value == 3 * 96 * 96
    assert term(found, "written_bytes").value == 8 * 48 * 48
    # 4 OP a cycle, at 0.515 of it
    compute = (2 * macs + bias + relu) / (4 * 480e6 * 0.515)
    assert term(found, "compute_s").value == pytest.approx(compute)
    # SRAM 4 B a cycle, flash 3.2, at 0.661; nothing overlaps; a kernel starts in 5434 cycles
    moved = ((3 * 96 * 96 + 8 * 48 * 48) / 4 + 320 / 3.2) / 0.661
    assert term(found, "expected_s").value == pytest.approx(compute + (moved + 5434) / 480e6)


def test_bytes_are_those_that_cross_the_kernels_border() -> None:
    whole = sample("resnet50", "h100")
    for kernel in whole.kernels:
        part = explain(whole, kernel.name).kernel
        assert part is not None
        assert sum(c.bytes for c in part.crossings) * kernel.repeat == kernel.bytes_moved
        crossing = {c.tensor.name for c in part.crossings}
        assert not crossing & {t.name for t in part.internal}


# --- where numbers are from --------------------------------------------------------------------


@pytest.mark.parametrize(
    "hardware", ["cortex-m7", "a100", "ethos-u55", "apple-m2", "coral-edgetpu", "xeon-emerald-rapids"]
)
def test_every_number_of_a_profile_is_on_the_line_it_names(hardware: str) -> None:
    whole = sample(VWW, hardware)
    assert whole.machine is not None
    known = dict(numbers(whole.machine.profile))
    seen = 0
    for kernel in (k for k in whole.kernels if k.nodes):
        for operand in (o for t in terms_of(explain(whole, kernel.name)) for o in t.operands if o.key):
            line = known[operand.key]
            assert (operand.text, operand.source, operand.kind) == (line.text, line.source, line.kind)
            in_cycles = operand.symbol.endswith(("_per_cycle", "_cycles"))
            assert in_cycles or operand.value == line.value
            seen += 1
    assert seen > len(whole.kernels)


def test_overrides_and_overlap_say_so() -> None:
    found = explain(sample(VWW, "cortex-m7", overlap=1.0, overrides=("clock=2x",)), "/stem/conv/Conv")
    operands = {o.symbol: o for t in terms_of(found) for o in t.operands}
    assert operands["clock"].value == 960e6
    assert operands["clock"].source == "--set"
    assert (operands["overlap"].value, operands["overlap"].source) == (1.0, "--overlap")
    assert_recomputes(found)


def test_a_level_s_own_overlap_is_a_line_and_the_user_s_is_for_all_levels() -> None:
    # 102 MB of weights: more than the caches of that machine hold
    whole = sample("resnet50", "xeon-emerald-rapids")
    found = explain(whole, "/fc/Gemm")
    (own,) = (o for o in term(found, "overlap").operands if o.symbol == "weight_overlap")
    assert whole.machine is not None
    assert (own.key, own.value) == ("memory.memory.overlap", whole.machine.overlaps["memory"])
    given = explain(sample("resnet50", "xeon-emerald-rapids", overlap=0.5), "/fc/Gemm")
    (overlap,) = (o for o in term(given, "expected_s").operands if o.symbol == "overlap")
    assert (overlap.value, overlap.source) == (0.5, "--overlap")
    assert_recomputes(given)


def test_overlaps_of_what_two_levels_hold_recompute(tmp_path: Path) -> None:
    """A core with so little SRAM that weights are split and activations spill."""
    levels = """
  near:
    size: {value: 16 KiB, source: x, kind: derived}
    bandwidth: {value: 4 GB/s, source: x, kind: derived}
    holds: [weights, activations]
  far:
    bandwidth: {value: 1 GB/s, source: x, kind: derived}
    holds: [weights, activations]
    overlap: {value: 0.25, source: x, kind: derived}
"""
    path = tmp_path / "small.yaml"
    path.write_text(
        "schema_version: 1\nname: small\nclass: mcu\nsources: {x: made up}\n"
        "compute: {int8: {matrix: {value: 1 GOP/s, source: x, kind: derived}}}\n"
        f"memory:{levels}runtime: own\nruntimes:\n  own:\n    name: own\n    grade: datasheet\n"
        "    overlap: {value: 0.75, source: x, kind: derived}\n",
        encoding="utf-8",
    )
    whole = sample(VWW, str(path))
    assert any(t.spilled_bytes and t.kernel.weight_bytes for t in whole.times)
    for time in whole.times:
        found = explain(whole, time.kernel.name)
        assert_recomputes(found)
        far_too = bool(time.kernel.weight_bytes or time.spilled_bytes)
        assert (time.overlap < 0.75) is far_too
        assert [t.value for t in terms_of(found) if t.name == "overlap"] == ([time.overlap] if far_too else [])


def test_a_peak_that_stands_in_is_named() -> None:
    found = explain(sample("resnet50", "coral-edgetpu"), "/conv1/Conv")
    peak = next(o for o in term(found, "compute_s").operands if o.symbol == "peak")
    said = peak.said or next(o.said for o in term(found, "peak").operands if o.said)
    assert "int8" in said
    assert "no peak for float32" in said


def test_outside_its_calibration_the_interval_is_the_wide_one() -> None:
    """cortex-m7's runtime is calibrated in int8, ResNet-50 is float32."""
    found = explain(sample("resnet50", "cortex-m7"), "/conv1/Conv")
    upper = next(o for o in term(found, "upper_s").operands if o.symbol == "interval_upper")
    assert upper.value == 4.3
    assert "calibrated in int8, this network is float32" in upper.said


def test_energy_by_act(tmp_path: Path) -> None:
    text = (ROOT / "hardware_profiles" / "cortex-m7.yaml").read_text(encoding="utf-8")
    before, _, _ = text.partition("energy:\n")
    acts = """energy:
  static_power: {value: 10 mW, source: st, kind: derived}
  per_op: {int8: {value: 2 pJ/OP, source: st, kind: derived}}
  per_byte: {sram: {value: 5 pJ/B, source: st, kind: derived}, flash: {value: 20 pJ/B, source: st, kind: derived}}
"""
    path = tmp_path / "acts.yaml"
    path.write_text(before + acts, encoding="utf-8")
    found = explain(sample(VWW, str(path)), "/stem/conv/Conv")
    assert_recomputes(found)
    expected, ops = term(found, "expected_s").value, term(found, "ops").value
    by_hand = 10e-3 * expected + ops * 2e-12 + 320 * 20e-12 + (3 * 96 * 96 + 8 * 48 * 48) * 5e-12
    assert term(found, "energy_j").value == pytest.approx(by_hand)


def test_without_a_machine_there_are_counts_alone() -> None:
    found = explain(sample("resnet50"), "/conv1/Conv")
    assert {t.name for t in terms_of(found)} == {"node_ops", "ops", "weight_bytes", "read_bytes", "written_bytes"}


# --- why a tensor's bytes are what they are ----------------------------------------------------


def test_quantised_operands_are_read_as_they_are_stored() -> None:
    found = explain(sample(VWW), "/stem/conv/Conv")
    picture, weight, bias = found.inputs
    assert (picture.bytes, picture.memory) == (3 * 96 * 96, "input")
    assert picture.why == "27,648 × 8 bit, through DequantizeLinear"
    assert (weight.bytes, weight.memory) == (8 * 3 * 3 * 3, "stem.conv.weight_quantized")
    assert (bias.bytes, bias.memory) == (8 * 4, "stem.conv.bias_quantized")
    # the float result goes to the Relu and no further
    assert found.outputs[0].inside
    assert found.kernel is not None
    assert [a.op for a in found.kernel.absorbed] == ["DequantizeLinear"] * 3 + ["QuantizeLinear"]
    beside = [c for c in found.kernel.crossings if "read along" in c.why]
    assert [c.tensor.dtype for c in beside] == ["float32", "int8", "float32"]


def test_batch_normalisation_lies_in_the_convolution() -> None:
    whole = sample("resnet50", "h100")
    convolution, normalisation = explain(whole, "/conv1/Conv"), explain(whole, "/bn1/BatchNormalization")
    assert convolution.kernel is not None
    assert [(a.name, a.why) for a in convolution.kernel.absorbed] == [
        ("/bn1/BatchNormalization", "folded into /conv1/Conv")
    ]
    assert "through BatchNormalization" in convolution.outputs[0].why
    assert normalisation.kernel is None
    assert (normalisation.made_by, normalisation.used_by) == ((0,), (0,))
    assert [t.value for t in normalisation.terms] == [0]
    assert normalisation.dense.ops == 2 * 64 * 112 * 112


def test_a_dequantised_weight_is_found_where_it_is_used() -> None:
    found = explain(sample(VWW, "cortex-m7"), "/stem.conv.weight/DequantizeLinear")
    assert (found.made_by, found.used_by) == ((), (0,))


def test_a_table_is_read_where_it_is_touched() -> None:
    model = read("g (int64[1, 3] ids) => (float[1, 3, 8] y) <float[100, 8] table> { y = Gather(table, ids) }")
    found = explain(estimate(model), model.graph.nodes[0].name)
    table, ids = found.inputs
    assert (table.bytes, table.why) == (3 * 8 * 4, "the part that is touched, of 3,200 B")
    assert ids.bytes == 3 * 8
    assert found.parameters == 100 * 8


def test_an_omitted_operand_and_a_view() -> None:
    text = """g (float[1, 4] x, float[4] high) => (float[4] y)
    <int64[1] shape = {-1}> { a = Clip(x, , high)  y = Reshape(a, shape) }"""
    whole = estimate(read(text))
    clip, view = (explain(whole, n.node.name) for n in whole.network.nodes)
    assert clip.inputs[1].tensor is None
    assert (view.kernel, view.made_by, view.used_by) == (None, (0,), ())
    assert view.counted.absorbed == "a view"


# --- matrix products, bodies, unknown operators ------------------------------------------------


def test_a_projection_of_bert() -> None:
    found = explain(sample("bert_small", "a100"), "/encoder/layer/layer.0/attention/self/query/MatMul")
    assert found.counted.macs == 128 * 512 * 512
    assert found.formula == "128·512 outputs × 512"
    assert found.parameters == 512 * 512
    assert found.kernel is not None
    assert len(found.kernel.kernel.nodes) == 2  # with its bias
    assert term(found, "ops").value == 2 * 128 * 512 * 512 + 128 * 512


def test_attention_of_a_decoder_reads_its_cache() -> None:
    found = explain(sample("decoder_kv", "a100"), "/model/layers/layers.0/self_attn/MatMul_1")
    assert found.counted.macs == 6 * 129 * 48
    cache = found.inputs[1]
    assert (cache.memory, cache.bytes) == ("present.0.value", 6 * 129 * 48 * 4)


LOOP = """g (float[4] x, float[4] bias) => (float[4] y)
<int64 trips = {5}, bool go = {1}, float[4, 4] w> {
  y = Loop(trips, go, x) <body = b (int64 i, bool on, float[4] state) => (bool keep, float[4] next) {
    product = MatMul(state, w)
    next = Add(product, bias)
    keep = Identity(on)
  }>
}"""


def test_a_node_in_the_body_of_a_loop() -> None:
    whole = estimate(read(LOOP), load_profile("cortex-m7"))
    names = {n.node.op: n.node.name for n in whole.network.nodes}
    product, added, loop = (explain(whole, names[op]) for op in ("MatMul", "Add", "Loop"))
    assert product.counted.repeat == 5
    assert term(product, "node_macs").value == 5 * 4 * 4
    assert term(product, "ops").value == 5 * 2 * 4 * 4
    assert term(product, "overhead_s").value == pytest.approx(5 * 5434 / 480e6)
    assert added.kernel is not None
    outer = [c for c in added.kernel.crossings if "around this body" in c.why]
    assert [c.tensor.name for c in outer] == ["bias"]
    assert_recomputes(product)
    assert_recomputes(added)
    (body,) = loop.bodies
    assert (body.repeat, body.nodes, body.macs) == (5, 3, 5 * 4 * 4)
    assert loop.kernel is None


def test_an_operator_without_a_rule() -> None:
    model = read("g (float[8] x) => (float[8] y) { y = custom.Fold(x) }")
    whole = estimate(model)
    found = explain(whole, model.graph.nodes[0].name)
    assert not found.counted.work.modelled
    assert found.rule.endswith("unmodelled")
    assert "Memory traffic only" in found.convention[0]
    assert term(found, "ops").value == 0


def test_the_convention_is_what_the_rule_says() -> None:
    from efficiency_cli.costs.convolution import convolution

    found = explain(sample("resnet50"), "/conv1/Conv")
    assert found.rule == "efficiency_cli.costs.convolution.convolution"
    assert found.convention[0] == " ".join((convolution.__doc__ or "").split())
    assert "padding count, as in published tables" in found.convention[1]


def test_the_receptive_field_of_its_output() -> None:
    (field,) = explain(sample("resnet50"), "/maxpool/MaxPool").fields.values()
    assert (field.size, field.stride) == ((7 + (3 - 1) * 2,) * 2, (4, 4))


def test_a_name_that_no_node_has() -> None:
    with pytest.raises(KeyError):
        explain(sample("resnet50"), "/conv2/Conv")


def test_q_dq_that_a_runtime_runs_by_itself_is_explained_as_it_runs() -> None:
    """Counting has these inside integer kernels; onnxruntime has no integer Pad, so that Q and DQ around it run."""
    whole = sample(VWW, "xeon-8480")
    conversions = 0
    for kernel in whole.kernels:
        for name in kernel.nodes:
            found = explain(whole, name)
            assert found.kernel is not None
            assert found.kernel.kernel.index == kernel.index
            assert not found.counted.absorbed
            conversions += found.counted.node.op in ("QuantizeLinear", "DequantizeLinear")
    plain = [n for n in whole.network.nodes if not n.absorbed]
    assert conversions > sum(n.node.op in ("QuantizeLinear", "DequantizeLinear") for n in plain)
