"""A new profile loads as it stands, and lint points at what is left to fill in."""

from __future__ import annotations

from pathlib import Path

import pytest

from efficiency_cli.errors import ProfileError, UsageError
from efficiency_cli.hardware.lint import lint
from efficiency_cli.hardware.load import load_profile, profile_ids
from efficiency_cli.hardware.template import new_profile_text


def written(folder: Path, text: str) -> Path:
    path = folder / "my-board.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_empty_template_loads_and_is_full_of_placeholders(tmp_path: Path) -> None:
    path = written(tmp_path, new_profile_text("my-board"))
    assert load_profile(path).runtime().id == "default"
    assert [(f.level, f.message.split(":")[0]) for f in lint(path)] == [
        ("warning", "name is still a placeholder"),
        ("warning", "description is still a placeholder"),
        ("warning", "source 'doc' is still a placeholder"),
    ]


def test_what_the_template_offers_in_comments_is_right(tmp_path: Path) -> None:
    lines = new_profile_text("my-board").splitlines()
    start = next(i for i, text in enumerate(lines) if text.startswith("    # dispatch:"))
    told = [text for text in lines[start:] if "classes: " not in text and "patterns:" not in text]
    filled = [text.replace("# ", "", 1) if text.lstrip().startswith("#") else text for text in told]
    profile = load_profile(written(tmp_path, "\n".join([*lines[:start], *filled])))
    assert profile.runtime().interval_factors == (0.5, 3)
    assert profile.runtime().kernel_s == 1000 / 100e6
    assert profile.runtime().overhead_of(("softmax",)) == 2e-6
    assert profile.runtime().scale_factor == 1.1
    assert profile.runtime().tile_of("dense") is not None
    assert profile.energy is not None
    assert profile.energy.per_byte["sram"].value == pytest.approx(2e-12)


@pytest.mark.parametrize("name", profile_ids())
def test_a_copy_loads_with_the_same_numbers(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, new_profile_text("my-board", name))
    copy, original = load_profile(path), load_profile(name)
    assert copy.compute == original.compute
    assert copy.runtimes == original.runtimes
    assert copy.aliases == ()
    assert copy.name == f"TODO, was {original.name}"
    assert [f.message for f in lint(path)] == ["name is still a placeholder"]


@pytest.mark.parametrize("name", ["", "a/b", "..", "my board", "-x", "x" * 70])
def test_an_id_is_a_file_name(name: str) -> None:
    with pytest.raises(UsageError):
        new_profile_text(name)


def test_a_copy_of_nothing() -> None:
    with pytest.raises(ProfileError):
        new_profile_text("my-board", "no-such-board")
