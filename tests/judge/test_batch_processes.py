"""Tasks in processes: the order, and what a process that dies or hangs costs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import pytest
from comparing import chains

import efficiency_cli as eff
from efficiency_cli.errors import EffcliError
from efficiency_cli.judge import batch
from efficiency_cli.judge.batch import here, in_processes
from efficiency_cli.judge.compare import Question, Task, tasks_of


@pytest.fixture(scope="module")
def question():
    return Question((eff.load_profile("cortex-m7"), eff.load_profile("a100")))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    paths = chains(tmp_path_factory.mktemp("models"), 24)
    return tasks_of([*paths[:10], "absent.onnx", *paths[10:]])


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_same_outcomes_in_the_same_order(tasks, question, jobs):
    alone = list(here(tasks, question))
    assert list(in_processes(tasks, question, jobs)) == alone
    assert [o.rows[0].model.path for o in alone] == [t.path for t in tasks]
    assert [o.rows[0].error is None for o in alone].count(False) == 1


def test_no_more_processes_than_tasks(tasks, question, monkeypatch):
    started = []
    start = batch._Worker.__init__

    def counting(self, asked):
        started.append(self)
        start(self, asked)

    monkeypatch.setattr(batch._Worker, "__init__", counting)
    assert len(list(in_processes(tasks[:1], question, 8))) == 1
    assert len(started) == 1
    assert list(in_processes([], question, 2)) == []


def _pool(tasks, question, jobs, timeout_s=60.0):
    pool = batch._Pool(tasks, question, jobs, timeout_s)
    return pool, pool.outcomes()


@pytest.fixture
def endless(tasks, monkeypatch, tmp_path):
    """The tasks with one in their midst that takes forever."""
    (tmp_path / "sitecustomize.py").write_text(
        "import time\n"
        "from efficiency_cli.judge import compare\n"
        "known = compare._answered\n"
        "def endless(task, question):\n"
        "    while task.path == 'endless.onnx': time.sleep(1)\n"
        "    return known(task, question)\n"
        "compare._answered = endless\n"
    )
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *([before] if before else [])]))
    return [*tasks[:5], Task("endless.onnx"), *tasks[5:9]]


def test_one_that_hangs_is_a_row(endless, question):
    found = list(in_processes(endless, question, 2, timeout_s=6.0))
    assert [o.rows[0].error for o in found] == [
        "gave no answer within 6 s" if t.path == "endless.onnx" else None for t in endless
    ]


def test_one_that_is_killed_is_a_row(endless, question):
    pool, outcomes = _pool(endless, question, 2)

    def kill():
        while not (stuck := [w for w in pool.workers if w.index == 5]):
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(stuck[0].process.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        found = list(outcomes)
    finally:
        thread.join()
        pool.stop()
    assert [o.rows[0].error for o in found] == [
        "its process was killed by SIGKILL" if t.path == "endless.onnx" else None for t in endless
    ]


def test_one_that_dies_while_it_is_free_costs_nothing(tasks, question):
    pool, outcomes = _pool(tasks, question, 2)
    try:
        found = [next(outcomes)]
        for worker in pool.workers:
            if worker.index is None:
                worker.process.kill()
                worker.process.join(5)
        found += outcomes
    finally:
        pool.stop()
    assert [o.rows[0].model.path for o in found] == [t.path for t in tasks]
    lost = [o for t, o in zip(tasks, found, strict=True) if o.rows[0].error and t.path != "absent.onnx"]
    assert lost == []


def test_processes_that_cannot_start_are_an_error(tasks, question, monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os\nos._exit(7)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EffcliError, match="ended with code 7 while it started"):
        list(in_processes(tasks, question, 2))


def test_stopping_early_ends_the_processes(tasks, question):
    outcomes = in_processes(tasks, question, 2)
    next(outcomes)
    outcomes.close()
    assert multiprocessing.active_children() == []


def test_what_is_under_way_is_bounded(tasks, question, monkeypatch):
    monkeypatch.setattr(batch, "_AHEAD", 1)
    pool, outcomes = _pool(tasks, question, 2)
    try:
        for done, _ in enumerate(outcomes, start=1):
            assert pool.next <= done + 1 * 2
            assert len(pool.done) <= 2
    finally:
        pool.stop()
