"""The rules that every option of every command keeps to."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from efficiency_cli.cli import cli
from efficiency_cli.commands import options
from efficiency_cli.reports import GROUPS, SORTS


def commands() -> Iterator[tuple[str, click.Command]]:
    def visit(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
        yield ctx.command_path, command
        if isinstance(command, click.Group):
            for name in command.list_commands(ctx):
                inner = command.get_command(ctx, name)
                assert inner is not None
                yield from visit(inner, click.Context(inner, parent=ctx, info_name=name))

    yield from visit(cli, click.Context(cli, info_name="effcli", **cli.context_settings))


ALL = dict(commands())


@pytest.mark.parametrize("path", ALL)
def test_every_option_has_its_environment_twin_and_a_help(path):
    for parameter in ALL[path].params:
        if isinstance(parameter, click.Option) and "--version" not in parameter.opts:
            longest = max(parameter.opts, key=len)
            assert parameter.envvar == "EFFCLI_" + longest[2:].upper().replace("-", "_")
            assert parameter.help
            assert parameter.help.endswith(".")


@pytest.mark.parametrize("path", ALL)
def test_every_command_can_be_debugged_and_explains_itself(path):
    command = ALL[path]
    assert command.help
    if " " in path:
        assert len(command.get_short_help_str(limit=200)) <= 62, "cut off in the list of commands"
    if not isinstance(command, click.Group):
        assert any("--debug" in p.opts for p in command.params)


def test_the_same_word_takes_the_same_everywhere():
    """What a command does with a machine or a number of rows is its own; what may be written there is not."""
    taken: dict[str, set[object]] = {}
    for command in ALL.values():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for name in parameter.opts:
                    taken.setdefault(name, set()).add((type(parameter.type), parameter.is_flag, parameter.count))
    # compare takes lists of sizes and types and limits of its own metrics; measure counts runs, and calibrate
    # reads tables of them
    several = {"--batch", "--dtype", "--runs", "--max"}
    assert {name: kinds for name, kinds in taken.items() if len(kinds) > 1 and name not in several} == {}


def test_shared_options_say_the_same_everywhere():
    """Those that come in groups from `options`, but for what a command tells in its own words."""
    own = {"--hw", "--runtime", "--set", "--batch", "--dtype", "--top", "--runs", "--models", "--prior", "-o"}
    meaning: dict[str, set[str]] = {}
    for command in ALL.values():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not own & set(parameter.opts):
                for name in parameter.opts:
                    meaning.setdefault(name, set()).add(parameter.help or "")
    assert {name: texts for name, texts in meaning.items() if len(texts) > 1} == {}


def test_the_words_of_the_options_are_those_of_the_reports():
    assert options.GROUPS == GROUPS
    assert options.SORTS == SORTS


def test_a_command_is_found_by_its_file(tmp_path, monkeypatch):
    """A new command is one new file."""
    import efficiency_cli.commands as package

    (tmp_path / "greet.py").write_text(
        'import click\n\n@click.command()\ndef command() -> int:\n    """Say hello."""\n    return 0\n'
    )
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    context = click.Context(cli, info_name="effcli", **cli.context_settings)
    assert "greet" in cli.list_commands(context)
    assert "options" not in cli.list_commands(context)
    assert "  greet " in cli.get_help(context)
