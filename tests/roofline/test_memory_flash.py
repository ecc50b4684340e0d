"""What is stored, by hand; what runtimes add."""

from __future__ import annotations

from onnx_text import read

from efficiency_cli.hardware.profile import MemoryUse, PerPart, Quantity
from efficiency_cli.roofline.memory.flash import Flash, flash_of
from efficiency_cli.roofline.network import Network

QUANTIZED = """g (int8[1,8,4,4] x) => (float[] y, float[1,2,3] anchors)
    <int8[4,8,3,3] w, int32[4] b, float s = {1}, int8 z = {0}, float[4] ws, float[4] bs,
     int8[1,2,3] boxes, float t = {1}> {
    anchors = DequantizeLinear(boxes, t)
    xf = DequantizeLinear(x, s, z)
    wf = DequantizeLinear<axis = 0>(w, ws)  bf = DequantizeLinear<axis = 0>(b, bs)
    c = Conv(xf, wf, bf)
    q = QuantizeLinear(c, s, z)  y = DequantizeLinear(q, s, z)
}"""


def stored(text: str, use: MemoryUse | None = None, kernels: int = 3) -> Flash:
    return flash_of(Network(read(text)), kernels, use)


def q(value: float) -> Quantity:
    return Quantity(value, f"{value:g}", "test", "derived")


def test_weights_biases_constants_and_scales() -> None:
    found = stored(QUANTIZED)
    assert dict(found.weights) == {"int8": 4 * 8 * 3 * 3}
    assert found.biases == 4 * 4
    assert found.constants == 2 * 3
    # s, ws, bs and t in 32 bits, z in 8
    assert found.scales == (1 + 4 + 4 + 1) * 4 + 1
    assert found.scale_count == 1 + 4 + 4 + 1
    assert found.data == 4 * 8 * 3 * 3 + 4 * 4 + 2 * 3
    assert found.total == found.data + found.scales


def test_a_runtime_with_tables_counts_scales_as_code() -> None:
    code = PerPart(base=q(1000), kernel=q(100), channel=q(2))
    found = stored(QUANTIZED, MemoryUse(code=code), kernels=3)
    assert found.scales == 0
    assert found.code == 1000 + 3 * 100 + 10 * 2
    assert found.total == found.data + 1000 + 3 * 100 + 10 * 2


def test_constants_that_leave_may_be_stored_as_they_leave() -> None:
    found = stored(QUANTIZED, MemoryUse(constants="unpacked"))
    assert found.constants == 2 * 3 * 4


def test_shapes_are_code() -> None:
    found = stored("g (float[10] x) => (float[] y) <int64[2] shape = {2, 5}> { r = Reshape(x, shape)  y = Exp(r) }")
    assert (found.total, found.data, found.scales) == (0, 0, 0)


def test_float_weights_by_type() -> None:
    found = stored("g (float[1,10] x) => (float[] y) <float[10,20] w, float[20] b> { y = Gemm(x, w, b) }")
    assert dict(found.weights) == {"float32": (10 * 20 + 20) * 4}


def test_a_folded_batch_normalization_leaves_a_bias() -> None:
    text = """g (float[1,8,4,4] x) => (float[] y) <float[4,8,1,1] w, float[4] s, float[4] b, float[4] m, float[4] v> {
        c = Conv(x, w)  y = BatchNormalization(c, s, b, m, v)
    }"""
    assert stored(text).total == (4 * 8 + 4) * 4
    biased = text.replace("Conv(x, w)", "Conv(x, w, bias)").replace("<float[4,8", "<float[4] bias, float[4,8")
    assert stored(biased).total == (4 * 8 + 4) * 4
