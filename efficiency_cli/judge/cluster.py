"""Tasks on a Dask cluster, outcomes in their order: the home of `distributed`, which is an extra.

Workers read the models themselves, under the paths of this machine. Dask gives the tasks of a worker that died to
others; a task that several workers died at is tried once more, then it has failed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from efficiency_cli import __version__
from efficiency_cli.errors import EffcliError, UsageError
from efficiency_cli.judge.batch import DEFAULT_TIMEOUT_S
from efficiency_cli.judge.compare import Outcome, Question, Task, answer, failed

_NAME = "effcli-compare"
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
    with client:
        client.register_plugin(_plugin(distributed, question), name=_NAME)
        yield from _Run(client, distributed, timeout_s).outcomes(tasks)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        hint = "install it: pip install 'effcli[dask]'"
        raise UsageError("--dask needs the package distributed, which is not installed", hint=hint) from error
    return distributed


def _plugin(distributed: Any, question: Question) -> Any:
    """What brings the question to every worker, also to those that join later."""

    class Asked(distributed.WorkerPlugin):  # type: ignore[misc]  # distributed is untyped
        name = _NAME

        def __init__(self) -> None:
            self.question = question
            self.version = __version__

        def setup(self, worker: Any) -> None:
            worker.effcli_asked = self.version, self.question

    return Asked()


def on_worker(task: Task) -> Outcome:
    """One task, on a worker. Raises EffcliError where another version of effcli is installed there."""
    version, question = _distributed().get_worker().effcli_asked
    if version != __version__:
        raise EffcliError(f"a worker has effcli {__version__}, here it is {version}", hint="install one version on all")
    return answer(task, question)


class _Run:
    def __init__(self, client: Any, distributed: Any, timeout_s: float) -> None:
        self.client = client
        self.killed: type[Exception] = distributed.scheduler.KilledWorker
        self.timeout_s = timeout_s

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
        return self.client.submit(on_worker, task, pure=False, key=f"{_NAME}-{number}-{id(self)}")

    def _outcome(self, task: Task, future: Any, tries: int = 1) -> Outcome:
        """What became of a task, once it has finished."""
        try:
            return self._result(future)
        except self.killed:
            # it may only have been at hand when another one killed the worker
            if tries:
                return self._outcome(task, self._submit(task, f"again-{future.key}"), tries - 1)
            return failed(task, "the workers that took it died")
        except TimeoutError:
            self._abandon(future)
            return failed(task, f"gave no answer within {self.timeout_s:g} s")
        finally:
            future.release()

    def _result(self, future: Any) -> Outcome:
        """Raises TimeoutError when it takes too long after it was due, EffcliError when no worker is left."""
        deadline, alone_s = time.monotonic() + self.timeout_s, 0.0
        while True:
            try:
                found = future.result(timeout=_LOOK_S)
            except TimeoutError:
                if time.monotonic() >= deadline:
                    raise
                alone_s = 0.0 if self.client.nthreads() else alone_s + _LOOK_S
                if alone_s >= _ALONE_S:
                    raise EffcliError(
                        "the Dask cluster has no worker any more", hint="start one: dask worker ADDRESS"
                    ) from None
                continue
            assert isinstance(found, Outcome)
            return found

    def _abandon(self, future: Any) -> None:
        """Cancel a task that hangs, and start the worker anew that it is on."""
        at = [worker for worker, keys in self.client.processing().items() if future.key in keys]
        future.cancel()
        if at:
            self.client.restart_workers(at, timeout=_CONNECT_S, raise_for_error=False)
