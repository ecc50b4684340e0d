"""Columns keep to the width there is: what is dropped first, what is shortened, what stays whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efficiency_cli.reports.grid import Column, cell_width, flowed, grid

NAMES = ("/encoder/layer.0/attention/MatMul", "/encoder/layer.0/attention/Softmax")
COLUMNS = (
    Column("kernel", NAMES, shrinks=True),
    Column("op", ("MatMul", "Softmax"), drop=2),
    Column("MACs", ("1.00 M", ""), right=True, drop=1),
    Column("time", ("10.0 ms", "1.00 ms"), right=True),
)


def test_with_room_for_all():
    assert grid(COLUMNS, None) == [
        "  kernel                              op         MACs     time",
        "  /encoder/layer.0/attention/MatMul   MatMul   1.00 M  10.0 ms",
        "  /encoder/layer.0/attention/Softmax  Softmax          1.00 ms",
    ]


def test_names_lose_their_heads_before_a_column_goes():
    # 2 + 12 + 2 + 7 + 2 + 6 + 2 + 7
    assert grid(COLUMNS, 40) == [
        "  kernel        op         MACs     time",
        "  …tion/MatMul  MatMul   1.00 M  10.0 ms",
        "  …ion/Softmax  Softmax          1.00 ms",
    ]


def test_columns_go_by_their_priority():
    # without op: 2 + 12 + 2 + 6 + 2 + 7
    assert [line.split()[0] for line in grid(COLUMNS, 31)] == ["kernel", "…tion/MatMul", "…ion/Softmax"]
    assert "op" not in grid(COLUMNS, 39)[0].split()
    assert "MACs" in grid(COLUMNS, 31)[0].split()
    assert grid(COLUMNS, 30)[0].split() == ["kernel", "time"]


def test_a_title_stays_whole():
    columns = [Column("what was left out", ["a" * 30], shrinks=True), *COLUMNS[1:2]]
    assert grid([Column(c.title, c.cells[:1], drop=c.drop, shrinks=c.shrinks) for c in columns], 10) == [
        "  what was left out",
        f"  …{'a' * 16}",
    ]


def test_signs_of_a_terminal_without_unicode():
    assert grid(COLUMNS, 40, unicode=False)[1].split()[0] == "...on/MatMul"


def test_wide_and_combining_characters_take_their_cells():
    assert [cell_width(text) for text in ("abc", "日本", "é", "")] == [3, 4, 1, 0]
    lines = grid([Column("name", ["日本", "ab"]), Column("n", ["1", "2"])], None)
    assert lines[1:] == ["  日本  1", "  ab    2"]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4), st.integers(0, 120))
def test_no_line_is_wider_where_the_least_fits(cells, width):
    columns = [Column("name", cells, shrinks=True), Column("x", ["1"] * len(cells), drop=1)]
    widest = max(map(cell_width, grid(columns, width)))
    assert widest <= max(width, 2 + 12)


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (None, ["  Error  mean 1 %   median 2 %"]),
        (30, ["  Error  mean 1 %   median 2 %"]),
        (29, ["  Error  mean 1 %", "         median 2 %"]),
    ],
)
def test_parts_flow_over_lines(width, expected):
    assert flowed("Error", ["mean 1 %", "median 2 %"], width, 7) == expected
