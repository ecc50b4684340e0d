"""--fusion: kernels as another runtime would fuse them, or none fused at all."""

from __future__ import annotations

from collections.abc import Iterable

import click

from efficiency_cli.commands import values
from efficiency_cli.commands.declare import option
from efficiency_cli.errors import UsageError, did_you_mean
from efficiency_cli.graph.patterns import SETS, expanded

NONE = "none"


class Fusing(values.Value):
    """none, a set that has a name, or a runtime of any machine."""

    name = "none|RUNTIME"

    def candidates(self, ctx: click.Context) -> Iterable[str]:  # noqa: ARG002
        return [NONE, *sorted({*SETS, *_runtimes()})]


FUSION = option(
    "--fusion",
    type=Fusing(),
    help="Group nodes into kernels as this runtime does, whatever the machine's own; none: each node by itself.",
)


def patterns_of(asked: str) -> tuple[str, ...]:
    """The patterns that `asked` stands for. Raises UsageError for a word that names no runtime, or several."""
    if asked == NONE:
        return ()
    if asked in SETS:
        return tuple(sorted(expanded([asked])))
    machine, _, runtime = asked.rpartition(":")
    known = _runtimes()
    found = known.get(runtime, {})
    lists = {fusion for id_, fusion in found.items() if not machine or id_ == machine}
    if not lists:
        words = sorted({NONE, *SETS, *known})
        hint = did_you_mean(asked, words) or f"choose one: {', '.join(words)}"
        raise UsageError(f"--fusion: no runtime is called '{values.short(asked)}'", hint=hint)
    if len(lists) > 1:
        example = sorted(found)[0]
        what = f"--fusion: '{runtime}' does not fuse the same on all machines"
        raise UsageError(what, where=f"it is on {', '.join(sorted(found))}", hint=f"say which: {example}:{runtime}")
    return lists.pop()


def _runtimes() -> dict[str, dict[str, tuple[str, ...]]]:
    """Runtime -> machine -> the patterns it lists, of the shipped profiles."""
    from efficiency_cli.hardware.load import profiles

    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for profile in profiles():
        for runtime in profile.runtimes:
            found.setdefault(runtime.id, {})[profile.id] = tuple(sorted(expanded(runtime.fusion)))
    return found
