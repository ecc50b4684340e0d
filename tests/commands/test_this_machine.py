"""`effcli calibrate --host`: what it writes and says, what it refuses, what is kept when the user has enough."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from efficiency_cli.measure.host import calibrate_host, grid, microbench
from efficiency_cli.measure.host.kept import SUFFIX

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
FEW = ("conv3x3 64x28", "conv1x1 64-256x56", "gemm 16x384x1536", "Add 30000", "int8 gemm 128x768x768", "residual 64x56")
PROFILE = "this-machine.yaml"


@pytest.fixture
def few(monkeypatch):
    """A grid of seconds, not of minutes."""
    found = [c for c in grid.cases() if c.name in FEW]
    assert len(found) == len(FEW)
    for module in (microbench, calibrate_host):
        monkeypatch.setattr(module, "cases", lambda *_: found)
    monkeypatch.setattr("efficiency_cli.measure.host.levels._QUICK_LAYERS", (2, 4))
    monkeypatch.setattr("efficiency_cli.measure.host.levels._SECONDS", 0.02)


def calibrate(effcli, *more):
    return effcli("calibrate", "--host", "--quick", "--threads", "1", "-o", PROFILE, *more)


@pytest.fixture
def onnxruntime():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("scipy")


@pytest.mark.usefixtures("few", "onnxruntime")
def test_a_profile_that_the_other_commands_take(effcli, tmp_path):
    result = calibrate(effcli)
    assert result.code == 0, result.err
    assert result.out.startswith("this-machine with onnxruntime ")
    assert "off on 1 blocks of networks not fitted" in result.out.replace("\n", " ")
    assert not Path(tmp_path / f"{PROFILE}{SUFFIX}").exists()
    assert effcli("hw", "lint", f"./{PROFILE}").code == 0
    estimate = effcli("analyze", SAMPLES / "resnet50.onnx", "--hw", f"./{PROFILE}")
    assert estimate.code == 0
    assert "on this-machine: " in estimate.out


@pytest.mark.usefixtures("few", "onnxruntime")
def test_json(effcli):
    jsonschema = pytest.importorskip("jsonschema")
    report = json.loads(calibrate(effcli, "-f", "json").out)
    jsonschema.validate(report, json.loads(effcli("schema", "report").out))
    assert (report["command"], report["written"], report["threads"]) == ("calibrate --host", PROFILE, 1)
    assert report["interval"]["lower"] < 1 < report["interval"]["upper"]
    (block,) = report["blocks"]
    assert block["error"] == pytest.approx(block["expected_s"] / block["measured_s"] - 1)
    assert report["cases"] == len(FEW) - 1


@pytest.mark.usefixtures("few", "onnxruntime")
def test_whole_networks_move_the_scale(effcli, tmp_path):
    pytest.importorskip("jsonschema")
    report = json.loads(calibrate(effcli, "--anchor", SAMPLES / "ic_resnet8_float.onnx", "-f", "json").out)
    (anchor,) = report["anchors"]
    assert report["scale"] != 1
    # with one network the scale is the one that makes it right, but for the bound and four digits
    assert anchor["expected_s"] >= anchor["measured_s"] * 0.999
    assert f"value: {report['scale']:.4g}" in (tmp_path / PROFILE).read_text()


@pytest.mark.usefixtures("few", "onnxruntime")
def test_what_an_interruption_leaves_is_gone_on_with(effcli, tmp_path, monkeypatch):
    timed = microbench.Bench.timed
    made = []

    def until(self, case):
        made.append(case.name)
        if len(made) == 4:
            raise KeyboardInterrupt
        return timed(self, case)

    monkeypatch.setattr(microbench.Bench, "timed", until)
    result = calibrate(effcli)
    assert result.code == 130
    assert not (tmp_path / PROFILE).exists()
    assert f"3 timings are kept in {PROFILE}{SUFFIX}" in result.err
    kept = (tmp_path / f"{PROFILE}{SUFFIX}").read_text().splitlines()
    assert len(kept) == 1 + 3
    # half a line, as a killed process leaves it
    (tmp_path / f"{PROFILE}{SUFFIX}").write_text("\n".join(kept) + '\n{"name": "conv')
    result = calibrate(effcli)
    assert result.code == 0, result.err
    # two passes; of the four that were begun one was not finished
    assert len(made) == 1 + 2 * len(FEW)
    assert not (tmp_path / f"{PROFILE}{SUFFIX}").exists()


@pytest.mark.usefixtures("few", "onnxruntime")
def test_timings_of_other_settings_are_not_gone_on_with(effcli, tmp_path):
    (tmp_path / f"{PROFILE}{SUFFIX}").write_text('{"settings": {"cpu": "another", "threads": 1, "quick": true}}\n')
    assert calibrate(effcli).code == 0


@pytest.mark.usefixtures("onnxruntime")
def test_a_case_whose_weights_are_much_of_the_free_memory_is_left_out(monkeypatch):
    (case,) = (c for c in grid.cases() if c.name == "gemm 16x384x1536")
    weights = sum(w.size for w in case.make().weights)
    for free, runs in ((weights, False), (100 * weights, True)):
        monkeypatch.setattr(microbench, "free_bytes", lambda free=free: free)
        monkeypatch.setattr(microbench, "cases", lambda *_: [case])
        kept = []
        microbench.bench(microbench.Bench(1), keep=kept.append, quick=True)
        assert {t.name for t in kept} == ({case.name} if runs else set())


def test_without_onnxruntime(effcli, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = calibrate(effcli)
    assert result.code == 2
    assert "pip install 'effcli[measure]'" in result.err
    assert result.out == ""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--hw", "cortex-m7"), "--host measures by itself: --hw cannot be given as well"),
        (("--name", "mine"), "--host measures by itself: --name cannot be given as well"),
        (("-o", "my board.yaml"), "'my board.yaml' is no name for a profile"),
        (("-o", "board.txt"), "'board.txt' is no name for a profile"),
        (("-f", "csv"), "csv"),
    ],
)
@pytest.mark.usefixtures("onnxruntime")
def test_what_it_refuses(effcli, tmp_path, more, said):
    result = calibrate(effcli, *more)
    assert result.code == 2
    assert said in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("onnxruntime")
def test_a_file_that_is_there_stays(effcli, tmp_path):
    (tmp_path / PROFILE).write_text("mine")
    result = calibrate(effcli)
    assert result.code == 2
    assert f"{PROFILE} exists" in result.err
    assert (tmp_path / PROFILE).read_text() == "mine"


@pytest.mark.parametrize("option", [("--quick",), ("--threads", "2"), ("--anchor", "m.onnx")])
def test_options_of_this_machine_alone(effcli, option):
    result = effcli("calibrate", "--measured", "m.onnx=1ms", "--hw", "cortex-m7", *option)
    assert result.code == 2
    assert f"{option[0]} can be given with --host only" in result.err
