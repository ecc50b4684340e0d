"""`effcli completion`: the script that makes a shell complete commands, options and machines."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from efficiency_cli.commands import options, values
from efficiency_cli.commands.output import emit
from efficiency_cli.errors import ExitCode

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=values.OneOf(*SHELLS))
@options.debug
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the completion script of a shell.

    \b
    bash   effcli completion bash >> ~/.bash_completion
    zsh    effcli completion zsh > "${fpath[1]}/_effcli"
    fish   effcli completion fish > ~/.config/fish/completions/effcli.fish
    """
    root = ctx.find_root()
    program = root.info_name or "effcli"
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    script = get_completion_class(shell)
    assert script is not None
    # not the class's own `source`: bash's starts a bash to look at its version
    emit(ShellComplete.source(script(root.command, {}, program, variable)))
    return ExitCode.OK
