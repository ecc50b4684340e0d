from __future__ import annotations

import pytest
from one_node import t, work

from efficiency_cli.costs.quantization import narrow_type
from efficiency_cli.graph.model import DType, OpClass

MS = "com.microsoft::"
X = (2, 3, 4)
ELEMENTS = 2 * 3 * 4
U8, S, Z = t(X, "uint8"), t(()), t((), "uint8")


@pytest.mark.parametrize(
    ("key", "inputs", "output", "each", "dtype"),
    [
        ("QuantizeLinear", [X, S, Z], U8, 2, DType.FLOAT32),
        ("DequantizeLinear", [U8, S, Z], X, 2, DType.FLOAT32),
        ("DequantizeLinear", [U8, t((), "float16"), Z], t(X, "float16"), 2, DType.FLOAT16),
        ("DynamicQuantizeLinear", [X], U8, 2 + 2, DType.FLOAT32),
        (f"{MS}QLinearAdd", [U8, S, Z, U8, S, Z, S, Z], U8, 1 + 2, DType.INT8),
        (f"{MS}QLinearMul", [U8, S, Z, U8, S, Z, S, Z], U8, 1 + 2, DType.INT8),
        (f"{MS}QLinearSigmoid", [U8, S, Z, S, Z], U8, 4 + 2, DType.INT8),
        (f"{MS}QLinearLeakyRelu", [U8, S, Z, S, Z], U8, 2 + 2, DType.INT8),
        (f"{MS}QLinearWhere", [t(X, "bool"), U8, S, Z, U8, S, Z, S, Z], U8, 1 + 2, DType.INT8),
        (
            f"{MS}QLinearConcat",
            [S, Z, t((1, 3, 4), "uint8"), S, Z, t((1, 3, 4), "uint8"), S, Z],
            U8,
            2,
            DType.INT8,
        ),
    ],
)
def test_operations_and_type(key, inputs, output, each, dtype):
    result = work(key, inputs, [output])
    assert (result.macs, result.ops, result.dtype) == (0, each * ELEMENTS, dtype)
    assert result.op_class is OpClass.ELEMENTWISE


def test_bytes_shrink_fourfold():
    result = work("QuantizeLinear", [X, S, Z], [U8])
    assert result.reads["i0"] == 4 * result.writes["o0"] == 4 * ELEMENTS


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (("uint8", "int8"), DType.INT8),
        (("uint8", "uint8"), DType.INT8),
        (("uint8", "int4"), DType.INT8),
        (("uint16", "int8"), DType.INT16),
        (("float8e4m3fn", "float8e4m3fn"), DType.FLOAT8E4M3FN),
        (("float32", "int8"), DType.FLOAT32),
    ],
)
def test_the_type_multiplied_in(types, expected):
    assert narrow_type(*(t((1,), name) for name in types)) is expected
