"""Where results go: standard output or files, whole or not at all; notes go to standard error.

Which formats there are and what they look like is the business of `reports/`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from efficiency_cli.commands.values import STDOUT, Target
from efficiency_cli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from efficiency_cli.reports import View

# rows of a table for reading, unless --top says otherwise; formats for programs hold all
DEFAULT_TOP = 5
TABLE = "table"
READING = (TABLE, "markdown")
# lines on standard error that are sentences; hints and errors hold commands and paths to copy
_PROSE = ("note: ", "FAIL: ")
# GitHub gives each step of a job this file, to which reports are added
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


class OutputOptions(NamedTuple):
    """What to write where, and how much of it. `top` is 0 for all, None when not given."""

    targets: Sequence[Target]
    color: str
    quiet: bool
    verbose: int
    top: int | None = None
    group: str = "kernel"
    sort: str = "time"

    def checked(self, formats: Callable[[], Sequence[str]], *, inputs: Iterable[str] = ()) -> tuple[Target, ...]:
        """The targets, a table unless given; each can be written and none is one of the files read.

        Raises UsageError before any work is done. `formats` finds those there are, which takes time: it
        is asked only when a format was named.
        """
        targets = tuple(self.targets) or (Target(TABLE),)
        for target in self.targets:
            _check_format(target, formats())
        _check_distinct(targets)
        for target in targets:
            if target.path != STDOUT:
                name = f"report.{_SUFFIX.get(target.format, 'txt')}"
                check_writable(target.path, inside=name, inputs=[i for i in inputs if i != STDOUT])
        return targets

    def view(self, target: Target) -> View:
        """How much to show, and on what."""
        from efficiency_cli.reports import View

        top = self.top
        if top is None:
            top = DEFAULT_TOP if target.format in READING else 0
        choices: dict[str, Any] = {"group": self.group, "sort": self.sort}
        on_stdout = target.path == STDOUT
        return View(
            top=top or None,
            width=_width() if on_stdout else None,
            color=self._color(on_stdout),
            unicode=target != Target(TABLE) or speaks_unicode(),
            verbose=self.verbose,
            terminal=on_stdout and _terminal(),
            **choices,
        )

    def _color(self, on_stdout: bool) -> bool:
        if self.color != "auto" or not on_stdout:
            return self.color == "always" and on_stdout
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return _terminal() and os.environ.get("TERM") != "dumb"

    def write(self, targets: Sequence[Target], text_of: Callable[[Target], str]) -> None:
        """Every target's text: all are rendered before the first is written, standard output last."""
        texts = [(target, text_of(target)) for target in targets]
        for target, text in texts:
            if target.path != STDOUT:
                write_file(target.path, text)
                if self.verbose:
                    self.notes([f"wrote {target.path}"])
        for target, text in texts:
            if target.path == STDOUT:
                emit(text, encoded=target.format != TABLE)

    def notes(self, lines: Iterable[str]) -> None:
        """`note: …` on standard error, each line once; nothing under --quiet."""
        if not self.quiet:
            for line in dict.fromkeys(lines):
                say(f"note: {line}")


def _check_format(target: Target, formats: Sequence[str]) -> None:
    if target.format not in formats:
        close = did_you_mean(target.format, formats)
        raise UsageError(
            f"unknown format '{target.format}'",
            where=f"formats: {', '.join(formats)}",
            hint=close or f"as in: -f {formats[0]}, or to a file: -f json:report.json",
        )


def _check_distinct(targets: Sequence[Target]) -> None:
    seen: dict[str, Target] = {}
    for target in targets:
        with _said(target.path):
            place = target.path if target.path == STDOUT else os.path.realpath(target.path)
        if place in seen:
            where = "standard output" if place == STDOUT else target.path
            raise UsageError(
                f"two formats for {where}: {seen[place].format} and {target.format}",
                hint=f"send one to a file of its own: -f {target.format}:FILE",
            )
        seen[place] = target


def check_writable(path: str, *, inside: str = "FILE", inputs: Iterable[str] = ()) -> None:
    """Raise UsageError when `path` cannot be written, or is one of the files read.

    `inside` is the file name that is suggested where a folder was given.
    """
    with _said(path):
        mode = _mode(path)
        if mode is None or stat.S_ISREG(mode):
            _check_replaceable(path, mode)
        elif stat.S_ISDIR(mode):
            hint = f"name a file in it: {os.path.join(path, inside)}"
            raise UsageError(f"cannot write {path}: it is a folder", hint=hint)
        for read in inputs:
            if mode is not None and os.path.exists(read) and os.path.samefile(read, path):
                raise UsageError(f"{path} is read and cannot be written to", hint="choose another file")


def _check_replaceable(path: str, mode: int | None) -> None:
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        exists = folder.exists()
        hint = "choose another file" if exists else f"make it first: mkdir -p '{folder}'"
        what = f"the folder '{folder}' {'is not a folder' if exists else 'does not exist'}"
        raise UsageError(f"cannot write {path}: {what}", hint=hint)
    if not os.access(folder, os.W_OK | os.X_OK) or (mode is not None and not os.access(path, os.W_OK)):
        raise UsageError(f"cannot write {path}: permission denied", hint="choose another file")


_SUFFIX = {"json": "json", "csv": "csv", "markdown": "md"}


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _said(path: str) -> Iterator[None]:
    """Turns what the system says about `path` into an error for the user."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot write {path}: {reason.lower()}", hint="choose another file") from error


def write_file(path: str, text: str) -> None:
    """`text` as UTF-8 under `path`: written beside it, then renamed, so that it is never half there.

    What is not a regular file (a pipe, /dev/stderr) is written to directly, and GitHub's step
    summary is added to. Raises UsageError.
    """
    with _said(path):
        mode = _mode(path)
        if os.environ.get(STEP_SUMMARY) == path:
            _write(path, text, "a")
        elif mode is not None and not stat.S_ISREG(mode):
            _write(path, text, "w")
        else:
            _replace(os.path.realpath(path), text, mode)


def _write(path: str, text: str, mode: str) -> None:
    with open(path, mode, encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.write(text)


def _replace(path: str, text: str, mode: int | None) -> None:
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name[:64]}.{os.getpid()}.tmp")
    try:
        _write(beside, text, "x")
        if mode is not None:
            os.chmod(beside, stat.S_IMODE(mode))
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def emit(text: str, *, encoded: bool = False) -> None:
    """`text` on standard output; a reader that has gone away is no error, a full disk is one.

    With `encoded` it is UTF-8 whatever the terminal speaks: formats for programs are the same everywhere.
    """
    stream = sys.stdout
    if stream is None:
        return
    try:
        if encoded and hasattr(stream, "buffer"):
            stream.flush()
            stream.buffer.write(text.encode("utf-8", "backslashreplace"))
        else:
            stream.write(text)
        stream.flush()
    except OSError as error:
        discard_stdout()
        if error.errno == errno.EPIPE or isinstance(error, BrokenPipeError):
            return
        reason = (error.strerror or str(error)).lower()
        hint = "write to a file: -f json:FILE"
        raise UsageError(f"cannot write to standard output: {reason}", hint=hint) from None


def discard_stdout() -> None:
    """Sends what is still in standard output's buffer nowhere, so that Python can end without a complaint."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def say(line: str) -> None:
    """One line on standard error, whatever it holds made safe; prose between its words, where a terminal is narrow."""
    from efficiency_cli.reports.escape import escaped

    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            safe = escaped(line)
            lines = _folded(safe) if sys.stderr.isatty() and safe.startswith(_PROSE) else [safe]
            print("\n".join(lines), file=sys.stderr, flush=True)


def _folded(line: str) -> list[str]:
    """Several lines no wider than the terminal; a path stays whole, so that it can be copied."""
    import textwrap

    width = shutil.get_terminal_size().columns
    if len(line) <= width:
        return [line]
    return textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _width() -> int | None:
    """Columns of the terminal, or COLUMNS; no limit in a pipe, where COLUMNS may be set by accident."""
    return shutil.get_terminal_size().columns if _terminal() else None


def speaks_unicode() -> bool:
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return encoding.lower().replace("-", "").startswith(("utf", "cp65001"))
