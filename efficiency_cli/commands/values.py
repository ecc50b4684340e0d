"""What an option's text becomes: NAME=N, INPUT=1x3x224x224, FORMAT:PATH, N|all, none|full|FRACTION.

Mistakes are raised as UsageError with the option's name, and with the variable a value came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from efficiency_cli.errors import UsageError, did_you_mean

STDOUT = "-"
# a size of more digits than this cannot be an axis
_MOST_DIGITS = 18
# of a value in an error
_MOST_QUOTED = 80
# as `graph.model.MAX_TRIPS`: a Loop of more is a `while` in disguise
_MOST_TRIPS = 2**31 - 1
_DIGITS = re.compile(rf"[0-9]{{1,{_MOST_DIGITS}}}")


class Value(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """A type whose mistakes name the option; a list in an environment variable is split at commas."""

    name = "value"
    envvar_list_splitter: ClassVar[str | None] = ","

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value.strip() if self.envvar_list_splitter else value)
        except ValueError as error:
            self.refuse(str(error), param, ctx)

    def parse(self, text: str) -> Any:
        """The value of `text`. Raises ValueError("what is wrong[\\nwhat to do]")."""
        return text

    def candidates(self, ctx: click.Context) -> Iterable[str]:  # noqa: ARG002
        """Words that a shell may complete to."""
        return ()

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:  # noqa: ARG002
        """As it is to be typed: click would have 1X3X224X224 and ALL. An argument has its own name."""
        return self.name if isinstance(param, click.Option) else None

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        words = self.candidates(ctx)
        return [CompletionItem(word) for word in words if word.lower().startswith(incomplete.lower())]

    def refuse(self, problem: str, param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
        what, _, hint = problem.partition("\n")
        raise UsageError(f"{option_name(param)}{what}", where=origin(param, ctx), hint=hint)


def short(text: str) -> str:
    """Enough of what was typed to know it again."""
    return text if len(text) <= _MOST_QUOTED else f"{text[: _MOST_QUOTED - 1]}…"


def option_name(param: click.Parameter | None) -> str:
    """'--dim: ', the longest spelling of an option; '' for arguments."""
    return f"{max(param.opts, key=len)}: " if isinstance(param, click.Option) else ""


def origin(param: click.Parameter | None, ctx: click.Context | None) -> str:
    """Which environment variable a value came from; '' when it stood on the command line."""
    if param is None or ctx is None or not param.name or not isinstance(param.envvar, str):
        return ""
    if ctx.get_parameter_source(param.name) is not ParameterSource.ENVIRONMENT:
        return ""
    return f"from the environment variable {param.envvar}"


class OneOf(Value):
    """One of a few words, case ignored."""

    name = "choice"

    def __init__(self, *words: str) -> None:
        self.words = words

    def parse(self, text: str) -> str:
        if text.lower() in self.words:
            return text.lower()
        close = did_you_mean(text, self.words)
        hint = close or f"choose one: {', '.join(self.words)}"
        raise ValueError(f"'{short(text)}' is not one of {', '.join(self.words)}\n{hint}")

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        return "|".join(self.words)

    def candidates(self, ctx: click.Context) -> Iterable[str]:  # noqa: ARG002
        return self.words


def _size(text: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise ValueError(f"'{short(text)}' is not a size: a whole number of at most {_MOST_DIGITS} digits")
    return int(text)


class Size(Value):
    """A whole number above 0."""

    name = "N"

    def __init__(self, example: str = "--batch 8") -> None:
        self.example = example

    def parse(self, text: str) -> int:
        if not _DIGITS.fullmatch(text) or int(text) < 1:
            raise ValueError(f"'{short(text)}' is not a whole number above 0\nas in: {self.example}")
        return int(text)


class Dim(Value):
    """NAME=N -> (NAME, N); NAME is a symbol of the model or INPUT[AXIS]."""

    name = "NAME=N"

    def parse(self, text: str) -> tuple[str, int]:
        name, equals, size = text.rpartition("=")
        if not equals or not name.strip():
            raise ValueError(f"'{short(text)}' is not NAME=N\nas in: --dim batch=8, or --dim 'input[1]=128'")
        try:
            return name.strip(), _size(size.strip())
        except ValueError as error:
            raise ValueError(f"{error}, in '{short(text)}'\nas in: --dim batch=8") from None


class Shape(Value):
    """INPUT=1x3x224x224 -> (INPUT, (1, 3, 224, 224))."""

    name = "INPUT=1x3x224x224"

    def parse(self, text: str) -> tuple[str, tuple[int, ...]]:
        name, equals, shape = text.rpartition("=")
        if not equals or not name.strip() or not shape.strip():
            raise ValueError(f"'{short(text)}' is not INPUT=SHAPE\nas in: --shape input=1x3x224x224")
        try:
            return name.strip(), tuple(_size(part.strip()) for part in re.split("[x×X,]", shape))
        except ValueError as error:
            raise ValueError(f"{error}, in '{short(text)}'\nas in: --shape input=1x3x224x224") from None


class Trip(Value):
    """NAME=N -> (NAME, N); NAME is a Loop of the model, N how often its body runs."""

    name = "NAME=N"

    def parse(self, text: str) -> tuple[str, int]:
        name, equals, count = text.rpartition("=")
        if not equals or not name.strip():
            raise ValueError(f"'{short(text)}' is not NAME=N\nas in: --trip loop_1=16")
        if not _DIGITS.fullmatch(count.strip()) or int(count) > _MOST_TRIPS:
            problem = f"'{short(count)}' is not a number of trips: a whole number up to {_MOST_TRIPS:,}"
            raise ValueError(f"{problem}\nas in: --trip loop_1=16")
        return name.strip(), int(count)


class Overlap(Value):
    """none, full or a fraction -> 0.0 … 1.0."""

    name = "none|full|FRACTION"

    def parse(self, text: str) -> float:
        from efficiency_cli import quantity

        words = {"none": 0.0, "full": 1.0}
        if text.lower() in words:
            return words[text.lower()]
        try:
            fraction = quantity.parse(text, "fraction")
        except ValueError:
            fraction = -1.0
        if not 0 <= fraction <= 1:
            close = did_you_mean(text, words)
            hint = close or "as in: --overlap 0.5"
            raise ValueError(f"'{short(text)}' is not none, full or a fraction of 1\n{hint}")
        return fraction


class Top(Value):
    """N|all -> a number, or 0 for all."""

    name = "N|all"

    def parse(self, text: str) -> int:
        if text.lower() == "all":
            return 0
        if not _DIGITS.fullmatch(text) or int(text) < 1:
            raise ValueError(f"'{short(text)}' is neither a number above 0 nor all\nas in: --top 10, or --top all")
        return int(text)


class Target(NamedTuple):
    """A format and where it goes: a file, or STDOUT."""

    format: str
    path: str = STDOUT

    def __str__(self) -> str:
        return f"{self.format}:{self.path}" if self.path != STDOUT else self.format


class Format(Value):
    """FORMAT[:PATH] -> Target. Which formats there are is for the command to say."""

    name = "FORMAT[:PATH]"

    def parse(self, text: str) -> Target:
        name, colon, path = text.partition(":")
        if colon and not path:
            hint = f"give a path, or write to standard output: -f {name}; is a variable in it empty?"
            raise ValueError(f"there is no path after '{short(text)}'\n{hint}")
        return Target(name.lower(), path or STDOUT)

    def candidates(self, ctx: click.Context) -> Iterable[str]:  # noqa: ARG002
        from efficiency_cli.reports import formats

        return formats()


class Hardware(Value):
    """An id, alias, glob or path; several with commas between them."""

    name = "ID|PATH"
    # split later: a path may hold a comma
    envvar_list_splitter: ClassVar[str | None] = "\n"

    def candidates(self, ctx: click.Context) -> Iterable[str]:  # noqa: ARG002
        from efficiency_cli.hardware.load import profile_ids

        return profile_ids()

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if "/" in incomplete or incomplete.startswith("."):
            return [CompletionItem(incomplete, type="file")]
        done, comma, last = incomplete.rpartition(",")
        return [CompletionItem(f"{done}{comma}{i.value}") for i in super().shell_complete(ctx, param, last)]


class Runtime(Value):
    """The name of a software stack."""

    name = "NAME"

    def candidates(self, ctx: click.Context) -> Iterable[str]:
        from efficiency_cli.hardware.load import profiles

        found = profiles(",".join(ctx.params.get("hw") or ["all"]), ctx.params.get("hw_dirs") or ())
        return sorted({r.id for profile in found for r in profile.runtimes})


class Setting(Value):
    """KEY=VALUE, checked against the profile it changes."""

    name = "KEY=VALUE"


class File(Value):
    """A path, completed by the shell."""

    name = "PATH"
    envvar_list_splitter: ClassVar[str | None] = None

    def parse(self, text: str) -> str:
        if not text:
            raise ValueError("the path is empty\nis a variable in the command empty?")
        return text

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


class Folder(File):
    """An existing folder."""

    name = "DIR"
    envvar_list_splitter: ClassVar[str | None] = ","

    def parse(self, text: str) -> str:
        if not Path(text).is_dir():
            raise ValueError(f"'{short(text)}' is not a folder\ngive a folder of profiles (YAML files)")
        return text

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="dir")]
