"""`effcli help`: every topic prints, is narrow, and says nothing of options or commands that are not there."""

from __future__ import annotations

import re

import click
import pytest

from efficiency_cli.cli import cli
from efficiency_cli.commands.help import TOPICS, topics


def test_the_topics_that_are_promised():
    assert {"method", "counting", "units", "exit-codes", "profiles", "environment", "formats"} <= set(topics())


@pytest.mark.parametrize("topic", topics())
def test_a_topic(effcli, topic):
    result = effcli("help", topic)
    assert (result.code, result.err) == (0, "")
    first, blank, *_ = result.out.splitlines()
    assert first.startswith("# ")
    assert blank == ""
    assert max(map(len, result.out.splitlines())) <= 80
    assert f"  {topic} " in effcli("help").out


@pytest.mark.parametrize("topic", topics())
def test_a_terminal_without_unicode(effcli, topic, monkeypatch):
    monkeypatch.setattr("efficiency_cli.commands.output.speaks_unicode", lambda: False)
    assert effcli("help", topic).out.isascii()


def every_option() -> set[str]:
    found: set[str] = set()

    def visit(command: click.Command, ctx: click.Context) -> None:
        found.update(name for p in command.get_params(ctx) for name in (*p.opts, *p.secondary_opts))
        if isinstance(command, click.Group):
            for name in command.list_commands(ctx):
                inner = command.get_command(ctx, name)
                assert inner is not None
                visit(inner, click.Context(inner, parent=ctx, info_name=name))

    visit(cli, click.Context(cli, info_name="effcli", **cli.context_settings))
    return found


@pytest.mark.parametrize("topic", topics())
def test_a_topic_speaks_of_options_and_commands_there_are(topic):
    text = (TOPICS / f"{topic}.md").read_text(encoding="utf-8")
    options = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", text))
    assert options <= every_option()
    variables = set(re.findall(r"EFFCLI_([A-Z_]+)=", text))
    assert {"--" + v.lower().replace("_", "-") for v in variables} <= every_option()
    context = click.Context(cli, info_name="effcli", **cli.context_settings)
    for name in re.findall(r"effcli ([a-z]+)", text):
        # "effcli never runs the model" is prose
        if name in ("never", "has"):
            continue
        assert cli.get_command(context, name) is not None, name


def test_the_exit_codes_told_are_the_exit_codes(effcli):
    from efficiency_cli.errors import ExitCode

    told = {int(n) for n in re.findall(r"^ +(\d+)  \w", effcli("help", "exit-codes").out, re.MULTILINE)}
    assert told == {int(code) for code in ExitCode}


def test_a_command_and_its_help(effcli):
    assert effcli("help", "analyze").out == effcli("analyze", "--help").out
    assert effcli("help", "HW").code == 2


def test_no_such_topic(effcli):
    result = effcli("help", "exitcodes")
    assert (result.code, result.out) == (2, "")
    assert "did you mean 'exit-codes'?" in result.err
