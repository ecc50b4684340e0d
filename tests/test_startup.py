"""What has no model to read does not load the heavy libraries; how long it takes is in tests/benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"onnx", "google.protobuf", "numpy", "rich", "onnxruntime", "scipy"}

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
