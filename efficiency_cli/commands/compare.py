"""`effcli compare`: models × machines × types × batches side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import click

from efficiency_cli.commands import comparing, found, options, values
from efficiency_cli.commands.comparing import STREAM, Asking, Limited, Running
from efficiency_cli.commands.declare import option
from efficiency_cli.commands.options import HardwareOptions, again
from efficiency_cli.commands.output import OutputOptions, emit, say
from efficiency_cli.commands.progress import Progress
from efficiency_cli.commands.values import STDOUT, Target
from efficiency_cli.errors import EffcliError, ExitCode, MissingDimension, UsageError

if TYPE_CHECKING:
    from efficiency_cli.judge.compare import Outcome, Question, Task
    from efficiency_cli.judge.metrics import Limit
    from efficiency_cli.judge.row import Row
    from efficiency_cli.judge.stream import Stream
    from efficiency_cli.reports.comparison_data import Shown

# the words of `judge.rank`, which is not imported for a help text; a test compares them
SORTS = ("latency", "throughput", "energy", "peak_ram", "flash", "macs", "order")
# rows of a table for reading, unless --top says otherwise
_DEFAULT_TOP = 20
# models named in an error
_MOST_NAMED = 5


@click.command()
@click.argument("models", nargs=-1, required=True, type=values.File())
@comparing.asked
@options.hardware
@option("--max", "limits", type=Limited(), multiple=True, help="A metric's most, as in latency=15ms. Repeatable.")
@option("--sort", type=values.OneOf(*SORTS), default="latency", show_default=True, help="Order rows by.")
@options.top
@option("--matrix", "only_matrix", is_flag=True, help="Models down, machines across, and nothing else.")
@comparing.run
@options.plain_output
def command(
    models: Sequence[str],
    asking: Asking,
    hardware: HardwareOptions,
    limits: Sequence[Limit],
    sort: str,
    top: int | None,
    only_matrix: bool,
    running: Running,
    output: OutputOptions,
) -> int:
    """Set models and machines side by side.

    MODELS are ONNX files, folders of them, and globs. Each is estimated on every machine of --hw, in
    every --batch and --dtype. One that cannot be is a row that says why; the exit code is then 2. With
    --max it is 1 where a row is over a limit.

    \b
    effcli compare model.onnx --hw all
    effcli compare models/ --hw 'cortex-m*,ethos-u55' --dtype stored,int8 --max latency=15ms
    effcli compare a.onnx b.onnx --hw a100,l4 --batch 1,8,32 --sort throughput
    effcli compare models/ --hw all --jobs 4 -f jsonl:rows.jsonl -f markdown:table.md
    effcli compare models/ --hw all --jobs 4 -f jsonl:rows.jsonl --resume
    """
    from efficiency_cli.reports.comparison import formats, notes_of, text_of

    paths = found.models(models)
    output = output._replace(top=_DEFAULT_TOP if top is None else top)
    targets = output.checked(formats, inputs=[*paths, *hardware.hw])
    running.check(paths, targets)
    question = asking.question(hardware, output)
    run = _Run(question, paths, asking.batches(), limits, running, output)
    run.go(targets)
    told = _told(run, sort, only_matrix)
    others = [t for t in targets if t.format != STREAM]
    whole = output._replace(top=top or 0)
    output.write(others, lambda t: text_of(t.format, told, (whole if t.format in ("csv", "json") else output).view(t)))
    output.notes([*run.unused(), *notes_of(told.comparison.answered)])
    return run.ended()


def _told(run: _Run, sort: str, only_matrix: bool) -> Shown:
    from efficiency_cli.judge.compare import Comparison
    from efficiency_cli.reports.comparison_data import Shown

    return Shown(Comparison(tuple(run.rows)), sort, run.limits, only_matrix)


class _Run:
    """One run: its rows, what went wrong, and how far a file of rows has come."""

    def __init__(
        self,
        question: Question,
        paths: Sequence[str],
        batches: Sequence[int | None],
        limits: Sequence[Limit],
        running: Running,
        output: OutputOptions,
    ) -> None:
        from efficiency_cli.judge.compare import tasks_of

        self.question, self.limits, self.running, self.output = question, tuple(limits), running, output
        tasks = tasks_of(paths, batches)
        if running.dask:
            from msgspec.structs import replace as changed

            tasks = [changed(task, file=os.path.abspath(task.path)) for task in tasks]
        self.tasks = tasks
        self.rows: list[Row] = []
        self.failed: list[Row] = []
        self.over: list[Row] = []
        self.unknown = 0
        self.code = int(ExitCode.OK)
        self.used: set[str] = set()
        self.resumed = 0
        self.keeps = True

    def go(self, targets: Sequence[Target]) -> None:
        """Do the tasks, those aside that a file holds already."""
        streams = [t for t in targets if t.format == STREAM]
        # rows that only go into files need not be held
        self.keeps = len(streams) < len(targets) or len(self.tasks) == 1
        with _opened(self, streams) as sinks:
            if len(self.tasks) == 1 and not (self.running.jobs or self.running.dask or self.resumed):
                self._take(self._alone(self.tasks[0]), sinks)
                return
            left = self.tasks[self.resumed :]
            with (
                Progress("estimating", quiet=self.output.quiet) as progress,
                closing(self._outcomes(left)) as outcomes,
            ):
                for done, outcome in enumerate(outcomes, start=self.resumed + 1):
                    self._take(outcome, sinks)
                    progress(done, len(self.tasks))

    def _outcomes(self, tasks: Sequence[Task]) -> Generator[Outcome]:
        yield from self.running.outcomes(tasks, self.question)

    def _alone(self, task: Task) -> Outcome:
        """The only task: what is wrong with it is an error as of `analyze`."""
        from efficiency_cli.graph.read import read_model
        from efficiency_cli.judge.compare import Outcome, rows_of

        question = self.question
        try:
            model = read_model(task.path, dims=question.dims, shapes=question.shapes, batch=task.batch)
        except MissingDimension as error:
            raise MissingDimension(error.what, where=error.where, hint=again(error.hint, task.path)) from error
        return Outcome(rows_of(model, question, task), used=frozenset((*question.dims, *question.shapes)))

    def _take(self, outcome: Outcome, sinks: Sequence[Callable[[Sequence[Row]], None]]) -> None:
        for sink in sinks:
            sink(outcome.rows)
        self.used |= outcome.used
        self.code = max(self.code, outcome.code)
        self.keep(outcome.rows)

    def keep(self, rows: Sequence[Row]) -> None:
        """Rows of one task, done now or found in a file."""
        if self.keeps:
            self.rows += rows
        self.failed += [row for row in rows if row.error is not None]
        for row in rows if self.limits else ():
            passed = [limit.passed_by(row) for limit in self.limits]
            self.over += [row] if any(passed) else []
            self.unknown += passed.count(None) if row.totals else 0

    def unused(self) -> list[str]:
        """Sizes that were given and that no model has."""
        if self.resumed:
            return []
        names = [*self.question.dims, *self.question.shapes] if len(self.failed) < len(self.tasks) else []
        return [f"no model has '{name}', for which a size is given" for name in names if name not in self.used]

    def ended(self) -> int:
        """The exit code, with what it is for on standard error. Raises EffcliError for models without estimate."""
        for row in self.over[:_MOST_NAMED]:
            say(f"FAIL: {_named(row)}: {_by_how_much(row, self.limits)}")
        if len(self.over) > _MOST_NAMED:
            say(f"FAIL: and {len(self.over) - _MOST_NAMED:,} more rows over a limit")
        if self.unknown:
            self.output.notes([f"{self.unknown:,} figures that --max limits are not known: they are not judged"])
        if self.failed:
            raise _incomplete(self.failed, len(self.tasks), self.code, told=self.keeps)
        return ExitCode.FINDING if self.over else ExitCode.OK


def _named(row: Row) -> str:
    machine = f" on {row.hardware.id}" if row.hardware else ""
    batch = f", batch {row.batch}" if row.batch else ""
    return f"{row.model.path}{machine}{batch}{f', {row.as_if}' if row.as_if else ''}"


def _by_how_much(row: Row, limits: Sequence[Limit]) -> str:
    from efficiency_cli.judge.metrics import METRICS
    from efficiency_cli.quantity import format_percent
    from efficiency_cli.reports.comparison_columns import figure

    parts = []
    for limit in limits:
        if limit.passed_by(row):
            value = METRICS[limit.metric].of_row(row) or 0.0
            more = f", {format_percent(value / limit.most - 1)} more" if limit.most else ""
            parts.append(f"{limit.metric} {figure(limit.metric, row)} is over {limit.text.partition('=')[2]}{more}")
    return "; ".join(parts)


def _incomplete(failed: Sequence[Row], tasks: int, code: int, *, told: bool) -> EffcliError:
    """The error of a run with models that have no estimate; a report that was `told` names them."""
    where = [] if told else [f"{_named(row)}: {row.error}" for row in failed[:_MOST_NAMED]]
    more = [f"and {len(failed) - len(where):,} more"] if where and len(failed) > len(where) else []
    hint = "see what is wrong with one: effcli analyze MODEL; all reasons: -f json"
    what = "model-batch pairs" if any(row.batch for row in failed) else "models"
    error = EffcliError(f"{len(failed):,} of {tasks:,} {what} have no estimate", where=[*where, *more], hint=hint)
    error.exit_code = ExitCode.BUG if code == ExitCode.BUG else ExitCode.ERROR
    return error


@contextmanager
def _opened(run: _Run, targets: Sequence[Target]) -> Iterator[list[Callable[[Sequence[Row]], None]]]:
    """What takes the rows of each task: the files of rows, and standard output."""
    from efficiency_cli.judge import stream

    header = stream.header_of(run.question, run.tasks) if targets else b""
    opened: list[Stream] = []
    sinks: list[Callable[[Sequence[Row]], None]] = []
    try:
        for target in targets:
            if target.path == STDOUT:
                emit(header.decode("ascii"), encoded=True)
                sinks.append(_to_stdout)
                continue
            opened.append(_file(run, target.path, header))
            sinks.append(opened[-1].add)
        yield sinks
    except KeyboardInterrupt:
        for target in targets:
            if target.path != STDOUT:
                run.output.notes([f"the rows so far are in {target.path}: go on with --resume"])
        raise
    finally:
        for file in opened:
            file.close()


def _to_stdout(rows: Iterable[Row]) -> None:
    from efficiency_cli.judge.stream import line_of

    emit(b"".join(map(line_of, rows)).decode("ascii"), encoded=True)


def _file(run: _Run, path: str, header: bytes) -> Stream:
    from efficiency_cli.judge import stream

    try:
        if not run.running.resume:
            return stream.start(path, header)
        found = stream.resume(path, header, run.tasks, run.question.rows_each, run.keep)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot write {path}: {reason}", hint="choose another file") from error
    run.resumed = found.done
    if found.done:
        run.output.notes([f"{found.done:,} of {len(run.tasks):,} models were in {path} already"])
    return found
