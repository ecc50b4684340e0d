"""A click group whose commands are the modules of a package. Nothing is registered by hand."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import click

from efficiency_cli.errors import UsageError, suggest


class Commands(click.Group):
    """The modules of `package` that hold a click command called `command`, each under its file's name."""

    def __init__(self, package: str, **settings: Any) -> None:
        super().__init__(no_args_is_help=False, **settings)
        self.package = package

    def modules(self) -> list[str]:
        path = importlib.import_module(self.package).__path__
        return sorted(module.name for module in pkgutil.iter_modules(path))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in self.modules() if self.get_command(ctx, name) is not None]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in self.modules():
            return None
        found = getattr(importlib.import_module(f"{self.package}.{name}"), "command", None)
        if isinstance(found, click.Command):
            found.name = name
            return found
        return None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing and not name.startswith("-"):
            raise self._unknown(ctx, name)
        return super().resolve_command(ctx, args)

    def _unknown(self, ctx: click.Context, name: str) -> UsageError:
        if name.endswith(".onnx"):
            return UsageError(f"'{name}' is not a command", hint=f"to analyse it: effcli analyze {name}")
        close = suggest(name, self.list_commands(ctx))
        hint = f"did you mean '{close}'? " if close else ""
        return UsageError(f"no such command '{name}'", hint=f"{hint}list them: {ctx.command_path} --help")
