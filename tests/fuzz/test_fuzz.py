"""Damaged and invented models, 500 of them, through the program: a result or an error for the user, soon and in
little memory. `run.py` does many more, see .github/CONTRIBUTING.md.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import onnx
import pytest
from fuzz_bombs import all_bombs
from fuzz_mutations import mutant, of_bytes, of_structure
from fuzz_parent import MAX_BYTES, MAX_S, Summary, run_mutants, run_together
from fuzz_seeds import small_seeds
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from efficiency_cli.errors import ModelError
from efficiency_cli.graph.parts import check_parts
from efficiency_cli.graph.payloads import chunks, payloads_of
from efficiency_cli.graph.wire import Bytes, WireError, strip_payloads

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of processes are POSIX")

SEED, INPUTS = 20240229, 500
# those that take a second or less and stand for the others: sizes, folded values, structure, bytes
BOMBS = (
    "range_10_12 constant_of_shape_10_5600 resize_to_2_62 rank_doubled_40_times strings_formatted strings_repeated "
    "ifs_nested_30_deep functions_doubling_60_times functions_calling_each_other sequences_nested_1000_deep "
    "names_that_are_taken list_of_10_million_ints groups_nested_200_deep graphs_nested_40_deep long_varints"
).split()


def told(summary: Summary) -> str:
    return "\n".join(f"{f.label}: {f.what}\n{f.details[-1500:]}" for f in summary.findings)


def test_500_damaged_models() -> None:
    summary = run_mutants(SEED, 0, INPUTS)
    assert summary.findings == [], told(summary)
    assert summary.inputs == INPUTS
    assert summary.worst_s[0] <= MAX_S
    assert summary.worst_bytes[0] <= MAX_BYTES
    # the damage is neither too little to matter nor too much to get anywhere
    assert summary.outcomes["exit 0"] >= INPUTS / 10
    assert summary.outcomes["exit 2 ModelError"] >= INPUTS / 10


def test_bombs() -> None:
    summary = run_together("bomb", BOMBS)
    assert summary.findings == [], told(summary)
    assert summary.inputs == len(BOMBS)


def test_the_chosen_bombs_are_some_of_all() -> None:
    assert set(BOMBS) < all_bombs().keys()
    assert len(all_bombs()) >= 80


def test_a_mutant_comes_back_by_its_number() -> None:
    assert mutant(SEED, 7) == mutant(SEED, 7) != mutant(SEED, 8)


def test_the_seeds_are_sound(tmp_path: Path) -> None:
    """Twin: without damage the same commands end in results."""
    samples = [s for s in small_seeds() if b"effcli samples" in s]
    assert samples
    paths = [tmp_path / f"{k}.onnx" for k in range(len(samples))]
    for path, data in zip(paths, samples, strict=True):
        path.write_bytes(data)
    assert dict(run_together("file", list(map(str, paths))).outcomes) == {"exit 0": len(samples)}


# --- bytes, without the rest of the program ---

DAMAGED = st.builds(
    lambda rng, data, other: of_bytes(rng, data, other),
    st.randoms(use_true_random=False),
    st.sampled_from(small_seeds()),
    st.sampled_from(small_seeds()),
)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.binary(max_size=300) | DAMAGED)
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    try:
        kept = strip_payloads(Bytes(data))
    except WireError:
        return
    check_parts(kept)
    assert len(kept) <= len(data) + 2 * data.count(b"\x4a")


@settings(deadline=None, max_examples=100, derandomize=True)
@given(rng=st.randoms(use_true_random=False), data=st.sampled_from(small_seeds()))
def test_dropping_payloads_loses_nothing_else(rng: random.Random, data: bytes) -> None:
    changed = of_structure(rng, data)
    try:
        whole, kept = onnx.ModelProto.FromString(changed), onnx.ModelProto.FromString(strip_payloads(Bytes(changed)))
    except (WireError, DecodeError):
        return
    assert [n.SerializeToString() for n in kept.graph.node if n.ByteSize() < 2048] == [
        n.SerializeToString() for n in whole.graph.node if n.ByteSize() < 2048
    ]
    assert [t.dims for t in kept.graph.initializer] == [t.dims for t in whole.graph.initializer]


@settings(deadline=None, max_examples=100, derandomize=True)
@given(data=st.binary(max_size=300) | DAMAGED)
@example(data=bytes(10) + b"8\0")  # a graph that is said to be a number
def test_payloads_of_any_bytes_lie_in_the_file(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(data)
    try:
        found = payloads_of(str(path))
    except ModelError:
        return
    for payload in found.values():
        if not payload.missing and payload.file is None:
            assert 0 <= payload.start <= payload.end <= len(data)
            assert sum(map(len, chunks(payload, str(path)))) == payload.size
