"""Recurrent layers: T·N·D·gates·H·(I + H) MACs, and the gates' arithmetic a step.

T is the padded length: `sequence_lens` can only make the run shorter. The two biases are taken as added
beforehand. Weights are read once a run; a machine that cannot keep those of the state near reads them each step.
"""

from __future__ import annotations

import math

from msgspec import Struct

from efficiency_cli.costs import MICROSOFT, CostError, Op, Reread, Work, cost
from efficiency_cli.costs.elementwise import activation_ops
from efficiency_cli.costs.quantization import DYNAMIC_QUANTIZE, narrow_type
from efficiency_cli.graph.model import DType, OpClass


class _Cell(Struct, frozen=True):
    """`steps` · `batch` · `directions` runs of `gates` gates of `hidden` units on `features` inputs."""

    steps: int
    batch: int
    directions: int
    gates: int
    hidden: int
    features: int

    @property
    def units(self) -> int:
        return self.steps * self.batch * self.directions * self.hidden

    @property
    def macs(self) -> int:
        return self.units * self.gates * (self.features + self.hidden)

    @property
    def formula(self) -> str:
        runs = f"{self.steps}·{self.batch}·{self.directions}"
        width = f"{self.gates}·{self.hidden} × ({self.features} + {self.hidden})"
        return f"{runs} cells × {width} = {self.macs:,} MACs"


def _cell(op: Op, gates: int) -> _Cell:
    """From X (T, N, I), or (N, T, I) with layout = 1, and R (D, gates·H, H)."""
    x, w, r = op.shape(0), op.shape(1), op.shape(2)
    if not len(x) == len(w) == len(r) == 3:
        raise CostError(f"X {x}, W {w} and R {r} must have rank 3")
    steps, batch = (x[1], x[0]) if op.attr("layout", 0) else (x[0], x[1])
    cell = _Cell(steps, batch, r[0], gates, r[2], x[2])
    if w != (cell.directions, gates * cell.hidden, cell.features) or r[1] != gates * cell.hidden:
        raise CostError(f"W {w} and R {r} do not fit {gates} gates of {cell.hidden} units on {cell.features} inputs")
    return cell


def _work(op: Op, cell: _Cell, unit: int, *, dtype: DType | None = None, extra: int = 0) -> Work:
    """`unit` operations a unit and step beside the bias (1 a gate)."""
    unit += cell.gates * op.has(3)
    note = "sequence_lens not counted: an upper bound" if op.has(4) else ""
    return op.work(
        macs=cell.macs,
        other=cell.units * unit + extra,
        op_class=OpClass.RECURRENT,
        dtype=dtype,
        formula=cell.formula,
        note=note,
        reread=Reread(op.input(2).bytes, cell.steps - 1) if cell.steps > 1 else None,
    )


def _activations(op: Op, *default: str) -> tuple[int, ...]:
    """Operations of the activations f, g, h of a direction, as the attribute names them."""
    given = op.node.attributes.get("activations")
    names = tuple(map(str, given)) if isinstance(given, tuple) and len(given) >= len(default) else default
    return tuple(activation_ops(name) for name in names[: len(default)])


def _lstm_unit(op: Op) -> int:
    """Gates i, o, f through f; cell candidate through g; C = f·C + i·c (3); H = o·h(C) (1); peepholes 6."""
    f, g, h = _activations(op, "Sigmoid", "Tanh", "Tanh")
    return 3 * f + g + 3 + h + 1 + (6 if op.has(7) else 0)


@cost("LSTM")
def lstm(op: Op) -> Work:
    """4 gates. A unit and step: 3 sigmoids (4 each), 2 tanh, 4 products and sums: 18; 4 for a bias, 6 for
    peepholes."""
    return _work(op, _cell(op, 4), _lstm_unit(op))


@cost("GRU")
def gru(op: Op) -> Work:
    """3 gates. A unit and step: 2 sigmoids (4 each), 1 tanh, r·(…) (1), (1 − z)·h̃ + z·H (4): 14; 3 for a
    bias."""
    f, g = _activations(op, "Sigmoid", "Tanh")
    return _work(op, _cell(op, 3), 2 * f + g + 1 + 4)


@cost("RNN")
def rnn(op: Op) -> Work:
    """1 gate. A unit and step: its activation (tanh 1); 1 for a bias."""
    (f,) = _activations(op, "Tanh")
    return _work(op, _cell(op, 1), f)


@cost(f"{MICROSOFT}::DynamicQuantizeLSTM")
def lstm_quantized(op: Op) -> Work:
    """As LSTM in the weights' integers; W is (D, I, 4H) and R (D, H, 4H). X and each step's H are
    quantised first (4 an element), a gate's sum is scaled (1)."""
    x, w, r = op.shape(0), op.shape(1), op.shape(2)
    if not len(x) == len(w) == len(r) == 3 or w[1] != x[2] or not w[2] == r[2] == 4 * r[1]:
        raise CostError(f"X {x}, W {w} and R {r} do not fit an LSTM")
    cell = _Cell(x[0], x[1], r[0], 4, r[1], x[2])
    quantizing = DYNAMIC_QUANTIZE * (math.prod(x) + cell.units)
    return _work(op, cell, _lstm_unit(op) + cell.gates, dtype=narrow_type(op.input(1)), extra=quantizing)
