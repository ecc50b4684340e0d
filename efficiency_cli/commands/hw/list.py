"""`effcli hw list`: one line a machine."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

from efficiency_cli.commands import options, values
from efficiency_cli.commands.output import OutputOptions
from efficiency_cli.errors import EffcliError, ExitCode, ProfileError, did_you_mean

if TYPE_CHECKING:
    from efficiency_cli.commands.hw.listing import Listing
    from efficiency_cli.hardware.profile import Profile

# the type shown for a runtime that names none
_DEFAULT_DTYPE = "float32"


@click.command()
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1, type=values.Hardware())
@options.hw_dirs
@options.plain_output
def command(patterns: Sequence[str], hw_dirs: Sequence[str], output: OutputOptions) -> int:
    """List the machines.

    A PATTERN is a glob, part of a name, or mcu, cpu, gpu, npu. Peak is that of multiply-accumulate
    work, dense, in the type the default runtime is meant for; bandwidth is that of the outermost memory.
    """
    from efficiency_cli.commands.hw.listing import formats, render

    targets = output.checked(formats)
    found, broken = _load(hw_dirs)
    wanted = _wanted(found, patterns)
    if patterns and not wanted and not broken:
        names = [n for p in found for n in (p.id, *p.aliases)]
        hint = did_you_mean(patterns[0], names) or "list all of them: effcli hw list"
        raise ProfileError(f"no hardware matches '{' '.join(patterns)}'", hint=hint)
    listing = _listing(wanted)
    output.write(targets, lambda t: render(t.format, listing, "hardware", output.view(t)))
    if broken:
        raise ProfileError(
            f"{len(broken)} profiles cannot be read" if len(broken) > 1 else broken[0].what,
            where=[line for error in broken for line in error.where or (error.what,)],
            hint="mend them, then: effcli hw lint FILE",
        )
    return ExitCode.OK


def _load(hw_dirs: Sequence[str]) -> tuple[list[Profile], list[EffcliError]]:
    """Every profile, and what is wrong with those that do not load: one broken file hides no other."""
    from efficiency_cli.hardware.load import load_summary, profile_ids

    found: list[Profile] = []
    broken: list[EffcliError] = []
    for id_ in profile_ids(hw_dirs):
        try:
            found.append(load_summary(id_, hw_dirs))
        except ProfileError as error:
            broken.append(error)
    return found, broken


def _wanted(found: Sequence[Profile], patterns: Sequence[str]) -> list[Profile]:
    """Those that any pattern means, in the order of `found`; all of them without one."""
    parts = [part.strip().lower() for p in patterns for part in p.split(",") if part.strip()]
    ids = {p.id for part in parts for p in _meant(found, part)}
    return [p for p in found if p.id in ids or not parts]


def _meant(found: Sequence[Profile], pattern: str) -> list[Profile]:
    """By what says most: an id or alias, a class, a glob over ids and aliases, text anywhere in the names."""
    names = {p.id: [p.id.lower(), *(a.lower() for a in p.aliases)] for p in found}
    wanted = "*" if pattern == "all" else pattern
    return (
        [p for p in found if wanted in names[p.id]]
        or [p for p in found if wanted == p.machine_class]
        or [p for p in found if any(fnmatchcase(name, wanted) for name in names[p.id])]
        or [p for p in found if wanted in " ".join([*names[p.id], p.name, p.description]).lower()]
    )


def _listing(found: Sequence[Profile]) -> Listing:
    from efficiency_cli import quantity
    from efficiency_cli.commands.hw.listing import Listing, Row

    rows: list[Row] = []
    cells: list[list[str]] = []
    for profile in found:
        runtime, outer = profile.runtime(), profile.memory[-1]
        peak, dtype = profile.peak(runtime.dtype or _DEFAULT_DTYPE)
        sizes = [level.size_bytes for level in profile.memory if level.size_bytes]
        rows.append(
            {
                "id": profile.id,
                "name": profile.name,
                "class": profile.machine_class,
                "dtype": dtype,
                "peak_ops_per_s": peak,
                "bandwidth_bytes_per_s": outer.bytes_per_s,
                "memory_bytes": int(max(sizes)) if sizes else None,
                "runtime": runtime.id,
                "runtime_name": runtime.name,
                "grade": runtime.grade,
            }
        )
        cells.append(
            [
                profile.id,
                profile.name,
                f"{quantity.format_count(peak, quantity.rate_unit(dtype))} {dtype}",
                quantity.format_count(outer.bytes_per_s, "B/s"),
                " + ".join(quantity.format_capacity(s) for s in sizes),
                runtime.id,
                runtime.grade,
            ]
        )
    heads = ("id", "name", "peak", "bandwidth", "memory", "runtime", "grade")
    return Listing(heads, cells, rows, frozenset({"bandwidth"}), spare=("name", "grade", "memory", "runtime"))
