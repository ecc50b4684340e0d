"""Which operators have a rule, and what becomes of one that has none."""

from __future__ import annotations

import pytest
from one_node import t, work

from efficiency_cli.costs import CostError, cost, rules
from efficiency_cli.graph.model import OpClass


def test_rules_say_what_they_count():
    assert [rule.__name__ for rule in rules().values() if not rule.__doc__] == []


def test_a_second_rule_is_refused():
    rules()
    with pytest.raises(ValueError, match=r"Conv already has a cost rule"):
        cost("Conv")(lambda op: op.view())


def test_an_unknown_operator_counts_as_traffic():
    result = work("my.domain::Fold", [(4, 8), t((8,), "int8")], [(4,)])
    assert (result.macs, result.ops, result.modelled, result.op_class) == (0, 0, False, OpClass.MOVEMENT)
    assert (result.reads, result.writes) == ({"i0": 4 * 8 * 4, "i1": 8}, {"o0": 16})


@pytest.mark.parametrize("key", sorted({f"{d}::{o}" if d else o for d, o in rules()}))
def test_no_rule_fails_on_unknown_shapes(key):
    attributes = {"num_heads": 2, "kv_num_heads": 2, "equation": "a,b,c,d,e,f,g,h,i->", "N": 1, "K": 1}
    result = work(key, [t(None)] * 9, [t(None)] * 2, **attributes)
    assert result.macs == 0


@pytest.mark.parametrize("key", sorted({f"{d}::{o}" if d else o for d, o in rules()}))
@pytest.mark.parametrize(
    "operands", [[], [()] * 9, [(0,)] * 9, [(1, 2, 3)] * 9], ids=["none", "scalars", "empty", "odd"]
)
def test_nonsense_is_refused_by_name_or_counted(key, operands):
    refusal, result = None, None
    try:
        result = work(key, operands, [(3,)] * 2)
    except CostError as error:
        refusal = error.what
    if result is None:
        assert refusal.startswith("node 'a_")
        return
    assert result.ops >= 2 * result.macs >= 0
    sizes = (*result.reads.values(), *result.writes.values())
    assert all(isinstance(size, int) and size >= 0 for size in sizes)


def test_numbers_beyond_64_bits_stay_exact():
    assert work("MatMul", [(2**62, 16), (16, 8)], [(2**62, 8)]).macs == 2**69
    assert work("Sigmoid", [(2**80,)], [(2**80,)]).ops == 4 * 2**80
