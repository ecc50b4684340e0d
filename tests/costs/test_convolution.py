from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_node import t, work

from efficiency_cli.costs import CostError
from efficiency_cli.graph.model import DType, OpClass

CASES = {
    # (operator, inputs, output, attributes): MACs
    "resnet-50 stem": (
        "Conv",
        [(1, 3, 224, 224), (64, 3, 7, 7)],
        (1, 64, 112, 112),
        {},
        64 * 112 * 112 * 3 * 7 * 7,
    ),
    "batch": (
        "Conv",
        [(8, 3, 224, 224), (64, 3, 7, 7)],
        (8, 64, 112, 112),
        {},
        8 * 64 * 112 * 112 * 3 * 7 * 7,
    ),
    "1-D": ("Conv", [(1, 80, 3000), (384, 80, 3)], (1, 384, 3000), {}, 384 * 3000 * 80 * 3),
    "3-D": (
        "Conv",
        [(1, 3, 16, 112, 112), (64, 3, 3, 7, 7)],
        (1, 64, 16, 56, 56),
        {},
        64 * 16 * 56 * 56 * 3 * 3 * 7 * 7,
    ),
    "grouped": (
        "Conv",
        [(1, 128, 28, 28), (128, 4, 3, 3)],
        (1, 128, 28, 28),
        {"group": 32},
        128 * 28 * 28 * 4 * 3 * 3,
    ),
    "depthwise": ("Conv", [(1, 8, 48, 48), (8, 1, 3, 3)], (1, 8, 48, 48), {"group": 8}, 8 * 48 * 48 * 3 * 3),
    "depthwise, multiplier 2": (
        "Conv",
        [(1, 4, 8, 8), (8, 1, 3, 3)],
        (1, 8, 8, 8),
        {"group": 4},
        8 * 8 * 8 * 3 * 3,
    ),
    "strided": (
        "Conv",
        [(1, 4, 9, 9), (12, 4, 3, 3)],
        (1, 12, 5, 5),
        {"strides": (2, 2)},
        12 * 5 * 5 * 4 * 3 * 3,
    ),
    "fused": ("com.microsoft::FusedConv", [(1, 8, 5, 5), (4, 8, 1, 1)], (1, 4, 5, 5), {}, 4 * 5 * 5 * 8),
    "channels last": (
        "com.microsoft::NhwcFusedConv",
        [(1, 6, 6, 3), (4, 3, 3, 3)],
        (1, 6, 6, 4),
        {},
        6 * 6 * 4 * 3 * 3 * 3,
    ),
    "blocked": (
        "com.microsoft.nchwc::Conv",
        [(1, 3, 224, 224), (32, 3, 3, 3)],
        (1, 32, 112, 112),
        {},
        32 * 112 * 112 * 3 * 3 * 3,
    ),
    "blocked, filled up": (
        "com.microsoft.nchwc::Conv",
        [(1, 10, 4, 4), (16, 16, 1, 1)],
        (1, 16, 4, 4),
        {},
        16 * 4 * 4 * 16,
    ),
    "integer": (
        "ConvInteger",
        [t((1, 3, 8, 8), "uint8"), t((4, 3, 3, 3), "int8"), t((), "uint8")],
        (1, 4, 8, 8),
        {},
        4 * 8 * 8 * 3 * 3 * 3,
    ),
    "transposed": (
        "ConvTranspose",
        [(1, 64, 7, 7), (64, 32, 4, 4)],
        (1, 32, 14, 14),
        {},
        64 * 7 * 7 * 32 * 4 * 4,
    ),
    "transposed, grouped": (
        "ConvTranspose",
        [(1, 4, 8, 8), (4, 3, 2, 2), (6,)],
        (1, 6, 16, 16),
        {"group": 2},
        4 * 8 * 8 * 3 * 2 * 2,
    ),
    "deformable": (
        "DeformConv",
        [(1, 8, 10, 10), (4, 8, 3, 3), (1, 18, 8, 8)],
        (1, 4, 8, 8),
        {},
        4 * 8 * 8 * 8 * 3 * 3,
    ),
    "causal with state": (
        "CausalConvWithState",
        [(1, 16, 32), (16, 1, 4), None, (1, 16, 3)],
        (1, 16, 32),
        {},
        16 * 32 * 4,
    ),
}


@pytest.mark.parametrize(("key", "inputs", "output", "attributes", "macs"), CASES.values(), ids=CASES)
def test_macs(key, inputs, output, attributes, macs):
    assert work(key, inputs, [output], **attributes).macs == macs


def _quantized(group=1, bias=None, dtype="int8"):
    scalars = [t(()), t((), "uint8")]
    weight = t((4, 3 // group, 3, 3), dtype)
    operands = [t((1, 3, 6, 6), "uint8"), *scalars, weight, t((4,)), t((4,), dtype), *scalars]
    return work("QLinearConv", [*operands, *([bias] if bias else [])], [t((1, 4, 6, 6), "uint8")], group=group)


def test_quantized_has_the_macs_of_its_float_form_and_pays_for_requantisation():
    plain, with_bias = _quantized(), _quantized(bias=t((4,), "int32"))
    assert plain.macs == 4 * 6 * 6 * 3 * 3 * 3
    assert plain.ops == 2 * plain.macs + 2 * 4 * 6 * 6
    assert with_bias.ops == plain.ops + 4 * 6 * 6
    assert plain.dtype is DType.INT8
    assert plain.reads["i0"] == 3 * 6 * 6
    assert plain.reads["i3"] == 4 * 3 * 3 * 3


def test_sixteen_bit_activations_compute_in_int16():
    scalars = [t(()), t((), "uint16")]
    operands = [t((1, 3, 6, 6), "uint16"), *scalars, t((4, 3, 3, 3), "int8"), *scalars, *scalars]
    assert work("QLinearConv", operands, [t((1, 4, 6, 6), "uint16")]).dtype is DType.INT16


def test_other_operations_of_the_fused_forms():
    outputs = 4 * 5 * 5
    base = [(1, 8, 5, 5), (4, 8, 1, 1)]

    def other(inputs, **attributes):
        result = work("com.microsoft::FusedConv", inputs, [(1, 4, 5, 5)], **attributes)
        return result.ops - 2 * result.macs

    assert other(base) == 0
    assert other([*base, (4,)]) == outputs
    assert other([*base, (4,)], activation="Relu") == outputs * 2
    assert other([*base, (4,), (1, 4, 5, 5)], activation="Relu") == outputs * 3
    assert other(base, activation="Sigmoid") == outputs * 4


def test_deformable_sampling():
    inputs = [(1, 8, 10, 10), (4, 8, 3, 3), (1, 18, 8, 8), None, (1, 9, 8, 8)]
    result = work("DeformConv", inputs, [(1, 4, 8, 8)])
    # 4 corners: 4 products and 3 sums, then the mask, for every tap of every channel
    assert result.ops - 2 * result.macs == 8 * 8 * 9 * 8 * (4 + 3 + 1)


@pytest.mark.parametrize(
    ("group", "weight", "expected"),
    [
        (1, (8, 8, 3, 3), OpClass.DENSE),
        (2, (8, 4, 3, 3), OpClass.DENSE),
        (8, (8, 1, 3, 3), OpClass.DEPTHWISE),
    ],
)
def test_class(group, weight, expected):
    assert work("Conv", [(1, 8, 9, 9), weight], [(1, 8, 7, 7)], group=group).op_class is expected


def test_one_channel_is_not_depthwise():
    assert work("Conv", [(1, 1, 9, 9), (8, 1, 3, 3)], [(1, 8, 7, 7)]).op_class is OpClass.DENSE


def test_bytes_and_formula():
    result = work("Conv", [(1, 3, 224, 224), (64, 3, 7, 7), (64,)], [(1, 64, 112, 112)])
    assert result.reads == {"i0": 4 * 3 * 224 * 224, "i1": 4 * 64 * 3 * 7 * 7, "i2": 4 * 64}
    assert result.writes == {"o0": 4 * 64 * 112 * 112}
    assert result.formula == "1·64·112·112 outputs × 3/1 · 7·7 taps = 118,013,952 MACs"
    assert result.ops == 2 * 118_013_952 + 64 * 112 * 112


def test_counts_beyond_64_bits():
    assert work("Conv", [(2**62, 1, 1), (2**5, 1, 4)], [(2**62, 2**5, 1)]).macs == 2**69


@pytest.mark.parametrize(
    ("inputs", "output", "attributes", "complaint"),
    [
        ([(1, 3, 8, 8), (4, 3, 3)], (1, 4, 6, 6), {}, "ranks"),
        ([(1, 3, 8, 8), (4, 2, 3, 3)], (1, 4, 6, 6), {}, "3 input channels"),
        ([(1, 4, 8, 8), (3, 2, 3, 3)], (1, 3, 6, 6), {"group": 2}, "groups"),
        ([(1, 4, 8, 8), (4, 4, 3, 3)], (1, 4, 6, 6), {"group": 0}, "groups"),
        ([(1, 3, 8, 8)], (1, 4, 6, 6), {}, "operand 1 is missing"),
    ],
)
def test_contradictions_are_refused_with_the_node(inputs, output, attributes, complaint):
    with pytest.raises(CostError, match=f"node 'a_Conv'.*{complaint}"):
        work("Conv", inputs, [output], **attributes)


@pytest.mark.parametrize("key", ["Conv", "ConvTranspose", "DeformConv", "com.microsoft::NhwcConv"])
def test_an_unknown_shape_is_noted_not_fatal(key):
    result = work(key, [t(None), (4, 3, 3, 3), t(None)], [t(None)])
    assert result.macs == result.ops == 0
    assert result.note.startswith("shape unknown")
    assert result.reads["i1"] == 4 * 4 * 3 * 3 * 3


SIZES = st.integers(1, 6)


@given(SIZES, SIZES, SIZES, SIZES, SIZES)
def test_batch_multiplies(batch, channels, filters, size, kernel):
    def macs(n):
        return work("Conv", [(n, channels, 9, 9), (filters, channels, kernel, kernel)], [(n, filters, size, size)]).macs

    assert macs(batch) == batch * macs(1)


@given(SIZES, SIZES, SIZES, SIZES)
def test_groups_divide(group, a, b, kernel):
    x, out = (1, group * a, 9, 9), (1, group * b, 7, 7)
    whole = work("Conv", [x, (group * b, group * a, kernel, kernel)], [out]).macs
    split = work("Conv", [x, (group * b, a, kernel, kernel)], [out], group=group).macs
    assert split * group == whole


@given(SIZES, SIZES, SIZES, SIZES)
def test_one_by_one_is_a_matrix_product(batch, channels, filters, size):
    conv = work("Conv", [(batch, channels, size, size), (filters, channels, 1, 1)], [(batch, filters, size, size)])
    rows = batch * size * size
    assert conv.macs == work("MatMul", [(rows, channels), (channels, filters)], [(rows, filters)]).macs
