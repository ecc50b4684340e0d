"""The program: `effcli COMMAND`. Errors become text on standard error and an exit code here, nowhere else."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

import click

import efficiency_cli
from efficiency_cli.commands.discovery import Commands
from efficiency_cli.commands.output import discard_stdout, emit, say
from efficiency_cli.commands.values import option_name, origin
from efficiency_cli.errors import EffcliError, ExitCode, UsageError, suggest

PROGRAM = "effcli"
# what the scripts of `effcli completion` set to ask for words
COMPLETION = "_EFFCLI_COMPLETE"
# of one line of an error; a model may bring names of any length
_LONGEST_LINE = 1000
# a graph is built of many small objects that all stay: looking for garbage among them costs a sixth of the time
_OBJECTS_BETWEEN_COLLECTIONS = 200_000

cli = Commands(
    "efficiency_cli.commands",
    name=PROGRAM,
    help="""How fast will this network run on that machine, what holds it back, and will it fit?

    \b
    effcli analyze model.onnx --hw cortex-m7
    effcli hw list
    effcli help method
    """,
    context_settings={"help_option_names": ["-h", "--help"]},
)
click.version_option(efficiency_cli.__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")(cli)


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command line and gives its exit code (`ExitCode`)."""
    arguments = list(sys.argv[1:] if args is None else args)
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 50, 50)
    _prepare_streams()
    try:
        if COMPLETION in os.environ:
            cli.main(arguments, prog_name=PROGRAM)
        return _run(arguments)
    except (Exception, KeyboardInterrupt) as error:
        return _failed(error, _wants_debug(arguments))


def _run(arguments: Sequence[str]) -> int:
    """Not click's own `main`, which ends the program with 1 when a pipe's reader has gone away."""
    try:
        # parsing takes the list apart
        with cli.make_context(PROGRAM, list(arguments), obj=tuple(arguments)) as ctx:
            code: int | None = cli.invoke(ctx)
    except click.exceptions.Exit as leaving:
        code = leaving.exit_code
    # help and lists may still wait in the buffer
    emit("")
    return int(code or ExitCode.OK)


def _prepare_streams() -> None:
    """Text that the terminal's encoding lacks is shown escaped, it never stops the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _wants_debug(arguments: Sequence[str]) -> bool:
    """Known even where the options could not be read."""
    asked = os.environ.get("EFFCLI_DEBUG", "").lower()
    return "--debug" in arguments or asked not in ("", "0", "false", "no", "off")


def _failed(error: BaseException, debug: bool) -> int:
    if isinstance(error, BrokenPipeError):
        discard_stdout()
        return ExitCode.OK
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        _show(EffcliError("interrupted"))
        return ExitCode.INTERRUPTED
    told, code = _told(error)
    _show(told)
    return code


def _told(error: BaseException) -> tuple[EffcliError, int]:
    """What to tell of any error, and the exit code."""
    match error:
        case EffcliError():
            return error, error.exit_code
        case click.ClickException():
            return _of_click(error), ExitCode.ERROR
        case MemoryError():
            told = EffcliError("out of memory", hint="close other programs, or analyse a smaller model")
            return told, ExitCode.ERROR
        case RecursionError():
            told = EffcliError("nested too deeply", hint="flatten the subgraphs of the model; see: --debug")
            return told, ExitCode.ERROR
        case OSError():
            named = f"{error.filename}: " if error.filename else ""
            reason = (error.strerror or str(error)).lower()
            return EffcliError(f"{named}{reason}", hint="see where: --debug"), ExitCode.ERROR
    return _of_bug(error), ExitCode.BUG


def _of_bug(error: BaseException) -> EffcliError:
    version = f"{PROGRAM} {efficiency_cli.__version__}, Python {sys.version.split()[0]} on {sys.platform}"
    return EffcliError(
        f"unexpected {type(error).__name__}: {error}".rstrip(": "),
        where=[version, "this is a bug: please report it with the model, or the smallest one that shows it"],
        hint=f"add what this prints: {PROGRAM} --debug, at {_tracker()}",
    )


def _tracker() -> str:
    """Where bugs go: what the installed package says."""
    from importlib import metadata

    try:
        urls = metadata.metadata(PROGRAM).get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        urls = []
    pairs: dict[str, str] = dict(url.split(", ", 1) for url in urls if ", " in url)
    return pairs.get("Issues", "the project's issue tracker")


def _of_click(error: click.ClickException) -> EffcliError:
    """Click's own complaints in our shape, with a did-you-mean."""
    ctx = getattr(error, "ctx", None)
    see = f"see: {ctx.command_path if ctx else PROGRAM} --help"
    message = _lowered(error.message if error.message else error.format_message())
    match error:
        case click.NoSuchOption():
            close = suggest(error.option_name, _options_of(ctx))
            hint = f"did you mean '{close}'? {see}" if close else see
            return UsageError(f"no such option '{error.option_name}'", hint=hint)
        case click.MissingParameter():
            named = error.param.human_readable_name if error.param else "parameter"
            kind = error.param.param_type_name if error.param else ""
            return UsageError(f"missing {kind} {named}", hint=see)
        case click.BadParameter():
            return UsageError(option_name(error.param) + message, where=origin(error.param, ctx), hint=see)
    return UsageError(message, hint=see)


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def _options_of(ctx: click.Context | None) -> list[str]:
    if ctx is None:
        return []
    names = [name for p in ctx.command.get_params(ctx) for name in (*p.opts, *p.secondary_opts)]
    return [name for name in names if name.startswith("--")]


def _show(error: EffcliError) -> None:
    """`error: what`, where indented, `hint: …`; nothing a model wrote reaches the terminal as it is."""
    lines = [f"error: {error.what}", *(f"  {line}" for line in error.where if line)]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    for line in lines:
        half = _LONGEST_LINE // 2
        short = line if len(line) <= _LONGEST_LINE else f"{line[:half]}…{line[-half:]}"
        say(short)
