"""`effcli hw lint`: the mistakes and doubts of profiles, each at file:line:column."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click

from efficiency_cli.commands import options, values
from efficiency_cli.commands.output import OutputOptions
from efficiency_cli.errors import ExitCode, ProfileError

if TYPE_CHECKING:
    from efficiency_cli.commands.hw.listing import Listing
    from efficiency_cli.hardware.lint import Finding


@click.command()
@click.argument("profiles", metavar="[ID|PATH]...", nargs=-1, type=values.Hardware())
@options.hw_dirs
@options.plain_output
def command(profiles: Sequence[str], hw_dirs: Sequence[str], output: OutputOptions) -> int:
    """Find mistakes and doubts in profiles.

    All profiles, or those given by id, glob, file or folder.

    \b
    exit 2  an error: the profile cannot be used
    exit 1  warnings: a sparse peak, GB for GiB, a number that cannot be, a placeholder
    exit 0  nothing to say
    """
    from efficiency_cli.commands.hw.listing import formats, render
    from efficiency_cli.hardware.lint import lint

    written = output.checked(formats, inputs=profiles)
    files = list(dict.fromkeys(f for p in profiles or ["all"] for f in _files(p, hw_dirs)))
    findings = [f for file in files for f in lint(file, hw_dirs)]
    listing = _listing(findings)

    def text_of(target: values.Target) -> str:
        if target.format == "table":
            return "".join(f"{line}\n" for line in _lines(findings, output.view(target).unicode))
        return render(target.format, listing, "findings", output.view(target))

    output.write(written, text_of)
    errors = sum(f.level == "error" for f in findings)
    output.notes([f"profiles {len(files)}, errors {errors}, warnings {len(findings) - errors}"])
    if errors:
        return ExitCode.ERROR
    return ExitCode.FINDING if findings else ExitCode.OK


def _files(target: str, hw_dirs: Sequence[str]) -> list[str]:
    """The files of an id, alias, glob, `all`, file or folder; several with commas between them."""
    from efficiency_cli.hardware.load import find_profile, profile_ids

    path = Path(target)
    if path.is_dir():
        inside = [str(p) for p in sorted([*path.glob("*.yaml"), *path.glob("*.yml")])]
        if not inside:
            raise ProfileError(f"there is no profile in '{target}'", hint="begin one: effcli hw new ID")
        return inside
    if path.is_file():
        return [target]
    found: list[str] = []
    for part in filter(None, (p.strip() for p in target.split(","))):
        pattern = "*" if part.lower() == "all" else part.lower()
        if any(sign in pattern for sign in "*?["):
            ids = [i for i in profile_ids(hw_dirs) if fnmatchcase(i.lower(), pattern)]
            if not ids:
                raise ProfileError(f"no hardware matches '{part}'", hint="list them: effcli hw list")
        else:
            ids = [part]
        found += [str(find_profile(i, hw_dirs)) for i in ids]
    return found


def _lines(findings: Sequence[Finding], unicode: bool) -> list[str]:
    from efficiency_cli.reports.escape import escaped

    lines = (f"{_near(f.file)}:{f.line}:{f.column}: {f.level}: {f.message}" for f in findings)
    return [escaped(line, unicode) for line in lines]


def _near(file: str) -> str:
    """The path from here, for a file below this folder."""
    try:
        return str(Path(file).resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file


def _listing(findings: Sequence[Finding]) -> Listing:
    from efficiency_cli.commands.hw.listing import Listing, Row

    heads = ("file", "line", "column", "level", "message")
    rows: list[Row] = [
        {"file": f.file, "line": f.line, "column": f.column, "level": f.level, "message": f.message} for f in findings
    ]
    cells = [[str(value) for value in row.values()] for row in rows]
    return Listing(heads, cells, rows, frozenset({"line", "column"}))
