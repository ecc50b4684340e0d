"""Hostile text becomes visible text; harmless text stays as it is."""

from __future__ import annotations

import html
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efficiency_cli.reports.escape import LONGEST, csv_cell, escaped, markdown_code, markdown_text, shown, signs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\r", "a\\x0ab\\x09c\\x0d"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("\u202eevil\u2069", "\\u202eevil\\u2069"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("lone\ud800", "lone\\ud800"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("line\u2028break", "line\\u2028break"),
    ],
)
def test_what_acts_on_a_terminal_is_spelled_out(text: str, expected: str) -> None:
    assert escaped(text) == expected


@pytest.mark.parametrize("text", ["", "/layer/conv", "[/layer/conv]", "層/畳み込み", "µ – ×", "a\\b", "=cmd()"])
def test_harmless_text_stays(text: str) -> None:
    assert escaped(text) == text
    assert shown(text) == text


@given(st.text())
def test_nothing_unprintable_remains(text: str) -> None:
    assert escaped(text).isprintable()
    assert escaped(text, unicode=False).isascii()
    assert len(shown(text)) <= LONGEST


def test_an_absurd_length_keeps_both_ends() -> None:
    name = shown("head/" + "x" * 10_000 + "/tail")
    assert len(name) == LONGEST
    assert name.startswith("head/")
    assert name.endswith("x/tail")
    assert "…" in name
    assert len(shown("x" * 10_000, unicode=False)) == LONGEST


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", " =1", "＝1"])
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["a=b", "conv-1", "user@host", "", "1"])
def test_no_formula_no_apostrophe(text: str) -> None:
    assert csv_cell(text) == text


def test_a_formula_behind_a_tab_is_harmless() -> None:
    assert csv_cell("\t=1") == "\\x09=1"


@pytest.mark.parametrize(
    "text", ["a|b", "`x`", "[a](b)", "<b>&amp;", "**b**", "_em_", "~~s~~", "\\|", "https://x", "www.x"]
)
def test_markdown_syntax_becomes_references_that_read_the_same(text: str) -> None:
    code = markdown_code(text)
    inner = code.removeprefix("<code>").removesuffix("</code>")
    assert html.unescape(inner) == text
    for active in ("|", "`", "[", "<", "**", "_e", "~~", "\\", "://", "www."):
        assert active not in inner


def test_names_stay_readable_in_markdown() -> None:
    assert markdown_code("/block_1/conv-2.3") == "<code>/block_1/conv-2.3</code>"


def test_nobody_is_mentioned() -> None:
    assert markdown_text("at @someone, #12") == "at @<!-- -->someone, #<!-- -->12"


def test_our_own_signs_in_ascii() -> None:
    assert signs("18 – 20 µs, 3 × 3…", unicode=False) == "18 - 20 us, 3 x 3..."
    assert signs("18 – 20 µs", unicode=True) == "18 – 20 µs"


def test_formulas_of_cost_rules_have_a_spelling_in_ascii() -> None:
    from efficiency_cli import costs

    for path in sorted(Path(costs.__file__).parent.glob("*.py")):
        assert signs(path.read_text(encoding="utf-8"), unicode=False).isascii(), path.name
