"""Tables of measurements: what is read, every mistake told, and files that are no tables."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from efficiency_cli.errors import UsageError
from efficiency_cli.measure.rows import MAX_BYTES, MAX_ROWS, MOST_TOLD
from efficiency_cli.measure.runs import Run, read_runs

HEADER = "onnx,device,core,clock_mhz,runtime,version,precision,latency_ms"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "mcu" / "measurements.csv"


def table(folder: Path, text: str, name: str = "runs.csv") -> str:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return str(path)


def one(folder: Path, header: str, row: str) -> Run:
    (run,) = read_runs(table(folder, f"{header}\n{row}\n"))
    return run


def mistakes(path: str) -> tuple[str, ...]:
    with pytest.raises(UsageError) as raised:
        read_runs(path)
    return (raised.value.what, *raised.value.where)


# --- what a row says ---------------------------------------------------------------------------


def test_a_row(tmp_path):
    run = one(tmp_path, HEADER, "net.onnx,NUCLEO-L4R5ZI,Cortex-M4,120,X-CUBE-AI,7.3.0,int8,12.5")
    assert run == Run(
        place=f"{tmp_path}/runs.csv:2",
        onnx="net.onnx",
        path=None,
        family="net",
        device="NUCLEO-L4R5ZI",
        core="Cortex-M4",
        clock_hz=120e6,
        runtime="X-CUBE-AI",
        version="7.3.0",
        precision="int8",
        measured_s=12.5 * 1e-3,
    )


@pytest.mark.parametrize(
    ("column", "cell", "seconds"),
    [
        ("latency_ms", "12.5", 12.5e-3),
        ("latency_us", "12.5", 12.5e-6),
        ("latency_s", "1e-3", 1e-3),
        ("Latency (ms)", "3", 3e-3),
        ("Latency [µs]", "3", 3e-6),
        ("latency", "12.5 ms", 12.5e-3),
        ("measured_s", "0.25", 0.25),
    ],
)
def test_units_of_the_time_are_in_the_header_or_the_cell(tmp_path, column, cell, seconds):
    assert one(tmp_path, f"onnx,{column}", f"a.onnx,{cell}").measured_s == pytest.approx(seconds, rel=1e-15)


@pytest.mark.parametrize(
    ("column", "cell", "joules"), [("energy_uj", "45.7", 45.7e-6), ("energy_mj", "2", 2e-3), ("energy", "2 mJ", 2e-3)]
)
def test_energy(tmp_path, column, cell, joules):
    assert one(tmp_path, f"onnx,latency_ms,{column}", f"a.onnx,1,{cell}").energy_j == pytest.approx(joules)


def test_what_is_left_out_is_not_there(tmp_path):
    run = one(tmp_path, "onnx,latency_ms,clock_mhz,energy_uj,threads,dims,family", "dir/v1.2.onnx,1,,,,,")
    assert (run.clock_hz, run.energy_j, run.threads, run.dims) == (None, None, None, {})
    assert run.family == "v1.2"
    assert (run.device, run.core, run.runtime) == ("", "", "")


@pytest.mark.parametrize("written", ["batch=1 sequence=128", "batch=1; sequence=128", '"batch=1,sequence=128"'])
def test_sizes(tmp_path, written):
    assert one(tmp_path, "onnx,latency_ms,dims", f"a.onnx,1,{written}").dims == {"batch": 1, "sequence": 128}


def test_a_semicolon_brings_the_decimal_comma(tmp_path):
    path = table(tmp_path, "onnx;latency_ms;clock_mhz\na.onnx;12,5;1.5\n")
    (run,) = read_runs(path)
    assert (run.measured_s, run.clock_hz) == (pytest.approx(12.5e-3), 1.5e6)


@pytest.mark.parametrize(
    "text", ["﻿onnx,latency_ms\r\na.onnx,1\r\n", "sep=;\nonnx;latency_ms\na.onnx;1\n", "onnx\tlatency_ms\na.onnx\t1\n\n"]
)
def test_what_spreadsheets_write(tmp_path, text):
    (run,) = read_runs(table(tmp_path, text))
    assert (run.onnx, run.measured_s) == ("a.onnx", pytest.approx(1e-3))


def test_a_quoted_cell_may_hold_line_breaks_and_places_stay_true(tmp_path):
    path = table(tmp_path, 'onnx,note,latency_ms\na.onnx,"one\ntwo",1\nb.onnx,,2\n')
    assert [(r.place.rpartition(":")[2], r.note) for r in read_runs(path)] == [("2", "one\ntwo"), ("4", "")]


# --- JSON --------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"runs": rows}, lambda rows: {"results": rows}])
def test_json_rows(tmp_path, wrap):
    rows = [{"onnx": "a.onnx", "latency_ms": 2, "dims": {"batch": 4}, "threads": 2, "clock_mhz": None}]
    (run,) = read_runs(table(tmp_path, json.dumps(wrap(rows)), "runs.json"))
    assert run.measured_s == pytest.approx(2e-3)
    assert (run.dims, run.threads, run.clock_hz) == ({"batch": 4}, 2, None)
    assert run.place == f"{tmp_path}/runs.json: row 1"


def test_a_report_with_its_model_and_machine(tmp_path):
    report = {
        "command": "measure",
        "model": {"path": "nets/a.onnx", "dims": {"batch": 2}},
        "hardware": {"id": "this-machine", "runtime": "onnxruntime"},
        "measured_s": 0.5,
    }
    (run,) = read_runs(table(tmp_path, json.dumps(report), "m.json"))
    assert (run.onnx, run.dims, run.device, run.runtime) == ("nets/a.onnx", {"batch": 2}, "this-machine", "onnxruntime")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"results": 3}', "holds no measurements"),
        ('[{"onnx": "a.onnx", "latency_ms": NaN}]', "cannot be read as JSON"),
        ('[{"onnx": "a.onnx", "latency_ms": 1}', "cannot be read as JSON"),
        ("[1, 2]", "not a list of measurements"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('[{"onnx": "a.onnx", "latency_ms": true}]', "not a number"),
        ('[{"onnx": "a.onnx", "latency_ms": 1e999}]', "number out of range"),
        ('[{"onnx": "a.onnx", "latency_ms": 1, "dims": {"batch": 1.5}}]', "not a whole number"),
        ("[]", "has no measurements"),
    ],
)
def test_json_that_is_wrong(tmp_path, text, said):
    assert said in " ".join(mistakes(table(tmp_path, text, "runs.json")))


# --- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "column", "said"),
    [
        ("a.onnx,,M4,120,R,1,int8,nan", "latency_ms", "'nan' is not a number"),
        ("a.onnx,,M4,120,R,1,int8,-3", "latency_ms", "'-3' is not above 0"),
        ("a.onnx,,M4,120,R,1,int8,0", "latency_ms", "'0' is not above 0"),
        ("a.onnx,,M4,120,R,1,int8,", "latency_ms", "no time is given"),
        ("a.onnx,,M4,120,R,1,int8,1e400", "latency_ms", "is too large"),
        ("a.onnx,,M4,120,R,1,int8,1_000", "latency_ms", "not a number"),
        ("a.onnx,,M4,fast,R,1,int8,3", "clock_mhz", "'fast' is not a number"),
        (",,M4,120,R,1,int8,3", "onnx", "no model is named"),
    ],
)
def test_a_wrong_cell_is_told_with_row_and_column(tmp_path, row, column, said):
    (_, where) = mistakes(table(tmp_path, f"{HEADER}\n{row}\n"))
    assert where.startswith(f"{tmp_path}/runs.csv:2: {column}: ")
    assert said in where


def test_all_mistakes_are_told_at_once(tmp_path):
    rows = "a.onnx,-1,0\nb.onnx,1,1.5\n,2,2\nd.onnx,4,1\n"
    what, *where = mistakes(table(tmp_path, f"onnx,latency_ms,threads\n{rows}"))
    assert what.endswith("have 4 mistakes")
    assert [w.split(": ")[0].rpartition(":")[2] + " " + w.split(": ")[1] for w in where] == [
        "2 latency_ms",
        "2 threads",
        "3 threads",
        "4 onnx",
    ]


def test_many_mistakes_are_counted(tmp_path):
    what, *where = mistakes(table(tmp_path, "onnx,latency_ms\n" + "a.onnx,x\n" * 50))
    assert "50 mistakes" in what
    assert where[-1] == f"and {50 - MOST_TOLD} more"


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("model,latency_ms", "no column 'onnx'"),
        ("onnx,latncy_ms", "is it 'latncy_ms'?"),
        ("onnx,time", "there is no column with the time"),
        ("onnx,latency_ms,clock_mh", "unknown column 'clock_mh': did you mean 'clock_mhz'?"),
        ("onnx,latency_ms,latency_us", "given more than once"),
        ("onnx,latency_ms,latency_ms", "'latency_ms' is there twice"),
    ],
)
def test_wrong_columns_are_said_once(tmp_path, header, said):
    cells = ",".join(["1"] * (header.count(",") + 1))
    _, *where = mistakes(table(tmp_path, f"{header}\n{cells}\n{cells}\n"))
    assert len([w for w in where if said in w]) == 1


@pytest.mark.parametrize(
    "header",
    [
        "onnx,latency_ms,note,source,submitter,model,class",
        "onnx,latency_ms,notes,sources,cores,remark",
        "onnx,latency_ms,expected_energy_j",
    ],
)
def test_columns_of_ones_own_are_fine(tmp_path, header):
    assert len(read_runs(table(tmp_path, f"{header}\na.onnx,1\n"))) == 1


def test_too_many_cells(tmp_path):
    (_, where) = mistakes(table(tmp_path, "onnx,latency_ms\na.onnx,1,5\n"))
    assert "3 cells under 2 columns" in where
    assert len(read_runs(table(tmp_path, "onnx,latency_ms\na.onnx,1,,\n"))) == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"onnx,latency_ms\n", "has no measurements"),
        (b'""', "has no measurements"),
        (b" " * 70_000 + b"\nonnx,latency_ms\n", "no measurements"),
        (b"onnx,latency_ms\n\xff\xfe,1\n", "is not UTF-8 text"),
        (b"onnx,latency_ms\na\0b,1\n", "binary data"),
        (b'onnx,latency_ms\n"a' + b"x" * 200_000 + b'",1\n', "cannot be read as CSV"),
        (b"x" * (MAX_BYTES + 1), "is larger than"),
        (b"onnx,latency_ms\n" + b"a,1\n" * (MAX_ROWS + 1), "has more than"),
        (b"sep=;", "has no measurements"),
    ],
)
def test_files_that_are_no_tables(tmp_path, data, said):
    path = tmp_path / "runs.csv"
    path.write_bytes(data)
    assert said in " ".join(mistakes(str(path)))


def test_files_that_are_not_there(tmp_path):
    for path in (str(tmp_path / "none.csv"), str(tmp_path), "\0"):
        assert "cannot read the measurements" in mistakes(path)[0]


# --- where models are --------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """t/runs.csv, t/beside.onnx, t/models/inside.onnx, t/sub/deep.onnx, secret.onnx, other/given.onnx."""
    for name in ("t/beside.onnx", "t/models/inside.onnx", "t/sub/deep.onnx", "secret.onnx", "other/given.onnx"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def found(folders: Path, written: str, models: str | None = None) -> str | None:
    path = table(folders / "t", f"onnx,latency_ms\n{written},1\n")
    (run,) = read_runs(path, str(folders / models) if models else None)
    return str(Path(run.path).resolve().relative_to(folders.resolve())) if run.path else None


@pytest.mark.parametrize(
    ("written", "models", "expected"),
    [
        ("beside.onnx", None, "t/beside.onnx"),
        ("inside.onnx", None, "t/models/inside.onnx"),
        ("sub/deep.onnx", None, "t/sub/deep.onnx"),
        ("sub\\deep.onnx", None, "t/sub/deep.onnx"),
        ("deep.onnx", None, None),
        ("given.onnx", None, None),
        ("given.onnx", "other", "other/given.onnx"),
        ("sub", None, None),
        # what leads out of the folders is not followed, its name is looked for in --models
        ("../secret.onnx", None, None),
        ("models/../../secret.onnx", None, None),
        ("../elsewhere/given.onnx", "other", "other/given.onnx"),
        ("/not/here/given.onnx", "other", "other/given.onnx"),
        ("C:\\nets\\given.onnx", "other", "other/given.onnx"),
        ("/not/here/beside.onnx", None, None),
    ],
)
def test_models_are_found_in_the_folders_of_the_table(folders, written, models, expected):
    assert found(folders, written, models) == expected


def test_an_absolute_path_is_taken_as_written(folders):
    assert found(folders, str(folders / "secret.onnx")) == "secret.onnx"


def test_the_folder_given_comes_first(folders):
    (folders / "other" / "beside.onnx").write_bytes(b"y")
    assert found(folders, "beside.onnx", "other") == "other/beside.onnx"


# --- real tables -------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared data")
def test_public_measurements():
    runs = read_runs(str(SHARED))
    assert len(runs) == 339
    assert all(run.path for run in runs)
    assert len({run.path for run in runs}) == 37
    assert len({run.family for run in runs}) == 9
    assert runs[0].place.endswith("measurements.csv:2")
    assert runs[0].clock_hz == 120e6


_CELLS = st.one_of(
    st.sampled_from(
        ["onnx", "latency_ms", "latency", "clock_mhz", "dims", "threads", "1", "-1", "nan", "1e9", "a=1", "x"]
    ),
    st.text(max_size=8),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(_CELLS, max_size=5), max_size=5),
    separator=st.sampled_from([",", ";", "\t", '"', "\r"]),
    head=st.sampled_from(["", "onnx,latency_ms\n", "[", "{", '[{"onnx":"a","latency_ms":1},', "sep=;\n"]),
)
def test_any_text_is_rows_or_an_error_for_the_user(tmp_path, rows, separator, head):
    path = tmp_path / "any.csv"
    path.write_bytes((head + "\n".join(separator.join(row) for row in rows)).encode("utf-8", "surrogatepass"))
    with contextlib.suppress(UsageError):
        assert all(run.onnx and 0 < run.measured_s < math.inf for run in read_runs(str(path)))


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["onnx", "latency_ms", "dims", "model", "path", "hardware", "results", "threads", "clock"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=_JSON)
def test_any_json_is_rows_or_an_error_for_the_user(tmp_path, data):
    path = tmp_path / "any.json"
    path.write_text(json.dumps(data))
    with contextlib.suppress(UsageError):
        assert all(run.onnx and 0 < run.measured_s < math.inf for run in read_runs(str(path)))
