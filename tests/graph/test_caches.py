"""Which inputs of a decoder are what: whole ones are in tests/roofline/test_decoders.py."""

from __future__ import annotations

import time

import pytest

from efficiency_cli.graph.binding import Interface
from efficiency_cli.graph.caches import axes_of

# seconds of processor time
LIMIT_S = 2.0


@pytest.mark.parametrize("name", ["x", "decoder_x", "mask", "past_key_values.{}.key"])
def test_thousands_of_inputs_take_no_longer_each(name: str) -> None:
    names = [name.format(k) if "{}" in name else f"{name}{k}" for k in range(5000)]
    start = time.process_time()
    axes_of(Interface(dict.fromkeys(names, ("batch", "sequence", 4, 4)), {}, ()))
    assert time.process_time() - start < LIMIT_S


@pytest.mark.parametrize(
    ("names", "tokens"),
    [
        (["input_ids", "decoder_input_ids"], ["decoder_input_ids"]),
        (["encoder.input_ids", "input_ids"], ["input_ids"]),
        (["input_ids", "attention_mask"], ["input_ids"]),
    ],
)
def test_what_is_the_encoders_has_no_new_positions(names: list[str], tokens: list[str]) -> None:
    found = axes_of(Interface({n: ["batch", "sequence"] for n in names}, {}, ()))
    assert [name for name, _ in found.tokens] == tokens
