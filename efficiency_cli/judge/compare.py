"""Many models on many machines, in many types and batches: one Task a file and batch, one Row an answer.

`answer` does one task wherever it runs (here, in a process of its own, on a cluster) and never raises: what goes
wrong with one model is its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from efficiency_cli.costs.control_flow import Choices
from efficiency_cli.errors import EffcliError, ExitCode, MissingDimension
from efficiency_cli.graph import read
from efficiency_cli.graph.binding import Interface, Request
from efficiency_cli.graph.model import Model
from efficiency_cli.graph.retype import Types, retyped
from efficiency_cli.hardware.profile import Profile
from efficiency_cli.judge.rank import Matrix, Ranked, matrix, ranked
from efficiency_cli.judge.row import Row, RowModel, row_of
from efficiency_cli.roofline.estimate import estimate
from efficiency_cli.roofline.network import Network

# places of a mistake that its row tells
_MOST_NAMED = 3


class Question(Struct, frozen=True):
    """What is asked of every model. `dims` and `shapes` hold for those that have them."""

    machines: tuple[Profile, ...]
    runtime: str | None = None
    overlap: float | None = None
    types: tuple[Types, ...] = (Types(),)
    dims: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    choices: Choices = Choices()

    @property
    def rows_each(self) -> int:
        """Rows of a task that has no error."""
        return len(self.machines) * len(self.types)


class Task(Struct, frozen=True):
    """One file in one batch. `path` is what it is called, `file` where a process elsewhere finds it."""

    path: str
    batch: int | None = None
    file: str = ""


class Outcome(Struct, frozen=True):
    """The rows of a task: by type, then by machine; or a single one with an error, and its exit code.

    `used` are the names of `Question.dims` and `shapes` that the model has.
    """

    rows: tuple[Row, ...]
    code: int = ExitCode.OK
    used: frozenset[str] = frozenset()


def tasks_of(paths: Iterable[str], batches: Sequence[int | None] = (None,)) -> list[Task]:
    """Every file in every batch, in order."""
    return [Task(path, batch) for path in paths for batch in batches]


def answer(task: Task, question: Question) -> Outcome:
    """The rows of one task."""
    try:
        return _answered(task, question)
    except MemoryError:
        return failed(task, "out of memory")
    except RecursionError:
        return failed(task, "nested too deeply")
    except EffcliError as error:
        return failed(task, _told(error, task), code=error.exit_code)
    except OSError as error:
        return failed(task, (error.strerror or str(error)).lower())
    except Exception as error:  # a bug must not cost the other models their rows; the exit code tells
        return failed(task, f"unexpected {type(error).__name__}: {error}", code=ExitCode.BUG)


def failed(task: Task, why: str, code: int = ExitCode.ERROR) -> Outcome:
    """The outcome of a task without an estimate."""
    return Outcome((Row(RowModel(task.path), batch=task.batch, error=why),), code)


def _told(error: EffcliError, task: Task) -> str:
    if isinstance(error, MissingDimension):
        # what to add to the command, behind the path, which may be quoted
        _, _, options = error.hint.partition(task.file or task.path)
        return f"sizes are open: {options.lstrip(chr(39)).strip()}"
    where = [place for place in error.where if place][:_MOST_NAMED]
    text = f"{error.what} ({'; '.join(where)})" if where else error.what
    return text.replace(task.file, task.path) if task.file else text


def _answered(task: Task, question: Question) -> Outcome:
    proto, size = read.load(task.file or task.path)
    interface = read.interface_of(proto.graph)
    dims, shapes = _known(question, interface)
    model = read.build(proto, task.file or task.path, size, Request(dims, shapes, task.batch))
    return Outcome(rows_of(model, question, task), ExitCode.OK, frozenset((*dims, *shapes)))


def _known(question: Question, interface: Interface) -> tuple[dict[str, int], dict[str, Sequence[int]]]:
    """Those of the dims and shapes that name something in this model."""
    symbols = {d for dims in interface.inputs.values() for d in dims or () if isinstance(d, str)}
    tensors = {*interface.inputs, *(o for use in interface.nodes for o in use.outputs)}
    dims = {n: s for n, s in question.dims.items() if n in symbols or n.partition("[")[0] in tensors}
    return dims, {name: shape for name, shape in question.shapes.items() if name in interface.inputs}


def rows_of(model: Model, question: Question, task: Task) -> tuple[Row, ...]:
    """The rows of a model that was read. Raises what `estimate` does."""
    rows = []
    for types in question.types:
        # not kept for a next time: of many models none is asked for again
        network = Network(retyped(model, types), question.choices)
        for machine in question.machines:
            found = estimate(network, machine, runtime=question.runtime, overlap=question.overlap)
            rows.append(row_of(found, task.batch, types.label, task.path))
    return tuple(rows)


class Comparison(Struct, frozen=True):
    """Rows in the order of models, batches, types and machines."""

    rows: tuple[Row, ...]

    @property
    def answered(self) -> list[Row]:
        """The rows with an estimate."""
        return [row for row in self.rows if row.error is None]

    @property
    def errors(self) -> list[Row]:
        return [row for row in self.rows if row.error is not None]

    def ranked(self, by: str = "latency") -> list[Ranked]:
        """The rows with their ranks; see `rank.ranked`."""
        return ranked(self.rows, by)

    def matrix(self, by: str = "latency") -> Matrix:
        """The figure `by` of every model (in each batch and type) on every machine."""
        return matrix(self.rows, by)


def compare(
    models: Iterable[Model | str],
    machines: Sequence[Profile],
    *,
    runtime: str | None = None,
    overlap: float | None = None,
    types: Sequence[Types] = (Types(),),
    dims: Mapping[str, int] | None = None,
    batches: Sequence[int | None] = (None,),
) -> Comparison:
    """Estimate every model on every machine: `compare([graph], profiles("cortex-m*")).ranked()`.

    A model is one that was read, or a path, for which `dims` and `batches` hold. A path that cannot be estimated is
    a row with its `error`. Raises ProfileError for an unknown runtime, CostError for a model that was read and
    contradicts itself.
    """
    question = Question(tuple(machines), runtime, overlap, tuple(types), dims or {})
    rows: list[Row] = []
    for model in models:
        if isinstance(model, Model):
            rows += rows_of(model, question, Task(model.path))
        else:
            for task in tasks_of([model], batches):
                rows += answer(task, question).rows
    return Comparison(tuple(rows))
