"""`effcli(...)`: one command line run in this process; what every one of them must keep to is checked here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from efficiency_cli.cli import main

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Effcli = Callable[..., Result]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("EFFCLI_") or name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "GITHUB_STEP_SUMMARY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def effcli(capsys: pytest.CaptureFixture[str]) -> Effcli:
    def run(*arguments: str | Path) -> Result:
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        result = Result(int(code), captured.out, captured.err)
        assert "Traceback" not in result.out + result.err
        assert result.code != 4, result.err
        if result.code in (2, 3) and arguments[:2] != ("hw", "lint"):
            _assert_error(result.err)
        return result

    return run


def _assert_error(err: str) -> None:
    """error: lower case, no full stop / indented places / hint: …"""
    lines = [line for line in err.splitlines() if not line.startswith(("note: ", "FAIL: "))]
    assert lines[0].startswith("error: ")
    assert not lines[0].endswith(".")
    assert not lines[0].removeprefix("error: ")[:1].isupper()
    assert all(line.startswith("  ") for line in lines[1:-1])
    assert len(lines) == 1 or lines[-1].startswith(("hint: ", "  "))


@pytest.fixture
def vww() -> Path:
    return SAMPLES / "vww_mobilenetv1_int8.onnx"


@pytest.fixture
def bert() -> Path:
    return SAMPLES / "bert_small.onnx"
