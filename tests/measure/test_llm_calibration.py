"""LLaMA 3 with llama.cpp: the graphs are the published ones, the fit holds on what it has not seen, the profiles
say what was fitted.
"""

from __future__ import annotations

import csv
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import efficiency_cli as eff
from efficiency_cli.measure.place import place
from efficiency_cli.measure.runs import read_runs

needs_scipy = pytest.mark.skipif(find_spec("scipy") is None, reason="fitting needs scipy")

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "samples" / "llm"
TABLE = ROOT.parent / "shared" / "data" / "llm_llamacpp_calibration.csv"
sys.path.insert(0, str(FOLDER))
import build_llama  # noqa: E402
import fit_llama  # noqa: E402
import llama_runs  # noqa: E402

DEVICES = ("rtx-4090", "apple-m2-ultra")
GRAPHS = sorted(build_llama.MODELS)
# the table's names
SHARED_DEVICES = {"rtx-4090": "4090 24GB", "apple-m2-ultra": "M2 Ultra 76-Core GPU 192GB"}
# a block of 8B: q and o, k and v, gate up down, two norms; then table, output and last norm
PARAMETERS = {
    "8b": 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14_336 + 2 * 4096) + 2 * 128_256 * 4096 + 4096,
    "70b": 80 * (2 * 8192**2 + 2 * 8192 * 1024 + 3 * 8192 * 28_672 + 2 * 8192) + 2 * 128_256 * 8192 + 8192,
}
# GiB, in the README of the benchmark that the figures are from
FILES = {
    "llama3_8b_f16": 14.96,
    "llama3_8b_q4_k_m": 4.58,
    "llama3_70b_f16": 131.42,
    "llama3_70b_q4_k_m": 39.59,
}
STEP = {"batch": 1, "new": 1, "cache": 512, "total": 512}


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> tuple[str, list[fit_llama.Case]]:
    return request.param, fit_llama.cases(request.param)


@pytest.fixture(scope="module")
def ultra() -> list[fit_llama.Case]:
    return fit_llama.cases("apple-m2-ultra")


# --- the graphs and the table ---


def test_rebuilding_gives_what_is_committed(tmp_path: Path) -> None:
    rebuilt = [*build_llama.write(tmp_path), llama_runs.write(tmp_path)]
    assert [p.name for p in rebuilt if p.read_bytes() != (FOLDER / p.name).read_bytes()] == []
    assert sorted(p.stem for p in FOLDER.glob("*.onnx")) == GRAPHS
    assert max(p.stat().st_size for p in rebuilt) < 200_000


@pytest.mark.parametrize("name", GRAPHS)
def test_weights_are_those_of_the_published_files(name: str) -> None:
    totals = eff.estimate(eff.read_model(str(FOLDER / f"{name}.onnx"), dims=STEP)).totals
    assert totals.parameters == PARAMETERS[name.split("_")[1]]
    # the files have 6.5625 bits where the graphs have 6.5, and a vocabulary with its merges
    assert totals.weight_bytes / 2**30 == pytest.approx(FILES[name], rel=6e-3)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_phases_find_their_sizes_as_the_table_gives_them(name: str) -> None:
    from efficiency_cli.roofline.phases import Phase

    path = str(FOLDER / f"{name}.onnx")
    phase = eff.read_model(path, dims={"batch": 1}, propose=Phase("decode", 511).sizes)
    assert eff.estimate(phase).totals.macs == eff.estimate(eff.read_model(path, dims=STEP)).totals.macs


def test_one_position_costs_its_matrices_and_its_keys() -> None:
    size = build_llama.SIZES["8b"]
    totals = eff.estimate(eff.read_model(str(FOLDER / "llama3_8b_f16.onnx"), dims=STEP)).totals
    matrices = PARAMETERS["8b"] - 128_256 * 4096 - (2 * 32 + 1) * 4096
    assert totals.macs == matrices + size.layers * size.heads * 512 * (128 + 128)


@pytest.mark.skipif(not TABLE.is_file(), reason="the table is not beside this repository")
@pytest.mark.parametrize("name", DEVICES)
def test_the_figures_are_the_tables(name: str) -> None:
    with TABLE.open(encoding="utf-8") as stream:
        published = [r for r in csv.DictReader(stream) if r["device"] == SHARED_DEVICES[name]]
    theirs = {(r["model"], r["precision"], r["metric"], r["extra"].split(";")[0]): float(r["value"]) for r in published}
    ours = {}
    for (where, graph), rates in llama_runs.PUBLISHED.items():
        size, _, precision = graph.partition("_")
        for metric, values in zip(("decode_throughput", "prefill_throughput"), rates, strict=True):
            for tokens, value in zip(llama_runs.TOKENS, values, strict=True):
                if where == name:
                    ours[f"LLaMA 3 {size.upper()}", precision.upper(), metric, f"n_tokens={tokens}"] = value
    assert ours == theirs


def test_every_row_finds_its_machine_and_graph() -> None:
    placed, unplaced = place(read_runs(str(FOLDER / "runs.csv")))
    assert unplaced == []
    assert {(p.profile.id, p.runtime, p.assumption) for p in placed} == {(d, fit_llama.RUNTIME, "") for d in DEVICES}
    assert all(p.run.path for p in placed)


# --- the fit ---


@needs_scipy
def test_contexts_left_out(device: tuple[str, list[fit_llama.Case]]) -> None:
    errors = fit_llama.held_out(device[1], fit_llama.PARTS["context"])
    assert fit_llama.mape(errors["tg"]) <= 0.03
    assert fit_llama.mape(errors["pp"]) <= 0.07


@needs_scipy
def test_a_model_size_left_out(ultra: list[fit_llama.Case]) -> None:
    errors = fit_llama.held_out(ultra, fit_llama.PARTS["model size"])
    assert fit_llama.mape(errors["tg"]) <= 0.10
    assert fit_llama.mape(errors["pp"]) <= 0.12
    both = [*errors["tg"], *errors["pp"]]
    runtime = eff.load_profile("apple-m2-ultra").runtime(fit_llama.RUNTIME)
    assert runtime.calibration is not None
    assert runtime.calibration.held_out_error == pytest.approx(fit_llama.mape(both), abs=1e-3)
    low, high = runtime.interval_factors
    inside = np.mean([low <= np.exp(-e) <= high for e in both])
    assert 0.7 <= inside <= 0.9


@needs_scipy
def test_the_profile_says_what_was_fitted(device: tuple[str, list[fit_llama.Case]]) -> None:
    name, known = device
    runtime = eff.load_profile(name).runtime(fit_llama.RUNTIME)
    assert runtime.calibration is not None
    assert runtime.calibration.measurements == len(known)
    assert runtime.calibration.models == len({c.row["onnx"] for c in known})
    for parameter, value in zip(fit_llama.NAMES, np.exp(fit_llama.fit(known)), strict=True):
        shipped = runtime.kernel_s * 1e6 if parameter == "kernel" else runtime.efficiency[parameter].value
        assert shipped == pytest.approx(value, rel=0.015), parameter


def test_the_estimate_is_the_fits(device: tuple[str, list[fit_llama.Case]]) -> None:
    name, known = device
    profile = eff.load_profile(name)
    runtime = profile.runtime(fit_llama.RUNTIME)
    values = [runtime.kernel_s * 1e6 if n == "kernel" else runtime.efficiency[n].value for n in fit_llama.NAMES]
    for case in known[::5]:
        result = fit_llama.estimated(case.row, profile)
        assert result.latency is not None
        assert result.latency.expected_s == pytest.approx(case.seconds(np.log(values)))
        assert result.latency.bound_s < case.measured
        assert case.measured == pytest.approx(result.latency.expected_s, rel=0.15)
