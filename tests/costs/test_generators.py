from __future__ import annotations

import pytest
from one_node import t, work


@pytest.mark.parametrize(("op", "each"), [("RandomUniform", 3), ("RandomNormal", 8)])
def test_draws(op, each):
    assert work(op, [], [(4, 5)]).ops == each * 4 * 5
    like = work(f"{op}Like", [(4, 5)], [(4, 5)])
    assert (like.ops, like.reads, like.writes) == (each * 4 * 5, {"i0": 0}, {"o0": 80})


def test_choices():
    assert work("Bernoulli", [(4, 5)], [(4, 5)]).ops == 2 * 4 * 5
    assert work("Multinomial", [(2, 1000)], [t((2, 7), "int32")]).ops == 2 * 2 * 1000 + (1 + 10) * 2 * 7
