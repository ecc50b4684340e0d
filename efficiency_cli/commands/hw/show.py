"""`effcli hw show`: every number of a machine and where it is from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from efficiency_cli.commands import options, values
from efficiency_cli.commands.output import OutputOptions
from efficiency_cli.errors import ExitCode

if TYPE_CHECKING:
    from efficiency_cli.commands.hw.listing import Listing
    from efficiency_cli.hardware.profile import Profile, Quantity, Runtime


@click.command()
@click.argument("id", type=values.Hardware())
@options.hw_dirs
@options.overrides
@options.plain_output
def command(id: str, hw_dirs: Sequence[str], overrides: Sequence[str], output: OutputOptions) -> int:
    """Show every number of a machine and where it is from.

    ID is an id, an alias or the path of a profile. With --set, the numbers are those it makes.
    """
    from efficiency_cli.commands.hw.listing import as_json, formats, render
    from efficiency_cli.hardware.load import load_profile

    targets = output.checked(formats, inputs=[id])
    profile = load_profile(id, hw_dirs, overrides)
    listing = _numbers(profile)

    def text_of(target: values.Target) -> str:
        view = output.view(target)
        if target.format == "json":
            return as_json(_data(profile, listing))
        table = render(target.format, listing, "numbers", view)
        return table if target.format == "csv" else _framed(profile, table, target.format, view.unicode)

    output.write(targets, text_of)
    return ExitCode.OK


def _numbers(profile: Profile) -> Listing:
    """One row a number; the path is what --set takes."""
    from efficiency_cli.commands.hw.listing import Listing, Row
    from efficiency_cli.hardware.profile import numbers

    rows: list[Row] = []
    cells: list[list[str]] = []
    for path, number in numbers(profile):
        cells.append([path, _written(number), number.kind, number.source, number.note])
        rows.append(
            {
                "key": path,
                "value": number.value,
                "text": number.text,
                "kind": number.kind,
                "source": number.source,
                "note": number.note,
            }
        )
    return Listing(("key", "value", "kind", "source", "note"), cells, rows, frozenset({"value"}))


def _written(number: Quantity) -> str:
    """As the profile has it, and what that is by the clock where it counts in cycles."""
    from efficiency_cli.quantity import format_count, format_power, format_time, split

    unit = split(number.text)[1]
    if unit.endswith("J/cycle"):
        return f"{number.text} = {format_power(number.value)}"
    if unit.endswith("/cycle"):
        per_second = f"{unit.removesuffix('/cycle').lstrip('kKMGTPE')}/s"
        return f"{number.text} = {format_count(number.value, per_second)}"
    return f"{number.text} = {format_time(number.value)}" if unit.endswith(("cycle", "cycles")) else number.text


def _framed(profile: Profile, table: str, format: str, unicode: bool) -> str:
    """The table of numbers between what the machine is and the documents its numbers are from."""
    from efficiency_cli.commands.hw.listing import paragraph

    head = [f"{profile.id}: {profile.name} ({profile.machine_class})", profile.description]
    head += [f"also known as {', '.join(profile.aliases)}"] if profile.aliases else []
    runtimes = [_told(r, profile.default_runtime) for r in profile.runtimes]
    sources = [f"{key}: {text}" for key, text in profile.sources.items()]
    parts = [paragraph(lines, format, unicode) for lines in (head, ["Runtimes", *runtimes])]
    return "\n".join([*parts, table, paragraph(["Sources", *sources, profile.path], format, unicode)])


def _told(runtime: Runtime, default: str) -> str:
    words = [f"{runtime.id}{' (default)' if runtime.id == default else ''}: {runtime.name}", runtime.grade]
    words += [f"for {runtime.dtype}"] if runtime.dtype else []
    words += [f"fuses {', '.join(runtime.fusion)}"] if runtime.fusion else []
    lower, upper = runtime.interval_factors
    words.append(f"80 % of runs in {lower:g} to {upper:g} times the expected time")
    return "; ".join([*words, *_calibrated(runtime)])


def _calibrated(runtime: Runtime) -> Iterator[str]:
    from efficiency_cli.quantity import format_percent

    fit = runtime.calibration
    if fit:
        yield f"fitted to {fit.measurements:g} measurements of {fit.models:g} networks"
        if fit.held_out_error is not None:
            yield f"mean error on those left out of the fit {format_percent(fit.held_out_error)}"


def _data(profile: Profile, listing: Listing) -> dict[str, object]:
    """The machine as plain data, every number in base units."""
    runtimes = []
    for runtime in profile.runtimes:
        fit = runtime.calibration
        runtimes.append(
            {
                "id": runtime.id,
                "name": runtime.name,
                "grade": runtime.grade,
                "dtype": runtime.dtype,
                "fusion": list(runtime.fusion),
                "interval": list(runtime.interval_factors),
                "calibration": fit
                and {
                    "measurements": int(fit.measurements),
                    "models": int(fit.models),
                    "held_out_error": fit.held_out_error,
                    "source": fit.source,
                },
            }
        )
    return {
        "id": profile.id,
        "name": profile.name,
        "class": profile.machine_class,
        "description": profile.description,
        "aliases": list(profile.aliases),
        "runtime": profile.default_runtime,
        "runtimes": runtimes,
        "numbers": list(listing.rows),
        "sources": dict(profile.sources),
    }
