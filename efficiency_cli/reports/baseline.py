"""A baseline as text: a JSON report of what judging needs, one line a kernel, so that two of them compare well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from efficiency_cli import __version__
from efficiency_cli.judge.snapshot import Snapshot, to_plain
from efficiency_cli.reports.json import opened
from efficiency_cli.roofline.report_format import SCHEMA_VERSION

# results, their parts, and in their kernels each one
_LEVELS = 4
# of a kernel, also where they are 0
_NEEDED = ("name", "op", "macs", "ops", "bytes_moved")


def baseline_text(entries: Sequence[Snapshot]) -> str:
    report = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "effcli", "version": __version__},
        "command": "baseline",
        "results": [_slim(to_plain(e)) for e in entries],
    }
    return opened(report, _LEVELS)


def _slim(entry: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: it is read back as such."""
    found = {key: value for key, value in entry.items() if value or key in ("kernels", "coverage")}
    found["kernels"] = [{k: v for k, v in kernel.items() if v or k in _NEEDED} for kernel in entry["kernels"]]
    return found
