from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_node import t, work

from efficiency_cli.costs import CostError
from efficiency_cli.graph.model import DType, OpClass

MS = "com.microsoft::"
CASES = {
    "2-D": ("MatMul", [(8, 16), (16, 4)], (8, 4), {}, 8 * 16 * 4),
    "batched": ("MatMul", [(2, 3, 8, 16), (2, 3, 16, 4)], (2, 3, 8, 4), {}, 2 * 3 * 8 * 16 * 4),
    "broadcast batch": ("MatMul", [(5, 1, 8, 16), (3, 16, 4)], (5, 3, 8, 4), {}, 5 * 3 * 8 * 16 * 4),
    "dot product": ("MatMul", [(16,), (16,)], (), {}, 16),
    "row × batch": ("MatMul", [(16,), (3, 16, 8)], (3, 8), {}, 3 * 16 * 8),
    "batch × column": ("MatMul", [(3, 4, 16), (16,)], (3, 4), {}, 3 * 4 * 16),
    "empty": ("MatMul", [(0, 16), (16, 8)], (0, 8), {}, 0),
    "gemm": ("Gemm", [(8, 16), (16, 4), (4,)], (8, 4), {}, 8 * 16 * 4),
    "gemm, both transposed": ("Gemm", [(16, 8), (4, 16)], (8, 4), {"transA": 1, "transB": 1}, 8 * 16 * 4),
    "fused gemm": (f"{MS}FusedGemm", [(8, 16), (4, 16)], (8, 4), {"transB": 1}, 8 * 16 * 4),
    "fused matmul": (f"{MS}FusedMatMul", [(2, 8, 16), (2, 4, 16)], (2, 8, 4), {"transB": 1}, 2 * 8 * 16 * 4),
    "transposed batch": (
        f"{MS}FusedMatMul",
        [(8, 2, 16), (2, 16, 4)],
        (2, 8, 4),
        {"transBatchA": 1},
        2 * 8 * 16 * 4,
    ),
    "activation": (
        f"{MS}FusedMatMulActivation",
        [(8, 16), (16, 4)],
        (8, 4),
        {"activation": "Relu"},
        8 * 16 * 4,
    ),
    "integer": (
        "MatMulInteger",
        [t((4, 16), "uint8"), t((16, 8), "int8")],
        t((4, 8), "int32"),
        {},
        4 * 16 * 8,
    ),
    "4 bits": (
        f"{MS}MatMulNBits",
        [(1, 4, 64), t((32, 2, 16), "uint8"), (64,)],
        (1, 4, 32),
        {"K": 64, "N": 32, "bits": 4, "block_size": 32},
        4 * 64 * 32,
    ),
    "bnb": (
        f"{MS}MatMulBnb4",
        [(4, 64), t((1024,), "uint8"), (64,)],
        (4, 32),
        {"K": 64, "N": 32},
        4 * 64 * 32,
    ),
    "blob": (
        f"{MS}MatMulFpQ4",
        [(4, 64), t((999,), "uint8"), t((2,), "int64", (64, 32))],
        (4, 32),
        {},
        4 * 64 * 32,
    ),
}


@pytest.mark.parametrize(("key", "inputs", "output", "attributes", "macs"), CASES.values(), ids=CASES)
def test_macs(key, inputs, output, attributes, macs):
    assert work(key, inputs, [output], **attributes).macs == macs


def other(key, inputs, output, **attributes):
    result = work(key, inputs, [output], **attributes)
    return result.ops - 2 * result.macs


GEMM = [(8, 16), (16, 4)]


@pytest.mark.parametrize(
    ("inputs", "attributes", "each"),
    [
        (GEMM, {}, 0),
        ([*GEMM, (4,)], {}, 1),
        ([*GEMM, (4,)], {"alpha": 1.0, "beta": 1.0}, 1),
        ([*GEMM, (4,)], {"beta": 0.0}, 0),
        ([*GEMM, (4,)], {"alpha": 0.5, "beta": 2.0}, 3),
        (GEMM, {"beta": 2.0}, 0),
    ],
)
def test_gemm_pays_for_its_bias_and_scales(inputs, attributes, each):
    assert other("Gemm", inputs, (8, 4), **attributes) == each * 8 * 4


def test_quantized_forms_pay_for_their_scales():
    u8, s8, s, z = t((8, 16), "uint8"), t((16, 4), "int8"), t(()), t((), "uint8")
    out = t((8, 4), "uint8")
    assert other("QLinearMatMul", [u8, s, z, s8, s, z, s, z], out) == 2 * 8 * 4
    assert other("MatMulInteger", [u8, s8, z, z], t((8, 4), "int32")) == 0
    assert other(f"{MS}MatMulIntegerToFloat", [u8, s8, s, s, z, z, (4,)], (8, 4)) == 2 * 8 * 4
    assert other(f"{MS}QGemm", [u8, s, z, s8, s, z, t((4,), "int32"), s, z], out) == 3 * 8 * 4
    assert other(f"{MS}QGemm", [u8, s, z, s8, s, z], (8, 4)) == 1 * 8 * 4
    dynamic = [(8, 16), s8, s, z, (4,)]
    assert other(f"{MS}DynamicQuantizeMatMul", dynamic, (8, 4)) == 4 * 8 * 16 + 2 * 8 * 4


def test_quantized_forms_compute_in_integers():
    u8, s8, s, z = t((8, 16), "uint8"), t((16, 4), "int8"), t(()), t((), "uint8")
    assert work("QLinearMatMul", [u8, s, z, s8, s, z, s, z], [t((8, 4), "uint8")]).dtype is DType.INT8
    assert work("MatMulInteger", [u8, s8], [t((8, 4), "int32")]).dtype is DType.INT8
    assert work(f"{MS}DynamicQuantizeMatMul", [(8, 16), s8, s], [(8, 4)]).dtype is DType.INT8
    assert work("MatMul", [t((8, 16), "float16"), t((16, 4), "float16")], [t((8, 4), "float16")]).dtype is DType.FLOAT16


def test_packed_weights_are_read_as_stored_and_multiplied_in_float():
    packed = [
        t((1, 768), "float16"),
        t((768, 24, 16), "uint8"),
        t((768, 24), "float16"),
        t((768 * 12,), "uint8"),
    ]
    result = work(f"{MS}MatMulNBits", packed, [t((1, 768), "float16")], K=768, N=768, bits=4, block_size=32)
    assert result.dtype is DType.FLOAT16
    assert result.reads == {"i0": 768 * 2, "i1": 768 * 768 // 2, "i2": 768 * 24 * 2, "i3": 768 * 12}


@pytest.mark.parametrize(
    ("rows", "bits", "variant"),
    [
        (1, 4, "packed-gemv"),
        (2, 4, "packed-gemm"),
        (2, 2, "packed-gemm"),
        (1, 8, "packed8-gemv"),
        (2, 8, "packed8-gemm"),
    ],
)
def test_packed_weights_are_told_apart_where_rows_share_them(rows, bits, variant):
    inputs = [(1, rows, 64), t((32, 2, 4 * bits), "uint8"), (64,)]
    result = work(f"{MS}MatMulNBits", inputs, [(1, rows, 32)], K=64, N=32, bits=bits, block_size=32)
    assert result.variant == variant


def test_matrix_products_are_dense_with_their_numbers_shown():
    result = work("MatMul", [(12, 128, 64), (12, 64, 128)], [(12, 128, 128)])
    assert result.op_class is OpClass.DENSE
    assert result.formula == "12·128·128 outputs × 64 = 12,582,912 MACs"


def test_an_operand_used_twice_is_read_once():
    from efficiency_cli.costs import work_of
    from efficiency_cli.graph.model import Graph, Node, Tensor

    node = Node("m", "MatMul", "", ("x", "x"), ("y",))
    tensors = {name: Tensor(name, (8, 8), DType.FLOAT32) for name in ("x", "y")}
    assert work_of(node, Graph("g", (node,), tensors, ("x",), ("y",))).reads == {"x": 8 * 8 * 4}


@pytest.mark.parametrize(
    ("key", "inputs", "complaint"),
    [
        ("MatMul", [(8, 16), (15, 4)], "inner dimensions"),
        ("MatMul", [(2, 8, 16), (3, 16, 4)], "broadcast"),
        ("MatMul", [(), (16, 4)], "scalar"),
        ("Gemm", [(2, 8, 16), (16, 4)], "matrices"),
        (f"{MS}MatMulNBits", [(8, 16), t((4, 1, 8), "uint8")], "N and K"),
    ],
)
def test_contradictions(key, inputs, complaint):
    with pytest.raises(CostError, match=complaint):
        work(key, inputs, [(8, 4)])


def test_unknown_shape():
    assert work("MatMul", [t(None), (16, 4)], [t(None)]).note.startswith("shape unknown")


def test_det_and_inverse_by_lu():
    assert other("Det", [(5, 3, 3)], (5,)) == 5 * (2 * 27 // 3)
    assert other(f"{MS}Inverse", [(5, 3, 3)], (5, 3, 3)) == 5 * 2 * 27


SIZES = st.integers(1, 9)


@given(SIZES, SIZES, SIZES, SIZES)
def test_batch_multiplies_and_parts_sum(batch, m, n, k):
    def macs(b, rows):
        return work("MatMul", [(b, rows, k), (k, n)], [(b, rows, n)]).macs

    assert macs(batch, m) == batch * macs(1, m)
    assert macs(1, m) + macs(1, n) == macs(1, m + n)


@given(SIZES, SIZES, SIZES, st.booleans(), st.booleans())
def test_transposes_change_nothing(m, n, k, left, right):
    a, b = ((k, m) if left else (m, k)), ((n, k) if right else (k, n))
    assert work("Gemm", [a, b], [(m, n)], transA=int(left), transB=int(right)).macs == m * n * k
