"""Rows of a comparison agree with the estimates they are of; one model's mistake is its row."""

from __future__ import annotations

import msgspec
import pytest
from comparing import SAMPLES, chain, chains

import efficiency_cli as eff
from efficiency_cli.errors import ExitCode
from efficiency_cli.graph.model import DType
from efficiency_cli.graph.retype import Types
from efficiency_cli.judge import compare as comparing_module
from efficiency_cli.judge.compare import Question, Task, answer, compare, tasks_of
from efficiency_cli.judge.metrics import METRICS, limit_of
from efficiency_cli.judge.row import Row
from efficiency_cli.judge.stream import line_of, row_from

VWW = str(SAMPLES / "vww_mobilenetv1_int8.onnx")
BERT = str(SAMPLES / "bert_small.onnx")
INT8 = Types(DType.INT8, DType.INT8)


@pytest.fixture(scope="module")
def machines():
    return tuple(eff.load_profile(name) for name in ("cortex-m7", "a100"))


def test_a_row_says_what_the_estimate_says(machines):
    result = eff.estimate(eff.read_model(VWW), machines[0])
    report = result.to_dict()
    (row,) = compare([VWW], machines[:1]).rows
    data = msgspec.to_builtins(row)
    for name, value in data["totals"].items():
        assert report["totals"][name] == value, name
    for name, value in data["hardware"].items():
        assert report["hardware"][name] == value, name
    assert data["model"] == {name: report["model"][name] for name in ("path", "file_bytes", "dims")}
    assert data["coverage"] == {name: report["coverage"][name] for name in ("nodes", "bytes")}
    assert list(data["assumptions"]) == report["assumptions"]
    assert row_from(line_of(row)) == row


def test_a_model_that_was_read_and_its_path(machines):
    assert compare([eff.read_model(VWW)], machines).rows == compare([VWW], machines).rows


def test_order_is_models_batches_types_machines(machines, tmp_path):
    paths = chains(tmp_path, 2)
    rows = compare(paths, machines, batches=(1, 4), types=(Types(), INT8)).rows
    assert [(r.model.path, r.batch, r.as_if, r.hardware.id) for r in rows] == [
        (p, b, t, m) for p in paths for b in (1, 4) for t in ("", "int8") for m in ("cortex-m7", "a100")
    ]
    assert {r.totals.macs for r in rows if r.batch == 4 and r.model.path == paths[1]} == {4 * 2 * 8 * 8}


def test_sizes_hold_for_those_that_have_them(machines):
    question = Question(machines, dims={"sequence": 16, "batch": 2, "nobody": 3}, shapes={"absent": (1,)})
    bert, vww = (answer(Task(path), question) for path in (BERT, VWW))
    assert bert.rows[0].model.dims == {"batch": 2, "sequence": 16}
    assert (bert.used, vww.used) == ({"batch", "sequence"}, frozenset())
    assert vww.rows[0].error is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "not found"),
        (b"", "is empty"),
        (b"\x08\x07:\x05nonsense", "is not"),
        (b"PK\x03\x04 a zip", "is not an ONNX model"),
    ],
)
def test_a_bad_file_is_a_row(machines, tmp_path, content, said):
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    outcome = answer(Task(str(path), 2), Question(machines))
    (row,) = outcome.rows
    assert (row.model.path, row.batch, row.hardware, row.totals) == (str(path), 2, None, None)
    assert said in row.error
    assert outcome.code == ExitCode.ERROR


def test_an_open_size_is_told_with_its_option(machines):
    (row,) = answer(Task(BERT), Question(machines)).rows
    assert row.error == "sizes are open: --dim sequence=128"


def test_the_name_that_was_given_stands_for_the_file(machines, tmp_path):
    path = chain(tmp_path / "m.onnx", 1)
    row = answer(Task("there/m.onnx", file=str(path)), Question(machines)).rows[0]
    assert row.model.path == "there/m.onnx"
    missing = answer(Task("there/absent.onnx", file=str(tmp_path / "absent.onnx")), Question(machines)).rows[0]
    assert str(tmp_path) not in missing.error
    assert "there/absent.onnx" in missing.error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), ExitCode.ERROR, "out of memory"),
        (RecursionError(), ExitCode.ERROR, "nested too deeply"),
        (PermissionError(13, "Permission denied"), ExitCode.ERROR, "permission denied"),
        (ZeroDivisionError("by nought"), ExitCode.BUG, "unexpected ZeroDivisionError: by nought"),
    ],
)
def test_nothing_that_goes_wrong_is_raised(machines, monkeypatch, error, code, said):
    def fail(_path):
        raise error

    monkeypatch.setattr(comparing_module.read, "load", fail)
    outcome = answer(Task("m.onnx"), Question(machines))
    assert (outcome.rows[0].error, outcome.code) == (said, code)


def test_which_memory_is_too_small(machines):
    (row,) = compare([str(SAMPLES / "mobilenet_v2.onnx")], machines[:1]).rows
    assert row.fits is False
    totals = row.totals
    needs = {"sram": totals.ram_bytes, "flash": totals.flash_bytes}
    assert {full.level: full.need_bytes for full in row.too_small} == {
        name: need for name, need in needs.items() if need > machines[0].memory_level(name).size_bytes
    }
    assert row.too_small
    assert all(full.need_bytes > full.capacity_bytes for full in row.too_small)
    (fitting,) = compare([VWW], machines[:1]).rows
    assert (fitting.fits, fitting.too_small) == (True, ())


def test_tasks_are_files_times_batches():
    assert tasks_of(["a", "b"], (1, 2)) == [Task("a", 1), Task("a", 2), Task("b", 1), Task("b", 2)]
    assert tasks_of(["a"]) == [Task("a", None)]


# --- figures and limits ---


def test_every_figure_is_among_the_totals(machines):
    (row,) = compare([VWW], machines[:1]).rows
    data = msgspec.to_builtins(row)["totals"]
    for metric in METRICS.values():
        value = data[metric.key]
        assert metric.of_row(row) == (value["expected"] if isinstance(value, dict) else value)
        assert metric.of_row(Row(row.model, error="bad")) is None


@pytest.mark.parametrize(
    ("text", "metric", "most"),
    [("latency=15ms", "latency", 0.015), ("peak-ram = 256 KiB", "peak_ram", 2**18), ("energy=20mJ", "energy", 0.02),
     ("macs=1M", "macs", 1e6), ("flash=1MB", "flash", 1e6)],
)  # fmt: skip
def test_limits(text, metric, most):
    limit = limit_of(text)
    assert (limit.metric, limit.text) == (metric, text)
    assert limit.most == pytest.approx(most)


@pytest.mark.parametrize(
    ("text", "said"),
    [("latency", "is not METRIC=VALUE"), ("latency=15", "a unit is required"), ("latenci=1s", "did you mean 'latency'"),
     ("throughput=5/s", "more throughput is better"), ("latency=15 MB", "is a unit of bytes"), ("=3", "is not one of")],
)  # fmt: skip
def test_limits_that_are_none(text, said):
    with pytest.raises(ValueError, match=said):
        limit_of(text)


def test_a_limit_is_the_most_there_may_be(machines):
    (row,) = compare([VWW], machines[:1]).rows
    exactly = row.totals.macs
    assert limit_of(f"macs={exactly}").passed_by(row) is False
    assert limit_of(f"macs={exactly - 1}").passed_by(row) is True
    assert limit_of("macs=1").passed_by(Row(row.model, error="bad")) is None
