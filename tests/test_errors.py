"""Errors carry what, where and a hint; their kinds, exit codes and suggestions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efficiency_cli import errors
from efficiency_cli.errors import EffcliError, ExitCode, Inconclusive, did_you_mean, suggest

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EffcliError)]


def test_the_parts_of_an_error() -> None:
    error = EffcliError("no such thing", where=["a.yaml:1:2", "a.yaml:3:4"], hint="look again")
    assert (str(error), error.what, error.hint) == ("no such thing", "no such thing", "look again")
    assert error.where == ("a.yaml:1:2", "a.yaml:3:4")
    # one place may be given as text, which is not a list of letters
    assert EffcliError("x", where="here").where == ("here",)
    assert (EffcliError("x").where, EffcliError("x").hint) == ((), "")


def test_exit_codes_are_those_of_the_documentation() -> None:
    documented = {"OK": 0, "FINDING": 1, "ERROR": 2, "INCONCLUSIVE": 3, "BUG": 4, "INTERRUPTED": 130}
    assert {code.name: code.value for code in ExitCode} == documented


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_ends_in_an_exit_code(kind: type[EffcliError]) -> None:
    assert kind("x").exit_code is (ExitCode.INCONCLUSIVE if issubclass(kind, Inconclusive) else ExitCode.ERROR)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = {}
    parents = {}
    for line in errors.__doc__.splitlines():
        found = re.match(r"    ([│├└─ ]*)([A-Z]\w+)", line)
        if found:
            depth = len(found[1]) // 4
            parents[depth] = found[2]
            drawn[found[2]] = parents.get(depth - 1, "Exception")
    assert drawn == {kind.__name__: kind.__base__.__name__ for kind in KINDS if kind.__base__}


# --- suggestions ---

IDS = ["cortex-m4", "cortex-m7", "raspberry-pi-5", "h100"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("cortex-m8", "cortex-m7"),
        ("CORTEX-M7", "cortex-m7"),
        ("corex-m4", "cortex-m4"),
        ("raspbery-pi5", "raspberry-pi-5"),
        ("h10", "h100"),
        ("zebra", ""),
        ("", ""),
    ],
)
def test_suggestions(word: str, meant: str) -> None:
    if word == "cortex-m8":  # as far from both
        assert suggest(word, IDS) in ("cortex-m4", "cortex-m7")
    else:
        assert suggest(word, IDS) == meant
    assert did_you_mean(word, IDS) == (f"did you mean '{suggest(word, IDS)}'?" if meant else "")


def test_nothing_to_suggest_from() -> None:
    assert (suggest("x", []), did_you_mean("x", [])) == ("", "")


@settings(deadline=None)
@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=5))
def test_a_suggestion_is_one_of_the_candidates(word: str, candidates: list[str]) -> None:
    assert suggest(word, candidates) in ("", *candidates)


@settings(deadline=None)
@given(st.lists(st.text("abcdef", min_size=1, max_size=8), min_size=1, max_size=5))
def test_a_word_that_is_there_is_suggested(candidates: list[str]) -> None:
    assert suggest(candidates[0], candidates) == candidates[0]
