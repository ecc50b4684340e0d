"""Counts of whole networks: published ones, one by hand, and laws."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import read
from some_networks import models

import efficiency_cli as eff
from efficiency_cli.graph.model import Model
from efficiency_cli.roofline.estimate import Estimate
from efficiency_cli.roofline.totals import Totals, Unmodelled

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
F = 4  # bytes of a float32


def sample(name: str, **request: object) -> Estimate:
    return eff.estimate(eff.read_model(str(SAMPLES / f"{name}.onnx"), **request))  # type: ignore[arg-type]


def totals(text: str, opset: int = 17) -> Totals:
    return eff.estimate(read(text, opset)).totals


# --- published counts ---

# the table of MLPerf Tiny; torchvision's for the last two
PUBLISHED_MACS = {
    "vww_mobilenetv1_float": 7_489_664,
    "vww_mobilenetv1_int8": 7_489_664,
    "kws_dscnn_float": 2_656_768,
    "kws_dscnn_int8": 2_656_768,
    "ic_resnet8_float": 12_501_632,
    "ic_resnet8_int8": 12_501_632,
    "ad_autoencoder_float": 264_192,
    "ad_autoencoder_int8": 264_192,
    "mobilenet_v2": 300_774_272,
    "resnet50": 4_089_184_256,
}


@pytest.mark.parametrize("name", PUBLISHED_MACS)
def test_macs_of_published_networks(name: str) -> None:
    assert sample(name).totals.macs == PUBLISHED_MACS[name]


@pytest.mark.parametrize(("name", "parameters"), [("mobilenet_v2", 3_504_872), ("resnet50", 25_557_032)])
def test_parameters_of_published_networks(name: str, parameters: int) -> None:
    # statistics of batch normalisation are none, as in torchvision's num_params
    assert sample(name).totals.parameters == parameters


def test_quantising_changes_bytes_and_types_but_no_macs() -> None:
    wide, narrow = sample("ic_resnet8_float").totals, sample("ic_resnet8_int8").totals
    assert wide.macs == narrow.macs
    assert (set(wide.ops_by_dtype), set(narrow.ops_by_dtype)) == ({"float32"}, {"int8"})
    assert wide.activation_bytes == 4 * narrow.activation_bytes
    assert wide.activation_elements == narrow.activation_elements
    assert wide.peak_activation_bytes == 4 * narrow.peak_activation_bytes


ALEXNET = """g (float[1,3,224,224] image) => (float[] y) <
    float[96,3,11,11] w1, float[256,96,5,5] w2, float[384,256,3,3] w3, float[384,384,3,3] w4, float[256,384,3,3] w5,
    float[4096,9216] w6, float[4096,4096] w7, float[1000,4096] w8,
    float[96] b1, float[256] b2, float[384] b3, float[384] b4, float[256] b5,
    float[4096] b6, float[4096] b7, float[1000] b8> {
    c1 = Conv<strides = [4, 4], pads = [2, 2, 2, 2]>(image, w1, b1)  r1 = Relu(c1)
    p1 = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(r1)
    c2 = Conv<pads = [2, 2, 2, 2]>(p1, w2, b2)  r2 = Relu(c2)
    p2 = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(r2)
    c3 = Conv<pads = [1, 1, 1, 1]>(p2, w3, b3)  r3 = Relu(c3)
    c4 = Conv<pads = [1, 1, 1, 1]>(r3, w4, b4)  r4 = Relu(c4)
    c5 = Conv<pads = [1, 1, 1, 1]>(r4, w5, b5)  r5 = Relu(c5)
    p5 = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(r5)
    f = Flatten(p5)  d = Dropout(f)
    c6 = Gemm<transB = 1>(d, w6, b6)  r6 = Relu(c6)  e = Dropout(r6)
    c7 = Gemm<transB = 1>(e, w7, b7)  r7 = Relu(c7)
    y = Gemm<transB = 1>(r7, w8, b8)
}"""


def test_alexnet_s_activations() -> None:
    """932,264 in MIT's course 6.5940: ReLU runs inside the layer before it, dropout and flatten are views."""
    found = totals(ALEXNET)
    elements = (
        3 * 224 * 224
        + 96 * (55 * 55 + 27 * 27)
        + 256 * (27 * 27 + 13 * 13)
        + 384 * (13 * 13 + 13 * 13)
        + 256 * (13 * 13 + 6 * 6)
        + 4096
        + 4096
        + 1000
    )
    assert found.activation_elements == elements == 932_264
    assert found.activation_bytes == F * elements
    # the same course's peak of 440,928 elements: input and output of the first convolution
    assert found.peak_activation_bytes == F * (3 * 224 * 224 + 96 * 55 * 55) == F * 440_928


def test_alexnet_s_macs_and_parameters() -> None:
    # elements of a layer's weight, and the places it is used at
    layers = [
        (96 * 3 * 11 * 11, 55 * 55),
        (256 * 96 * 5 * 5, 27 * 27),
        (384 * 256 * 3 * 3, 13 * 13),
        (384 * 384 * 3 * 3, 13 * 13),
        (256 * 384 * 3 * 3, 13 * 13),
        (4096 * 9216, 1),
        (4096 * 4096, 1),
        (1000 * 4096, 1),
    ]
    parameters = sum(size for size, _ in layers) + 96 + 256 + 384 + 384 + 256 + 4096 + 4096 + 1000
    found = totals(ALEXNET)
    assert found.parameters == parameters
    assert found.macs == sum(size * uses for size, uses in layers)
    assert (found.kernels, found.weight_bytes_by_dtype) == (8 + 3, {"float32": F * parameters})


# --- by hand ---


def test_a_small_network() -> None:
    found = totals(
        """g (float[1,3,8,8] x) => (float[] y) <float[4,3,3,3] w, float[4] b, float[4,5] v, int64[2] shape = {1, 4}> {
            c = Conv<pads = [1, 1, 1, 1]>(x, w, b)  r = Relu(c)  p = GlobalAveragePool(r)
            f = Reshape(p, shape)  y = MatMul(f, v)
        }"""
    )
    outputs = 4 * 8 * 8
    assert found.macs == outputs * 27 + 4 * 5
    # bias and ReLU once an output, the pool adds every element it is given
    assert found.ops == found.flops == 2 * found.macs + outputs + outputs + outputs
    assert (found.parameters, found.auxiliary_parameters) == (4 * 27 + 4 + 4 * 5, 2)
    assert found.weight_bytes_by_dtype == {"float32": F * (4 * 27 + 4 + 20), "int64": 2 * 8}
    assert found.activation_elements == 3 * 64 + outputs + 4 + 5
    assert found.weight_bytes_read == F * (4 * 27 + 4 + 20)
    assert found.activation_bytes_read == F * (3 * 64 + outputs + 4)
    assert found.activation_bytes_written == F * (outputs + 4 + 5)
    assert found.bytes_moved == found.weight_bytes_read + found.activation_bytes_read + found.activation_bytes_written
    assert found.arithmetic_intensity == found.ops / found.bytes_moved
    assert (found.kernels, found.kv_cache_bytes) == (3, 0)


def test_types_of_operations_are_kept_apart() -> None:
    text = """g (int8[1,4] x) => (float[] y) <float s = {0.5}, int8 z = {0}, int8[4,3] w> {
        d = DequantizeLinear(x, s, z)  e = DequantizeLinear(w, s, z)  m = MatMul(d, e)  y = Exp(m)
    }"""
    assert totals(text).ops_by_dtype == {"float32": 3, "int8": 2 * 4 * 3}


def test_the_kv_cache_is_what_leaves() -> None:
    text = """g (float[1,2,{past},16] past_key, float[1,2,1,16] k) => (float[] present_key, int64[] present_shape) {{
        present_key = Concat<axis = 2>(past_key, k)  present_shape = Shape(present_key)
    }}"""
    assert totals(text.format(past=7)).kv_cache_bytes == F * 2 * (7 + 1) * 16
    # six layers of keys and values: six heads of 48, one token after 128
    dims = {"batch": 1, "sequence": 1, "past_sequence_length": 128, "total_sequence_length": 129}
    assert sample("decoder_kv", dims=dims).totals.kv_cache_bytes == F * 6 * 2 * 6 * 129 * 48


# --- coverage ---


def test_what_has_no_rule_is_named_and_counts_as_traffic() -> None:
    text = """g (float[2,3] x) => (float[2,3] y) <float[2,3] a, float[2,3] b> {
        [mine] a = custom.Thing(x)  b = Exp(a)  v = Identity(b)  [other] y = custom.Thing(v)
    }"""
    coverage = eff.estimate(read(text)).coverage
    assert coverage.unmodelled == (Unmodelled("custom", "Thing", ("mine", "other")),)
    assert (coverage.nodes, coverage.bytes) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert (coverage.unknown_shapes, coverage.complete) == ((), False)
    assert totals(text).activation_bytes_read == 3 * 6 * F


def test_tensors_without_a_shape_are_named() -> None:
    text = "g (float[2,3] x) => (float[] y) { a = custom.Thing(x)  y = Exp(a) }"
    coverage = eff.estimate(read(text)).coverage
    assert (coverage.unknown_shapes, coverage.complete) == (("a", "y"), False)


def test_folded_nodes_need_no_rule() -> None:
    text = "g (float[2,3] x) => (float[] y) <float[4,3] w> { t = Transpose(w)  y = MatMul(x, t) }"
    assert eff.estimate(read(text)).coverage.complete
    assert eff.estimate(read("g (float[2,3] x) => (float[] y) { y = Identity(x) }")).coverage.nodes == 1.0


# --- laws ---

DIMS = {
    "bert_small": {"sequence": 16},
    "decoder_kv": {"sequence": 2, "past_sequence_length": 5, "total_sequence_length": 7},
}


@pytest.mark.parametrize("name", DIMS)
@pytest.mark.parametrize("batch", [2, 5])
def test_a_batch_multiplies_macs_and_leaves_parameters(name: str, batch: int) -> None:
    one, many = (sample(name, dims={**DIMS[name], "batch": n}) for n in (1, batch))
    assert many.totals.macs == batch * one.totals.macs
    assert many.totals.parameters == one.totals.parameters
    assert many.totals.weight_bytes == one.totals.weight_bytes
    assert many.totals.kv_cache_bytes == batch * one.totals.kv_cache_bytes
    assert many.batch == batch


@pytest.mark.parametrize("batch", [3])
@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "ad_autoencoder_int8", "kws_dscnn_float"])
def test_a_batch_that_the_file_does_not_foresee(name: str, batch: int) -> None:
    one, many = sample(name), sample(name, batch=batch)
    assert many.totals.macs == batch * one.totals.macs
    assert many.totals.activation_elements == batch * one.totals.activation_elements
    assert many.totals.weight_bytes_read == one.totals.weight_bytes_read


@settings(max_examples=60, deadline=None)
@given(models(), st.sampled_from([None, "cortex-m7", "h100"]))
def test_totals_are_the_sum_of_the_nodes_whatever_the_machine(model: Model, hardware: str | None) -> None:
    machine = eff.load_profile(hardware) if hardware else None
    result = eff.estimate(model, machine)
    assert sum(result.totals.ops_by_dtype.values()) == result.totals.ops
    assert result.totals.macs == sum(n.macs for n in result.network.nodes)
    assert sum(result.totals.weight_bytes_by_dtype.values()) == result.totals.weight_bytes
    plain = eff.estimate(model).totals
    for count in ("macs", "ops", "parameters", "weight_bytes", "activation_elements", "activation_bytes"):
        assert getattr(result.totals, count) == getattr(plain, count)
