"""Rows as JSON lines, written as they come: a run that was stopped goes on where its file ends.

The first line says what was asked; then come the rows in the order of the tasks, those of one task together. The
same question gives the same bytes, whoever did the tasks and however often the run was stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import msgspec
from msgspec.structs import replace

from efficiency_cli import __version__
from efficiency_cli.errors import UsageError
from efficiency_cli.judge.compare import Question, Task
from efficiency_cli.judge.row import Row
from efficiency_cli.roofline.report_format import SCHEMA_VERSION

# called with the rows of each task that a file holds
Keep = Callable[[Sequence[Row]], None]


def line_of(row: Row) -> bytes:
    """One line; everything outside ASCII is escaped, as in the JSON report."""
    return _line(msgspec.to_builtins(row))


def _line(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii") + b"\n"


def row_from(line: bytes) -> Row:
    """The row of a line. Raises ValueError for what is none."""
    return msgspec.convert(json.loads(line), Row)


def header_of(question: Question, tasks: Sequence[Task]) -> bytes:
    """The first line: enough for a reader to know what follows, and a digest of all that was asked."""
    machines = [replace(m, path="") for m in question.machines]  # the same machine may be installed elsewhere
    rules = [(key, getattr(rule, "lines", "")) for key, rule in question.choices.rules.items()]
    choices = replace(question.choices, rules={})
    asked = (replace(question, machines=(), choices=choices), rules, machines, [(t.path, t.batch) for t in tasks])
    digest = hashlib.sha256(repr(asked).encode("utf-8", "backslashreplace")).hexdigest()
    return _line(
        {
            "schema_version": SCHEMA_VERSION,
            "tool": {"name": "effcli", "version": __version__},
            "command": "compare",
            "models": len({t.path for t in tasks}),
            "hardware": [m.id for m in question.machines],
            "batches": sorted({t.batch for t in tasks if t.batch is not None}),
            "types": [t.label for t in question.types if t.label],
            "asked": digest,
        }
    )


class Stream:
    """A file that rows are added to; `done` tasks are in it already."""

    def __init__(self, file: BinaryIO, done: int = 0) -> None:
        self.file = file
        self.done = done

    def add(self, rows: Sequence[Row]) -> None:
        """The rows of one task, on the disk's way at once: a run may be killed at any moment."""
        self.file.write(b"".join(map(line_of, rows)))
        self.file.flush()

    def close(self) -> None:
        self.file.close()


def start(path: str, header: bytes) -> Stream:
    """A new file at `path`, with its first line."""
    file = open(path, "wb")  # noqa: SIM115  # the stream closes it
    file.write(header)
    file.flush()
    return Stream(file)


def resume(path: str, header: bytes, tasks: Sequence[Task], rows_each: int, keep: Keep | None = None) -> Stream:
    """The file at `path`, cut behind its last complete task. One that is not there yet is begun.

    Raises UsageError for a file of another question, or with rows that do not belong to `tasks`, which it
    leaves as it is; and where a model has changed in size since.
    """
    if not os.path.exists(path):
        return start(path, header)
    with open(path, "rb") as file:
        first = file.readline()
        if first != header and (first.endswith(b"\n") or not header.startswith(first)):
            raise _other(path, first, header)
        done, end = (0, 0) if first != header else _complete(file, path, tasks, rows_each, keep)
    if not end:
        return start(path, header)
    opened = open(path, "r+b")  # noqa: SIM115  # the stream closes it
    opened.truncate(end)
    opened.seek(end)
    return Stream(opened, done)


def _other(path: str, first: bytes, header: bytes) -> UsageError:
    hint = "write to another file, or begin anew: leave out --resume"
    try:
        found, wanted = json.loads(first), json.loads(header)
        if found["command"] != "compare":
            raise KeyError
    except (ValueError, KeyError, TypeError):
        return UsageError(f"cannot resume {path}: it was not written by effcli compare", hint=hint)
    names = [name for name in wanted if found.get(name) != wanted[name]]
    where = [f"{name}: {_short(found.get(name))} there, {_short(wanted[name])} here" for name in names[:-1]]
    return UsageError(f"cannot resume {path}: it answers another question", where=where, hint=hint)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _complete(file: BinaryIO, path: str, tasks: Sequence[Task], rows_each: int, keep: Keep | None) -> tuple[int, int]:
    """How many tasks the file holds whole, and the byte behind the last of them."""
    end, done = file.tell(), 0
    pending: list[Row] = []
    for number, row in _rows(file, path):
        if done == len(tasks):
            raise _foreign(path, number, "there are more rows than were asked for")
        task = tasks[done]
        if (row.model.path, row.batch) != (task.path, task.batch):
            raise _foreign(path, number, f"'{row.model.path}' stands where '{task.path}' is due")
        pending.append(row)
        if row.error is None and len(pending) < rows_each:
            continue
        _check_unchanged(path, row, task)
        if keep is not None:
            keep(pending)
        pending = []
        done, end = done + 1, file.tell()
    return done, end


def _rows(file: BinaryIO, path: str) -> Iterator[tuple[int, Row]]:
    """The rows, with the number of their line; what was half written at the end is left out."""
    number = 1
    while line := file.readline():
        number += 1
        try:
            row = row_from(line) if line.endswith(b"\n") else None
        except ValueError as error:
            if file.read(1):
                raise _foreign(path, number, f"this is no row: {error}") from error
            row = None
        if row is None:
            return
        yield number, row


def _foreign(path: str, number: int, why: str) -> UsageError:
    hint = "write to another file, or begin anew: leave out --resume"
    return UsageError(f"cannot resume {path}", where=f"{path}:{number}: {why}", hint=hint)


def _check_unchanged(path: str, row: Row, task: Task) -> None:
    """Raise UsageError where the model is of another size than it was."""
    try:
        size = os.stat(task.file or task.path).st_size
    except OSError:
        return
    if row.error is None and task.path != "-" and size != row.model.file_bytes:
        raise UsageError(
            f"cannot resume {path}: {task.path} has changed since",
            where=f"it had {row.model.file_bytes:,} bytes and has {size:,}",
            hint="begin anew: leave out --resume",
        )
