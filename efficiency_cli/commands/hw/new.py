"""`effcli hw new`: a commented profile to fill in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from efficiency_cli.commands import options, values
from efficiency_cli.commands.output import check_writable, emit, say, write_file
from efficiency_cli.commands.values import STDOUT
from efficiency_cli.errors import ExitCode, UsageError


@click.command()
@click.argument("id")
@options.option("--from", "based_on", type=values.Hardware(), help="Begin as a copy of this machine.")
@options.option("-o", "--output", "path", type=values.File(), help="File or folder; - prints.")
@options.option("--force", is_flag=True, help="Overwrite the file.")
@options.hw_dirs
@options.debug
def command(id: str, based_on: str | None, path: str | None, force: bool, hw_dirs: Sequence[str]) -> int:
    """Begin a new profile, ID.yaml.

    Every key is explained and waits for its number. It loads as it stands;
    `effcli hw lint ID.yaml` names what is left to fill in.
    """
    from efficiency_cli.hardware.template import new_profile_text

    target = _target(id, path)
    text = new_profile_text(id, based_on, hw_dirs)
    if target == STDOUT:
        emit(text)
        return ExitCode.OK
    if Path(target).exists() and not force:
        raise UsageError(f"{target} exists", hint="choose another: -o PATH, or overwrite it: --force")
    check_writable(target)
    write_file(target, text)
    say(f"wrote {target}; fill it in, then: effcli hw lint {target}")
    return ExitCode.OK


def _target(id_: str, path: str | None) -> str:
    """Where to write. A profile's id is its file's stem, so a path must agree with the id."""
    if path is None or path == STDOUT:
        return path or f"{id_}.yaml"
    if Path(path).is_dir():
        return str(Path(path) / f"{id_}.yaml")
    if Path(path).name != f"{id_}.yaml":
        hint = f"as in: effcli hw new {id_} -o {Path(path).parent / id_}.yaml"
        raise UsageError(f"'{path}' is not the file of '{id_}': a profile's id is its file's name", hint=hint)
    return path
