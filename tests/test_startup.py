"""What has no model to read is there at once: in a fresh process, without the heavy libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"onnx", "google.protobuf", "numpy", "rich", "onnxruntime", "scipy"}
# seconds of processor time, the interpreter's own start included
LIMIT_S = 0.25
# the best of some runs: a busy machine only ever adds; the first that is quick enough ends them
RUNS = 25

PROGRAM = """
import json, sys
from efficiency_cli.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""

FAST = [
    ["--help"],
    ["--version"],
    ["hw", "list"],
    ["help", "method"],
    ["analyze", "--help"],
    ["hw", "show", "cortex-m7"],
]


@pytest.mark.parametrize("arguments", FAST, ids=" ".join)
def test_heavy_libraries_stay_out(arguments):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    code, loaded = json.loads(run.stderr)
    assert code == 0
    assert HEAVY & set(loaded) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["analyze", "--help"]], ids=" ".join)
def test_help_needs_neither_msgspec_nor_yaml(arguments):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert {"msgspec", "yaml"} & set(json.loads(run.stderr)[1]) == set()


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs wait4")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["hw", "list"]], ids=" ".join)
def test_start_takes_a_quarter_of_a_second(arguments):
    assert any(_processor_seconds(arguments) <= LIMIT_S for _ in range(RUNS))


def _processor_seconds(arguments: list[str]) -> float:
    process = subprocess.Popen(
        [sys.executable, "-m", "efficiency_cli", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime
