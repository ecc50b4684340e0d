"""The files for CI systems say what is so: their YAML, the options they use, the script of the action."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from efficiency_cli.commands.check import command as check
from efficiency_cli.reports.verdict import FORMATS

ROOT = Path(__file__).resolve().parent.parent
PROJECT, ACTION = ROOT / "samples" / "ci-project", ROOT / "samples" / "github-action" / "action.yml"
FILES = [ACTION, PROJECT / ".gitlab-ci.yml", ACTION.parent / "README.md"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_options_and_formats_exist(path):
    known = {name for p in check.params for name in (*p.opts, *p.secondary_opts)}
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [m[0] for m in re.finditer(r"effcli check .*", text)]
    assert lines
    for line in lines:
        assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", line)) <= known, line
        assert {f.split(":")[0] for f in re.findall(r"-f ([a-z]+)", line)} <= set(FORMATS), line


def test_the_hook_runs_on_models_and_configs():
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    files = re.compile(hook["files"])
    assert all(files.search(name) for name in ("a.onnx", "models/a.onnx", "effcli.yaml", "ci/effcli-baseline.json"))
    assert not any(files.search(name) for name in ("a.py", "noteffcli.yaml", "a.onnx.md"))
    assert hook["pass_filenames"] is False
    assert hook["entry"] == "effcli check"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("arguments", "code", "moved"), [("", "0", "0"), ("-c pull-request.yaml", "1", "1"), ("-c broken.yaml", "2", "0")]
)
def test_the_script_of_the_action(tmp_path, arguments, code, moved):
    """The step that checks, run as GitHub runs it: its outputs are the exit code and how much moved."""
    steps = yaml.safe_load(ACTION.read_text(encoding="utf-8"))["runs"]["steps"]
    (step,) = [s for s in steps if s.get("id") == "check"]
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in (("effcli", f'exec "{sys.executable}" -m efficiency_cli "$@"'), ("python3", None)):
        (programs / name).write_text(f'#!/bin/sh\n{body or f"""exec "{sys.executable}" "$@" """}\n')
        (programs / name).chmod(0o755)
    outputs, summary = tmp_path / "outputs", tmp_path / "summary"
    env = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "ARGUMENTS": arguments,
        "REPORTS": str(tmp_path / "reports"),
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    run = subprocess.run(
        ["bash", "-e", "-c", step["run"]], cwd=project, env=env, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert outputs.read_text().splitlines() == [f"exit-code={code}", f"moved={moved}"]
    if code != "2":
        assert summary.read_text().startswith("### ")
        assert json.loads((tmp_path / "reports" / "check.json").read_text())["exit_code"] == int(code)
        assert run.stdout.splitlines()[-1].startswith("::notice ")


def test_no_input_of_the_action_is_part_of_a_script():
    """What an expression puts into a script would be run."""
    steps = yaml.safe_load(ACTION.read_text(encoding="utf-8"))["runs"]["steps"]
    assert [s["run"] for s in steps if "${{" in s["run"]] == []
