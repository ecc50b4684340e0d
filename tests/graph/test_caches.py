"""Which inputs of a decoder are what: whole ones are in tests/roofline/test_decoders.py."""

from __future__ import annotations

import pytest
from work import calls_of

from efficiency_cli.graph.binding import Interface
from efficiency_cli.graph.caches import axes_of


@pytest.mark.parametrize("name", ["x", "decoder_x", "mask", "past_key_values.{}.key"])
def test_thousands_of_inputs_take_no_longer_each(name: str) -> None:
    def calls(count: int) -> int:
        names = [name.format(k) if "{}" in name else f"{name}{k}" for k in range(count)]
        interface = Interface(dict.fromkeys(names, ("batch", "sequence", 4, 4)), {}, ())
        return calls_of(lambda: axes_of(interface))

    assert calls(5000) <= 5.1 * calls(1000)


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
