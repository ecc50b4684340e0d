"""`effcli hw`: the machines. One file a subcommand, found as the commands above are."""

from __future__ import annotations

from efficiency_cli.commands.discovery import Commands

command = Commands(
    "efficiency_cli.commands.hw",
    help="""The machines: list, show, check and add profiles.

    \b
    effcli hw list 'cortex-m*'
    effcli hw show cortex-m7
    effcli hw new my-board --from cortex-m7
    """,
)
