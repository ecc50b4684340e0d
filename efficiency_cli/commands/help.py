"""`effcli help`: what no single command's help can say: method, counting, units, exit codes …

A topic is a Markdown file in `topics/`; its first line is its title.
"""

from __future__ import annotations

from pathlib import Path

import click

from efficiency_cli.commands import options
from efficiency_cli.commands.output import emit
from efficiency_cli.commands.values import Value
from efficiency_cli.errors import ExitCode, UsageError, suggest

TOPICS = Path(__file__).parent / "topics"


class _Topic(Value):
    name = "topic"

    def candidates(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return topics()


@click.command()
@click.argument("topic", required=False, type=_Topic())
@options.debug
@click.pass_context
def command(ctx: click.Context, topic: str | None) -> int:
    """Explain the method, counting, units and more.

    Without a TOPIC, list them.

    The name of a command gives that command's help.
    """
    if topic is None:
        emit(_overview())
        return ExitCode.OK
    name = topic.lower()
    if name in topics():
        emit(_spoken((TOPICS / f"{name}.md").read_text(encoding="utf-8")))
        return ExitCode.OK
    emit(_help_of_command(ctx, topic) + "\n")
    return ExitCode.OK


def _spoken(text: str) -> str:
    """With signs that the terminal has."""
    from efficiency_cli.commands.output import speaks_unicode
    from efficiency_cli.reports.escape import signs

    return signs(text, speaks_unicode())


def topics() -> list[str]:
    """Names of all topics, sorted."""
    return sorted(path.stem for path in TOPICS.glob("*.md"))


def _overview() -> str:
    titles = {name: _title(name) for name in topics()}
    width = max(map(len, titles))
    lines = [f"  {name:{width}}  {title}" for name, title in titles.items()]
    about_commands = "effcli help COMMAND explains a command; effcli --help lists them"
    return "\n".join(["effcli help TOPIC", "", *lines, "", about_commands, ""])


def _title(name: str) -> str:
    with (TOPICS / f"{name}.md").open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip()


def _help_of_command(ctx: click.Context, name: str) -> str:
    root = ctx.find_root()
    group = root.command
    assert isinstance(group, click.Group)
    found = group.get_command(root, name)
    if found is None:
        close = suggest(name, [*topics(), *group.list_commands(root)])
        hint = f"did you mean '{close}'? " if close else ""
        raise UsageError(f"no such topic '{name}'", hint=f"{hint}list them: effcli help")
    return found.get_help(click.Context(found, info_name=name, parent=root))
