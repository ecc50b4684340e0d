"""A model as if its values had other types: --dtype, --weight-bits and --activation-bits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from efficiency_cli.commands import values
from efficiency_cli.commands.declare import option
from efficiency_cli.errors import did_you_mean

if TYPE_CHECKING:
    from efficiency_cli.graph.retype import Types

# the names of `graph.retype`, which is not imported for a help text; a test compares them
NAMES = (
    *("float32", "float16", "bfloat16", "float8e4m3fn", "float8e5m2", "float4e2m1"),
    *("int16", "int8", "int4", "int2"),
)
BITS = ("2", "4", "8", "16", "32")
_SHORT = {
    "fp32": "float32",
    "fp16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
    "float8": "float8e4m3fn",
    "fp8": "float8e4m3fn",
    "float4": "float4e2m1",
    "fp4": "float4e2m1",
}


class Type(values.Value):
    """float16, int8 …, and the short names people use."""

    name = "TYPE"

    def parse(self, text: str) -> str:
        found = _SHORT.get(text.lower(), text.lower())
        if found not in NAMES:
            close = did_you_mean(text, (*NAMES, *_SHORT)) or f"choose one: {', '.join(NAMES)}"
            raise ValueError(f"'{values.short(text)}' is not a type that a network can be taken in\n{close}")
        return found

    def candidates(self, ctx: click.Context) -> Iterable[str]:  # noqa: ARG002
        return NAMES


BIT_OPTIONS = [
    option("--weight-bits", type=values.OneOf(*BITS), help="Count weights as if stored in so many bits."),
    option("--activation-bits", type=values.OneOf(*BITS), help="Count activations as if computed in so many bits."),
]
TYPES = [
    option("--dtype", type=Type(), help="Count as if stored and computed in this type, such as int8 or float16."),
    *BIT_OPTIONS,
]


def types_of(dtype: str | None, weight_bits: str | None, activation_bits: str | None) -> Types:
    """What was asked for; bits say more than the type."""
    from efficiency_cli.graph.model import DType
    from efficiency_cli.graph.retype import TYPE_OF_BITS, Types

    both = DType(dtype) if dtype else None

    def chosen(bits: str | None) -> DType | None:
        return both if bits is None or (both and both.bits == int(bits)) else TYPE_OF_BITS[int(bits)]

    return Types(chosen(weight_bits), chosen(activation_bits))
