from __future__ import annotations

import pytest
from one_node import t, work


@pytest.mark.parametrize("op", ["SequenceConstruct", "SequenceAt", "SequenceInsert", "SequenceErase", "SequenceEmpty"])
def test_lists_hold_references(op):
    result = work(op, [t(None), (3, 4)], [t(None)])
    assert (result.view, result.modelled, result.reads, result.writes) == (True, True, {}, {})


def test_lengths_read_nothing():
    result = work("SequenceLength", [(3, 4)], [t((), "int64")])
    assert (result.ops, result.reads, result.writes) == (0, {"i0": 0}, {"o0": 8})


def test_joining_copies():
    result = work("ConcatFromSequence", [t(None)], [(3, 4)])
    assert (result.ops, result.view, result.writes) == (0, False, {"o0": 48})
