"""samples/ci-project: pass, fail, warn, inconclusive and a broken config, each by argv, exit code and both streams."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2] / "samples" / "ci-project"
README = (PROJECT / "README.md").read_text(encoding="utf-8")
SHOWN = dict(re.findall(r"```text\n\$ effcli (.*)\n([\s\S]*?)```", README))
CODES = {
    "check": 0,
    "check -c pull-request.yaml": 1,
    "check -c warn.yaml": 0,
    "check -c inconclusive.yaml": 3,
    "check -c broken.yaml": 2,
}
FORMATS = ("table", "json", "csv", "markdown", "junit", "github", "sarif", "bench")


pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy, so that nothing is written into the repository."""
    copy = tmp_path / "project"
    shutil.copytree(PROJECT, copy)
    monkeypatch.chdir(copy)
    return copy


@pytest.mark.parametrize(("line", "code"), CODES.items())
def test_what_the_readme_shows_is_what_is_printed(effcli, line, code):
    result = effcli(*shlex.split(line))
    assert result.code == code
    assert (result.out or result.err).rstrip() == SHOWN[line].rstrip()


def test_the_readme_shows_every_case():
    assert set(CODES) < set(SHOWN)


def test_a_pass_says_nothing_on_standard_error(effcli):
    assert effcli("check", "-q").err == ""


def test_a_failure_says_by_how_much_and_why(effcli):
    result = effcli("check", "-c", "pull-request.yaml")
    assert result.err.splitlines() == [
        "FAIL: pull-request/keyword.onnx on sensor-hub: latency is 37.5 ms, 7.47 ms over (24.9 %); "
        "at most 30 ms is allowed",
        "FAIL: pull-request/keyword.onnx on sensor-hub: latency is 37.5 ms, +34.4 % against the baseline's 27.9 ms; "
        "2 % more is allowed",
    ]
    assert "/blocks/blocks.3/pointwise/Conv  Conv pointwise  5.26 ms → 11.8 ms (+6.49 ms)" in result.out
    assert "to accept: raise it to 37.5 ms at pull-request.yaml:8:7" in result.out
    assert "to accept: effcli check --update-baseline -c pull-request.yaml" in result.out
    assert result.out.count("Ask the audio team") == 1


def test_exit_zero_turns_a_finding_into_0_and_nothing_else(effcli):
    assert effcli("check", "-c", "pull-request.yaml", "--exit-zero").code == 0
    assert effcli("check", "-c", "inconclusive.yaml", "--exit-zero").code == 3
    assert effcli("check", "-c", "broken.yaml", "--exit-zero").code == 2


def test_inconclusive_says_what_and_what_to_do(effcli):
    result = effcli("check", "-c", "inconclusive.yaml")
    assert result.err.splitlines() == [
        "error: inconclusive: 2 of what was to be judged could not be",
        "  inconclusive.yaml:9:11: 'nothing/*.onnx' matches nothing",
        "  models/keyword.onnx on sensor-hub: latency_increase: no baseline is named",
        "hint: write the baseline, and commit it: effcli check --update-baseline",
    ]


def test_the_limits_are_what_they_are_by_hand(effcli):
    """Peak of the activations: 64 channels of 25x5 in and out of block 0, in int8; weights as stored."""
    report = json.loads(effcli("check", "-f", "json").out)
    totals = report["results"][0]["totals"]
    assert totals["peak_activation_bytes"] == 2 * 64 * 25 * 5
    convolutions = 25 * 5 * (64 * 10 * 4 + 4 * (64 * 3 * 3 + 64 * 64))
    assert totals["macs"] == convolutions + 64 * 12


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("config", ["effcli.yaml", "pull-request.yaml", "inconclusive.yaml"])
def test_two_runs_give_the_same_bytes(effcli, format, config):
    first, second = (effcli("check", "-c", config, "-f", format).out for _ in range(2))
    assert first == second


def test_a_fresh_process_gives_the_same_bytes():
    """Hashes of texts differ from process to process; nothing may depend on them."""
    argv = [sys.executable, "-m", "efficiency_cli", "check", "-c", "pull-request.yaml", "-f", "json"]
    outs = {
        subprocess.run(argv, capture_output=True, timeout=120, env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outs) == 1


def test_updating_the_baseline_accepts_the_change(effcli, project):
    before = (project / "effcli-baseline.json").read_text()
    result = effcli("check", "-c", "pull-request.yaml", "--update-baseline")
    # the absolute limit still fails, the change does not
    assert result.code == 1
    assert result.err.count("FAIL:") == 1
    assert "wrote effcli-baseline.json: 1 estimate" in result.err
    assert (project / "effcli-baseline.json").read_text() != before
    assert "latency_increase  no change" in effcli("check", "-c", "pull-request.yaml").out


def test_updating_without_a_change_changes_nothing(effcli, project):
    before = (project / "effcli-baseline.json").read_bytes()
    assert effcli("check", "--update-baseline").code == 0
    assert (project / "effcli-baseline.json").read_bytes() == before


def test_from_a_folder_below_the_same_is_judged(effcli, project, monkeypatch):
    (project / ".git").mkdir()
    (project / "models" / "deeper").mkdir()
    monkeypatch.chdir(project / "models" / "deeper")
    result = effcli("check")
    assert result.code == 0
    assert result.out.startswith("../../effcli.yaml: 1 model, 7 budgets; baseline ../../effcli-baseline.json\n")
    assert "7 passed" in result.out


def test_the_models_are_what_the_script_builds(tmp_path):
    pytest.importorskip("onnx")
    copy = tmp_path / "samples"
    shutil.copytree(PROJECT.parent, copy, ignore=shutil.ignore_patterns("*.onnx", "__pycache__"))
    subprocess.run([sys.executable, copy / "ci-project" / "build.py"], check=True, capture_output=True, timeout=120)
    for folder in ("models", "pull-request"):
        built = copy / "ci-project" / folder / "keyword.onnx"
        assert built.read_bytes() == (PROJECT / folder / "keyword.onnx").read_bytes()
