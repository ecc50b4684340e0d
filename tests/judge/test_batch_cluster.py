"""On a real Dask scheduler with worker processes on loopback: every row there once, though workers are killed."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from comparing import ROOT, chains

import efficiency_cli as eff
from efficiency_cli.errors import EffcliError, UsageError
from efficiency_cli.judge import cluster
from efficiency_cli.judge.batch import here
from efficiency_cli.judge.cluster import on_cluster
from efficiency_cli.judge.compare import Question, Task, tasks_of

distributed = pytest.importorskip("distributed")

GRAPHS = 1000


# what a process does to two files that nobody can read
HOSTILE = """
import os, time
from efficiency_cli.judge import compare
known = compare._answered
def hostile(task, question):
    while task.path == "endless.onnx":
        time.sleep(1)
    if task.path == "deadly.onnx":
        os.kill(os.getpid(), 9)
    return known(task, question)
compare._answered = hostile
"""


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(HOSTILE)
    with pytest.MonkeyPatch.context() as patch:
        before = os.environ.get("PYTHONPATH", "")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), str(ROOT), before])))
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None, protocol="tcp"
        )
        yield cluster
        cluster.close()


@pytest.fixture(scope="module")
def question():
    return Question((eff.load_profile("cortex-m7"), eff.load_profile("a100")))


def _pids(local):
    with distributed.Client(local.scheduler_address, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


def test_a_thousand_graphs_and_a_killed_worker(local, question, tmp_path):
    paths = chains(tmp_path / "models", GRAPHS)
    (tmp_path / "models" / "m0500.onnx").write_bytes(b"not a model")
    tasks = tasks_of(paths)
    victim = _pids(local)[0]
    found = []
    for outcome in on_cluster(tasks, question, local.scheduler_address):
        found.append(outcome)
        if len(found) == GRAPHS // 4:
            os.kill(victim, signal.SIGKILL)
    assert victim not in _pids(local)
    assert [o.rows[0].model.path for o in found] == paths
    assert [k for k, o in enumerate(found) if o.rows[0].error] == [500]
    assert sum(len(o.rows) for o in found) == (GRAPHS - 1) * 2 + 1
    assert found == list(here(tasks, question))


def test_files_are_found_where_they_are(local, question, tmp_path, monkeypatch):
    chains(tmp_path / "models", 2)
    monkeypatch.chdir(tmp_path)
    tasks = [
        Task("models/m0000.onnx", file=os.path.abspath("models/m0000.onnx")),
        Task("models/absent.onnx", file="/no"),
    ]
    one, other = on_cluster(tasks, question, local.scheduler_address)
    assert one.rows[0].totals.macs == 64
    assert other.rows[0].error == "cannot read the model models/absent.onnx: not found"


def test_tasks_that_hang_and_kill_cost_no_worker(local, question, tmp_path):
    paths = chains(tmp_path / "models", 6)
    tasks = tasks_of([*paths[:3], "deadly.onnx", "endless.onnx", *paths[3:]])
    workers = _pids(local)
    found = list(on_cluster(tasks, question, local.scheduler_address, timeout_s=5.0))
    said = {"endless.onnx": "gave no answer within 5 s", "deadly.onnx": "its process was killed by SIGKILL"}
    assert [o.rows[0].error for o in found] == [said.get(t.path) for t in tasks]
    assert _pids(local) == workers


def test_no_scheduler(question, monkeypatch):
    monkeypatch.setattr(cluster, "_CONNECT_S", 1.0)
    with pytest.raises(UsageError, match="no Dask scheduler answers at"):
        list(on_cluster([Task("m.onnx")], question, "tcp://127.0.0.1:9"))


def test_no_distributed(question, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError) as caught:
        list(on_cluster([Task("m.onnx")], question, "tcp://127.0.0.1:9"))
    assert "pip install 'effcli[dask]'" in caught.value.hint


def test_another_version_there(local, question, monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "__version__", "99.0")
    with pytest.raises(EffcliError, match=r"here it is 99\.0"):
        list(on_cluster(tasks_of(chains(tmp_path / "m", 1)), question, local.scheduler_address))
