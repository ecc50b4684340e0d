from __future__ import annotations

import pytest
from one_node import t, work

from efficiency_cli.graph.model import DType, OpClass

MS = "com.microsoft::"
X = (2, 3, 5)

# operator, operands, attributes: operations an element of a (2, 3, 5) output
CASES = [
    ("Relu", [X], {}, 1),
    ("Neg", [X], {}, 1),
    ("Exp", [X], {}, 1),
    ("Erf", [X], {}, 1),
    ("Tanh", [X], {}, 1),
    ("Sqrt", [X], {}, 1),
    ("Not", [t(X, "bool")], {}, 1),
    ("Add", [X, X], {}, 1),
    ("Add", [X, (5,)], {}, 1),
    ("Pow", [X, ()], {}, 1),
    ("Equal", [X, X], {}, 1),
    ("Where", [t(X, "bool"), X, ()], {}, 1),
    ("LeakyRelu", [X], {}, 2),
    ("PRelu", [X, (3, 1)], {}, 2),
    ("Softplus", [X], {}, 3),
    ("Sigmoid", [X], {}, 4),
    ("HardSigmoid", [X], {}, 4),
    ("HardSwish", [X], {}, 4 + 1),
    ("Swish", [X], {}, 4 + 1),
    ("Swish", [X], {"alpha": 1.702}, 4 + 2),
    ("SwiGLU", [X, X], {}, 4 + 2),
    ("Mish", [X], {}, 3 + 1 + 1),
    ("Gelu", [X], {}, 5),
    ("Gelu", [X], {"approximate": "tanh"}, 9),
    (f"{MS}Gelu", [X], {}, 5),
    (f"{MS}BiasGelu", [X, (5,)], {}, 1 + 5),
    (f"{MS}FastGelu", [X], {}, 9),
    (f"{MS}FastGelu", [X, (5,)], {}, 1 + 9),
    (f"{MS}QuickGelu", [X], {}, 4 + 2),
    (f"{MS}QuickGelu", [X], {"alpha": 1.0}, 4 + 1),
    ("Clip", [X], {}, 0),
    ("Clip", [X, ()], {}, 1),
    ("Clip", [X, None, ()], {}, 1),
    ("Clip", [X, (), ()], {}, 2),
    ("Clip", [X], {"min": 0.0, "max": 6.0}, 2),
    ("Max", [X], {}, 0),
    ("Max", [X, X], {}, 1),
    ("Sum", [X, X, X], {}, 2),
    ("Mean", [X, X, X], {}, 2 + 1),
]


@pytest.mark.parametrize(("key", "inputs", "attributes", "each"), CASES)
def test_operations(key, inputs, attributes, each):
    result = work(key, inputs, [X], **attributes)
    assert (result.macs, result.ops) == (0, each * 2 * 3 * 5)
    assert result.op_class is OpClass.ELEMENTWISE


def test_broadcasting_counts_the_output_and_reads_each_operand_once():
    result = work("Add", [(4, 1), (1, 6)], [(4, 6)])
    assert result.ops == 4 * 6
    assert result.reads == {"i0": 4 * 4, "i1": 4 * 6}
    assert result.writes == {"o0": 4 * 4 * 6}


def test_a_fused_gelu_costs_what_its_exported_chain_costs():
    chain = ["Div", "Erf", "Add", "Mul", "Mul"]
    apart = sum(work(op, [X] if op == "Erf" else [X, ()], [X]).ops for op in chain)
    assert work("Gelu", [X], [X]).ops == apart


def test_where_computes_in_the_type_of_its_values():
    values = t(X, "float16")
    assert work("Where", [t(X, "bool"), values, values], [values]).dtype is DType.FLOAT16


def test_bias_split_gelu():
    result = work(f"{MS}BiasSplitGelu", [(2, 4, 10), (10,)], [(2, 4, 5)])
    assert result.ops == 2 * 4 * 10 + 6 * 2 * 4 * 5


def test_unknown_shape():
    result = work("Add", [t(None), (3,)], [t(None)])
    assert (result.ops, result.note[:13]) == (0, "shape unknown")
