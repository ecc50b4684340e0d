"""`effcli calibrate`: measurements on the command line, the report, and the profile that is written or refused."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from efficiency_cli.commands import validate as validate_command
from efficiency_cli.reports.grid import cell_width

pytest.importorskip("scipy")

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
HEADER = "onnx,family,device,core,clock_mhz,runtime,version,precision,latency_ms"
NETWORKS = ("vww_mobilenetv1_int8", "ic_resnet8_int8", "kws_dscnn_int8", "ad_autoencoder_int8")
TIMES = (22, 55, 15, 1.3)


def table(folder: Path, *rows: str, name: str = "runs.csv") -> Path:
    path = folder / name
    usual = [f"{n}.onnx,,,Cortex-M7,480,X-CUBE-AI,9,int8,{t}" for n, t in zip(NETWORKS, TIMES, strict=True)]
    path.write_text("\n".join([HEADER, *(rows or usual)]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return table(tmp_path)


@pytest.fixture
def net(tmp_path: Path, vww: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(vww.read_bytes())
    return path


def seconds(effcli, model, hardware, *arguments) -> float:
    report = json.loads(effcli("analyze", model, "--hw", hardware, *arguments, "-f", "json").out)
    return report["totals"]["latency_s"]["expected"]


def test_one_measurement_sets_the_scale(effcli, net, tmp_path):
    before = seconds(effcli, net, "cortex-m7")
    result = effcli("calibrate", "--hw", "cortex-m7", "--measured", f"{net}=40ms", "-o", "my-board.yaml")
    assert result.code == 0
    assert "Written    my-board.yaml" in result.out
    assert "Use it     effcli analyze MODEL --hw ./my-board.yaml" in result.out
    assert "for ratios, measure networks of 3 families" in result.out
    now = seconds(effcli, net, "./my-board.yaml")
    # nearly all the way: one measurement of a tenth against a prior of 0.7
    assert now == pytest.approx(0.040, rel=0.02)
    assert abs(now - before) < abs(0.040 - before)
    assert effcli("hw", "lint", "my-board.yaml").code == 0
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")] == []
    other = SAMPLES / "ic_resnet8_int8.onnx"
    assert seconds(effcli, other, "./my-board.yaml") == pytest.approx(
        seconds(effcli, other, "cortex-m7") * now / before, rel=1e-3
    )


def test_a_table_of_several_families(effcli, runs):
    result = effcli("calibrate", "--runs", runs, "--models", SAMPLES, "-o", "mine.yaml")
    assert result.code == 0
    first, _, _, before, after, left_out, *_ = result.out.splitlines()
    assert first == f"{runs}: 4 measurements, 4 models of 4 families, 1 device"
    for line, head in ((before, "profile as it was"), (after, "with the fit"), (left_out, "family left out")):
        assert re.match(rf"  {head} +4 ", line)
    assert re.search(r"^  cortex-m7, x-cube-ai +costs +sd +was +is$", result.out, re.MULTILINE)
    assert re.search(r"^  scale +[0-9.]+ x ", result.out, re.MULTILINE)
    assert re.search(r"^  Furthest off|^Furthest off with their family left out, 4 of 4$", result.out, re.MULTILINE)
    text = Path("mine.yaml").read_text()
    assert "runs.csv (sha256 " in text
    assert "4 measurements of 4 models in 4 families; families left out one at a time: mean error" in text
    assert str(runs.parent) not in text
    assert not re.search(r"20[0-9]{2}-[0-9]{2}", text)


def test_json_agrees_with_the_schema_and_with_validate(effcli, runs):
    jsonschema = pytest.importorskip("jsonschema")
    arguments = ["--runs", runs, "--models", SAMPLES, "--hw", "cortex-m7"]
    report = json.loads(effcli("calibrate", *arguments, "-o", "mine.yaml", "-f", "json").out)
    schema = json.loads(effcli("schema", "report").out)
    jsonschema.validate(report, schema)
    jsonschema.validate(report, {"$ref": "#/$defs/CalibrationReport", "$defs": schema["$defs"]})
    broken = {**report, "prior": "none"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, {"$ref": "#/$defs/CalibrationReport", "$defs": schema["$defs"]})
    (profile,) = report["profiles"]
    assert (profile["hardware"], profile["runtime"], profile["written"]) == ("cortex-m7", "x-cube-ai", "mine.yaml")
    assert profile["parameters"][0]["name"] == "scale"
    again = json.loads(effcli("validate", runs, "--models", SAMPLES, "--hw", "./mine.yaml", "-f", "json").out)
    for one, other in zip(report["results"], again["results"], strict=True):
        assert one["latency_s"] == pytest.approx(other["latency_s"], rel=1e-3)
    before = json.loads(effcli("validate", runs, "--models", SAMPLES, "--hw", "cortex-m7", "-f", "json").out)
    assert report["summary"]["before"] == before["summary"]
    left_out = json.loads(
        effcli("validate", runs, "--models", SAMPLES, "--hold-out", "family", "--prior", "shipped", "-f", "json").out
    )
    assert report["left_out"] == left_out["results"]
    assert report["summary"]["left_out"] == left_out["summary"]


def test_markdown(effcli, runs):
    out = effcli("calibrate", "--runs", runs, "--models", SAMPLES, "-f", "markdown").out
    head, rule, *rows = out.split("\n\n")[0].splitlines()
    assert head.startswith("| estimates | measurements | mean error | median |")
    assert rule.count("|") == head.count("|") == rows[0].count("|")
    assert [row.split("|")[1].strip() for row in rows] == ["profile as it was", "with the fit", "family left out"]
    assert "<details><summary>Furthest off with their family left out, 4 of 4</summary>" in out


def test_the_same_measurements_give_the_same_bytes(effcli, runs):
    arguments = ["calibrate", "--runs", runs, "--models", SAMPLES, "-o", "mine.yaml", "--force"]
    outs, files = [], []
    for format in ("table", "json", "markdown", "table"):
        outs.append(effcli(*arguments, "-f", format).out)
        files.append(Path("mine.yaml").read_bytes())
    assert outs[0] == outs[3]
    assert len(set(files)) == 1


def test_without_a_file_the_report_says_how_to_get_one(effcli, runs, tmp_path):
    result = effcli("calibrate", "--runs", runs, "--models", SAMPLES)
    assert result.code == 0
    assert re.search(r"Written +nothing; to keep it: +-o my-board.yaml", result.out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs.csv"]


def test_a_file_that_is_there_is_not_touched(effcli, runs):
    Path("mine.yaml").write_text("mine")
    arguments = ["calibrate", "--runs", runs, "--models", SAMPLES, "-o", "mine.yaml"]
    result = effcli(*arguments)
    assert (result.code, result.out) == (2, "")
    assert "mine.yaml exists" in result.err
    assert "--force" in result.err
    assert Path("mine.yaml").read_text() == "mine"
    assert effcli(*arguments, "--force").code == 0
    assert Path("mine.yaml").read_text().startswith("# mine: cortex-m7 with what effcli calibrate fitted")


def test_several_machines_go_to_a_folder(effcli, tmp_path):
    rows = [f"{n}.onnx,,,{core},{clock},X-CUBE-AI,9,int8,{t * f}"
            for core, clock, f in (("Cortex-M7", 480, 1), ("Cortex-M4", 120, 8))
            for n, t in zip(NETWORKS, TIMES, strict=True)]  # fmt: skip
    runs = table(tmp_path, *rows)
    arguments = ["calibrate", "--runs", runs, "--models", SAMPLES]
    result = effcli(*arguments, "-o", "mine.yaml")
    assert result.code == 2
    assert "2 machines: cortex-m7, cortex-m4" in result.err
    assert "-o mine/" in result.err
    assert "does not exist" in effcli(*arguments, "-o", "boards/").err
    (tmp_path / "boards").mkdir()
    result = effcli(*arguments, "-o", "boards")
    assert result.code == 0
    written = sorted(p.name for p in (tmp_path / "boards").iterdir())
    assert written == ["cortex-m4-calibrated.yaml", "cortex-m7-calibrated.yaml"]
    assert "machine " in result.out
    assert effcli("hw", "lint", "boards").code == 0
    result = effcli(*arguments, "-o", "boards", "--force", "--name", "one")
    assert result.code == 2
    assert "leave out --name" in result.err


def test_a_profile_of_ones_own_may_be_the_base_but_not_the_target(effcli, runs, tmp_path):
    boards = tmp_path / "boards"
    boards.mkdir()
    assert effcli("hw", "new", "own", "--from", "cortex-m7", "-o", boards).code == 0
    arguments = ["calibrate", "--runs", runs, "--models", SAMPLES, "--hw", boards / "own.yaml"]
    result = effcli(*arguments, "-o", boards / "own.yaml", "--force")
    assert result.code == 2
    assert "would stand on itself" in result.err
    result = effcli(*arguments, "-o", "mine.yaml")
    assert result.code == 2
    assert "would stand on 'own', which is not there" in result.err
    assert str(boards / "mine.yaml") in result.err
    assert effcli(*arguments, "-o", boards / "mine.yaml").code == 0
    # a calibration of a calibration
    again = ["calibrate", "--runs", runs, "--models", SAMPLES, "--hw", boards / "mine.yaml", "-o", boards / "2.yaml"]
    assert effcli(*again).code == 0
    model = SAMPLES / "ic_resnet8_int8.onnx"
    assert seconds(effcli, model, boards / "2.yaml") == pytest.approx(
        seconds(effcli, model, boards / "mine.yaml"), rel=0.1
    )


def test_a_shipped_id_may_be_the_name_of_the_file(effcli, runs):
    assert effcli("calibrate", "--runs", runs, "--models", SAMPLES, "-o", "cortex-m7.yaml").code == 0
    model = SAMPLES / "kws_dscnn_int8.onnx"
    by_path, by_folder = (
        seconds(effcli, model, "./cortex-m7.yaml"),
        seconds(effcli, model, "cortex-m7", "--hw-dir", "."),
    )
    assert by_path == by_folder != seconds(effcli, model, "cortex-m7")


def test_a_clock_of_the_measurements_is_kept(effcli, net):
    arguments = ["calibrate", "--hw", "cortex-m7", "--measured", f"{net}=80 ms", "-o", "slow.yaml"]
    assert effcli(*arguments, "--set", "clock=240MHz").code == 0
    assert "clock: {value: 240 MHz," in Path("slow.yaml").read_text()
    # at half the clock 40 ms at the whole one
    assert seconds(effcli, net, "./slow.yaml") == pytest.approx(0.080, rel=0.02)
    result = effcli(*arguments, "--force", "--set", "memory.sram.bandwidth=2x")
    assert result.code == 2
    assert "would not have it" in result.err


def test_sizes_of_a_measured_model(effcli, bert):
    arguments = ["calibrate", "--hw", "raspberry-pi-5", "--measured", f"{bert}=100ms"]
    result = effcli(*arguments)
    assert result.code == 2
    assert "sequence" in result.err
    by_dim = effcli(*arguments, "--dim", "sequence=64", "-f", "json")
    assert by_dim.code == 0
    by_shape = effcli(*arguments, "--dim", "sequence=64", "--batch", "1", "-f", "json")
    one, other = (json.loads(r.out)["results"][0]["latency_s"] for r in (by_dim, by_shape))
    assert one == other


def test_free_ratios(effcli, runs):
    arguments = ["calibrate", "--runs", runs, "--models", SAMPLES, "-f", "json"]
    near, free = (json.loads(effcli(*arguments, "--prior", p).out) for p in ("shipped", "free"))
    assert (near["prior"], free["prior"]) == ("shipped", "free")
    assert near["results"] != free["results"]


def test_rows_without_a_machine_are_told(effcli, tmp_path):
    usual = [f"{n}.onnx,,,Cortex-M7,480,X-CUBE-AI,9,int8,{t}" for n, t in zip(NETWORKS, TIMES, strict=True)]
    runs = table(
        tmp_path,
        *usual,
        "gone.onnx,,,Cortex-M7,480,X-CUBE-AI,9,int8,3",
        f"{NETWORKS[0]}.onnx,,,Z80,4,,,int8,3",
        usual[0],
    )
    result = effcli("calibrate", "--runs", runs, "--models", SAMPLES)
    assert result.code == 0
    assert "2 measurements have no estimate" in result.out
    assert "no machine for core 'Z80'" in result.out
    assert "note: 1 row: a repeat of another, to the digit: used once" in result.err
    report = json.loads(effcli("calibrate", "--runs", runs, "--models", SAMPLES, "-f", "json").out)
    assert (len(report["results"]), len(report["unplaced"]), report["repeats"]) == (4, 2, 1)


def test_faster_than_possible_is_told(effcli, net):
    result = effcli("calibrate", "--hw", "cortex-m7", "--measured", f"{net}=1ms")
    assert "note: 1 row: measured faster than the profile's peaks allow" in result.err


def test_measurements_that_contradict_each_other_are_told(effcli, net):
    arguments = ["calibrate", "--hw", "cortex-m7", "--measured", f"{net}=40ms", "--measured"]
    result = effcli(*arguments, f"{net}=400 ms")
    assert f"note: {net} on cortex-m7 with x-cube-ai was measured at 40.0 ms and 400 ms: is one of them wrong?" in (
        result.err
    )
    assert f"{net}=40ms, {net}=400 ms:" in result.out
    # a tenth is noise
    assert "is one of them wrong" not in effcli(*arguments, f"{net}=44ms").err


def test_what_no_data_tell_is_named_as_in_the_table(effcli, runs):
    out = effcli("calibrate", "--runs", runs, "--models", SAMPLES, "--prior", "free").out
    parts = {"dense MACs", "element-wise work", "moving data", "starting kernels", "starting a run", "depthwise"}
    lines = [line.removeprefix("  Not fitted") for line in out.splitlines() if line.startswith("  Not fitted")]
    named = {name.strip() for line in lines for name in line.split(":")[0].split(",")}
    assert named
    assert named <= parts | {"attention", "recurrent"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is nothing to calibrate to"),
        (["--measured", "net.onnx=1e-300s", "--hw", "cortex-m7"], "is no time of a network"),
        (["--measured", "net.onnx=1e9s", "--hw", "cortex-m7"], "is no time of a network"),
        (["--measured", "net.onnx=3ms"], "--measured needs a machine"),
        (["--measured", "net.onnx", "--hw", "cortex-m7"], "is not MODEL=TIME"),
        (["--measured", "net.onnx=3", "--hw", "cortex-m7"], "a unit is required"),
        (["--measured", "net.onnx=3 MHz", "--hw", "cortex-m7"], "is a unit of"),
        (["--measured", "net.onnx=0ms", "--hw", "cortex-m7"], "is not above 0"),
        (["--measured", "gone.onnx=3ms", "--hw", "cortex-m7"], "gone.onnx"),
        (["--measured", "net.onnx=3ms", "--hw", "cortex-m4,cortex-m7"], "names neither a device nor a core"),
        (["--measured", "net.onnx=3ms", "--hw", "cortex-m77"], "unknown hardware"),
        (["--measured", "net.onnx=3ms", "--hw", "cortex-m7", "--runtime", "hael"], "has no runtime 'hael'"),
        (["--measured", "net.onnx=3ms", "--hw", "cortex-m7", "-o", "board.txt"], "is no name for a profile"),
        (["--measured", "net.onnx=3ms", "--hw", "cortex-m7", "-o", "net.onnx"], "net.onnx"),
        (["--measured", "net.onnx=3ms", "--hw", "cortex-m7", "-o", "no/where.yaml"], "does not exist"),
        (
            ["--measured", "net.onnx=3ms", "--hw", "cortex-m7", "--dtype", "int8"],
            "--dtype",
        ),
        (["--measured", "net.onnx=3ms", "--hw", "cortex-m7", "--prior", "fre"], "did you mean 'free'?"),
        (["--measured", "net.onnx=3ms", "--hw", "cortex-m7", "-f", "csv"], "unknown format"),
        (["--runs", "gone.csv"], "gone.csv"),
        (["--runs", "runs.csv", "--dim", "n=3"], "are for models of --measured"),
        (["--runs", "runs.csv", "--models", "nowhere"], "is not a folder"),
        (["--runs", "runs.csv", "-f", "json:runs.csv"], "is read and cannot be written to"),
    ],
    ids=str,
)
def test_bad_input(effcli, runs, net, arguments, said):
    result = effcli("calibrate", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert sorted(p.name for p in runs.parent.iterdir()) == [net.name, runs.name]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "onnx,latency_ms\nx.onnx,nan\n", "PK\x03\x04\0", '{"results": 1}'])
def test_bad_tables(effcli, tmp_path, text):
    (tmp_path / "bad.csv").write_text(text)
    result = effcli("calibrate", "--runs", "bad.csv", "-o", "mine.yaml")
    assert (result.code, result.out) == (2, "")
    assert not Path("mine.yaml").exists()


def test_text_of_a_table_is_harmless(effcli, tmp_path):
    evil = "\x1b[31m<script>|=cmd()|`x` @all"
    rows = [f'{n}.onnx,"{evil}",,Cortex-M7,480,X-CUBE-AI,9,int8,{t}' for n, t in zip(NETWORKS, TIMES, strict=True)]
    rows.append(f'"{evil}.onnx",,,Cortex-M7,480,X-CUBE-AI,9,int8,3')
    runs = table(tmp_path, *rows, name="r\u202euns.csv")
    for format in ("table", "markdown", "json"):
        result = effcli("calibrate", "--runs", runs, "--models", SAMPLES, "-f", format, "-o", "mine.yaml", "--force")
        assert "\x1b" not in result.out + result.err
        assert "\u202e" not in result.out + result.err or format == "json"
        if format == "markdown":
            assert "<script>" not in result.out
    assert effcli("hw", "lint", "mine.yaml").code == 0


@pytest.mark.parametrize("width", [60, 80, 140])
def test_lines_keep_to_the_terminal(effcli, runs, monkeypatch, width):
    monkeypatch.setattr("efficiency_cli.commands.output._terminal", lambda: True)
    monkeypatch.setattr("efficiency_cli.commands.output._width", lambda: width)
    out = effcli("calibrate", "--runs", runs, "--models", SAMPLES, "-o", "mine.yaml").out
    lines = [line for line in out.splitlines() if line not in (f"{runs}:",)]
    assert max(map(cell_width, lines)) <= width


def test_without_scipy(effcli, runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    for arguments in (["calibrate", "--runs", runs], ["validate", runs, "--hold-out", "family"]):
        result = effcli(*arguments, "--models", SAMPLES)
        assert (result.code, result.out) == (2, "")
        assert "pip install 'effcli[measure]'" in result.err


# --- validate --hold-out -----------------------------------------------------------------------


def test_families_held_out(effcli, runs):
    own = effcli("validate", runs, "--models", SAMPLES, "--by", "product")
    held = effcli("validate", runs, "--models", SAMPLES, "--by", "product", "--hold-out", "family")
    assert held.code == 0
    assert own.out.splitlines()[0] == held.out.splitlines()[0]
    assert own.out != held.out
    assert effcli("validate", runs, "--models", SAMPLES, "--hold-out", "family", "--max-error", "0.1%").code == 1
    assert validate_command.PRIORS == ("shipped", "free")


def test_one_family_cannot_be_held_out(effcli, tmp_path):
    runs = table(tmp_path, f"{NETWORKS[0]}.onnx,,,Cortex-M7,480,X-CUBE-AI,9,int8,22")
    result = effcli("validate", runs, "--models", SAMPLES, "--hold-out", "family")
    assert result.code == 3
    assert "no other family of networks was measured with x-cube-ai on cortex-m7" in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prior", "free"], "add: --hold-out family"),
        (["--hold-out", "rows"], "is not one of family"),
        (["--hold-out", "family", "--overlap", "full"], "--overlap does not reach a fit"),
    ],
)
def test_bad_choices_of_what_to_hold_out(effcli, runs, arguments, said):
    result = effcli("validate", runs, "--models", SAMPLES, *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
