"""Which constant operands are parameters of the network, and which only describe an operation.

Shapes, axes, scales, zero points, statistics, masks and lengths are auxiliary. What remains is a
parameter: its elements are counted once a unique tensor. Nothing here looks at values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from efficiency_cli.graph.model import Attribute, DType, Shape

MICROSOFT = "com.microsoft"
NHWC = "com.ms.internal.nhwc"
NCHWC = "com.microsoft.nchwc"


def _slots(text: str) -> dict[str, frozenset[int]]:
    """'Reshape 1; Slice 1-4': operator and its auxiliary slots; '3-' means from 3 on."""
    result: dict[str, frozenset[int]] = {}
    for entry in text.replace("\n", ";").split(";"):
        if entry.strip():
            name, *ranges = entry.split()
            result[name] = frozenset(slot for r in ranges for slot in _range(r))
    return result


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    return range(int(first), (int(last) if last else _MOST) + 1) if dash else range(int(first), int(first) + 1)


_MOST = 31  # more operands than any operator with fixed slots has

_ONNX = _slots("""
Reshape 1; Squeeze 1; Unsqueeze 1; Expand 1; Tile 1 2; Slice 1-4; Pad 1-3; Split 1; Resize 1-3; Upsample 1
ConstantOfShape 0; Range 0-2; OneHot 1 2; CenterCropPad 1; Col2Im 1 2; AffineGrid 1; Trilu 1; Dropout 1 2
TopK 1; CumSum 1; CumProd 1; ReverseSequence 1; Compress 1; Clip 1 2; MaxUnpool 1 2; SplitToSequence 1
ReduceSum 1; ReduceMean 1; ReduceMax 1; ReduceMin 1; ReduceProd 1; ReduceL1 1; ReduceL2 1
ReduceSumSquare 1; ReduceLogSum 1; ReduceLogSumExp 1
Gather 1; GatherElements 1; GatherND 1; ScatterElements 1; ScatterND 1; Scatter 1; TensorScatter 2
BatchNormalization 3 4
QuantizeLinear 1 2; DequantizeLinear 1 2; QLinearConv 1 2 4-7; QLinearMatMul 1 2 4-7
ConvInteger 2 3; MatMulInteger 2 3
LSTM 4-6; GRU 4-6; RNN 4-6
Attention 3-6; RotaryEmbedding 1-3; LinearAttention 3; CausalConvWithState 3
NonMaxSuppression 2-4; RoiAlign 1 2; MaxRoiPool 1; GridSample 1
DFT 1 2; STFT 1 2 3; MelWeightMatrix 0-4; HannWindow 0; HammingWindow 0; BlackmanWindow 0
SequenceAt 1; SequenceInsert 2; SequenceErase 1; NegativeLogLikelihoodLoss 1 2; SoftmaxCrossEntropyLoss 1 2
""")

_MS = _slots("""
QuantizeLinear 1 2; DequantizeLinear 1 2; QLinearConv 1 2 4-7; QGemm 1 2 4 5 7 8
QLinearAdd 1 2 4-7; QLinearMul 1 2 4-7; QLinearSigmoid 1-4; QLinearLeakyRelu 1-4; QLinearSoftmax 1-4
QLinearAveragePool 1-4; QLinearGlobalAveragePool 1-4; QLinearReduceMean 1-4; QLinearWhere 0 2 3 5-8
MatMulIntegerToFloat 2-5; DynamicQuantizeMatMul 2 3; DynamicQuantizeLSTM 4-6 8-11; MulInteger 1 3
MatMulNBits 2-4; MatMulBnb4 2; MatMulFpQ4 2; GatherBlockQuantized 1-3; GemmFloat8 3-5
MoE 1; QMoE 1 3 6 9 11-20
Attention 3-6; DecoderMaskedSelfAttention 3-8; QAttention 3-8; PackedAttention 3-5
MultiHeadAttention 4-9; DecoderMaskedMultiHeadAttention 3-9; PackedMultiHeadAttention 4-6
GroupQueryAttention 3-10 12 13 16; RotaryEmbedding 1-3; LinearAttention 3; CausalConvWithState 3
EmbedLayerNormalization 0 1 7 8; QEmbedLayerNormalization 0 1 7-17
ConvTransposeWithDynamicPads 2; Pad 1-3; Trilu 1; ExpandDims 1; Range 0-2; GridSample 1; GatherND 1
ReduceSumInteger 1; RemovePadding 1; RestorePadding 1; TorchEmbedding 1-3; NhwcMaxPool; MaxpoolWithMask 1
""")

# (domain, operator) -> operand slots that never hold parameters
AUXILIARY: Mapping[tuple[str, str], frozenset[int]] = {
    **{("", name): slots for name, slots in _ONNX.items()},
    **{(MICROSOFT, name): slots for name, slots in _MS.items()},
    (NHWC, "QLinearConv"): _ONNX["QLinearConv"],
    (NHWC, "BatchNormalization"): _ONNX["BatchNormalization"],
    (NHWC, "QLinearAveragePool"): _MS["QLinearAveragePool"],
    (NHWC, "Resize"): _ONNX["Resize"],
}

# of these a one-element operand is a constant of a formula, not something learnt
_ELEMENTWISE_NAMES = """
Add Sub Mul Div Pow Mod Max Min Sum Mean Where Clip Equal Greater GreaterOrEqual Less LessOrEqual
And Or Xor BitShift BitwiseAnd BitwiseOr BitwiseXor
"""
_ELEMENTWISE = frozenset(_ELEMENTWISE_NAMES.split())

# quantised operators whose wide-integer operand in these slots is a bias (or its stored form)
_INTEGER_PARAMETERS: Mapping[tuple[str, str], frozenset[int]] = {
    ("", "QLinearConv"): frozenset({8}),
    (NHWC, "QLinearConv"): frozenset({8}),
    (MICROSOFT, "QLinearConv"): frozenset({8}),
    (MICROSOFT, "QGemm"): frozenset({6}),
    ("", "DequantizeLinear"): frozenset({0}),
    (MICROSOFT, "DequantizeLinear"): frozenset({0}),
}


def is_parameter(domain: str, op: str, slot: int, shape: Shape | None, dtype: DType | None) -> bool:
    """Whether a constant in operand `slot` of the operator is one of the network's parameters.

    Not those listed in AUXILIARY, nor a lone element of an element-wise operator, nor bool and 32- or
    64-bit integers (indices, lengths), unless they are a quantised bias.
    """
    if op == "QLinearConcat":
        return slot >= 2 and slot % 3 == 2
    if slot in AUXILIARY.get((domain, op), ()):
        return False
    if domain == "" and op in _ELEMENTWISE and math.prod(shape or ()) <= 1:
        return False
    index_like = dtype is DType.BOOL or (dtype is not None and dtype.is_integer and dtype.bits >= 32)
    return not index_like or slot in _INTEGER_PARAMETERS.get((domain, op), ())


def parameter_count(
    domain: str,
    op: str,
    slot: int,
    shape: Shape,
    attributes: Mapping[str, Attribute],
    dtype: DType | None = None,
) -> int:
    """Parameters in an operand of `shape` and `dtype`: its elements, or what is packed into them.

    MatMulNBits and MatMulBnb4 hold N·K weights (padding of the last block left out); the bytes of QMoE and
    GatherBlockQuantized hold 8 / bits each, types of less than a byte hold their own elements.
    """
    elements = math.prod(shape)
    if domain != MICROSOFT or (dtype is not None and dtype.bits < 8):
        return elements
    if op in ("MatMulNBits", "MatMulBnb4") and slot == 1:
        return _attribute(attributes, "N", 0) * _attribute(attributes, "K", 0) or elements
    if op == "QMoE" and slot in _EXPERTS:
        bits = _attribute(attributes, "expert_weight_bits", 4)
        return elements * 8 // max(1, _attribute(attributes, _EXPERTS[slot], bits))
    if op == "GatherBlockQuantized" and slot == 0:
        return elements * 8 // max(1, _attribute(attributes, "bits", 4))
    return elements


# QMoE's packed weights, and the attribute that overrides `expert_weight_bits` for each
_EXPERTS = {2: "fc1_expert_weight_bits", 5: "fc2_expert_weight_bits", 8: "fc3_expert_weight_bits"}


def _attribute(attributes: Mapping[str, Attribute], name: str, default: int) -> int:
    value = attributes.get(name, default)
    return value if isinstance(value, int) else default
