"""Normalisations, softmax and losses: operations an element.

What happens once a row (a root, a logarithm, a division by its length) is ignored.
"""

from __future__ import annotations

import math

from efficiency_cli.costs import MICROSOFT, Op, Work, cost
from efficiency_cli.costs.convolution import NHWC
from efficiency_cli.costs.elementwise import SILU
from efficiency_cli.costs.quantization import REQUANTIZE, narrow_type
from efficiency_cli.graph.model import OpClass

STANDARDIZE = 5  # sum, subtract the mean, square, sum, divide by the deviation
RMS = 3  # square, sum, divide by the root
SOFTMAX = 5  # maximum, subtract, exp, sum, divide
LOG_SOFTMAX = 5  # maximum, subtract, exp, sum, subtract


def _normalize(op: Op, each: int, op_class: OpClass = OpClass.NORMALIZATION) -> Work:
    return op.work(other=each * math.prod(op.shape()), op_class=op_class)


@cost("BatchNormalization", f"{NHWC}::BatchNormalization")
def batch_normalization(op: Op) -> Work:
    """x · a + b: 2 an element; a and b come from the stored statistics beforehand.

    With training_mode the statistics are computed: 7, as LayerNormalization.
    """
    return _normalize(op, STANDARDIZE + 2 if op.attr("training_mode", 0) else 2)


@cost("LayerNormalization")
def layer_normalization(op: Op) -> Work:
    """5 an element, 1 for the scale, 1 for the bias: 7 with both."""
    return _normalize(op, STANDARDIZE + op.has(1) + op.has(2))


@cost("InstanceNormalization", "GroupNormalization", f"{NHWC}::InstanceNormalization")
def group_normalization(op: Op) -> Work:
    """7 an element: 5, and its scale and bias."""
    return _normalize(op, STANDARDIZE + op.has(1) + op.has(2))


@cost("MeanVarianceNormalization")
def mean_variance(op: Op) -> Work:
    """5 an element: LayerNormalization without scale and bias."""
    return _normalize(op, STANDARDIZE)


@cost("RMSNormalization", "SimplifiedLayerNormalization", f"{MICROSOFT}::SimplifiedLayerNormalization")
def rms_normalization(op: Op) -> Work:
    """x / √mean(x²) · scale: 4 an element (square, sum, divide, scale)."""
    return _normalize(op, RMS + op.has(1))


@cost(f"{MICROSOFT}::SkipLayerNormalization")
def skip_layer_normalization(op: Op) -> Work:
    """LayerNormalization of input + skip (+ bias, slot 4): 7 an element and 1 an addition."""
    return _normalize(op, 1 + op.has(4) + STANDARDIZE + op.has(2) + op.has(3))


@cost(f"{MICROSOFT}::SkipSimplifiedLayerNormalization")
def skip_rms_normalization(op: Op) -> Work:
    """RMSNormalization of input + skip (+ bias, slot 3): 4 an element and 1 an addition."""
    return _normalize(op, 1 + op.has(3) + RMS + op.has(2))


@cost(f"{MICROSOFT}::GroupNorm", f"{MICROSOFT}::SkipGroupNorm")
def group_norm(op: Op) -> Work:
    """7 an element, 5 more with SiLU, 1 more an addition of skip (slot 3) and bias (slot 4)."""
    return _normalize(op, STANDARDIZE + 2 + SILU * op.attr("activation", 0) + op.has(3) + op.has(4))


@cost(f"{MICROSOFT}::EmbedLayerNormalization")
def embed_layer_normalization(op: Op) -> Work:
    """LayerNormalization of word + position (+ segment) embeddings: 7 an element and 1 an addition.

    Of each table the rows that are looked up are read, one an output row.
    """
    out = op.output()
    additions = 1 + op.has(4)
    rows = dict.fromkeys((2, 3, 4), out.bytes)
    return op.work(
        other=(additions + STANDARDIZE + 2) * op.elements(),
        op_class=OpClass.NORMALIZATION,
        dtype=out.dtype,
        touched=rows,
    )


@cost(f"{MICROSOFT}::QEmbedLayerNormalization")
def embed_layer_normalization_quantized(op: Op) -> Work:
    """As EmbedLayerNormalization; each looked-up element is dequantised first (2), as are scale and bias."""
    out = op.output()
    elements, tables = op.elements(), 2 + op.has(4)
    rows = {slot: elements for slot in (2, 3, 4) if op.has(slot)}
    other = (tables * REQUANTIZE + tables - 1 + STANDARDIZE + 2) * elements
    return op.work(other=other, op_class=OpClass.NORMALIZATION, dtype=out.dtype, touched=rows)


@cost("LpNormalization")
def lp_normalization(op: Op) -> Work:
    """x / ‖x‖: 3 an element (square or absolute value, sum, divide)."""
    return _normalize(op, 3)


@cost("LRN", f"{NHWC}::LRN")
def local_response(op: Op) -> Work:
    """x / (k + α/n · Σ x²)^β over n channels: n + 4 an element (square, n − 1 sums, ×, +, pow, ÷)."""
    return _normalize(op, op.attr("size", 1) + 4)


@cost("Softmax")
def softmax(op: Op) -> Work:
    """5 an element: maximum, subtract, exp, sum, divide."""
    return _normalize(op, SOFTMAX, OpClass.SOFTMAX)


@cost("LogSoftmax")
def log_softmax(op: Op) -> Work:
    """5 an element: maximum, subtract, exp, sum, subtract; the logarithm is one a row."""
    return _normalize(op, LOG_SOFTMAX, OpClass.SOFTMAX)


@cost("Hardmax")
def hardmax(op: Op) -> Work:
    """One comparison an element."""
    return _normalize(op, 1, OpClass.SOFTMAX)


@cost(f"{MICROSOFT}::BiasSoftmax")
def bias_softmax(op: Op) -> Work:
    """Softmax(x + bias): 6 an element."""
    return _normalize(op, 1 + SOFTMAX, OpClass.SOFTMAX)


@cost(f"{MICROSOFT}::QLinearSoftmax")
def quantized_softmax(op: Op) -> Work:
    """Softmax and a requantisation: 7 an element, at the operand's type."""
    other = (SOFTMAX + REQUANTIZE) * math.prod(op.shape())
    return op.work(other=other, op_class=OpClass.SOFTMAX, dtype=narrow_type(op.input()))


@cost("SoftmaxCrossEntropyLoss")
def cross_entropy(op: Op) -> Work:
    """LogSoftmax of the scores (5 an element); picking, weighting and summing costs 2 a target."""
    targets = math.prod(op.shape(1))
    return op.work(other=LOG_SOFTMAX * math.prod(op.shape()) + 2 * targets, op_class=OpClass.SOFTMAX)


@cost("NegativeLogLikelihoodLoss")
def negative_log_likelihood(op: Op) -> Work:
    """Picking, weighting and summing: 2 a target; of the scores only the picked ones are read."""
    targets, scores = math.prod(op.shape(1)), op.input()
    bits = scores.dtype.bits if scores.dtype else 0
    return op.work(other=2 * targets, touched={0: targets * bits // 8})
