from __future__ import annotations

import pytest
from one_node import t, work

from efficiency_cli.costs import CostError
from efficiency_cli.graph.model import OpClass

X, Y = (1, 3, 10, 10), (1, 3, 20, 20)
OUT = 3 * 20 * 20


@pytest.mark.parametrize(
    ("mode", "taps", "op_class"),
    [
        ("nearest", 1, OpClass.MOVEMENT),
        ("linear", 2 * 2, OpClass.ELEMENTWISE),
        ("cubic", 4 * 4, OpClass.ELEMENTWISE),
    ],
)
def test_taps(mode, taps, op_class):
    result = work("Resize", [X], [Y], mode=mode)
    assert result.ops == (2 * taps - 1 if taps > 1 else 0) * OUT
    assert result.op_class is op_class
    assert result.reads["i0"] == 3 * 10 * 10 * 4


def test_only_axes_that_change_are_interpolated():
    assert work("Resize", [(1, 3, 10)], [(1, 3, 20)], mode="linear").ops == (2 + 1) * 3 * 20
    assert work("Resize", [X], [X], mode="linear").ops == 0


def test_shrinking_reads_what_it_picks_and_antialias_widens():
    small = (1, 3, 5, 5)
    assert work("Resize", [Y], [small]).reads["i0"] == 3 * 5 * 5 * 4
    wide = work("Resize", [Y], [small], mode="linear", antialias=1)
    assert wide.ops == (2 * 8 * 8 - 1) * 3 * 5 * 5  # 2 taps widened fourfold on each of two axes


def test_grid_sample():
    result = work("GridSample", [(2, 3, 8, 8), (2, 5, 5, 2)], [(2, 3, 5, 5)], mode="bilinear")
    assert result.ops == 7 * 2 * 3 * 5 * 5 + 2 * 2 * 5 * 5 * 2
    volume = work("GridSample", [(2, 3, 8, 8, 8), (2, 5, 5, 5, 3)], [(2, 3, 5, 5, 5)])
    assert volume.ops == 15 * 2 * 3 * 5**3 + 2 * 2 * 5**3 * 3


def test_affine_grid_and_blocks():
    assert work("AffineGrid", [(2, 2, 3), t((4,), "int64")], [(2, 5, 5, 2)]).ops == 2 * 2 * (2 * 5 * 5 * 2)
    assert work("Col2Im", [(1, 27, 36), t((2,), "int64"), t((2,), "int64")], [(1, 3, 8, 8)]).ops == 27 * 36


def test_unknown_mode():
    with pytest.raises(CostError, match="mode 'lanczos'"):
        work("Resize", [X], [Y], mode="lanczos")
