"""A finding in words, the same in every format: by how much, why, and how to accept it.

Names are as the model spells them: the format that shows a text escapes it.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from pathlib import PurePath

from efficiency_cli.judge.budget import SIGN_OF
from efficiency_cli.judge.gauge import DEFAULT_ON, GAUGES
from efficiency_cli.judge.reasons import Reason, Why
from efficiency_cli.judge.verdict import Finding, Result, Verdict
from efficiency_cli.quantity import format_percent

LABEL = {"fail": "FAIL", "warn": "WARN", "skip": "SKIP", "pass": "PASS", "error": "ERROR"}
_OPTIONS = ("--max", "--min")


def signed_percent(fraction: float) -> str:
    """ "+4.2 %", "-0.3 %", "no change", "from nothing"."""
    if math.isinf(fraction):
        return "from nothing"
    if not fraction:
        return "no change"
    return f"{'-' if fraction < 0 else '+'}{format_percent(abs(fraction))}".replace("+<", "<").replace("-<", "-<")


def value_of(finding: Finding) -> str:
    """What is judged: "22.5 ms", or "+12.5 %" against the baseline."""
    if finding.value is None:
        return finding.budget.gauge.shown(finding.now) if finding.now is not None else ""
    if not finding.budget.relative:
        return finding.budget.gauge.shown(finding.value)
    # a throughput that is 5 % worse is 5 % less
    worse = finding.value
    return signed_percent(-worse if finding.budget.gauge.more_is_better and math.isfinite(worse) else worse)


def limit_of(finding: Finding) -> str:
    """ "<= 15 ms", as it was written."""
    budget = finding.budget
    bare = budget.text.lstrip("<>=≤≥ ")
    return f"{SIGN_OF[budget.side]} {bare}"


def margin_of(finding: Finding) -> str:
    """ "7.47 ms over (49.8 %)", "2.5 ms left (16.7 %)"; against the baseline what it was and is."""
    budget, gauge = finding.budget, finding.budget.gauge
    if finding.value is None:
        return finding.skipped
    if budget.relative:
        if finding.before is None or finding.now is None or finding.before == finding.now:
            return ""
        return f"{gauge.shown(finding.before)} → {gauge.shown(finding.now)}"
    over = finding.over
    share = f" ({format_percent(abs(over) / budget.limit)})" if budget.limit and gauge.dimension != "fraction" else ""
    if not over:
        return "at the limit"
    way = {True: "left", False: "over" if budget.side == "max" else "short"}[over < 0]
    return f"{gauge.shown(abs(over))} {way}{share}"


def on_of(finding: Finding) -> str:
    """Which number of the interval was judged, where it is not the expected one."""
    budget = finding.budget
    return budget.on if budget.gauge.intervals and budget.on != DEFAULT_ON else ""


def sentence(finding: Finding) -> str:
    """ "latency is 22.5 ms, 7.47 ms (49.8 %) over the limit of 15 ms"."""
    budget, gauge = finding.budget, finding.budget.gauge
    told = f"{gauge.name} ({on_of(finding)})" if on_of(finding) else gauge.name
    if finding.value is None:
        return f"{budget.name} cannot be judged: {finding.skipped}"
    limit = budget.text.lstrip("<>=≤≥ ")
    if budget.relative:
        before, now = gauge.shown(finding.before or 0), gauge.shown(finding.now or 0)
        worse = "less" if gauge.more_is_better else "more"
        return f"{told} is {now}, {value_of(finding)} against the baseline's {before}; {limit} {worse} is allowed"
    side = "most" if budget.side == "max" else "least"
    return f"{told} is {gauge.shown(finding.value)}, {margin_of(finding)}; at {side} {limit} is allowed"


# --- why ---------------------------------------------------------------------------------------

_TITLES = {
    "grew": "grew since the baseline",
    "largest": "the largest kernels",
    "peak": "most is alive during",
    "count": "most kernels are",
    "unmodelled": "operators without a cost rule",
}


def why_title(why: Why) -> str:
    """What the reasons are, and how many are not shown."""
    more = f" (and {why.others:,} more)" if why.others else ""
    return f"{_TITLES[why.kind]}{more}"


def reason_parts(reason: Reason, why: Why, finding: Finding) -> tuple[str, str, str]:
    """A reason's name, its operator, and what it takes."""
    gauge = GAUGES[why.unit]
    now = gauge.shown(reason.now)
    if why.kind == "grew":
        if reason.before is None:
            return reason.name, reason.op, f"{now}, new"
        grown = gauge.shown(reason.now - reason.before)
        return reason.name, reason.op, f"{gauge.shown(reason.before)} → {now} (+{grown})"
    return reason.name, reason.op, now + _share(reason, why, finding)


def _share(reason: Reason, why: Why, finding: Finding) -> str:
    """Of the figure, where the reason's number is a part of it."""
    whole = finding.now
    if why.kind != "largest" or why.unit != finding.budget.gauge.name or not whole or finding.value is None:
        return ""
    return f", {format_percent(reason.now / whole)}"


def why_lines(finding: Finding) -> Iterator[str]:
    """The reasons as plain lines: "/conv1 (Conv 3x3): 1.85 ms, 8.2 %"."""
    if finding.why is None:
        return
    yield f"{why_title(finding.why)}:"
    for reason in finding.why.reasons:
        name, op, told = reason_parts(reason, finding.why, finding)
        yield f"  {name} ({op}): {told}" if op else f"  {name}: {told}"


# --- how to accept -----------------------------------------------------------------------------


def accept_of(finding: Finding, verdict: Verdict) -> str:
    """What to do if the figure is as it should be."""
    budget, gauge = finding.budget, finding.budget.gauge
    if finding.status == "skip":
        return ""
    if budget.relative:
        return f"effcli check --update-baseline{_again(verdict)}"
    way = "raise" if budget.side == "max" else "lower"
    figure = gauge.limit_text(finding.value or 0.0)
    if budget.place in _OPTIONS:
        return f"{way} the limit: {budget.place} {budget.name}={figure.replace(' ', '')}"
    return f"{way} it to {figure} at {budget.place}"


def _again(verdict: Verdict) -> str:
    """The options with which the same is judged again."""
    if not verdict.config:
        return f" --baseline {shlex.quote(verdict.baseline)}"
    found = PurePath(verdict.config).name in ("effcli.yaml", "pyproject.toml")
    return "" if found else f" -c {shlex.quote(verdict.config)}"


def machine_of(result: Result) -> str:
    """ "on cortex-m7: X-CUBE-AI 9 to 10, int8"; "" without a machine."""
    hardware = result.snapshot.hardware if result.snapshot else None
    if hardware is None:
        return f"on {result.machine}" if result.machine else ""
    return f"on {hardware.id}: {', '.join(filter(None, (hardware.runtime_name or hardware.runtime, hardware.dtype)))}"


def counts_of(verdict: Verdict) -> str:
    """ "1 failed, 1 warning, 2 skipped, 9 passed"."""
    counts = verdict.counts
    words = {"fail": "failed", "warn": "warned", "skip": "skipped", "pass": "passed"}
    parts = [f"{counts[status]:,} {word}" for status, word in words.items() if counts[status]]
    if counts["errors"]:
        parts.insert(0, f"{counts['errors']:,} could not be checked")
    return ", ".join(parts) or "nothing was judged"


def title_of(verdict: Verdict) -> str:
    """What was judged by what: "effcli.yaml: 2 models, 3 budgets; baseline effcli-baseline.json"."""
    models = len({r.path for r in verdict.results})
    budgets = len(verdict.findings)
    parts = [f"{models:,} model{'s'[: models != 1]}, {budgets:,} budget{'s'[: budgets != 1]}"]
    if verdict.baseline:
        parts.append(f"baseline {verdict.baseline}")
    return f"{verdict.config or 'limits of the command line'}: {'; '.join(parts)}"
