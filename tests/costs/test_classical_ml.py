from __future__ import annotations

import pytest
from one_node import t, work

ML = "ai.onnx.ml::"


def test_linear_models_multiply_their_coefficients():
    result = work(f"{ML}LinearRegressor", [(8, 4)], [(8, 2)], coefficients=(0.1,) * 8, intercepts=(0.0, 0.0), targets=2)
    assert (result.macs, result.ops) == (8 * 4 * 2, 2 * 8 * 4 * 2 + 8 * 2)


def test_support_vectors():
    # 10 vectors of 4 features
    vectors = {"support_vectors": (0.5,) * 40, "coefficients": (1.0,) * 10}
    result = work(f"{ML}SVMRegressor", [(8, 4)], [(8, 1)], **vectors)
    assert result.macs == 8 * (10 * 4 + 10)
    assert result.ops - 2 * result.macs == 8 * 2 * 10


def test_trees_are_walked_from_root_to_leaf():
    # a tree of 7 nodes (2 comparisons to a leaf) and one of 1
    result = work(f"{ML}TreeEnsembleRegressor", [(8, 4)], [(8, 1)], nodes_treeids=(0,) * 7 + (1,))
    assert result.ops == 8 * ((2 + 1) + (0 + 1))
    assert "balanced" in result.note
    modern = work(f"{ML}TreeEnsemble", [(8, 4)], [(8, 1)], tree_roots=(0, 3), nodes_featureids=(0,) * 6)
    assert modern.ops == 8 * 2 * (2 + 1)


@pytest.mark.parametrize(("op", "each"), [("Scaler", 2), ("Normalizer", 3), ("Imputer", 1), ("Binarizer", 1)])
def test_preparation(op, each):
    assert work(ML + op, [(8, 4)], [(8, 4)]).ops == each * 8 * 4


def test_extraction_moves():
    result = work(f"{ML}ArrayFeatureExtractor", [(8, 100), t((2,), "int64")], [(8, 2)])
    assert (result.ops, result.reads["i0"]) == (0, 8 * 2 * 4)
