"""The names of what runtimes fuse, and the sets of them that whole runtimes are known for: data, no code.

A profile lists either; `efficiency_cli.graph.fusion` does what they say. Nothing here imports anything heavy:
the schema of profiles is made from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        "fold-batchnorm": "BatchNormalization into the product before it (into constant weights: always)",
        "bias": "a constant added to a product",
        "activation": "an activation, or x · gate(x), behind a product, a sum or a normalisation",
        "add": "another tensor added to a product",
        "pad": "Pad into the convolution or pool behind it",
        "qdq": "Q/DQ around an operator (part of the counting: always)",
        "qdq-units": "Q/DQ only around operators with kernels for their types; the others in float, Q and DQ kernels",
        "qdq-unsigned": "with qdq-units: int8 becomes uint8 where one DQ reads it, no product takes int8 activations",
        "qdq-nhwc": "with qdq-units: integer convolutions are channels last, a Transpose where images enter or leave",
        "pointwise": "chains of element-wise operators of one shape",
        "movement": "Transpose, Slice, Split, Concat … written to their places by what makes their operand",
        "matmul-add": "a constant vector added to a product with constant weights",
        "simple-activation": "Relu, LeakyRelu, Clip, Sigmoid, HardSigmoid or Tanh behind a convolution or Gemm",
        "conv-add": "another tensor added to a convolution, and the activation of the sum",
        "silu": "x · sigmoid(x) as one kernel",
        "hardswish": "x · hardsigmoid(x), or x · clip(x + 3, 0, 6) / 6, as one kernel",
        "gelu": "GELU written with Erf, Tanh or Sigmoid as one kernel",
        "layernorm": "LayerNormalization written with ReduceMean … Sqrt … Div as one kernel",
        "rmsnorm": "RMSNormalization written with ReduceMean … Sqrt as one kernel",
        "rmsnorm-division": "RMSNormalization as one kernel where it is written with Div, not with Reciprocal",
        "softmax": "softmax written with Exp and ReduceSum as one kernel",
        "attention": "scores, mask, softmax and values as one kernel that keeps the scores on the chip",
        "add-layernorm": "a sum of two alike tensors of three axes that nobody else reads, and its layer normalisation",
        "add-layernorm-shared": "a sum, whoever reads it, and the layer or RMS normalisation of it",
        "scale": "MatMul and scalar factors before or behind it",
        "transpose-matmul": "Transpose of the last two axes into the MatMul that reads it",
        "shared-gemm": "products of one operand with several constant weights as one product",
        "dynamic-quantize": "MatMulInteger with Cast, scale and bias, and the DynamicQuantizeLinear of it alone",
        "slices": "slices of one tensor that are all of it along one axis as one Split",
        "reduction": "element-wise chains and the reduction, softmax or normalisation behind or before them",
        "casts": "a Cast to the type that is there: it costs nothing",
        "transpose-pairs": "Transposes that cancel, also around element-wise operators: they cost nothing",
        "layout": "layout Transposes around convolutions and pools: they cost nothing, the runtime is NHWC",
    }
)

# what nearly every runtime does; used where no machine is named
DEFAULT_PATTERNS = frozenset({"bias", "activation", "add", "pad"})

_ONNXRUNTIME = (
    "fold-batchnorm", "qdq", "qdq-units", "qdq-unsigned", "qdq-nhwc", "pad", "matmul-add", "simple-activation",
    "conv-add", "silu", "gelu", "layernorm", "rmsnorm-division", "add-layernorm", "scale", "transpose-matmul",
    "dynamic-quantize", "slices", "transpose-pairs", "casts",
)  # fmt: skip

# a compiler for GPUs that generates element-wise and reducing kernels and has ones for attention
_COMPILED = (
    "fold-batchnorm", "qdq", "bias", "activation", "add", "pad", "pointwise", "reduction", "silu", "hardswish", "gelu",
    "layernorm", "rmsnorm", "softmax", "attention", "scale", "transpose-matmul", "transpose-pairs", "casts",
)  # fmt: skip

SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # the graphs that onnxruntime 1.32 writes with optimized_model_filepath, all optimisations, CPU provider;
        # tests/test_fusion_exports.py compares kernel counts with such graphs
        "onnxruntime": _ONNXRUNTIME,
        # the same on ARM, where onnxruntime has products of int8 and int8
        "onnxruntime-arm": tuple(p for p in _ONNXRUNTIME if p != "qdq-unsigned"),
        # the same after onnxruntime.transformers.optimizer: MultiHeadAttention or Attention, which takes in the
        # projections of one tensor, and SkipLayerNormalization, which also writes the sum
        "onnxruntime-transformers": (
            *_ONNXRUNTIME,
            "rmsnorm",
            "attention",
            "add-layernorm-shared",
            "shared-gemm",
        ),
        # NVIDIA TensorRT documentation, Layer Fusion Catalog: convolution or product with activation, element-wise
        # sum, padding; pointwise fusion; reductions; GELU; shuffles of each other; multi-head attention
        "tensorrt": _COMPILED,
        # AMD MIGraphX documentation 7.1, Deep learning compilation (attention as one kernel), environment variables
        # (layer normalisation is fused unless MIGRAPHX_DISABLE_LAYERNORM_FUSION)
        "migraphx": _COMPILED,
        # TensorFlow Lite, schema.fbs: tensors are NHWC, operators have a fused_activation_function, HARD_SWISH and
        # GELU are operators; what a converted network runs as, whoever has the kernels (ESP-NN, Vela, Edge TPU)
        "tflite": (
            "fold-batchnorm", "qdq", "bias", "activation", "pad", "hardswish", "gelu", "layout", "transpose-pairs",
        ),
    }
)  # fmt: skip


def expanded(names: Iterable[str]) -> frozenset[str]:
    """The patterns that `names`, of patterns and of sets, stand for."""
    return frozenset(pattern for name in names for pattern in SETS.get(name, (name,)))
