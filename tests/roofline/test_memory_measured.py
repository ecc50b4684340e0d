"""Memory against what a vendor's tool reports for 37 builds of microcontroller networks (../shared/data/mcu)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import mean

import pytest

import efficiency_cli as eff
from efficiency_cli.hardware.profile import MemoryUse
from efficiency_cli.roofline.memory.flash import flash_of
from efficiency_cli.roofline.memory.footprint import activations_of, footprint_of
from efficiency_cli.roofline.memory.live import blocks_of
from efficiency_cli.roofline.memory.plan import planned
from efficiency_cli.roofline.memory.policy import Policy, needs_of
from efficiency_cli.roofline.network import Network

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "mcu"
PATTERNS = frozenset({"fold-batchnorm", "bias", "activation", "pad", "qdq"})
KIB = 1024

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data/mcu")

# its figures are in thousands of bytes: 219.84 kB are the 214.69 KiB of the same network's other row
IN_KILOBYTES = "stzoo_v1__mobilenet_v1_0.25_96_int8"
# the table is of other files: 125 KiB less than the convolutions of these alone, and the same activations as those
OTHER_FILES = {"stzoo_v1__ssd_mobilenet_v1_025_224_int8", "stzoo_v1__ssd_mobilenet_v1_025_256_int8"}
FAMILIES = ("st_fdmobilenet", "fdmobilenet", "ssd", "mobilenet", "resnet", "mnist")
# per version of the tool: which results lie over operands, and the mean error with a family left out of the factor
POLICIES = {
    "7.3": (Policy("overlap", frozenset({"convolution"}), {"convolution": 16}), 0.02),
    "8.1": (Policy("overlap", frozenset(), {"convolution": 24}), 0.08),
    "10.0": (Policy("overlap", frozenset({"convolution"}), {"convolution": 16}), 0.14),
}


@cache
def rows() -> list[dict[str, str]]:
    with (DATA / "ram_flash.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def network(name: str) -> Network:
    return Network(eff.read_model(str(DATA / "models" / f"{name}.onnx")))


def family(row: Mapping[str, str]) -> str:
    return next(f for f in FAMILIES if f in row["onnx"])


def version(row: Mapping[str, str]) -> str:
    """The tool's version; two rows do not say, their neighbours of the same table do."""
    said = row["version"].rpartition(".")[0]
    return said or {"v1": "7.3", "v2": "8.1"}[row["zoo"]]


def measured(row: Mapping[str, str]) -> float:
    unit = 1000 if row["onnx"] == IN_KILOBYTES else KIB
    return float(row["Activation RAM"]) * unit


def arena(row: Mapping[str, str], policy: Policy) -> int:
    found = network(row["onnx"])
    kernels = found.kernels(PATTERNS)
    needs = needs_of(found, kernels, blocks_of(found, kernels), policy)
    return planned(needs.blocks, len(kernels), needs.bound, 1, needs.gaps).size


def factor(rows_: Iterable[Mapping[str, str]], arenas: Mapping[int, float]) -> float:
    """The factor with the least squares of relative errors."""
    ratios = [arenas[id(r)] / measured(r) for r in rows_]
    return sum(ratios) / sum(x * x for x in ratios)


def left_out_errors(
    chosen: Sequence[Mapping[str, str]], arenas_of: Callable[[Sequence[Mapping[str, str]]], Mapping[int, float]]
) -> dict[int, float]:
    """Predicted over measured − 1 for every row, by a fit that has not seen its family."""
    found = {}
    for name in {family(r) for r in chosen}:
        others = [r for r in chosen if family(r) != name]
        arenas = arenas_of(others)
        scale = factor(others, arenas)
        found |= {id(r): scale * arenas[id(r)] / measured(r) - 1 for r in chosen if family(r) == name}
    return found


def test_the_table_is_whole() -> None:
    assert len(rows()) == 37


@pytest.mark.parametrize("k", range(37))
def test_weights_in_flash_within_one_percent(k: int) -> None:
    row = rows()[k]
    # from 10.0 on, the tool stores anchors as the floats that leave the network
    use = MemoryUse(constants="unpacked" if version(row) == "10.0" else "packed")
    found = flash_of(network(row["onnx"]), 0, use).data
    unit = 1000 if row["onnx"] == IN_KILOBYTES else KIB
    if row["onnx"] in OTHER_FILES:
        convolutions = sum(flash_of(network(row["onnx"]), 0).weights.values())
        assert float(row["Weights Flash"]) * unit < convolutions
        return
    assert found == pytest.approx(float(row["Weights Flash"]) * unit, rel=0.01)


@pytest.mark.parametrize("of_version", POLICIES)
def test_activations_with_a_family_left_out(of_version: str) -> None:
    policy, most = POLICIES[of_version]
    chosen = [r for r in rows() if version(r) == of_version]
    arenas = {id(r): float(arena(r, policy)) for r in rows()}
    errors = left_out_errors(chosen, lambda _: arenas)
    assert mean(map(abs, errors.values())) <= most
    # with every buffer on its own: what an overlap policy is for
    alone = {id(r): float(arena(r, Policy())) for r in rows()}
    assert mean(map(abs, left_out_errors(chosen, lambda _: alone).values())) > 1.5 * most


def test_the_policy_is_chosen_without_the_family_as_well() -> None:
    candidates = [
        Policy(overwrites, apart, {"convolution": columns})
        for overwrites in ("none", "elementwise", "overlap")
        for apart in (frozenset[str](), frozenset({"convolution"}))
        for columns in (0.0, 16.0, 24.0)
    ]
    arenas = [{id(r): float(arena(r, policy)) for r in rows()} for policy in candidates]

    def best(seen: Sequence[Mapping[str, str]]) -> Mapping[int, float]:
        def error(table: Mapping[int, float]) -> float:
            return mean(map(abs, left_out_errors(seen, lambda _: table).values()))

        return min(arenas, key=error)

    errors = left_out_errors(rows(), best)
    # one factor for three versions of the tool and six families; an overlap with one factor reached 15 %
    assert mean(map(abs, errors.values())) <= 0.12


@pytest.mark.parametrize("board", ["cortex-m4", "cortex-m7", "cortex-m33"])
def test_the_shipped_bracket_holds(board: str) -> None:
    use = eff.load_profile(board).runtime("x-cube-ai").memory
    assert use is not None
    assert use.interval is not None
    assert use.calibration is not None
    chosen = [r for r in rows() if version(r) == "10.0"]
    policy, _ = POLICIES["10.0"]
    assert (use.overwrites, frozenset(use.apart)) == (policy.overwrites, policy.apart)
    arenas = {id(r): float(arena(r, policy)) for r in rows()}
    shipped = use.factor
    assert shipped is not None
    assert shipped.value == pytest.approx(factor(chosen, arenas), rel=0.01)
    errors = left_out_errors(chosen, lambda _: arenas)
    assert mean(map(abs, errors.values())) == pytest.approx(use.calibration.held_out_error, abs=0.005)
    low, high = use.interval.lower.value, use.interval.upper.value
    inside = [low <= 1 / (1 + error) <= high for error in errors.values()]
    assert sum(inside) / len(inside) >= 0.85


def test_a_report_holds_the_measured_value_in_its_bracket() -> None:
    machine = eff.load_profile("cortex-m7")
    held = []
    for row in (r for r in rows() if version(r) == "10.0"):
        ram = footprint_of(eff.estimate(network(row["onnx"]), machine, runtime="x-cube-ai")).activations
        held.append(ram.lower <= measured(row) <= ram.upper)
    assert sum(held) / len(held) >= 0.85


def test_ram_and_code_of_the_runtime_itself() -> None:
    use = eff.load_profile("cortex-m7").runtime("x-cube-ai").memory
    assert use is not None
    assert use.ram is not None
    errors: list[float] = []
    code: list[float] = []
    for row in (r for r in rows() if version(r) != "7.3"):
        found = network(row["onnx"])
        kernels = len(found.kernels(PATTERNS))
        if row["Runtime RAM"]:
            errors.append(use.ram.of(kernels, 0) / (float(row["Runtime RAM"]) * KIB) - 1)
        if row["Code Flash"]:
            code.append(flash_of(found, kernels, use).code / (float(row["Code Flash"]) * KIB) - 1)
    assert mean(map(abs, errors)) <= 0.10
    assert mean(map(abs, code)) <= 0.12


def test_nothing_takes_nothing() -> None:
    use = eff.load_profile("cortex-m7").runtime("x-cube-ai").memory
    assert activations_of(0, use).expected == 0.0
