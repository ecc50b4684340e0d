"""`effcli analyze`: arguments to exit code, standard output and standard error."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

# MLPerf Tiny visual wake words: the published count of MobileNetV1 0.25 at 96 x 96
VWW_MACS = 7_489_664


def report(text: str) -> dict:
    return json.loads(text)


@pytest.fixture
def add_model(tmp_path: Path) -> Path:
    """One Add over (n, width): both symbolic."""
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", "width"]) for n in ("a", "b", "c")]
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"], name="sum")], "g", ports[:2], ports[2:])
    path = tmp_path / "add.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def unknown_model(tmp_path: Path) -> Path:
    """One operator that nobody knows."""
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("a", "c")]
    node = helper.make_node("Fold", ["a"], ["c"], name="fold", domain="my.domain")
    graph = helper.make_graph([node], "g", ports[:1], ports[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 1)]
    path = tmp_path / "unknown.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_the_main_job(effcli, vww):
    result = effcli("analyze", vww, "--hw", "cortex-m7")
    assert result.code == 0
    first, *rest = result.out.splitlines()
    assert "cortex-m7" in first
    assert "int8" in first
    for word in ("Latency", "7.49 M MACs", "Limited by", "flash", "Coverage"):
        assert any(word in line for line in rest), word
    assert len(result.out.splitlines()) <= 24


def test_without_hardware_the_counts_and_how_to_get_a_latency(effcli, vww):
    result = effcli("analyze", vww)
    assert result.code == 0
    assert "7.49 M MACs" in result.out
    assert "--hw" in result.out
    assert report(effcli("analyze", vww, "-f", "json").out)["hardware"] is None


def test_json_of_one_machine_is_one_report_of_several_a_list(effcli, vww):
    one = report(effcli("analyze", vww, "--hw", "cortex-m7", "-f", "json").out)
    assert one["totals"]["macs"] == VWW_MACS
    assert one["hardware"]["id"] == "cortex-m7"
    two = report(effcli("analyze", vww, "--hw", "cortex-m7,a100", "-f", "json").out)
    assert [r["hardware"]["id"] for r in two["results"]] == ["cortex-m7", "a100"]


@pytest.mark.parametrize(
    "asked",
    [
        ["--hw", "cortex-m7,cortex-m4"],
        ["--hw", "cortex-m7", "--hw", "cortex-m4"],
        ["--hw", "cortex-m7", "--hw", "STM32H7,cortex-m4,cortex-m7"],
    ],
)
def test_machines_are_named_in_many_ways_and_taken_once(effcli, vww, asked):
    results = report(effcli("analyze", vww, *asked, "-f", "json").out)["results"]
    assert [r["hardware"]["id"] for r in results] == ["cortex-m7", "cortex-m4"]


def test_all_and_globs(effcli, vww):
    everything = report(effcli("analyze", vww, "--hw", "all", "-f", "json").out)["results"]
    assert len(everything) >= 16
    some = report(effcli("analyze", vww, "--hw", "cortex-m*", "-f", "json").out)["results"]
    assert {r["hardware"]["id"] for r in some} == {
        r["hardware"]["id"] for r in everything if r["hardware"]["id"].startswith("cortex-m")
    }


def test_a_path_may_hold_a_comma(effcli, vww, tmp_path):
    effcli("hw", "new", "mine", "--from", "cortex-m7")
    odd = tmp_path / "a,b.yaml"
    (tmp_path / "mine.yaml").rename(odd)
    result = effcli("analyze", vww, "--hw", odd, "-f", "json")
    assert report(result.out)["hardware"]["id"] == "a,b"


def test_sizes(effcli, add_model):
    def elements(*options: str) -> int:
        return report(effcli("analyze", add_model, "-f", "json", *options).out)["totals"]["ops"]

    assert elements("--dim", "width=10") == 1 * 10
    assert elements("--dim", "width=10", "--dim", "n=3") == 3 * 10
    assert elements("--dim", "width=10", "--batch", "7") == 7 * 10
    assert elements("--shape", "a=5x6", "--shape", "b=5x6") == 5 * 6
    assert elements("--dim", "a[1]=4", "--dim", "b[1]=4") == 1 * 4


def test_an_assumed_size_is_a_note_and_under_strict_exit_3(effcli, add_model):
    loose = effcli("analyze", add_model, "--dim", "width=10")
    assert loose.code == 0
    assert loose.err.startswith("note: dimension 'n' is symbolic, 1 assumed")
    assert effcli("analyze", add_model, "--dim", "width=10", "-q").err == ""
    strict = effcli("analyze", add_model, "--dim", "width=10", "--strict")
    assert strict.code == 3
    assert strict.out == loose.out
    assert "dimension 'n'" in strict.err
    assert effcli("analyze", add_model, "--dim", "width=10", "--dim", "n=1", "--strict").code == 0


def test_an_unknown_operator_is_named_and_under_strict_exit_3(effcli, unknown_model):
    result = effcli("analyze", unknown_model)
    assert result.code == 0
    assert "Fold" in result.out
    strict = effcli("analyze", unknown_model, "--strict")
    assert strict.code == 3
    assert "not modelled: my.domain::Fold" in strict.err


def test_an_open_size_stops_and_prints_the_command(effcli, bert):
    result = effcli("analyze", bert)
    assert result.code == 2
    assert result.out == ""
    assert f"effcli analyze {shlex.quote(str(bert))} --dim sequence=128" in result.err


def test_the_command_that_is_printed_runs_and_is_the_one_that_was_given(effcli, bert, tmp_path):
    path = tmp_path / "a --dim b's.onnx"
    path.write_bytes(bert.read_bytes())
    given = ["analyze", str(path), "--hw", "cortex-m*", "--batch", "2"]
    hint = effcli(*given).err.splitlines()[-1].removeprefix("hint: ")
    program, *again = shlex.split(hint)
    assert program == "effcli"
    assert again == [*given, "--dim", "sequence=128"]
    assert effcli(*again).code == 0


def test_twice_the_bandwidth_is_never_slower(effcli, vww):
    def seconds(*options: str) -> float:
        text = effcli("analyze", vww, "--hw", "raspberry-pi-5", "-f", "json", *options).out
        return report(text)["totals"]["latency_s"]["expected"]

    assert seconds("--set", "memory.dram.bandwidth=2x") <= seconds()
    assert seconds("--overlap", "none") >= seconds("--overlap", "0.5") >= seconds("--overlap", "full")
    assert seconds("--overlap", "50 %") == seconds("--overlap", "0.5")


def test_of_several_machines_those_without_the_runtime_are_named(effcli, vww):
    result = effcli("analyze", vww, "--hw", "a100,cortex-m7,h100", "--runtime", "TensorRT", "-f", "json")
    assert [r["hardware"]["id"] for r in report(result.out)["results"]] == ["a100", "h100"]
    assert "note: without runtime 'TensorRT', left out: cortex-m7" in result.err


def test_csv_holds_all_rows_and_a_table_five(effcli, vww):
    every = list(csv.DictReader(io.StringIO(effcli("analyze", vww, "-f", "csv").out)))
    kernels = report(effcli("analyze", vww, "-f", "json").out)["totals"]["kernels"]
    assert len(every) == kernels
    assert sum(int(row["macs"]) for row in every) == VWW_MACS
    few = list(csv.DictReader(io.StringIO(effcli("analyze", vww, "-f", "csv", "--top", "2").out)))
    assert few == sorted(every, key=lambda row: -int(row["macs"]))[:2]
    table = effcli("analyze", vww).out
    assert len(effcli("analyze", vww, "--top", "all").out.splitlines()) == len(table.splitlines()) + kernels - 5


@pytest.mark.parametrize("group", ["kernel", "node", "op", "block"])
@pytest.mark.parametrize("sort", ["time", "macs", "bytes", "order"])
def test_every_group_and_order(effcli, vww, group, sort):
    text = effcli("analyze", vww, "--hw", "cortex-m7", "--group", group, "--sort", sort, "-f", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert sum(int(row["macs"]) for row in rows) == VWW_MACS
    if sort == "macs":
        assert [int(r["macs"]) for r in rows] == sorted((int(r["macs"]) for r in rows), reverse=True)


def test_the_same_input_gives_the_same_bytes(effcli, vww):
    for name in ("table", "json", "csv", "markdown"):
        runs = {effcli("analyze", vww, "--hw", "cortex-m7", "-f", name).out for _ in range(2)}
        assert len(runs) == 1


def test_each_option_has_its_variable(effcli, vww, bert, monkeypatch):
    plain = effcli("analyze", vww, "--hw", "cortex-m7", "-f", "json").out
    monkeypatch.setenv("EFFCLI_HW", "cortex-m7")
    monkeypatch.setenv("EFFCLI_FORMAT", "json")
    assert effcli("analyze", vww).out == plain
    assert "a100" in effcli("analyze", vww, "--hw", "a100").out
    monkeypatch.setenv("EFFCLI_DIM", "batch=2,sequence=16")
    assert report(effcli("analyze", bert).out)["model"]["dims"] == {"batch": 2, "sequence": 16}
    monkeypatch.setenv("EFFCLI_DIM", "batch")
    wrong = effcli("analyze", bert)
    assert wrong.code == 2
    assert "from the environment variable EFFCLI_DIM" in wrong.err


def test_several_settings_in_a_variable(effcli, vww, monkeypatch):
    options = ["--set", "clock=240 MHz", "--set", "memory.flash.bandwidth=100 MB/s"]
    given = effcli("analyze", vww, "--hw", "cortex-m7", *options).out
    monkeypatch.setenv("EFFCLI_SET", "clock=240 MHz,memory.flash.bandwidth=100 MB/s")
    assert effcli("analyze", vww, "--hw", "cortex-m7").out == given


# --- bad input -----------------------------------------------------------------------------------


def test_what_is_not_a_model(effcli, tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name, says in {
        "tex.onnx": "did you mean 'text.onnx'?",
        "text.onnx": "it is a text file",
        "empty.onnx": "empty.onnx is empty",
        "folder": "folder is a directory",
    }.items():
        result = effcli("analyze", name)
        assert (result.code, result.out) == (2, ""), name
        assert says in result.err


@pytest.mark.parametrize("part", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_model(effcli, tmp_path, vww, part):
    data = vww.read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(data[: int(part * len(data))])
    result = effcli("analyze", cut)
    assert (result.code, result.out) == (2, "")
    assert "cut.onnx is not a" in result.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--hw", "cortex-m8"], ["unknown hardware 'cortex-m8'", "did you mean 'cortex-m85'?"]),
        (["--hw", "zz*"], ["no hardware matches 'zz*'", "effcli hw list"]),
        (["--hw", ","], ["--hw names no machine"]),
        (["--hw", "nope.yaml"], ["cannot read profile 'nope.yaml'"]),
        (["--hw", "cortex-m7", "--runtime", "x-cube"], ["no runtime 'x-cube'", "did you mean 'x-cube-ai'?"]),
        (["--hw", "cortex-m7,a100", "--runtime", "x"], ["none of the 2 machines", "tensorrt"]),
        (["--hw", "cortex-m7", "--set", "clock=600"], ["a unit is required in '600'"]),
        (["--hw", "cortex-m7", "--set", "clock=600 MB"], ["'MB' is a unit of bytes, not of frequency"]),
        (["--hw", "cortex-m7", "--set", "clok=1 MHz"], ["unknown key 'clok'", "did you mean 'clock'?"]),
        (["--set", "clock=1 MHz"], ["--set needs a machine"]),
        (["--runtime", "x"], ["--runtime needs a machine"]),
        (["--overlap", "0"], ["--overlap needs a machine"]),
        (["--hw-dir", "nowhere"], ["--hw-dir: 'nowhere' is not a folder"]),
        (["--dim", "batch"], ["--dim: 'batch' is not NAME=N", "--dim batch=8"]),
        (["--dim", "batch=x"], ["--dim: 'x' is not a size"]),
        (["--dim", "batch=1.5"], ["--dim: '1.5' is not a size"]),
        (["--dim", "batch=" + "9" * 5000], ["--dim: '999", "is not a size"]),
        (["--dim", "=3"], ["is not NAME=N"]),
        (["--dim", "a=1", "--dim", "a=2"], ["--dim gives 'a' two values"]),
        (["--dim", "inpt[0]=3"], ["no dimension 'inpt[0]'"]),
        (["--shape", "input"], ["--shape: 'input' is not INPUT=SHAPE", "--shape input=1x3x224x224"]),
        (["--shape", "input=1xq"], ["--shape: 'q' is not a size"]),
        (["--shape", "inptu=1x3x96x96"], ["no input 'inptu'", "did you mean 'input'?"]),
        (["--shape", "input=1x3"], ["gives 'input' 2 axes, the model declares 4"]),
        (["--batch", "0"], ["--batch: '0' is not a whole number above 0"]),
        (["--batch", "many"], ["--batch: 'many' is not a whole number above 0"]),
        (["--overlap", "fll"], ["--overlap: 'fll' is not none, full or a fraction", "did you mean 'full'?"]),
        (["--overlap", "1.5"], ["--overlap: '1.5'"]),
        (["--top", "0"], ["--top: '0'"]),
        (["--group", "kernels"], ["--group: 'kernels' is not one of", "did you mean 'kernel'?"]),
        (["--sort", "tme"], ["did you mean 'time'?"]),
        (["--color", "yes"], ["--color: 'yes' is not one of"]),
        (["--hww", "a100"], ["no such option '--hww'", "did you mean '--hw'?"]),
        (["--batch"], ["option '--batch' requires an argument"]),
        (["more"], ["unexpected extra argument (more)"]),
    ],
)
def test_bad_options(effcli, vww, options, says):
    result = effcli("analyze", vww, *options)
    assert (result.code, result.out) == (2, "")
    for text in says:
        assert text in result.err


def test_a_broken_profile_shows_every_mistake_with_its_place(effcli, vww, tmp_path):
    (tmp_path / "bad.yaml").write_text("schema_version: 1\nname: x\nclas: mcu\n")
    result = effcli("analyze", vww, "--hw", "./bad.yaml")
    assert result.code == 2
    assert "bad.yaml:3:1: unknown key" in result.err
    assert "did you mean 'class'?" in result.err
    assert result.err.count("bad.yaml:1:1: missing key") >= 3
    (tmp_path / "worse.yaml").write_text("name: [x\n")
    assert "worse.yaml:2:1: not YAML" in effcli("analyze", vww, "--hw", "./worse.yaml").err


def test_no_model_at_all(effcli):
    result = effcli("analyze")
    assert result.code == 2
    assert "missing argument MODEL" in result.err
    assert "the path is empty" in effcli("analyze", "").err


def test_hostile_text_is_shown_escaped(effcli, tmp_path):
    name = "\x1b[31m[/layer/conv]"
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("a", "c")]
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "nowhere\n"], ["c"], name=name)], "g", ports[:1], ports[1:]
    )
    path = tmp_path / "bad\x1bname.onnx"
    onnx.save(helper.make_model(graph, ir_version=8), path)
    result = effcli("analyze", path)
    assert result.code == 2
    assert "\x1b" not in result.err
    assert "\\x1b[31m[/layer/conv]" in result.err
    assert "\x1b" not in effcli("analyze", tmp_path / "no\x1b[2J.onnx").err


def test_debug_adds_the_traceback(capsys):
    from efficiency_cli.cli import main

    assert main(["analyze", "nope.onnx", "--debug"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert "error: cannot read the model nope.onnx" in err


@pytest.mark.skipif(os.name != "posix", reason="a name that is not text")
def test_a_file_name_that_is_not_text(effcli, tmp_path, vww):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/m\xff.onnx")
    Path(path).write_bytes(vww.read_bytes())
    result = effcli("analyze", path)
    assert result.code == 0
    assert "\\udcff" in result.out
