"""Tasks on a Dask cluster, outcomes in their order: the home of `distributed`, which is an extra.

Workers read the models themselves, under the paths of this machine, each task in a process beside the worker: a model
that kills its process, or hangs, costs the cluster nothing. Dask gives the tasks of a worker that died to others.
"""

from __future__ import annotations

import multiprocessing
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from efficiency_cli import __version__
from efficiency_cli.errors import EffcliError, UsageError
from efficiency_cli.judge.batch import DEFAULT_TIMEOUT_S, Isolated
from efficiency_cli.judge.compare import Outcome, Question, Task, failed

_NAME = "effcli-compare"
_INSTALL_THERE = "install it there too: pip install 'effcli[dask]'"
# tasks under way for each thread of the cluster, so that none waits for the next
_AHEAD = 4
_LEAST_AHEAD = 32
_CONNECT_S = 10.0
# how often somebody looks whether there are workers at all
_LOOK_S = 1.0
# a cluster may start its workers anew; one that has had none for so long has ended
_ALONE_S = 60.0


def on_cluster(
    tasks: Sequence[Task], question: Question, address: str, timeout_s: float = DEFAULT_TIMEOUT_S
) -> Iterator[Outcome]:
    """On the cluster whose scheduler is at `address`. Raises UsageError where there is none."""
    distributed = _distributed()
    try:
        client = distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(
            f"no Dask scheduler answers at '{address}'",
            where=str(error).partition("\n")[0],
            hint="start one: dask scheduler --host 127.0.0.1; or leave out --dask",
        ) from error
    # others may use the cluster at the same time
    name = f"{_NAME}-{uuid.uuid4().hex}"
    with client:
        try:
            client.register_plugin(_plugin(distributed, name, question, timeout_s), name=name)
            yield from _Run(client, distributed, name).outcomes(tasks)
        except ImportError as error:
            raise EffcliError(f"a Dask worker lacks a package: {error}", hint=_INSTALL_THERE) from error
        finally:
            client.unregister_worker_plugin(name)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        hint = "install it: pip install 'effcli[dask]'"
        raise UsageError("--dask needs the package distributed, which is not installed", hint=hint) from error
    return distributed


def _plugin(distributed: Any, name: str, question: Question, timeout_s: float) -> Any:
    """What brings the question to every worker, also to those that join later."""

    class Asked(distributed.WorkerPlugin):  # type: ignore[misc]  # distributed is untyped
        def __init__(self) -> None:
            self.asked = __version__, question, timeout_s

        def setup(self, worker: Any) -> None:  # noqa: ARG002  # the interface of a plugin
            serve(name, OnWorker(*self.asked))

        def teardown(self, worker: Any) -> None:  # noqa: ARG002
            leave(name)

    return Asked()


class OnWorker:
    """What a worker knows of a run: the question, and for each of its threads a process."""

    def __init__(self, version: str, question: Question, timeout_s: float) -> None:
        self.version = version
        self.question = question
        self.timeout_s = timeout_s
        self.processes: dict[int, Isolated] = {}

    def answer(self, task: Task) -> Outcome:
        """Raises EffcliError where another version of effcli is installed."""
        if self.version != __version__:
            what = f"a Dask worker has effcli {__version__}, here it is {self.version}"
            raise EffcliError(what, hint="install the same version on all")
        thread = threading.get_ident()
        _allow_processes()
        if thread not in self.processes:
            self.processes[thread] = Isolated(self.question, self.timeout_s)
        return self.processes[thread].answer(task)

    def stop(self) -> None:
        for process in self.processes.values():
            process.stop()
        self.processes = {}


def _allow_processes() -> None:
    """Dask's workers are daemons, which multiprocessing forbids to have processes of their own. Ours end with the
    worker by themselves: nobody asks them any more.
    """
    getattr(multiprocessing.current_process(), "_config", {}).pop("daemon", None)


# on a worker: the runs that it serves, by name
_RUNS: dict[str, OnWorker] = {}


def serve(name: str, run: OnWorker) -> None:
    """On a worker: take part in a run."""
    _RUNS[name] = run


def leave(name: str) -> None:
    """On a worker: end the processes of a run."""
    _RUNS.pop(name).stop()


def on_worker(name: str, task: Task) -> Outcome:
    """One task of the run `name`, on a worker."""
    return _RUNS[name].answer(task)


class _Run:
    def __init__(self, client: Any, distributed: Any, name: str) -> None:
        self.client = client
        self.name = name
        self.killed: type[Exception] = distributed.scheduler.KilledWorker

    def outcomes(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        under_way: deque[tuple[Task, Any]] = deque()
        given = 0
        while under_way or given < len(tasks):
            while given < len(tasks) and len(under_way) < self._ahead():
                under_way.append((tasks[given], self._submit(tasks[given], given)))
                given += 1
            task, future = under_way.popleft()
            yield self._outcome(task, future)

    def _ahead(self) -> int:
        threads: int = sum(self.client.nthreads().values())
        return max(_LEAST_AHEAD, _AHEAD * threads)

    def _submit(self, task: Task, number: object) -> Any:
        return self.client.submit(on_worker, self.name, task, pure=False, key=f"{self.name}-{number}")

    def _outcome(self, task: Task, future: Any, tries: int = 1) -> Outcome:
        """What became of a task, once it has finished."""
        try:
            return self._result(future)
        except self.killed:
            # the workers died for a reason of their own: it has a second chance
            if tries:
                return self._outcome(task, self._submit(task, f"again-{future.key}"), tries - 1)
            return failed(task, "the workers that took it died")
        finally:
            future.release()

    def _result(self, future: Any) -> Outcome:
        """Raises EffcliError when no worker is left."""
        alone_s = 0.0
        while True:
            try:
                found = future.result(timeout=_LOOK_S)
            except TimeoutError:
                alone_s = 0.0 if self.client.nthreads() else alone_s + _LOOK_S
                if alone_s >= _ALONE_S:
                    what = "the Dask cluster has no worker any more"
                    raise EffcliError(what, hint="start one: dask worker ADDRESS; then: --resume") from None
                continue
            assert isinstance(found, Outcome)
            return found
