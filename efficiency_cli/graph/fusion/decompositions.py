"""Operators that exporters write as several nodes, as expressions, by the pattern that fuses them.

Whole matches only: `units.py` leaves alone what somebody else reads from inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from efficiency_cli.graph.fusion.expression import Expression, parse, roots


class Decomposition(Struct, frozen=True):
    """`expression` computes what `op` does."""

    pattern: str
    op: str
    expression: Expression


_SQUARE = "(Pow({0}, 2) | Mul({0}, {0}))"
_CUBE = "(Pow(x, 3) | Mul(x, Mul(x, x)) | Mul(Mul(x, x), x))"
# erf(x / √2) + 1, and tanh(√(2/π) · (x + 0.044715 x³)) + 1
_ERF = "Add(Erf((Div(x, 1.41421) | Mul(x, 0.70711))), 1)"
_TANH = f"""Add(Tanh((Mul(Add(x, Mul({_CUBE}, 0.044715)), 0.79788)
    | Mul(Mul(x, 0.79788), Add(Mul(Mul(x, 0.044715), x), 1)) | Mul(Mul(x, 0.79788), Add(Mul(Mul(x, x), 0.044715), 1))
    )), 1)"""
_GELU = """(Mul(Mul(x, {0}), 0.5) | Mul(Mul(x, 0.5), {0}) | Mul(x, Mul({0}, 0.5)) | Div(Mul(x, {0}), 2)
    | Mul(Div(x, 2), {0}))"""
_RELU6 = "Clip(Add(x, 3))"
# a variance as the mean of squares, of d = x - mean(x)
_VARIANCE = f"ReduceMean({_SQUARE.format('d')})"
_DEVIATION = "Sqrt((Add({0}, c) | Max({0}, c)))"
_D = "d:Sub(x, ReduceMean(x))"
_STANDARD = (
    f"(Div({_D}, {_DEVIATION.format(_VARIANCE)}) | Mul({_D}, Reciprocal({_DEVIATION.format(_VARIANCE)}))"
    f" | Mul({_D}, Div(1, {_DEVIATION.format(_VARIANCE)})))"
)
_ROOT = _DEVIATION.format(f"ReduceMean({_SQUARE.format('x')})")
_DIVIDED = f"(Div(x, {_ROOT}) | Mul(x, Div(1, {_ROOT})))"
_RECIPROCAL = f"(Mul(x, Reciprocal({_ROOT})) | Mul(x, Pow(Add(ReduceMean({_SQUARE.format('x')}), c), -0.5)))"

_WRITTEN = (
    ("silu", "Swish", "Mul(x, Sigmoid(x))"),
    ("silu", "QuickGelu", "Mul(x, Sigmoid(Mul(x, 1.702)))"),
    ("hardswish", "HardSwish", "Mul(x, HardSigmoid(x))"),
    ("hardswish", "HardSwish", f"Div(Mul(x, {_RELU6}), 6)"),
    ("hardswish", "HardSwish", f"Mul(Mul(x, {_RELU6}), 0.16667)"),
    ("hardswish", "HardSwish", f"Mul(x, (Div({_RELU6}, 6) | Mul({_RELU6}, 0.16667)))"),
    ("hardswish", "HardSwish", f"Mul(Mul(x, 0.16667), {_RELU6})"),
    ("gelu", "Gelu", _GELU.format(_ERF)),
    ("gelu", "Gelu", _GELU.format(_TANH)),
    ("layernorm", "LayerNormalization", f"Add(Mul({_STANDARD}, c), c)"),
    ("layernorm", "LayerNormalization", f"Mul({_STANDARD}, c)"),
    ("layernorm", "LayerNormalization", _STANDARD),
    ("rmsnorm-division", "RMSNormalization", f"Mul({_DIVIDED}, c)"),
    ("rmsnorm-division", "RMSNormalization", _DIVIDED),
    ("rmsnorm", "RMSNormalization", f"Mul(({_DIVIDED} | {_RECIPROCAL}), c)"),
    ("rmsnorm", "RMSNormalization", f"({_DIVIDED} | {_RECIPROCAL})"),
    ("softmax", "Softmax", "Div(e:Exp((Sub(x, ReduceMax(x)) | x)), ReduceSum(e))"),
)


def _by_root() -> Mapping[str, tuple[Decomposition, ...]]:
    found: dict[str, list[Decomposition]] = {}
    for pattern, op, text in _WRITTEN:
        expression = parse(text)
        for root in roots(expression):
            found.setdefault(root, []).append(Decomposition(pattern, op, expression))
    return MappingProxyType({root: tuple(these) for root, these in found.items()})


# operator of the last node -> what it may be the end of, the larger first
BY_ROOT = _by_root()
