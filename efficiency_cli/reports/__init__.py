"""Estimates as text: one file a format, each with a `render(estimates, view, command) -> str`.

A format is added by adding its file. Text from a model is hostile: see `escape.py`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from efficiency_cli.errors import UsageError, did_you_mean
from efficiency_cli.reports.view import GROUPS, SORTS, Group, Sort, View

if TYPE_CHECKING:
    from efficiency_cli.roofline.estimate import Estimate

__all__ = ["GROUPS", "SORTS", "Group", "Sort", "View", "formats", "notes_of", "render"]

# the one for people comes first
_FIRST = "table"


@cache
def formats() -> tuple[str, ...]:
    """The formats there are: the modules of this folder that define `render`.

    Looked for in their text: other reports are here too, and importing them all would load what none needs.
    """
    names = [m.name for m in pkgutil.iter_modules(__path__) if "\ndef render(" in _source(m)]
    return tuple(sorted(names, key=lambda n: (n != _FIRST, n)))


def render(format: str, estimates: Sequence[Estimate], view: View, command: str = "analyze") -> str:
    """`estimates` in the named format. Raises UsageError for a format there is not."""
    # only the wanted format is imported: finding all of them takes a tenth of a small model's time
    if format not in _modules() or not hasattr(_module(format), "render"):
        raise UsageError(
            f"unknown format '{format}'",
            where=f"formats: {', '.join(formats())}",
            hint=did_you_mean(format, formats()) or "choose one: effcli analyze MODEL --format table",
        )
    text: str = _module(format).render(estimates, view, command)
    return text


def notes_of(estimate: Estimate) -> list[str]:
    """What was assumed and is odd, a line each, safe to print."""
    from efficiency_cli.reports import summary

    return summary.notes_of(estimate)


def _modules() -> list[str]:
    return [m.name for m in pkgutil.iter_modules(__path__)]


def _source(module: pkgutil.ModuleInfo) -> str:
    spec = module.module_finder.find_spec(f"{__name__}.{module.name}", None)
    loader: Any = spec.loader if spec is not None else None
    return (loader.get_source(spec.name) or "") if spec is not None and loader is not None else ""


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
