"""Plans are valid whatever the blocks, close to the bound on real networks and on large ones."""

from __future__ import annotations

import random
import sys
from functools import cache
from pathlib import Path

import pytest
from arenas import clashes
from hypothesis import given, settings
from hypothesis import strategies as st
from some_networks import models

import efficiency_cli as eff
from efficiency_cli.graph.model import Model
from efficiency_cli.hardware.profile import OVERWRITES
from efficiency_cli.roofline.memory.live import Block, alive, blocks_of
from efficiency_cli.roofline.memory.plan import Plan, aligned, planned
from efficiency_cli.roofline.memory.policy import Needs, Policy, needs_of
from efficiency_cli.roofline.network import Network

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from model_table import read, table

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def block(key: str, size: int, first: int, last: int) -> Block:
    return Block(key, size, first, last)


def plan(blocks: list[Block], alignment: int = 1) -> Plan:
    kernels = max(b.last for b in blocks) + 1
    return planned(blocks, kernels, max(alive(blocks, kernels)), alignment)


# --- by hand ---


def test_what_is_not_alive_together_shares_room() -> None:
    found = plan([block("a", 100, 0, 1), block("b", 50, 1, 2), block("c", 100, 2, 3)])
    assert found.size == found.bound == 100 + 50
    assert {p.block.key: p.offset for p in found.placed if p.block.key != "b"} == {"a": 0, "c": 0}


def test_a_chain_of_any_sizes_takes_its_largest_pair() -> None:
    # neighbours at opposite ends: 3 + 7 at the most
    sizes = [5, 3, 7, 2, 6, 1, 4]
    found = plan([block(f"b{k}", size, k, k + 1) for k, size in enumerate(sizes)])
    assert found.size == 3 + 7


def test_a_small_block_goes_into_the_tightest_gap() -> None:
    # once b and d are gone there are gaps of 30 and 10 between those that stay: e of 10 takes the smaller
    stay = [block("a", 100, 0, 2), block("c", 90, 0, 2), block("e", 80, 0, 2)]
    found = plan([*stay, block("b", 30, 0, 0), block("d", 10, 0, 0), block("f", 10, 1, 1), block("g", 30, 1, 1)])
    assert found.size == 100 + 90 + 80 + 30 + 10


def test_buffers_begin_at_multiples_of_the_alignment() -> None:
    found = plan([block("a", 5, 0, 1), block("b", 5, 0, 1), block("c", 5, 1, 1)], alignment=16)
    assert sorted(p.offset for p in found.placed) == [0, 16, 32]
    assert found.size == 32 + 5
    assert found.bound == aligned(15, 16) == 16


def test_nothing_needs_no_arena() -> None:
    assert planned([], 0, 0).size == 0
    assert planned([], 0, 0).over_bound == 1.0


# --- any blocks ---


@st.composite
def schedules(draw: st.DrawFn) -> list[Block]:
    count = draw(st.integers(1, 30))
    found = []
    for k in range(draw(st.integers(1, 25))):
        first = draw(st.integers(0, count - 1))
        found.append(block(f"b{k}", draw(st.integers(1, 1000)), first, draw(st.integers(first, count - 1))))
    return found


@settings(max_examples=300, deadline=None)
@given(schedules(), st.sampled_from([1, 4, 16]))
def test_no_two_live_blocks_overlap(blocks: list[Block], alignment: int) -> None:
    found = plan(blocks, alignment)
    assert clashes(found) == []
    assert len(found.placed) == len(blocks)
    assert found.size >= max(alive(blocks, 30))
    assert all(p.offset % alignment == 0 and p.offset >= 0 and p.end <= found.size for p in found.placed)


@settings(max_examples=150, deadline=None)
@given(models(), st.sampled_from(OVERWRITES), st.sets(st.sampled_from(["bias", "activation", "add"])))
def test_the_plan_of_any_network_is_valid(model: Model, overwrites: str, patterns: set[str]) -> None:
    network = Network(model)
    kernels = network.kernels(patterns)
    needs = needs_of(network, kernels, blocks_of(network, kernels), Policy(overwrites))
    found = planned(needs.blocks, len(kernels), needs.bound, 1, needs.gaps)
    assert clashes(found, needs.gaps) == []
    assert found.size >= needs.bound


# --- samples and real exports ---


@cache
def real_plans(overwrites: str) -> dict[str, tuple[Plan, Needs]]:
    files: list[tuple[str, Model]] = [(name, read(name)) for name in sorted(table())]
    dims = {"batch": 1, "sequence": 64, "past_sequence": 32, "past_sequence_length": 32, "total_sequence": 96}
    for path in sorted(SAMPLES.glob("*.onnx")):
        wanted = {"sequence": dims["sequence"]} if "bert" in path.name else {}
        if "decoder" not in path.name:
            files.append((path.name, eff.read_model(str(path), dims=wanted)))
    found = {}
    for name, model in files:
        network = Network(model)
        kernels = network.kernels()
        needs = needs_of(network, kernels, blocks_of(network, kernels), Policy(overwrites))
        found[name] = (planned(needs.blocks, len(kernels), needs.bound, 1, needs.gaps), needs)
    return found


@pytest.mark.parametrize("overwrites", ["none", "overlap"])
def test_plans_of_real_networks_are_valid_and_close_to_the_bound(overwrites: str) -> None:
    plans = real_plans(overwrites)
    assert {name: c for name, (p, needs) in plans.items() if (c := clashes(p, needs.gaps))} == {}
    close = [p.over_bound <= 1.05 for p, _ in plans.values()]
    assert all(p.size >= p.bound for p, _ in plans.values())
    # 98 % are; the issue asks for 90 %
    assert sum(close) / len(close) >= 0.95


# --- scale ---


@pytest.mark.parametrize("reach", [[1], [1, 1, 2, 3, 8, 30], [100], [20_000]])
def test_twenty_thousand_kernels_are_planned_well(reach: list[int]) -> None:
    count, chance = 20_000, random.Random(1)
    blocks = [
        block(f"b{k}", chance.randint(1, 10**6), k, min(k + chance.choice(reach), count - 1)) for k in range(count)
    ]
    found = plan(blocks, alignment=16)
    assert found.over_bound < 1.2
    sample = Plan(found.size, found.bound, found.placed[:2000])
    assert clashes(sample) == []
