"""Operators by what fusion may do with them."""

from __future__ import annotations

CONVOLUTIONS = frozenset("Conv ConvTranspose ConvInteger QLinearConv FusedConv NhwcConv NhwcFusedConv".split())
MAC = CONVOLUTIONS | frozenset(
    """Gemm MatMul FusedGemm FusedMatMul QGemm QLinearMatMul MatMulInteger MatMulIntegerToFloat ConvIntegerToFloat
    MatMulNBits DynamicQuantizeMatMul Einsum""".split()
)
NORMALIZATIONS = frozenset({"BatchNormalization", "InstanceNormalization", "GroupNormalization"})
# normalisations that runtimes have with a sum before them
ROW_NORMALIZATIONS = frozenset({"LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization"})
ACTIVATIONS = frozenset(
    """Relu LeakyRelu PRelu Elu Celu Selu ThresholdedRelu Clip Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign
    Mish Swish Gelu FastGelu QuickGelu""".split()
)
# what onnxruntime's FusedConv and FusedGemm know
SIMPLE_ACTIVATIONS = frozenset("Relu LeakyRelu Clip Sigmoid HardSigmoid Tanh".split())
# one result an element from the operands' elements at the same place: chains of them need no memory between
POINTWISE = ACTIVATIONS | frozenset(
    """Add Sub Mul Div Pow Mod Min Max Neg Abs Sign Sqrt Reciprocal Exp Log Erf Sin Cos Tan Floor Ceil Round
    Cast Where Not And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual IsNaN IsInf""".split()
)
# several elements into one, or all of a row into each: what is element-wise before and behind runs along
REDUCTIONS = ROW_NORMALIZATIONS | frozenset(
    """ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum
    ReduceLogSumExp ArgMax ArgMin Softmax LogSoftmax InstanceNormalization GroupNormalization GlobalAveragePool
    GlobalMaxPool""".split()
)
GATES = frozenset({"Sigmoid", "HardSigmoid", "Softplus"})  # x · gate(x): SiLU, HardSwish
# index arithmetic in generated code, strided views in PyTorch: nothing moves that the neighbours would not move
MOVED = frozenset("Transpose Slice Split SplitToSequence Concat Expand Tile Pad Gather".split())
PADDED = frozenset("Conv QLinearConv FusedConv ConvInteger MaxPool AveragePool NhwcConv NhwcFusedConv".split())
# operators that know which axes are an image's
SPATIAL = CONVOLUTIONS | frozenset(
    """MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool QLinearAveragePool QLinearGlobalAveragePool
    Resize Upsample BatchNormalization InstanceNormalization DepthToSpace SpaceToDepth LRN""".split()
)
