from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_node import t, work

from efficiency_cli.costs import CostError
from efficiency_cli.graph.model import DType, OpClass

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
# gates' arithmetic a unit and step: see the rules' docstrings
UNIT = {"LSTM": 3 * 4 + 1 + 3 + 1 + 1, "GRU": 2 * 4 + 1 + 1 + 4, "RNN": 1}


def cell(op, steps=7, batch=2, directions=1, features=5, hidden=6, operands=(), **attributes):
    gates = GATES[op] * hidden
    x = (batch, steps, features) if attributes.get("layout") else (steps, batch, features)
    inputs = [x, (directions, gates, features), (directions, gates, hidden), *operands]
    return work(op, inputs, [(steps, directions, batch, hidden)], **attributes)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layout", [0, 1])
def test_macs_and_gates(op, directions, layout):
    result = cell(op, directions=directions, layout=layout)
    assert result.macs == 7 * 2 * directions * GATES[op] * 6 * (5 + 6)
    assert result.ops - 2 * result.macs == 7 * 2 * directions * 6 * UNIT[op]
    assert result.op_class is OpClass.RECURRENT


@pytest.mark.parametrize("op", GATES)
def test_a_bias_adds_one_a_gate(op):
    biased = cell(op, operands=[(1, 2 * GATES[op] * 6)])
    assert biased.ops - cell(op).ops == 7 * 2 * 6 * GATES[op]


def test_peepholes_add_six_a_unit():
    bare = [None, None, None, None]
    assert cell("LSTM", operands=[*bare, (1, 18)]).ops - cell("LSTM", operands=bare).ops == 7 * 2 * 6 * 6


def test_named_activations():
    assert cell("RNN", activations=("Relu",)).ops == cell("RNN").ops
    sigmoid = cell("RNN", activations=("Sigmoid",))
    assert sigmoid.ops - cell("RNN").ops == 7 * 2 * 6 * (4 - 1)


def test_lengths_make_it_an_upper_bound():
    assert cell("GRU").note == ""
    assert "upper bound" in cell("GRU", operands=[None, t((2,), "int32")]).note


def test_weights_are_read_once():
    assert cell("LSTM").reads["i1"] == 4 * 6 * 5 * 4


def test_quantised_lstm():
    weights = [t((1, 5, 24), "int8"), t((1, 6, 24), "int8")]
    inputs = [(7, 2, 5), *weights, None, None, None, None, None, (1,), t((1,), "int8"), (1,), t((1,), "int8")]
    result = work("com.microsoft::DynamicQuantizeLSTM", inputs, [(7, 1, 2, 6)])
    assert result.macs == cell("LSTM").macs
    assert result.dtype is DType.INT8
    assert result.ops == cell("LSTM").ops + 7 * 2 * 6 * 4 + 4 * (7 * 2 * 5 + 7 * 2 * 6)


@pytest.mark.parametrize(
    "inputs",
    [
        [(7, 2, 5), (1, 24, 4), (1, 24, 6)],
        [(7, 2, 5), (1, 24, 5), (1, 20, 6)],
        [(7, 2), (1, 24, 5), (1, 24, 6)],
    ],
)
def test_contradictions(inputs):
    with pytest.raises(CostError):
        work("LSTM", inputs, [(7, 1, 2, 6)])


@given(st.sampled_from(sorted(GATES)), st.integers(1, 5), st.integers(1, 5), st.integers(1, 2))
def test_steps_batch_and_directions_multiply(op, steps, batch, directions):
    one = cell(op, steps=1, batch=1).macs
    assert cell(op, steps=steps, batch=batch, directions=directions).macs == steps * batch * directions * one
