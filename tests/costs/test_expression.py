"""Formulas: what they give, what they refuse and where, and that none of them can be a bomb."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efficiency_cli.costs import CostError, Op, UnknownShapeError
from efficiency_cli.costs.expression import MAX_DEPTH, MAX_LENGTH, MAX_VALUE, Expression, ExpressionError
from efficiency_cli.graph.model import DType, Node, Tensor

IN = (Tensor("a", (2, 3, 5), DType.FLOAT16), Tensor("w", (5, 7), DType.INT4), None, Tensor("u", None, None))
OUT = (Tensor("y", (2, 3, 7), DType.FLOAT32),)
ATTRIBUTES = {"group": 4, "kernel_shape": (3, 9), "alpha": 0.5, "mode": "x"}
OP = Op(Node("n", "Fold", "my.domain", ("a", "w", "", "u"), ("y",), ATTRIBUTES), IN, OUT)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("17", 17),
        ("out0.numel * in1.shape[0]", 2 * 3 * 7 * 5),
        ("in0.bytes", 2 * 3 * 5 * 2),
        ("in1.bytes", (5 * 7 * 4 + 7) // 8),
        ("in0.rank", 3),
        ("in0.shape[-1] - in0.shape[0]", 5 - 2),
        ("10 - 3 - 2", (10 - 3) - 2),
        ("2 + 3 * 4", 2 + 12),
        ("(2 + 3) * 4", 20),
        ("17 // 5 * 5 + 17 % 5", 17),
        ("- 3 + 5", 2),
        ("5 - -3", 8),
        ("min(3, in0.rank, 9)", 3),
        ("max(1, 2 * 3)", 6),
        ('attr("group")', 4),
        ("attr('groups', 2)", 2),
        ('attr("kernel_shape")[1]', 9),
        ("  1\t+\n1 ", 2),
    ],
)
def test_values(text, value):
    assert Expression(text)(OP) == value


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ("", 1, "expected, not the end"),
        ("1 +", 4, "the end"),
        ("2 ** 3", 3, "no power"),
        ("1 / 2", 3, "division is //"),
        ("x0.numel", 1, "'x0' is not known"),
        ("mix(1, 2)", 1, "did you mean 'min'"),
        ("in0.nummel", 5, "did you mean 'numel'"),
        ("in0", 4, "'.' is expected"),
        ("in0.shape", 10, "an axis"),
        ("in0.shape[x]", 11, "whole number"),
        ("in999.numel", 1, "256 operands"),
        ("attr(group)", 6, "in quotes"),
        ("attr('group", 6, "not closed"),
        ("(1", 3, "')' is expected"),
        ("1 2", 3, "an operator"),
        ("1.5", 2, "an operator"),
        ("in0.__class__", 5, "nothing of an operand"),
        ("__import__('os')", 1, "not known"),
        ("open", 1, "not known"),
        ("1 if 1 else 2", 3, "an operator"),
        ("99999999999999999999", 1, "is more than"),
        ("1;2", 2, "means nothing"),
    ],
)
def test_mistakes_and_their_column(text, column, part):
    with pytest.raises(ExpressionError) as error:
        Expression(text)
    assert error.value.column == column
    assert part in error.value.message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("in2.numel", "operand 2 is missing"),
        ("in9.numel", "operand 9 is missing"),
        ("out1.bytes", "output 1 is missing"),
        ("in0.shape[3]", "its rank is 3"),
        ("1 // (in0.rank - 3)", "divides by zero"),
        ("1 % 0", "divides by zero"),
        ("1 - 2", "below zero"),
        ('attr("none")', "is absent"),
        ('attr("alpha")', "not a whole number"),
        ('attr("mode", 1)', "not a whole number"),
        ('attr("kernel_shape")', "not a whole number"),
        ('attr("kernel_shape")[2]', "has 2 elements"),
        (f"{MAX_VALUE} * 2", "more than 2^63"),
    ],
)
def test_what_an_operator_cannot_give(text, part):
    with pytest.raises(CostError) as error:
        Expression(text)(OP)
    assert part in error.value.what


@pytest.mark.parametrize("text", ["in3.numel", "in3.bytes", "in3.rank", "in3.shape[0]"])
def test_an_unknown_shape_is_told_apart(text):
    with pytest.raises(UnknownShapeError):
        Expression(text)(OP)


def test_bombs_are_refused_quickly():
    start = time.process_time()
    for text in ("9" * (MAX_LENGTH - 1), "(" * 400, "-" * 990, "*".join(["9999999999"] * 90), "1" * (MAX_LENGTH + 1)):
        with pytest.raises((ExpressionError, CostError)):
            Expression(text)(OP)
    assert time.process_time() - start < 0.5


def test_nesting_is_bounded_and_long_sums_are_not_nesting():
    assert Expression("(" * (MAX_DEPTH - 1) + "1" + ")" * (MAX_DEPTH - 1))(OP) == 1
    with pytest.raises(ExpressionError, match="nested deeper"):
        Expression("(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH)
    assert Expression("+".join("1" * 400))(OP) == 400


@given(st.text(alphabet="in0out1.numelshape[]()+-*/% ,attr\"'9xé\x00", max_size=60))
def test_any_text_is_a_formula_or_a_mistake(text):
    try:
        value = Expression(text)(OP)
    except (ExpressionError, CostError):
        return
    assert isinstance(value, int)
    assert value >= 0


@given(
    st.recursive(
        st.integers(0, 99).map(str),
        lambda part: st.tuples(part, st.sampled_from("+-*%"), part).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        max_leaves=8,
    )
)
def test_arithmetic_is_pythons(text):
    """The formula's signs mean what they mean in Python."""
    try:
        expected = eval(text)  # digits, signs and parentheses made above
    except ZeroDivisionError:
        expected = -1
    if expected < 0:
        with pytest.raises(CostError):
            Expression(text)(OP)
    else:
        assert Expression(text)(OP) == expected
