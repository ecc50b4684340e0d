"""Verdicts for the tests of their formats: one with everything in it, and one whose every text is hostile."""

from __future__ import annotations

import sys
from pathlib import Path

from msgspec.structs import replace

from efficiency_cli.errors import EffcliError
from efficiency_cli.judge.budget import Budget, parse_budget
from efficiency_cli.judge.verdict import Result, Verdict, judge

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "judge"))

from snapshots import kernel, snapshot

HOSTILE = "\x1b[31m\n::error::x ]]>|</code><script>@someone #1 \u202e%0A\r, \x00 \udc80"


def budget(text: str, **more: object) -> Budget:
    side = "min" if text.startswith(("throughput=", "coverage=")) else "max"
    return replace(parse_budget(text, side, f"--{side}"), **{"place": "ci/effcli.yaml:9:7", **more})


def verdict(path: str = "models/a.onnx", name: str = "/conv", message: str = "ask first") -> Verdict:
    """A failure, a warning, a pass, a budget that cannot be judged, a gap; and a model that cannot be read."""
    now = snapshot([kernel(name, 6), kernel("/fc", 3, op="Gemm")], path=path)
    before = snapshot([kernel(name, 4), kernel("/fc", 3, op="Gemm")], path=path)
    budgets = [
        budget("latency=8ms", message=message),
        budget("flash=1B", level="warn", message=message),
        budget("throughput=1/s"),
        budget("latency_increase=5%"),
        budget("energy_increase=5%", level="warn"),
    ]
    judged = Result(path, "board", judge(now, budgets, before), now, before)
    unjudged = judge(now, [budget("latency_increase=5%"), budget("macs_increase=1%", level="warn")])
    error = EffcliError("not a model", where=[f"ci/effcli.yaml:20:9: {name}"], hint="export it again")
    return Verdict(
        (
            judged,
            Result(path, "other", unjudged, now, gaps=(f"not modelled: {name}",)),
            Result("broken.onnx", "", error=error),
        ),
        "ci/effcli.yaml",
        "base.json",
    )


def hostile() -> Verdict:
    return verdict(HOSTILE, HOSTILE, HOSTILE)
