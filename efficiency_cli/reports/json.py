"""The JSON report. One line a node and a kernel, so that two reports compare line by line.

Names are exact and everything outside ASCII is escaped, so any terminal or file can hold it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from efficiency_cli.roofline.report_data import reports_of

if TYPE_CHECKING:
    from efficiency_cli.reports.view import View
    from efficiency_cli.roofline.estimate import Estimate

# containers opened over several lines: a report and its parts; in `results` two more around each
_ONE, _SEVERAL = 2, 4


def render(estimates: Sequence[Estimate], view: View, command: str) -> str:  # noqa: ARG001
    """The report of interface.md; several estimates come as its `results`. A view changes nothing here."""
    levels = _ONE if len(estimates) == 1 else _SEVERAL
    return opened(reports_of(estimates, command), levels)


def opened(value: Any, levels: int) -> str:
    """Plain data as JSON: its outer `levels` of containers over several lines, what is inside on its line."""
    return "".join(_lines(value, levels, "")) + "\n"


def _lines(value: Any, levels: int, indent: str) -> list[str]:
    """`value` with its outer `levels` of containers opened, one entry a line, and the rest on its line."""
    if not levels or not value or not isinstance(value, dict | list):
        return [json.dumps(value, allow_nan=False)]
    deeper = indent + "  "
    entries = (
        [(f"{json.dumps(k)}: ", v) for k, v in value.items()] if isinstance(value, dict) else [("", v) for v in value]
    )
    opened, closed = "{}" if isinstance(value, dict) else "[]"
    parts = [opened]
    for k, (key, entry) in enumerate(entries):
        parts.append(f"{',' if k else ''}\n{deeper}{key}")
        parts.extend(_lines(entry, levels - 1, deeper))
    parts.append(f"\n{indent}{closed}")
    return parts
