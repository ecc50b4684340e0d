"""Other tools' totals: each rule by hand, whole networks against what the tools print or publish."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from onnx_text import read

from efficiency_cli.graph.read import read_model
from efficiency_cli.roofline.conventions import NAMES, Convention, as_counted_by
from efficiency_cli.roofline.estimate import count

ROOT = Path(__file__).resolve().parents[2]

SHARED = ROOT.parent / "shared"
MODELS = SHARED / "models"
TINY = SHARED / "data" / "mcu" / "models"

CONV = "g (float[2,3,8,8] x) => (float[2,4,8,8] y) <float[4,3,3,3] w, float[4] b>"
CONV_TEXT = CONV + " { y = Conv<pads=[1,1,1,1]>(x, w, b) }"
CONV_MACS, CONV_OUT = 2 * 4 * 8 * 8 * 3 * 3 * 3, 2 * 4 * 8 * 8


def counted(name: str, text: str) -> Convention:
    return as_counted_by(name, count(read(text)))


def test_every_convention_says_how_it_differs():
    assert NAMES == ("onnx-tool", "fvcore", "calflops")
    for name in NAMES:
        found = counted(name, CONV_TEXT)
        assert found.differences
        assert all(said.isascii() for said in found.differences)
        assert " at " in found.source


@pytest.mark.parametrize(
    ("name", "macs", "flops"),
    [
        ("onnx-tool", CONV_MACS + CONV_OUT, 2 * (CONV_MACS + CONV_OUT)),
        ("fvcore", None, CONV_MACS),
        ("calflops", CONV_MACS, 2 * CONV_MACS + CONV_OUT),
    ],
)
def test_a_convolution_with_bias(name, macs, flops):
    found = counted(name, CONV_TEXT)
    assert (found.macs, found.flops, found.parameters) == (macs, flops, 4 * 3 * 3 * 3 + 4)


# 1 x 4 x 5 x 5 in, 6 channels of 2 groups out, kernel 3, stride 2: 11 x 11
TRANSPOSED = """g (float[1,4,5,5] x) => (float[1,6,11,11] y) <float[4,3,3,3] w, float[6] b>
{ y = ConvTranspose<group=2, strides=[2,2]>(x, w, b) }"""


def test_a_transposed_convolution():
    true = 4 * 5 * 5 * 3 * 3 * 3
    assert counted("fvcore", TRANSPOSED).flops == true
    # onnx-tool: all of the kernel at each output
    over = 6 * 11 * 11 * (3 * 3 * 3 + 1)
    assert counted("onnx-tool", TRANSPOSED).macs == over
    # calflops: groups divide twice; the bias over the size of a convolution: (5 - 3) // 2 + 1 = 2
    found = counted("calflops", TRANSPOSED)
    assert (found.macs, found.flops) == (true // 2, 2 * (true // 2) + 3 * 2 * 2)


GEMM = "g (float[5,8] x) => (float[5,6] y) <float[6,8] w, float[6] b> { y = Gemm<transB=1>(x, w, b) }"
MATMUL = "g (float[2,5,8] x, float[2,8,6] z) => (float[2,5,6] y) { y = MatMul(x, z) }"


@pytest.mark.parametrize(
    ("name", "text", "macs", "flops"),
    [
        ("onnx-tool", GEMM, 5 * 6 * (8 + 1), 2 * 5 * 6 * (8 + 1)),
        ("fvcore", GEMM, None, 5 * 6 * 8),
        ("calflops", GEMM, 5 * 6 * 8, 2 * 5 * 6 * 8),
        ("onnx-tool", MATMUL, 2 * 5 * 6 * 8, 2 * 2 * 5 * 6 * 8),
        ("fvcore", MATMUL, None, 2 * 5 * 6 * 8),
        ("calflops", MATMUL, 2 * 5 * 6 * 8, 2 * 2 * 5 * 6 * 8),
    ],
)
def test_matrix_products(name, text, macs, flops):
    found = counted(name, text)
    assert (found.macs, found.flops) == (macs, flops)


# an operator over 2 x 4 x 6 x 6 = 288 elements: what each tool counts of it (onnx-tool: MACs; the others: FLOPs)
ELEMENTS = 2 * 4 * 6 * 6


@pytest.mark.parametrize(
    ("operator", "onnx_tool", "fvcore", "calflops"),
    [
        ("Relu(x)", 1 * ELEMENTS, 0, ELEMENTS),
        ("Sigmoid(x)", 32 * ELEMENTS, 0, 0),
        ("Tanh(x)", 2 * 38 * ELEMENTS, 0, 0),
        ("Softmax(x)", 36 * ELEMENTS, 0, ELEMENTS),
        ("Exp(x)", 32 * ELEMENTS, 0, 0),
        ("Sqrt(x)", 24 * ELEMENTS, 0, 0),
        ("Erf(x)", 0, 0, ELEMENTS),
        ("Add(x, x)", 1 * ELEMENTS, 0, 0),
        ("Div(x, x)", 4 * ELEMENTS, 0, 0),
        ("Sum(x, x, x)", 2 * ELEMENTS, 0, 0),
        ("HardSwish(x)", 5 * ELEMENTS, 0, 0),
        ("LeakyRelu(x)", 2 * ELEMENTS, 0, ELEMENTS),
        ("GlobalAveragePool(x)", ELEMENTS + 4 * 2 * 4, ELEMENTS, ELEMENTS),
        ("MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)", 9 * ELEMENTS, 0, ELEMENTS),
        ("BatchNormalization(x, s, s, s, s)", 31 * ELEMENTS, 2 * ELEMENTS, 2 * ELEMENTS),
        ("InstanceNormalization(x, s, s)", 14 * ELEMENTS, 5 * ELEMENTS, 5 * ELEMENTS),
        ("LayerNormalization(x, l)", 7 * ELEMENTS + 29 * 2 * 4 * 6, 5 * ELEMENTS, 5 * ELEMENTS),
        ("ReduceMean(x)", ELEMENTS, 0, 0),
        ("Transpose(x)", 0, 0, 0),
    ],
)
def test_other_operators(operator, onnx_tool, fvcore, calflops):
    text = f"g (float[2,4,6,6] x) => (y) <float[4] s, float[6] l> {{ y = {operator} }}"
    assert counted("onnx-tool", text).macs == onnx_tool
    assert counted("fvcore", text).flops == fvcore
    found = counted("calflops", text)
    assert (found.macs, found.flops) == (0, calflops)


def test_what_has_no_rule_is_named():
    found = counted("fvcore", "g (float[4] x) => (float[4] y) { h = Relu(x)  i = Relu(h)  y = Tanh(i) }")
    assert found.differences[-1] == "not counted by it: Relu (2), Tanh (1)"


# 7 steps, batch 2, 5 features, 3 units
LSTM = """g (float[7,2,5] x) => (float[7,1,2,3] y) <float[1,12,5] w, float[1,12,3] r, float[1,24] b>
{ y = LSTM<hidden_size=3>(x, w, r, b) }"""


def test_a_recurrent_layer():
    gates, steps = 4 * 3, 7 * 2
    assert counted("fvcore", LSTM).flops == 0
    found = counted("calflops", LSTM)
    a_step = (2 * gates * 5 - gates) + (2 * gates * 3 - gates) + 10 * 3 + 2 * gates
    assert (found.macs, found.flops) == (0, steps * a_step)
    weights = gates * 5 + gates * 3 + 2 * gates
    assert counted("onnx-tool", LSTM).macs == steps * (weights + 3 * (4 + 3 * 32 + 2 * 38 + 4))


def test_a_loop_counts_at_each_turn():
    text = """g (float[4,4] x) => (float[4,4] y) <int64 n = {5}, bool c = {1}>
    { y = Loop<body = body (int64 i, bool d, float[4,4] s) => (bool e, float[4,4] t)
        { e = Identity(d)  t = MatMul(s, s) }>(n, c, x) }"""
    assert counted("fvcore", text).flops == 5 * 4 * 4 * 4


# --- whole networks ----------------------------------------------------------------------------------


def at(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


# printed by onnx-tool at the commit that `conventions` names: (MACs, parameters)
PRINTED = {
    TINY / "mlperf_tiny__ic_resnet8_fp32.onnx": (12_694_514, 77_708),
    TINY / "mlperf_tiny__kws_dscnn.onnx": (3_143_984, 24_389),
    MODELS / "mobilenet_v2.ts13.onnx": (319_949_192, 3_487_816),
    MODELS / "resnet18.ts13_bn.onnx": (1_895_963_624, 11_706_792),
    MODELS / "squeezenet1_1.ts13.onnx": (357_475_224, 1_237_704),
    MODELS / "densenet121.ts13.onnx": (3_184_545_768, 8_074_984),
    MODELS / "unet_small.dynamo.onnx": (792_231_936, 1_940_834),
    MODELS / "srnet.ts13.onnx": (1_538_719_744, 81_552),
}


@pytest.mark.parametrize("path", PRINTED, ids=lambda p: p.name)
def test_what_onnx_tool_prints(path):
    found = as_counted_by("onnx-tool", count(read_model(str(at(path)))))
    assert (found.macs, found.parameters) == PRINTED[path]


def test_onnx_tool_on_a_graph_that_works_out_shapes():
    found = as_counted_by("onnx-tool", count(read_model(str(at(MODELS / "vit_tiny_patch16_224.ts17.onnx")))))
    assert found.macs == 1_329_428_471
    assert found.parameters == pytest.approx(5_746_446, rel=1e-4)


# from the tables of calflops' README: FLOPs and MACs to the digits it prints
@pytest.mark.parametrize(
    ("name", "flops", "macs"),
    [("alexnet.dynamo.onnx", 1.42974e9, 714.188e6), ("resnet18.ts13_bn.onnx", 3.63625e9, 1.81407e9)],
)
def test_what_calflops_publishes(name, flops, macs):
    found = as_counted_by("calflops", count(read_model(str(at(MODELS / name)))))
    assert found.flops == pytest.approx(flops, rel=2e-6)
    assert found.macs == pytest.approx(macs, rel=2e-6)


@pytest.mark.parametrize(
    "name", ["alexnet.dynamo.onnx", "ic_resnet8.ts13.onnx", "resnet18.ts13_bn.onnx", "mobilenet_v2.ts13.onnx"]
)
def test_fvcore_of_convolutions_and_products(name):
    """The reference's fvcore column has convolutions and products; beside these it counts norms and pools."""
    path = at(MODELS / name)
    with (MODELS / "reference.csv").open(encoding="utf-8") as file:
        expected = next(int(row["macs_fvcore"]) for row in csv.DictReader(file) if row["file"] == name)
    network = count(read_model(str(path)))
    others = {"BatchNormalization": 2, "GlobalAveragePool": 1}
    counting = [n for n in network.nodes if n.node.op in others]
    beside = sum(others[n.node.op] * n.graph.tensors[n.node.inputs[0]].numel for n in counting)
    assert as_counted_by("fvcore", network).flops == expected + beside
