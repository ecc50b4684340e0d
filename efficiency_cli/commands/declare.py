"""How options are declared: each with its environment twin, and in groups that reach a command as one object."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

ENVIRONMENT = "EFFCLI_"


def option(*names: str, **settings: Any) -> Decorator:
    """A click option with its environment twin, named after its longest spelling."""
    longest = max((n for n in names if n.startswith("--")), key=len)
    twin = ENVIRONMENT + longest.lstrip("-").upper().replace("-", "_")
    return click.option(*names, envvar=twin, **settings)


def gathered(into: str, cls: Callable[..., object], declared: Sequence[Decorator]) -> Decorator:
    """Adds the options `declared` to a command, which gets them as one argument `into`, made by `cls`."""
    # the parameter's name is the text among an option's names without dashes
    names = [p.name for p in _parameters(declared) if p.expose_value]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(**kwargs: Any) -> Any:
            own = {name: kwargs.pop(name) for name in names}
            return function(**kwargs, **{into: cls(**own)})

        for add in reversed(declared):
            add(command)
        return command

    return decorate


def _parameters(declared: Sequence[Decorator]) -> list[click.Parameter]:
    @click.command()
    def probe() -> None: ...

    for add in declared:
        add(probe)
    return probe.params
