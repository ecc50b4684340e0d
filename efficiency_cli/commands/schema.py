"""`effcli schema`: JSON Schema of the files that others write and read."""

from __future__ import annotations

import json

import click

from efficiency_cli.commands import options, values
from efficiency_cli.commands.output import emit
from efficiency_cli.errors import ExitCode

WHAT = ("profile", "config", "report")


@click.command()
@click.argument("what", type=values.OneOf(*WHAT))
@options.debug
def command(what: str) -> int:
    """Print the JSON Schema of profiles, configs or reports.

    \b
    effcli schema profile > profile.schema.json      for an editor
    effcli schema config > effcli.schema.json        for an effcli.yaml
    effcli schema report                             for a program that reads -f json
    """
    if what == "profile":
        from efficiency_cli.hardware.schema import profile_schema as schema
    elif what == "config":
        from efficiency_cli.config.schema import config_schema as schema
    else:
        from efficiency_cli.reports.schema import report_schema as schema
    emit(json.dumps(schema(), indent=2) + "\n")
    return ExitCode.OK
