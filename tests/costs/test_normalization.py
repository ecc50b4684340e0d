from __future__ import annotations

import pytest
from one_node import t, work

from efficiency_cli.graph.model import DType, OpClass

MS = "com.microsoft::"
X = (2, 8, 16)
C = (16,)
N, S = OpClass.NORMALIZATION, OpClass.SOFTMAX

# operator, operands, attributes: operations an element, class
CASES = [
    ("BatchNormalization", [X, (8,), (8,), (8,), (8,)], {}, 2, N),
    ("BatchNormalization", [X, (8,), (8,), (8,), (8,)], {"training_mode": 1}, 7, N),
    ("LayerNormalization", [X, C, C], {}, 7, N),
    ("LayerNormalization", [X, C], {}, 6, N),
    ("InstanceNormalization", [X, (8,), (8,)], {}, 7, N),
    ("GroupNormalization", [X, (8,), (8,)], {"num_groups": 4}, 7, N),
    ("MeanVarianceNormalization", [X], {}, 5, N),
    ("RMSNormalization", [X, C], {}, 4, N),
    ("SimplifiedLayerNormalization", [X, C], {}, 4, N),
    (f"{MS}SimplifiedLayerNormalization", [X, C], {}, 4, N),
    (f"{MS}SkipLayerNormalization", [X, X, C, C], {}, 1 + 7, N),
    (f"{MS}SkipLayerNormalization", [X, X, C, C, C], {}, 2 + 7, N),
    (f"{MS}SkipSimplifiedLayerNormalization", [X, X, C], {}, 1 + 4, N),
    (f"{MS}SkipSimplifiedLayerNormalization", [X, X, C, C], {}, 2 + 4, N),
    (f"{MS}GroupNorm", [X, C, C], {"activation": 1}, 7 + 5, N),
    (f"{MS}SkipGroupNorm", [X, C, C, X], {}, 1 + 7, N),
    ("LpNormalization", [X], {}, 3, N),
    ("LRN", [X], {"size": 5}, 5 + 4, N),
    ("Softmax", [X], {}, 5, S),
    ("LogSoftmax", [X], {}, 5, S),
    ("Hardmax", [X], {}, 1, S),
    (f"{MS}BiasSoftmax", [X, X], {}, 1 + 5, S),
    (f"{MS}QLinearSoftmax", [t(X, "uint8"), t(()), t((), "uint8"), t(()), t((), "uint8")], {}, 5 + 2, S),
]


@pytest.mark.parametrize(("key", "inputs", "attributes", "each", "op_class"), CASES)
def test_operations(key, inputs, attributes, each, op_class):
    result = work(key, inputs, [X], **attributes)
    assert (result.macs, result.ops, result.op_class) == (0, each * 2 * 8 * 16, op_class)


def test_the_fused_skip_form_costs_its_parts():
    parts = work("Add", [X, X], [X]).ops + work("LayerNormalization", [X, C, C], [X]).ops
    assert work(f"{MS}SkipLayerNormalization", [X, X, C, C], [X]).ops == parts


def test_quantised_softmax_is_int8():
    operands = [t(X, "uint8"), t(()), t((), "uint8"), t(()), t((), "uint8")]
    assert work(f"{MS}QLinearSoftmax", operands, [t(X, "uint8")]).dtype is DType.INT8


def test_embeddings_read_the_rows_they_look_up():
    tables = [(30522, 768), (512, 768), (2, 768), (768,), (768,)]
    ids = t((1, 128), "int32")
    result = work(f"{MS}EmbedLayerNormalization", [ids, ids, *tables], [(1, 128, 768)])
    assert result.ops == (2 + 7) * 128 * 768
    assert result.dtype is DType.FLOAT32
    assert result.reads["i2"] == result.reads["i3"] == result.reads["i4"] == 128 * 768 * 4


def test_losses():
    scores, targets = (8, 10), t((8,), "int64")
    assert work("SoftmaxCrossEntropyLoss", [scores, targets], [()]).ops == 5 * 8 * 10 + 2 * 8
    picked = work("NegativeLogLikelihoodLoss", [scores, targets], [()])
    assert picked.ops == 2 * 8
    assert picked.reads == {"i0": 8 * 4, "i1": 8 * 8}
