"""Rows as JSON lines: where a file is taken up again, which are refused; one killed 20 times has the same bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from comparing import ROOT, chain, chains
from msgspec.structs import replace

import efficiency_cli as eff
from efficiency_cli.costs.control_flow import Choices
from efficiency_cli.errors import UsageError
from efficiency_cli.graph.model import DType
from efficiency_cli.graph.retype import Types
from efficiency_cli.judge import stream
from efficiency_cli.judge.batch import here
from efficiency_cli.judge.compare import Question, tasks_of

KILLS = 20


@pytest.fixture(scope="module")
def question():
    return Question((eff.load_profile("cortex-m7"), eff.load_profile("a100")), types=(Types(), Types(DType.INT8)))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return tasks_of([*chains(tmp_path_factory.mktemp("models"), 4), "absent.onnx"], (1, 2))


@pytest.fixture(scope="module")
def header(question, tasks):
    return stream.header_of(question, tasks)


@pytest.fixture(scope="module")
def whole(question, tasks, header):
    """What an undisturbed run writes."""
    lines = [stream.line_of(row) for outcome in here(tasks, question) for row in outcome.rows]
    # 4 models x 2 batches x 2 types x 2 machines, and the missing file in each batch
    assert len(lines) == 4 * 2 * 2 * 2 + 2
    return header + b"".join(lines)


def finish(path, question, tasks, header, keep=None):
    """Go on with the file as `compare` does."""
    file = stream.resume(str(path), header, tasks, question.rows_each, keep)
    for outcome in here(tasks[file.done :], question):
        file.add(outcome.rows)
    file.close()
    return file.done


def test_every_byte_is_a_place_to_stop(tmp_path, question, tasks, header, whole):
    path = tmp_path / "rows.jsonl"
    ends = [0] + [k + 1 for k, byte in enumerate(whole) if byte == ord("\n")]
    places = sorted({*ends, *(e + 1 for e in ends[:-1]), *(e - 1 for e in ends[1:]), *range(0, len(whole), 997)})
    for place in places:
        path.write_bytes(whole[:place])
        kept = []
        file = stream.resume(str(path), header, tasks, question.rows_each, kept.extend)
        file.close()
        left = path.read_bytes()
        # what is left is the header and whole tasks, and the rows of these are given back
        assert whole.startswith(left)
        assert b"".join([header, *map(stream.line_of, kept)]) == left
        sizes = [len(o.rows) for o in here(tasks[: file.done], question)] if place % 5 == 0 else None
        assert sizes is None or sum(sizes) == len(kept)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.77, 1.0])
def test_the_end_is_the_same(tmp_path, question, tasks, header, whole, share):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(whole[: int(share * len(whole))])
    done = finish(path, question, tasks, header)
    assert path.read_bytes() == whole
    assert done == len(tasks) if share == 1 else done < len(tasks)


def test_a_file_that_is_not_there_is_begun(tmp_path, question, tasks, header, whole):
    path = tmp_path / "rows.jsonl"
    assert finish(path, question, tasks, header) == 0
    assert path.read_bytes() == whole


def refused(path, question, tasks, header=None):
    before = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        stream.resume(str(path), header or stream.header_of(question, tasks), tasks, question.rows_each)
    assert path.read_bytes() == before
    assert "--resume" in caught.value.hint
    return "\n".join([caught.value.what, *caught.value.where])


@pytest.mark.parametrize("content", [b"precious notes\n", b"{}\n", b'{"command": "analyze"}\n', b"[1]\n", b"x"])
def test_another_file_is_left_alone(tmp_path, question, tasks, content):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    assert "was not written by effcli compare" in refused(path, question, tasks)


def test_another_question_is_refused(tmp_path, question, tasks, whole):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(whole)
    fewer = replace(question, machines=question.machines[:1])
    assert 'hardware: ["cortex-m7", "a100"] there, ["cortex-m7"] here' in refused(path, fewer, tasks)
    assert "models: 5 there, 4 here" in refused(path, question, tasks[:-2])
    assert "batches: [1, 2] there, [1] here" in refused(path, question, tasks[::2])


def test_everything_that_changes_rows_changes_the_first_line(question, tasks, header):
    m7 = eff.load_profile("cortex-m7", overrides=["clock=216MHz"])
    others = [
        replace(question, machines=(m7, *question.machines[1:])),
        replace(question, runtime="plumerai"),
        replace(question, overlap=0.5),
        replace(question, types=(Types(),)),
        replace(question, dims={"batch": 2}),
        replace(question, shapes={"x": (1, 2)}),
        replace(question, choices=Choices(count="valid")),
    ]
    lines = [stream.header_of(other, tasks) for other in others]
    assert len({header, *lines}) == len(lines) + 1
    moved = replace(question, machines=tuple(replace(m, path="/elsewhere.yaml") for m in question.machines))
    assert stream.header_of(moved, tasks) == header == stream.header_of(question, list(tasks))


def test_rows_that_do_not_belong_are_refused(tmp_path, question, tasks, whole):
    path = tmp_path / "rows.jsonl"
    first, *lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join([first, *lines[4:8], *lines[:4]]))
    assert "rows.jsonl:2: '" in refused(path, question, tasks)
    path.write_bytes(whole + lines[-1])
    assert "there are more rows than were asked for" in refused(path, question, tasks)
    path.write_bytes(b"".join([first, b"{}\n", *lines[1:]]))
    assert "rows.jsonl:2: this is no row" in refused(path, question, tasks)


def test_a_model_that_changed_is_refused(tmp_path, question):
    model = chain(tmp_path / "m.onnx", 2)
    tasks = tasks_of([str(model)])
    path = tmp_path / "rows.jsonl"
    finish(path, question, tasks, stream.header_of(question, tasks))
    chain(model, 3)
    assert f"{model} has changed since" in refused(path, question, tasks)


def test_names_that_are_no_utf8(tmp_path, question):
    name = os.fsdecode(b"m\xff\xe2\x82.onnx")
    tasks = tasks_of([str(chain(tmp_path / name, 1))])
    path = tmp_path / "rows.jsonl"
    header = stream.header_of(question, tasks)
    finish(path, question, tasks, header)
    assert path.read_bytes().isascii()
    assert finish(path, question, tasks, header) == 1


def test_lines_are_plain_json(whole):
    first, *rows = [json.loads(line) for line in whole.splitlines()]
    assert first["command"] == "compare"
    assert first["models"] == 5
    assert all(row["error"] is None or row["totals"] is None for row in rows)


# --- killed at any moment ---


def _run(arguments, cwd):
    command = [sys.executable, "-m", "efficiency_cli", "compare", *arguments, "-q"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_killed_twenty_times(tmp_path: Path) -> None:
    """The whole group is killed at random moments, with one process and with two; the bytes are those of one go."""
    chains(tmp_path / "models", 120)
    (tmp_path / "models" / "m0050.onnx").write_bytes(b"not a model")
    asked = ["models", "--hw", "cortex-m7,a100,l4", "--dtype", "stored,int8"]
    undisturbed = _run([*asked, "-f", "jsonl:whole.jsonl"], tmp_path)
    assert undisturbed.communicate(timeout=120)[1]
    assert undisturbed.returncode == 2
    whole = (tmp_path / "whole.jsonl").read_bytes()
    assert whole.count(b"\n") == 1 + 119 * 3 * 2 + 1
    chance = random.Random(20)
    rows = tmp_path / "rows.jsonl"
    stopped_at: list[int] = []
    while len(stopped_at) < KILLS:
        before = _size(rows)
        run = _run([*asked, "-f", "jsonl:rows.jsonl", "--resume", *["--jobs", "2"] * (len(stopped_at) % 2)], tmp_path)
        # somewhere on the way of the next tenth or so, whatever it is at then
        while run.poll() is None and _size(rows) < before + chance.randint(0, len(whole) // 10):
            time.sleep(0.002)
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            stopped_at.append(_size(rows))
        run.communicate()
        assert whole.startswith(rows.read_bytes() if rows.exists() else b"")
        if _size(rows) == len(whole):
            rows.unlink()  # from the beginning
    last = _run([*asked, "-f", "jsonl:rows.jsonl", "--resume"], tmp_path)
    assert last.communicate(timeout=120)[1]
    assert last.returncode == 2
    assert rows.read_bytes() == whole
    assert len(set(stopped_at)) > KILLS // 2


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
