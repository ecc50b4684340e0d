from __future__ import annotations

import pytest
from one_node import t, work

X = (4, 8, 16)
AXES = t((1,), "int64")


@pytest.mark.parametrize(
    ("op", "ops"),
    [
        ("ReduceSum", 4 * 8 * 16),
        ("ReduceMax", 4 * 8 * 16),
        ("ReduceProd", 4 * 8 * 16),
        ("ReduceMean", 4 * 8 * 16 + 4 * 8),
        ("ReduceL1", 2 * 4 * 8 * 16),
        ("ReduceL2", 2 * 4 * 8 * 16 + 4 * 8),
        ("ReduceSumSquare", 2 * 4 * 8 * 16),
        ("ReduceLogSum", 4 * 8 * 16 + 4 * 8),
        ("ReduceLogSumExp", 4 * 4 * 8 * 16 + 4 * 8),
        ("ArgMax", 4 * 8 * 16),
    ],
)
def test_operations(op, ops):
    assert work(op, [X, AXES], [(4, 8, 1)]).ops == ops


def test_no_axes_means_all_of_them_or_none():
    assert work("ReduceSum", [X], [()]).ops == 4 * 8 * 16
    assert work("ReduceSum", [X], [X], noop_with_empty_axes=1).ops == 0
    assert work("ReduceSum", [X, AXES], [(4, 8, 1)], noop_with_empty_axes=1).ops == 4 * 8 * 16


def test_scans():
    assert work("CumSum", [X, t((), "int64")], [X]).ops == 4 * 8 * 16


@pytest.mark.parametrize(("k", "each"), [(1, 1), (2, 2), (5, 3), (100, 7)])
def test_top_k_compares_with_a_heap(k, each):
    out = (3, k)
    assert work("TopK", [(3, 1000), t((1,), "int64")], [out, t(out, "int64")]).ops == 3 * 1000 * each


def test_unique_sorts():
    assert work("Unique", [(1000,)], [(1000,)]).ops == 1000 * 10


def test_quantised_mean():
    operands = [t(X, "uint8"), t(()), t((), "uint8"), t(()), t((), "uint8")]
    result = work("com.microsoft::QLinearReduceMean", operands, [t((4, 8, 1), "uint8")])
    assert result.ops == 4 * 8 * 16 + 3 * 4 * 8
