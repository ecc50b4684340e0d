from __future__ import annotations

import pytest
from one_node import t, work

from efficiency_cli.costs import CostError
from efficiency_cli.graph.model import DType, OpClass

X, Y = (1, 64, 112, 112), (1, 64, 56, 56)
SCALES = [t(()), t((), "uint8"), t(()), t((), "uint8")]


@pytest.mark.parametrize(
    ("key", "inputs", "output", "attributes", "ops"),
    [
        ("MaxPool", [X], Y, {"kernel_shape": (3, 3)}, 64 * 56 * 56 * 3 * 3),
        ("AveragePool", [X], Y, {"kernel_shape": (2, 2)}, 64 * 56 * 56 * 2 * 2),
        ("AveragePool", [(1, 8, 100)], (1, 8, 50), {"kernel_shape": (4,)}, 8 * 50 * 4),
        ("LpPool", [X], Y, {"kernel_shape": (2, 2)}, 64 * 56 * 56 * (2 * 4 + 1)),
        ("GlobalAveragePool", [(1, 512, 7, 7)], (1, 512, 1, 1), {}, 512 * 7 * 7),
        ("GlobalMaxPool", [(4, 8, 7, 7)], (4, 8, 1, 1), {}, 4 * 8 * 7 * 7),
        ("GlobalLpPool", [(1, 8, 7, 7)], (1, 8, 1, 1), {}, 2 * 8 * 7 * 7 + 8),
        ("com.microsoft.nchwc::MaxPool", [X], Y, {"kernel_shape": (3, 3)}, 64 * 56 * 56 * 3 * 3),
        ("com.microsoft.nchwc::GlobalAveragePool", [(1, 8, 7, 7)], (1, 8, 1, 1), {}, 8 * 7 * 7),
        (
            "com.microsoft::QLinearAveragePool",
            [t((1, 64, 8, 8), "uint8"), *SCALES],
            (1, 64, 1, 1),
            {"kernel_shape": (8, 8)},
            64 * (8 * 8 + 2),
        ),
        (
            "com.microsoft::QLinearGlobalAveragePool",
            [t((1, 64, 8, 8), "uint8"), *SCALES],
            (1, 64, 1, 1),
            {},
            64 * 8 * 8 + 2 * 64,
        ),
    ],
)
def test_operations(key, inputs, output, attributes, ops):
    result = work(key, inputs, [output], **attributes)
    assert (result.macs, result.ops, result.op_class) == (0, ops, OpClass.POOLING)


def test_a_global_pool_is_a_pool_over_everything():
    whole = work("AveragePool", [(1, 8, 7, 7)], [(1, 8, 1, 1)], kernel_shape=(7, 7))
    assert whole.ops == work("GlobalAveragePool", [(1, 8, 7, 7)], [(1, 8, 1, 1)]).ops


def test_quantised_pool_is_int8():
    operands = [t((1, 64, 8, 8), "uint8"), *SCALES]
    assert work("com.microsoft::QLinearGlobalAveragePool", operands, [(1, 64, 1, 1)]).dtype is DType.INT8


def test_unpooling_only_moves():
    result = work("MaxUnpool", [(1, 1, 2, 2), t((1, 1, 2, 2), "int64")], [(1, 1, 4, 4)])
    assert (result.ops, result.op_class, result.writes) == (0, OpClass.MOVEMENT, {"o0": 16 * 4})


@pytest.mark.parametrize("kernel", [(), (3,), (3, 3, 3)])
def test_a_kernel_of_another_rank_is_refused(kernel):
    with pytest.raises(CostError, match="kernel_shape"):
        work("MaxPool", [X], [Y], kernel_shape=kernel)
