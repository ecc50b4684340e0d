"""bound ≤ lower ≤ expected ≤ upper, for every kernel of every sample on every profile with every runtime."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import efficiency_cli as eff
from efficiency_cli.hardware.load import profile_ids
from efficiency_cli.roofline.latency import Times

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
# values for what samples leave open
DIMS = {
    "bert_small": {"sequence": 32},
    "decoder_kv": {"sequence": 1, "past_sequence_length": 31, "total_sequence_length": 32},
}


@cache
def networks() -> tuple[eff.Model, ...]:
    return tuple(eff.read_model(str(path), dims=DIMS.get(path.stem, {})) for path in sorted(SAMPLES.glob("*.onnx")))


def results(id_: str) -> Iterator[eff.Estimate]:
    machine = eff.load_profile(id_)
    for runtime in machine.runtimes:
        for network in networks():
            yield eff.estimate(network, machine, runtime=runtime.id)


def in_order(times: Times) -> bool:
    return 0 <= times.bound_s <= times.lower_s <= times.expected_s <= times.upper_s


@pytest.mark.parametrize("id_", profile_ids())
def test_the_four_numbers_are_in_order(id_: str) -> None:
    for result in results(id_):
        where = f"{result.model.path} on {id_}, {result.machine and result.machine.runtime.id}"
        assert result.latency is not None
        assert in_order(result.latency), where
        wrong = [t.kernel.name for t in result.times if not in_order(t.times)]
        assert not wrong, f"{where}: {wrong[:5]}"
        # the interval is never empty: no estimate is exact
        assert result.latency.lower_s < result.latency.upper_s, where


def test_there_is_something_to_look_at() -> None:
    assert len(networks()) >= 12
    assert len(profile_ids()) >= 40
