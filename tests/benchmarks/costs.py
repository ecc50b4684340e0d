"""Whole processes under measurement: wall time and peak memory of a command, the best of several runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
IMPORTS = [sys.executable, "-c", "import onnx, click, rich.console, yaml"]
LIGHT_IMPORTS = [sys.executable, "-c", "import click, yaml, msgspec"]


class Cost(NamedTuple):
    """Seconds and peak kilobytes of one process."""

    seconds: float
    peak_kb: float


def costs(*commands: Sequence[str], rounds: int = 12) -> list[Cost]:
    """The least time and the least peak memory of each command over `rounds` fresh processes.

    The commands take turns: a machine that is slower for some seconds is so for all of them.
    """
    # bytecode is compiled once, as any installed package's is
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(ROOT)
    runs = [[_run(command, environment) for command in commands] for _ in range(rounds + 1)][1:]
    return [Cost(min(r.seconds for r in each), min(r.peak_kb for r in each)) for each in zip(*runs, strict=True)]


# started by a small process of its own: a child's peak memory includes that of what it was forked from
_LAUNCHER = """
import os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
child.returncode = os.waitstatus_to_exitcode(status)
print(time.perf_counter() - start, usage.ru_maxrss)
sys.exit(child.returncode)
"""


def _run(command: Sequence[str], environment: dict[str, str]) -> Cost:
    launched = [sys.executable, "-S", "-c", _LAUNCHER, *command]
    result = subprocess.run(launched, env=environment, capture_output=True, text=True, check=True)
    seconds, peak_kb = map(float, result.stdout.split())
    return Cost(seconds, peak_kb)


def effcli(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "efficiency_cli", *map(str, arguments)]
