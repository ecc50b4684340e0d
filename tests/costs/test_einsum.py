from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_node import work

from efficiency_cli.costs import CostError

CASES = {
    # equation, operands, output: MACs, other operations
    "scores": ("bhqd,bhkd->bhqk", [(1, 3, 4, 5), (1, 3, 6, 5)], (1, 3, 4, 6), 3 * 4 * 6 * 5, 0),
    "batched dot": ("bi,bi->b", [(4, 6), (4, 6)], (4,), 4 * 6, 0),
    "product": ("bi,bi->bi", [(4, 6), (4, 6)], (4, 6), 0, 4 * 6),
    "outer product": ("i,j->ij", [(4,), (6,)], (4, 6), 0, 4 * 6),
    "implicit result": ("ij,jk", [(2, 3), (3, 4)], (2, 4), 2 * 3 * 4, 0),
    "spaces": (" i j , j k -> i k ", [(2, 3), (3, 4)], (2, 4), 2 * 3 * 4, 0),
    "ellipsis": ("...ij,...jk->...ik", [(7, 2, 3), (7, 3, 4)], (7, 2, 4), 7 * 2 * 3 * 4, 0),
    "ellipsis broadcast": (
        "...ij,...jk->...ik",
        [(5, 1, 2, 3), (7, 3, 4)],
        (5, 7, 2, 4),
        5 * 7 * 2 * 3 * 4,
        0,
    ),
    "implicit ellipsis": ("...i,i", [(5, 4, 3), (3,)], (5, 4), 5 * 4 * 3, 0),
    "transpose": ("ij->ji", [(4, 6)], (6, 4), 0, 0),
    "sum": ("ij->i", [(4, 6)], (4,), 0, 4 * 6),
    "trace": ("ii->", [(4, 4)], (), 0, 4),
    "diagonal": ("ii->i", [(4, 4)], (4,), 0, 0),
    "letter of one operand": ("ij,jk->k", [(2, 3), (3, 4)], (4,), 3 * 4, 2 * 3),
    "three operands": ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], (2, 5), 2 * 3 * 4 + 2 * 4 * 5, 0),
}


@pytest.mark.parametrize(("equation", "inputs", "output", "macs", "other"), CASES.values(), ids=CASES)
def test_counts(equation, inputs, output, macs, other):
    result = work("Einsum", inputs, [output], equation=equation)
    assert (result.macs, result.ops - 2 * result.macs) == (macs, other)


@pytest.mark.parametrize(
    ("equation", "inputs"),
    [
        ("ij,jk->ik", [(2, 3)]),
        ("ijk->i", [(2, 3)]),
        ("i1->i", [(2, 3)]),
        ("ij,jk->ik", [(2, 3), (4, 5)]),
        ("", [(2,)]),
        ("ij->iz", [(2, 3)]),
    ],
)
def test_malformed(equation, inputs):
    with pytest.raises(CostError):
        work("Einsum", inputs, [(2,)], equation=equation)


SIZES = st.integers(1, 6)


@given(SIZES, SIZES, SIZES, SIZES)
def test_equals_matmul(b, m, n, k):
    product = work("Einsum", [(b, m, k), (b, k, n)], [(b, m, n)], equation="bmk,bkn->bmn")
    assert product.macs == work("MatMul", [(b, m, k), (b, k, n)], [(b, m, n)]).macs
