"""Gives every tensor a static shape, or leaves a named gap.

First onnx's own inference over the whole model, which settles static graphs in milliseconds. Where
it leaves gaps, a walk in topological order follows: shape arithmetic is folded with onnx's reference
operators, one node at a time goes through onnx's inference with the folded values, com.microsoft
operators through `contrib_shapes`, data-dependent shapes get their upper bound.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from onnx import ModelProto

from efficiency_cli.graph.shapes.scope import Scope, enter_constants, enter_values
from efficiency_cli.graph.shapes.walk import Walker

__all__ = ["Inferred", "Scope", "infer"]


class Inferred(Struct, frozen=True):
    """The result: the outermost scope, oddities worth telling, and which of the `sizes` were put in."""

    scope: Scope
    notes: tuple[str, ...]
    applied: frozenset[str]


def infer(
    model: ModelProto,
    shapes: Mapping[str, tuple[int, ...]],
    symbols: Mapping[str, int],
    sizes: Mapping[str, int],
    values: Mapping[str, int] | None = None,
) -> Inferred:
    """Shapes of every tensor of `model`, whose inputs have the static `shapes`.

    `symbols` are dimension names with their values, `sizes` are 'TENSOR[AXIS]' settings for
    data-dependent dimensions, `values` what small inputs are filled with. `model` is changed in place
    (declared shapes of computed tensors go).
    Raises ModelError where the graph contradicts its operators.
    """
    walker = Walker(model, symbols, sizes)
    walker.declare_inputs(shapes)
    declared = walker.take_declared(model.graph)
    scope = Scope()
    enter_constants(model.graph, scope, walker.symbols)
    enter_values(scope, values or {})
    walker.enter_inferred(model, scope)
    walker.walk(model.graph, scope, declared)
    return Inferred(scope, tuple(dict.fromkeys(walker.notes)), frozenset(walker.applied))
