"""What `effcli compare` is asked: limits, types and batches of the models, and where the work is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from efficiency_cli.commands import as_if, options, values
from efficiency_cli.commands.analyze import with_runtime
from efficiency_cli.commands.declare import gathered, option
from efficiency_cli.commands.options import HardwareOptions, merged
from efficiency_cli.commands.output import OutputOptions
from efficiency_cli.commands.values import STDOUT, Target
from efficiency_cli.errors import UsageError

if TYPE_CHECKING:
    from efficiency_cli.graph.retype import Types
    from efficiency_cli.judge.compare import Outcome, Question, Task
    from efficiency_cli.judge.metrics import Limit

STORED = "stored"
STREAM = "jsonl"
# as in `judge.batch`; a test compares them
DEFAULT_TIMEOUT = "600s"
_MOST_JOBS = 256


class _Batches(values.Value):
    """1,8,32"""

    name = "N[,N...]"

    def parse(self, text: str) -> tuple[int, ...]:
        one = values.Size("--batch 1,8")
        return tuple(one.parse(part.strip()) for part in text.split(","))


class _Types(as_if.Type):
    """int8,float16; `stored` is the model as it is."""

    name = "TYPE[,TYPE...]"

    def parse(self, text: str) -> Any:
        return tuple(self._one(part.strip()) for part in text.split(","))

    def _one(self, text: str) -> str | None:
        return None if text.lower() == STORED else str(super().parse(text))


class Limited(values.Value):
    """latency=15ms"""

    name = "METRIC=VALUE"

    def parse(self, text: str) -> Limit:
        from efficiency_cli.judge.metrics import limit_of

        return limit_of(text)


class _Jobs(values.Size):
    def __init__(self) -> None:
        super().__init__("--jobs 4")

    def parse(self, text: str) -> int:
        jobs = super().parse(text)
        if jobs > _MOST_JOBS:
            raise ValueError(f"'{values.short(text)}' is more than {_MOST_JOBS} processes\nas in: --jobs 4")
        return jobs


class _Duration(values.Value):
    """60s, 10min"""

    name = "TIME"

    def parse(self, text: str) -> float:
        from efficiency_cli import quantity

        seconds = quantity.parse(text, "time")
        if seconds <= 0:
            raise ValueError(f"'{values.short(text)}' is not a time above 0\nas in: --timeout 60s")
        return seconds


class Asking(NamedTuple):
    """What is asked of every model."""

    dims: Sequence[tuple[str, int]]
    shapes: Sequence[tuple[str, tuple[int, ...]]]
    batch: Sequence[tuple[int, ...]]
    dtype: Sequence[tuple[str | None, ...]]
    weight_bits: str | None
    activation_bits: str | None
    counted: str
    branch: str
    ops: str | None

    def batches(self) -> list[int | None]:
        return list(dict.fromkeys(b for group in self.batch for b in group)) or [None]

    def types(self) -> tuple[Types, ...]:
        names = [name for group in self.dtype for name in group] or [None]
        return tuple(dict.fromkeys(as_if.types_of(name, self.weight_bits, self.activation_bits) for name in names))

    def question(self, hardware: HardwareOptions, output: OutputOptions) -> Question:
        """Raises UsageError without a machine, and for all that is wrong with one."""
        from efficiency_cli.costs.control_flow import Choices
        from efficiency_cli.judge.compare import Question

        machines = hardware.profiles()
        if not machines:
            hint = "name some: --hw cortex-m7,a100 or --hw all; list them: effcli hw list"
            raise UsageError("compare needs machines", hint=hint)
        choices = Choices(self.counted, self.branch)
        if self.ops is not None:
            from efficiency_cli.config.operators import read_operators

            choices = Choices(self.counted, self.branch, {}, read_operators(self.ops), self.ops)
        return Question(
            machines=tuple(with_runtime(machines, hardware.runtime, output)),
            runtime=hardware.runtime,
            overlap=hardware.overlap,
            types=self.types(),
            dims=merged("--dim", self.dims),
            shapes=merged("--shape", self.shapes),
            choices=choices,
        )


asked = gathered(
    "asking",
    Asking,
    [
        options.dims,
        options.shapes,
        option("--batch", type=_Batches(), multiple=True, help="The first axis of every input."),
        option(
            "--dtype",
            type=_Types(),
            multiple=True,
            help="Count as if stored and computed in this type, such as int8 or float16.",
        ),
        *as_if.BIT_OPTIONS,
        options.count,
        options.branch,
        options.ops,
    ],
)


class Running(NamedTuple):
    """Where the work is done, and whether it goes on from a file."""

    jobs: int | None
    dask: str | None
    timeout: float
    resume: bool

    def check(self, paths: Sequence[str], targets: Sequence[Target]) -> None:
        """Raise UsageError for what cannot be together."""
        elsewhere = "--jobs" if self.jobs else "--dask" if self.dask else ""
        if self.jobs and self.dask:
            raise UsageError("--jobs and --dask exclude each other", hint="leave out one")
        if STDOUT in paths and elsewhere:
            raise UsageError(f"standard input cannot be read with {elsewhere}", hint="save it to a file first")
        files = [t for t in targets if t.format == STREAM and t.path != STDOUT]
        if self.resume and len(files) != 1:
            raise UsageError("--resume needs one file of rows to go on with", hint="name it: -f jsonl:FILE --resume")

    def outcomes(self, tasks: Sequence[Task], question: Question) -> Iterator[Outcome]:
        """In the order of the tasks."""
        if self.dask:
            from efficiency_cli.judge.cluster import on_cluster

            return on_cluster(tasks, question, self.dask, self.timeout)
        from efficiency_cli.judge.batch import here, in_processes

        return in_processes(tasks, question, self.jobs, self.timeout) if self.jobs else here(tasks, question)


run = gathered(
    "running",
    Running,
    [
        option("--jobs", type=_Jobs(), help="How many processes share the models."),
        option("--dask", metavar="ADDRESS", help="Share them among the workers of this Dask scheduler."),
        option(
            "--timeout",
            type=_Duration(),
            default=DEFAULT_TIMEOUT,
            show_default=True,
            help="For one model, with --jobs or --dask; then it has no estimate.",
        ),
        option("--resume", is_flag=True, help="Go on where the file of -f jsonl:FILE ends."),
    ],
)
