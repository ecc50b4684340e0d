"""The text of a first `effcli.yaml`: `effcli check --init`. Limits are today's estimates and headroom, and say so."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from efficiency_cli import quantity
from efficiency_cli.judge.baseline import FILE
from efficiency_cli.judge.budget import SIGN_OF, Budget
from efficiency_cli.judge.gauge import DEFAULT_ON, GAUGES
from efficiency_cli.judge.snapshot import Snapshot

# what a first file limits, where the estimate has it
_LIMITED = ("latency", "peak_ram", "flash", "energy", "macs", "coverage")
_COMMENT_AT = 34

_HEAD = """\
# Budgets for `effcli check`. The format: effcli help config
# The limits are the estimates of the day and {room} of headroom: change them to what you need.
version: 1
baseline: {baseline}      # written by: effcli check --update-baseline
models:
"""
_INCREASE = "      # latency_increase: 5 %        # against the baseline; write it, commit it, then use this\n"


class _Entry(Struct, frozen=True):
    lines: tuple[str, ...]
    budgets: int


def config_text(
    shots: Sequence[tuple[Mapping[str, object], Snapshot]], limits: Iterable[Budget], path: str, headroom: float
) -> tuple[str, int]:
    """The file at `path` for these estimates, each with the keys that it was asked with; and how many budgets.

    `limits` are taken as they are, in place of an estimate with `headroom`.
    """
    given = {(b.name, b.side): b for b in limits}
    entries = [_entry(asked, shot, given.values(), path, headroom) for asked, shot in shots]
    head = _HEAD.format(room=quantity.format_percent(headroom), baseline=FILE)
    return head + "".join(line for e in entries for line in e.lines), sum(e.budgets for e in entries)


def _entry(asked: Mapping[str, object], shot: Snapshot, limits: Iterable[Budget], path: str, headroom: float) -> _Entry:
    lines = [f"  - path: {quoted(_from(path, shot.model.path))}\n"]
    machine = str(asked.get("hardware") or "")
    if machine.endswith((".yaml", ".yml")):
        asked = {**asked, "hardware": f"./{_from(path, machine)}"}
    lines += [f"    {key}: {_said(value)}\n" for key, value in asked.items() if value]
    lines.append("    budgets:\n")
    written = [_line(b.name, f"{SIGN_OF[b.side]} {b.text.lstrip('<>=≤≥ ')}", "as given") for b in limits]
    named = {b.name for b in limits}
    for name in _LIMITED:
        gauge = GAUGES[name]
        value = gauge.of(shot, DEFAULT_ON)
        if name not in named and value:
            limit = gauge.limit_text(value, headroom)
            told = f"{SIGN_OF['min']} {limit}" if gauge.more_is_better else limit
            written.append(_line(name, told, f"today {gauge.shown(value)}"))
    increase = [_INCREASE] if shot.hardware else []
    return _Entry((*lines, *written, *increase), len(written))


def _from(config: str, name: str) -> str:
    """A path from the folder of the config."""
    return os.path.relpath(name, os.path.dirname(os.path.abspath(config))).replace(os.sep, "/")


def _line(name: str, limit: str, comment: str) -> str:
    return f"      {name}: {quoted(limit)}".ljust(_COMMENT_AT) + f"  # {comment}\n"


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{quoted(str(k))}: {v}" for k, v in value.items()) + "}"
    return quoted(str(value))


def quoted(text: str) -> str:
    """`text` as a YAML scalar: in quotes where it would mean something else."""
    plain = text.isascii() and text.isprintable() and not text.startswith(tuple("-?:,[]{}#&*!|>'\"%@`<=~ "))
    if plain and text and ": " not in text and " #" not in text and not text.endswith((":", " ")) and "," not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
