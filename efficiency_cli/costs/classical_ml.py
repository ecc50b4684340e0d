"""ai.onnx.ml: linear models, support vectors, trees and feature preparation.

Coefficients and nodes are attributes, so their bytes are not part of a node's operands and stay uncounted.
"""

from __future__ import annotations

import math
from collections import Counter

from efficiency_cli.costs import Op, Work, cost
from efficiency_cli.graph.model import OpClass

ML = "ai.onnx.ml"
_NOTE = "coefficients are attributes: their bytes are uncounted"

# operations an output element
_PREPARATION = {
    f"{ML}::Scaler": 2,  # subtract, multiply
    f"{ML}::Normalizer": 3,  # power, add, divide
    f"{ML}::Imputer": 1,  # select
    f"{ML}::Binarizer": 1,  # compare
    f"{ML}::OneHotEncoder": 1,  # compare
}


def _length(op: Op, name: str) -> int:
    value = op.node.attributes.get(name, ())
    return len(value) if isinstance(value, tuple) else 0


def _rows(op: Op) -> tuple[int, int]:
    """(rows, features); a vector is one row."""
    x = op.shape()
    return (math.prod(x[:-1]), x[-1]) if x else (1, 1)


@cost(*_PREPARATION)
def preparation(op: Op) -> Work:
    """The table's operations an output element."""
    return op.work(other=_PREPARATION[op.node.key] * op.elements())


@cost(f"{ML}::ArrayFeatureExtractor")
def extract(op: Op) -> Work:
    """0 operations; reads of its input what it writes."""
    return op.work(op_class=OpClass.MOVEMENT, touched={0: op.output().bytes})


@cost(f"{ML}::FeatureVectorizer")
def concatenate(op: Op) -> Work:
    """0 operations; a Concat."""
    return op.work(op_class=OpClass.MOVEMENT)


@cost(f"{ML}::LinearRegressor", f"{ML}::LinearClassifier")
def linear(op: Op) -> Work:
    """rows · coefficients MACs, and 1 a row and intercept. Ignored: post_transform."""
    rows, features = _rows(op)
    coefficients = _length(op, "coefficients") or features * op.attr("targets", 1)
    return op.work(
        macs=rows * coefficients,
        other=rows * _length(op, "intercepts"),
        op_class=OpClass.DENSE,
        formula=f"{rows} rows × {coefficients} coefficients = {rows * coefficients:,} MACs",
        note=_NOTE,
    )


@cost(f"{ML}::SVMRegressor", f"{ML}::SVMClassifier")
def support_vectors(op: Op) -> Work:
    """rows · (elements of the support vectors + coefficients) MACs, 2 a row and vector for the kernel.

    A linear model without support vectors: rows · coefficients MACs. Ignored: votes and probabilities.
    """
    rows, features = _rows(op)
    vectors, coefficients = _length(op, "support_vectors"), _length(op, "coefficients")
    macs = rows * (vectors + coefficients)
    kernels = 2 * rows * (vectors // max(features, 1))
    return op.work(macs=macs, other=kernels, op_class=OpClass.DENSE, note=_NOTE)


@cost(f"{ML}::TreeEnsembleRegressor", f"{ML}::TreeEnsembleClassifier")
def trees(op: Op) -> Work:
    """A row walks down each tree: ⌊log₂ nodes⌋ comparisons if it is balanced, 1 to add the leaf."""
    ids = op.node.attributes.get("nodes_treeids", ())
    sizes = Counter(ids if isinstance(ids, tuple) else ()).values()
    return _trees(op, sum(size.bit_length() for size in sizes))


@cost(f"{ML}::TreeEnsemble")
def tree_ensemble(op: Op) -> Work:
    """As TreeEnsembleRegressor: ⌈log₂(inner nodes + 1)⌉ comparisons, all trees taken to be of one size."""
    roots, inner = _length(op, "tree_roots"), _length(op, "nodes_featureids")
    depth = (inner // roots).bit_length() if roots else 0
    return _trees(op, roots * (depth + 1))


def _trees(op: Op, each: int) -> Work:
    rows, _ = _rows(op)
    return op.work(other=rows * each, note="trees taken as balanced; their bytes are uncounted")
