"""The README says what is so: its commands, output, tables, example and links."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from efficiency_cli.cli import cli
from efficiency_cli.hardware.load import profiles

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def effcli_lines() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line[line.index("effcli ") :] for line in lines if "effcli " in line]


def run(arguments: list[str]) -> str:
    command = [sys.executable, "-m", "efficiency_cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout


def test_ci_runs_the_second_command() -> None:
    setups = [block.strip() for block in blocks("sh") if block.startswith("python3 -m venv")]
    assert len(setups) == 2
    assert all("\n" not in line for line in setups)
    assert setups[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert setups[0].split("&& .venv/bin/effcli ")[1] in blocks("text")[0]


def test_shown_output_is_what_is_printed() -> None:
    for block in blocks("text"):
        prompt, _, shown = block.partition("\n")
        assert prompt.startswith("$ effcli ")
        assert run(shlex.split(prompt)[2:]).rstrip() == shown.rstrip()


@pytest.mark.parametrize("line", effcli_lines())
def test_commands_and_options_exist(line: str) -> None:
    words = shlex.split(line.split(" < ")[0], comments=True)[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="effcli")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, line
        command, words = found, words[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {w for w in words if w.startswith("-") and w != "-"} <= known, line


def test_machine_table_is_the_folder() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \| (.+) \| (\w+) \|$", README, re.MULTILINE)
    expected = [(p.id, p.name, p.runtime().name, p.runtime().grade) for p in profiles()]
    assert rows == expected


def test_python_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    expected_s, macs, _ = capsys.readouterr().out.split(maxsplit=2)
    assert 0 < float(expected_s) < 1
    assert int(macs) == 1_677_983_744  # samples/README.md has the hand calculation


@pytest.mark.parametrize(("text", "base"), [(README, ROOT), (CONTRIBUTING, ROOT / ".github")])
def test_links_lead_to_files(text: str, base: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (base / link).exists()] == []


def test_nothing_machine_made_is_named() -> None:
    for text in (README, CONTRIBUTING, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")):
        assert "/tmp" not in text
        assert "/work" not in text
