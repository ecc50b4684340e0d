from __future__ import annotations

import pytest

from efficiency_cli.graph.model import DType
from efficiency_cli.graph.roles import is_parameter, parameter_count

MS = "com.microsoft"
F32, F16, I8, U8, I32, I64 = DType.FLOAT32, DType.FLOAT16, DType.INT8, DType.UINT8, DType.INT32, DType.INT64

PARAMETERS = [
    ("", "Conv", 1, (64, 3, 7, 7), F32),
    ("", "Conv", 2, (64,), F32),
    ("", "MatMul", 1, (768, 768), F16),
    ("", "Gather", 0, (30522, 768), F32),
    ("", "BatchNormalization", 1, (64,), F32),
    ("", "BatchNormalization", 2, (64,), F32),
    ("", "Add", 1, (64,), F32),
    ("", "Mul", 0, (1, 64, 1, 1), F32),
    ("", "PRelu", 1, (1,), F32),
    ("", "LSTM", 1, (1, 24, 5), F32),
    ("", "LSTM", 2, (1, 24, 6), F32),
    ("", "LSTM", 3, (1, 48), F32),
    ("", "LSTM", 7, (1, 18), F32),
    ("", "QLinearConv", 3, (64, 3, 7, 7), I8),
    ("", "QLinearConv", 8, (64,), I32),
    ("", "DequantizeLinear", 0, (64, 3, 7, 7), I8),
    ("", "DequantizeLinear", 0, (64,), I32),
    ("", "MatMulInteger", 1, (16, 8), I8),
    (MS, "QGemm", 3, (16, 8), I8),
    (MS, "QGemm", 6, (8,), I32),
    (MS, "MatMulNBits", 1, (768, 24, 16), U8),
    (MS, "MatMulNBits", 5, (768,), F32),
    (MS, "Attention", 1, (768, 2304), F32),
    (MS, "GatherBlockQuantized", 0, (100, 16), U8),
    (MS, "EmbedLayerNormalization", 2, (30522, 768), F32),
    (MS, "QLinearConcat", 2, (1, 1, 192), U8),
    ("com.microsoft.nchwc", "Conv", 1, (32, 3, 3, 3), F32),
    ("my.domain", "Fold", 1, (3, 4), F32),
]

AUXILIARY = [
    ("", "Reshape", 1, (2,), I64),
    ("", "BatchNormalization", 3, (64,), F32),
    ("", "BatchNormalization", 4, (64,), F32),
    ("", "Resize", 2, (4,), F32),
    ("", "Clip", 1, (), F32),
    ("", "Add", 1, (), F32),
    ("", "Mul", 1, (1,), F32),
    ("", "Pow", 1, (1, 1), F32),
    ("", "Where", 0, (1, 1, 128, 128), DType.BOOL),
    ("", "Mul", 1, (4,), I64),
    ("", "Gather", 1, (49, 49), I64),
    ("", "LSTM", 4, (2,), I32),
    ("", "LSTM", 5, (1, 2, 6), F32),
    ("", "QLinearConv", 1, (), F32),
    ("", "QLinearConv", 4, (64,), F32),
    ("", "QLinearConv", 5, (64,), I8),
    ("", "DequantizeLinear", 1, (64,), F32),
    ("", "DequantizeLinear", 2, (64,), I32),
    ("", "Attention", 3, (128, 128), F32),
    ("", "RotaryEmbedding", 1, (512, 32), F32),
    (MS, "QGemm", 1, (), F32),
    (MS, "QGemm", 5, (8,), I8),
    (MS, "MatMulNBits", 2, (768, 24), F32),
    (MS, "MatMulNBits", 3, (768 * 12,), U8),
    (MS, "GroupQueryAttention", 7, (512, 32), F32),
    (MS, "QLinearConcat", 0, (), F32),
    (MS, "QLinearConcat", 3, (), F32),
    (MS, "QLinearConcat", 4, (), U8),
]


@pytest.mark.parametrize("operand", PARAMETERS, ids=lambda o: f"{o[1]}-{o[2]}")
def test_parameters(operand):
    assert is_parameter(*operand)


@pytest.mark.parametrize("operand", AUXILIARY, ids=lambda o: f"{o[1]}-{o[2]}")
def test_auxiliary(operand):
    assert not is_parameter(*operand)


@pytest.mark.parametrize(
    ("op", "slot", "shape", "attributes", "dtype", "count"),
    [
        ("MatMulNBits", 1, (768, 24, 16), {"N": 768, "K": 768, "bits": 4}, U8, 768 * 768),
        ("MatMulNBits", 1, (8, 2, 16), {"N": 8, "K": 40, "bits": 4}, U8, 8 * 40),  # the last block is padded
        ("MatMulNBits", 5, (768,), {"N": 768, "K": 768}, F32, 768),
        ("MatMulBnb4", 1, (1024,), {"N": 32, "K": 64}, U8, 32 * 64),
        ("QMoE", 2, (4, 64, 16), {}, U8, 4 * 64 * 32),
        ("QMoE", 5, (4, 32, 64), {"expert_weight_bits": 8}, U8, 4 * 32 * 64),
        ("QMoE", 5, (4, 32, 64), {"fc2_expert_weight_bits": 8}, U8, 4 * 32 * 64),
        ("QMoE", 4, (4, 64), {}, F32, 4 * 64),
        ("GatherBlockQuantized", 0, (100, 16), {"bits": 4}, U8, 100 * 32),
        ("GatherBlockQuantized", 0, (100, 32), {"bits": 4}, U8, 100 * 64),
        ("GatherBlockQuantized", 0, (100, 32), {}, DType.UINT4, 100 * 32),
        ("FusedConv", 1, (4, 3, 3, 3), {}, F32, 4 * 3 * 3 * 3),
    ],
)
def test_packed_weights_count_what_they_hold(op, slot, shape, attributes, dtype, count):
    assert parameter_count(MS, op, slot, shape, attributes, dtype) == count


def test_elsewhere_elements_count():
    assert parameter_count("", "Conv", 1, (64, 3, 7, 7), {}) == 64 * 3 * 7 * 7
