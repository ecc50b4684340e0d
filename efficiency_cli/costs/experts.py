"""Mixtures of experts: every token runs through the few experts that its router chose."""

from __future__ import annotations

import math

from efficiency_cli.costs import MICROSOFT, CostError, Op, Work, cost
from efficiency_cli.costs.elementwise import activation_ops
from efficiency_cli.graph.model import OpClass


@cost(f"{MICROSOFT}::MoE")
def experts(op: Op) -> Work:
    """tokens · k · (elements of one expert's matrices: fc1, fc2, and fc3 for a separate gate) MACs.

    Besides, a pair of token and expert costs 1 an output of each bias, the activation, a product with the
    gate, and the weighted sum of the results (2 an output). Of the weights at most min(experts, tokens · k)
    experts' are read. Ignored: choosing the experts.
    """
    return _experts(op, weights=(2, 4, 6), biases=(3, 5, 7), scales=())


@cost(f"{MICROSOFT}::QMoE")
def experts_packed(op: Op) -> Work:
    """As MoE in the activations' type; packed weights and their scales are read as stored."""
    return _experts(op, weights=(2, 5, 8), biases=(4, 7, 10), scales=(3, 6, 9, 11, 12, 13))


def _experts(op: Op, weights: tuple[int, ...], biases: tuple[int, ...], scales: tuple[int, ...]) -> Work:
    x, first, second = op.shape(), op.shape(weights[0]), op.shape(weights[1])
    if not x or not len(first) == len(second) == 3:
        raise CostError(f"experts' weights {first} and {second} must be (experts, outputs, inputs)")
    hidden, wide, inner, gate = _sizes(op, x[-1], first[1], weights[2])
    active = math.prod(x[:-1]) * op.attr("k", 1)
    macs = active * hidden * (wide + inner + gate)
    outputs = ((biases[0], wide), (biases[1], hidden), (biases[2], gate))
    each = sum(size for slot, size in outputs if op.has(slot)) + 2 * hidden
    each += inner * (activation_ops(op.attr("activation_type", "relu")) + (wide > inner or gate > 0))
    return op.work(
        macs=macs,
        other=active * each,
        op_class=OpClass.DENSE,
        touched=_read(op, weights + biases + scales, first[0], active),
        formula=f"{active} token–expert pairs × {hidden}·({wide} + {inner} + {gate}) = {macs:,} MACs",
    )


def _sizes(op: Op, hidden: int, wide: int, gate_slot: int) -> tuple[int, int, int, int]:
    """(hidden, rows of fc1, inputs of fc2, rows of fc3). Packing shortens only a weight's last axis.

    fc1 is (wide, hidden), fc2 (hidden, inner), fc3 (inner, hidden); a gate that is fused into fc1 makes it
    twice as wide as fc2 takes.
    """
    fused = op.attr("swiglu_fusion", 0) != 0
    return hidden, wide, wide // 2 if fused else wide, op.shape(gate_slot)[1] if op.has(gate_slot) else 0


def _read(op: Op, slots: tuple[int, ...], count: int, active: int) -> dict[int, int]:
    present = ((slot, op.get(slot)) for slot in slots)
    return {slot: t.bytes * min(count, active) // max(count, 1) for slot, t in present if t is not None}
