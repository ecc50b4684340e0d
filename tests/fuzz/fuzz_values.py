"""Numbers, names and attributes that are apt to go wrong, drawn at random."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import onnx
from onnx import AttributeProto, TensorProto, helper

SIZES = (0, 1, 2, 3, 5, 7, 16, 64, 255, 1000, 4097, 65536, 10**6, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1)
INTS = (*SIZES, -1, -2, -3, -7, -(2**31), -(2**62), -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-30, 1e30, float("inf"), float("-inf"), float("nan"))
TYPES = tuple(TensorProto.DataType.values())
NAMES = ("", "x", "x" * 5000, "a\x00b", "\x1b[31m", "../../etc/passwd", "%s{0}", "[bold]", "é\u202e", "0", " ", "a\nb")
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc", "my.domain")
CONTRIB = tuple(
    """Attention MultiHeadAttention GroupQueryAttention PackedAttention SkipLayerNormalization BiasGelu FastGelu
    SkipSimplifiedLayerNormalization EmbedLayerNormalization FusedConv FusedMatMul FusedGemm NhwcConv RotaryEmbedding
    MatMulNBits MatMulBnb4 DynamicQuantizeMatMul MatMulIntegerToFloat QLinearAdd QLinearMul QLinearConcat QGemm
    QLinearSigmoid QLinearSoftmax QLinearGlobalAveragePool QLinearAveragePool QAttention QEmbedLayerNormalization
    GatherBlockQuantized MoE QMoE BiasSplitGelu GroupNorm Sampling BeamSearch QuickGelu Gelu""".split()
)


def some_ints(rng: random.Random) -> list[int]:
    return [rng.choice(INTS) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4, 4, 6, 8, 50, 5000)))]


def random_attribute(rng: random.Random, name: str) -> AttributeProto:
    kind = rng.randrange(8)
    if kind <= 1:
        return helper.make_attribute(name, rng.choice(INTS))
    if kind <= 3:
        return helper.make_attribute(name, some_ints(rng), attr_type=AttributeProto.INTS)
    if kind == 4:
        return helper.make_attribute(name, rng.choice(FLOATS))
    if kind == 5:
        return helper.make_attribute(name, rng.choice((*NAMES, "SAME_UPPER", "NOTSET", "VALID", "linear", "ij,jk->ik")))
    if kind == 6:
        return helper.make_attribute(name, [rng.choice(FLOATS)] * rng.randrange(6), attr_type=AttributeProto.FLOATS)
    return helper.make_attribute(name, int_tensor("", some_ints(rng)))


def int_tensor(name: str, values: Sequence[int]) -> TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


@cache
def schema_attributes(op: str) -> tuple[str, ...]:
    return tuple(sorted({a for s in schemas() if s.name == op for a in s.attributes}))


@cache
def schemas() -> tuple[onnx.defs.OpSchema, ...]:
    return tuple(sorted(onnx.defs.get_all_schemas(), key=lambda s: (s.domain, s.name)))
