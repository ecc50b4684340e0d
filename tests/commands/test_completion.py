"""`effcli completion SHELL`, and what the shells are then told."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_a_shell(effcli, shell):
    result = effcli("completion", shell)
    assert (result.code, result.err) == (0, "")
    assert f"_EFFCLI_COMPLETE={shell}_complete" in result.out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=result.out, text=True, check=True, timeout=30)


def test_no_such_shell(effcli):
    result = effcli("completion", "bsh")
    assert result.code == 2
    assert "did you mean 'bash'?" in result.err


def completed(*words: str) -> list[str]:
    """What bash would offer for the last of `words`."""
    from efficiency_cli.cli import COMPLETION

    environment = {COMPLETION: "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    run = subprocess.run(
        [sys.executable, "-m", "efficiency_cli"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert run.stderr == ""
    return [line.partition(",")[2] for line in run.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["effcli", "an"], ["analyze"]),
        (["effcli", "hw", ""], ["lint", "list", "new", "show"]),
        (["effcli", "hw", "show", "cortex-m7"], ["cortex-m7"]),
        (["effcli", "analyze", "--hw", "cortex-m8"], ["cortex-m85"]),
        (["effcli", "analyze", "--hw", "a100,h2"], ["a100,h200"]),
        (["effcli", "analyze", "--hw", "a100", "--runtime", "t"], ["tensorrt"]),
        (["effcli", "analyze", "--group", "n"], ["node"]),
        (["effcli", "analyze", "-f", "js"], ["json"]),
        (["effcli", "help", "exit"], ["exit-codes"]),
        (["effcli", "completion", "z"], ["zsh"]),
        (["effcli", "schema", ""], ["profile", "config", "report"]),
    ],
)
def test_what_is_offered(words, offered, monkeypatch):
    from pathlib import Path

    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    assert completed(*words) == offered
