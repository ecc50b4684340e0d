"""Many tasks, in processes of their own or one after the other here: outcomes in the order of the tasks.

A process that dies or takes too long costs its task a row with that error, and nothing else: another takes its
place. What is under way is bounded, so memory does not grow with the number of tasks.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait

from efficiency_cli.errors import EffcliError
from efficiency_cli.judge.compare import Outcome, Question, Task, answer, failed

# nothing that fuzzing found takes a tenth of it, on a machine far busier than it should be
DEFAULT_TIMEOUT_S = 600.0
# tasks that may be finished before the one that is due, for each process
_AHEAD = 16
# processes that may die before they can take a task: one by bad luck, more for a reason
_MOST_MISFIRED = 2
# a process that has been told to end, or has died, is gone within
_GRACE_S = 5.0
# a graph is built of many small objects that all stay: looking for garbage among them costs a sixth of the time
_OBJECTS_BETWEEN_COLLECTIONS = 200_000


def here(tasks: Sequence[Task], question: Question) -> Iterator[Outcome]:
    """One after the other in this process."""
    with _tidy() as tidy:
        for task in tasks:
            yield answer(task, question)
            tidy()


@contextlib.contextmanager
def _tidy() -> Iterator[Callable[[], None]]:
    """Something to call after each task, so that memory stays flat: what it left in cycles goes at once.

    What was there before is set aside, else looking through it would take longer than the task.
    """
    first = True

    def tidy() -> None:
        nonlocal first
        gc.collect()
        if first:
            gc.freeze()
        first = False

    try:
        yield tidy
    finally:
        gc.unfreeze()


def in_processes(
    tasks: Sequence[Task], question: Question, jobs: int, timeout_s: float = DEFAULT_TIMEOUT_S
) -> Iterator[Outcome]:
    """In `jobs` processes. Raises EffcliError where they cannot be started."""
    pool = _Pool(tasks, question, max(1, min(jobs, len(tasks))), timeout_s)
    try:
        yield from pool.outcomes()
    finally:
        pool.stop()


class _Pool:
    def __init__(self, tasks: Sequence[Task], question: Question, jobs: int, timeout_s: float) -> None:
        self.tasks = tasks
        self.question = question
        self.timeout_s = timeout_s
        self.next = 0
        self.misfired = 0
        self.done: dict[int, Outcome] = {}
        self.workers = [_Worker(question) for _ in range(jobs)]

    def outcomes(self) -> Iterator[Outcome]:
        for due in range(len(self.tasks)):
            while due not in self.done:
                self._give(due)
                self._take()
            yield self.done.pop(due)

    def _give(self, due: int) -> None:
        """A task to everyone who is free, unless too many wait for the one that is due."""
        for k, worker in enumerate(self.workers):
            if self.next >= min(len(self.tasks), due + _AHEAD * len(self.workers)):
                break
            if worker.ended:
                worker = self.workers[k] = _Worker(self.question)
            if worker.free and worker.give(self.next, self.tasks[self.next], self.timeout_s):
                self.next += 1

    def _take(self) -> None:
        """Wait for something to happen, and see what it was."""
        deadlines = [w.deadline_s for w in self.workers if w.deadline_s is not None]
        patience = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        alive = [w for w in self.workers if not w.ended]
        if not alive:  # those that were given a task had died: others will be started
            return
        wait([w.connection for w in alive], patience)
        for worker in alive:
            index, outcome = worker.index, worker.outcome(self.tasks, self.timeout_s)
            if outcome is not None and index is not None:
                self.done[index] = outcome
            self.misfired += worker.ended and not worker.started
            if self.misfired > _MOST_MISFIRED:
                what = f"a process for --jobs {worker.ending} while it started"
                raise EffcliError(what, hint="see why: leave out --jobs")

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()


class Isolated:
    """Tasks one at a time in a process of their own, for a caller that has some parallelism already."""

    def __init__(self, question: Question, timeout_s: float) -> None:
        self.question = question
        self.timeout_s = timeout_s
        self.worker = _Worker(question)

    def answer(self, task: Task) -> Outcome:
        """The outcome of `task`. Raises EffcliError where no process can be started."""
        pool = _Pool([task], self.question, 0, self.timeout_s)
        pool.workers = [self.worker]
        (outcome,) = pool.outcomes()
        (self.worker,) = pool.workers
        return outcome

    def stop(self) -> None:
        self.worker.stop()


class _Worker:
    """A process that does one task at a time. `index` is the task it is at, None while it starts or is free."""

    def __init__(self, question: Question) -> None:
        # a fresh interpreter: the same everywhere, and nothing of this process is copied
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, question), daemon=True)
        self.process.start()
        other.close()
        self.index: int | None = None
        self.deadline_s: float | None = None
        self.started = False
        self.ended = False

    @property
    def free(self) -> bool:
        return self.started and self.index is None and not self.ended

    def give(self, index: int, task: Task, timeout_s: float) -> bool:
        """Whether it takes the task: one that died since does not."""
        try:
            alive = self.process.is_alive()
            if alive:
                self.connection.send(task)
        except OSError:
            alive = False
        if not alive:
            self.stop()
            return False
        self.index, self.deadline_s = index, time.monotonic() + timeout_s
        return True

    def outcome(self, tasks: Sequence[Task], timeout_s: float) -> Outcome | None:
        """What became of its task; None while it is at it."""
        try:
            if not self.connection.poll():
                late = self.deadline_s is not None and time.monotonic() >= self.deadline_s
                return self._lost(tasks, f"gave no answer within {timeout_s:g} s") if late else None
            answered = self.connection.recv()
        except (EOFError, OSError):
            return self._lost(tasks, "")
        if not self.started:
            self.started = True
            return None
        self.index = self.deadline_s = None
        assert isinstance(answered, Outcome)
        return answered

    def _lost(self, tasks: Sequence[Task], why: str) -> Outcome | None:
        """The process has died, or is ended for being late (`why`). None where it had no task."""
        if why:
            self.process.kill()
        self.process.join(_GRACE_S)
        index = self.index
        self.stop()
        return None if index is None else failed(tasks[index], why or f"its process {self.ending}")

    @property
    def ending(self) -> str:
        return _ending(self.process.exitcode)

    def stop(self) -> None:
        """End the process, whatever it is at."""
        self.ended = True
        self.index = self.deadline_s = None
        self.connection.close()
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join(_GRACE_S)


def _ending(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None or code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def work(connection: Connection[object, object], question: Question) -> None:
    """What a process does: says that it is there, then one task after the other until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it ends it
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 50, 50)
    with contextlib.suppress(EOFError, OSError), _tidy() as tidy:
        connection.send(None)
        while True:
            task = connection.recv()
            assert isinstance(task, Task)
            connection.send(answer(task, question))
            tidy()
