"""Ranks, "vs best" and the matrix, on rows made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efficiency_cli.errors import UsageError
from efficiency_cli.judge.rank import SORTS, matrix, ranked
from efficiency_cli.judge.row import (
    Row,
    RowCoverage,
    RowHardware,
    RowLatency,
    RowModel,
    RowShare,
    RowTotals,
)


def row(machine: str, seconds: float, *, model: str = "m", fits: bool | None = True, batch: int | None = None,
        energy: float | None = None, as_if: str = "", rate: float | None = None) -> Row:  # fmt: skip
    totals = RowTotals(
        macs=1, flops=2, ops=2, parameters=1, weight_bytes=1, peak_activation_bytes=1, ram_bytes=1, flash_bytes=None,
        fits=fits, bytes_moved=1, arithmetic_intensity=2.0, kernels=1, batch=batch or 1,
        latency_s=RowLatency(seconds / 2, seconds / 2, seconds, seconds * 2),
        throughput_per_s=rate, energy_j=energy, energy_interval_j=None,
        time_share=RowShare(0.2, 0.7, 0.1), kv_cache_bytes=0,
    )  # fmt: skip
    hardware = RowHardware(machine, machine, "gpu", "rt", "RT", "int8", "datasheet")
    return Row(RowModel(model), hardware, batch, as_if, totals, RowCoverage(1.0, 1.0))


BAD = Row(RowModel("m"), error="bad")


def told(found):
    return [(one.row.hardware.id if one.row.hardware else "", one.rank, one.vs_best) for one in found]


def test_best_first_and_how_much_worse():
    assert told(ranked([row("a", 4.0), row("b", 2.0), row("c", 3.0)])) == [
        ("b", 1, 1.0), ("c", 2, 1.5), ("a", 3, 2.0),
    ]  # fmt: skip


def test_what_does_not_fit_is_never_best():
    found = ranked([row("small", 1.0, fits=False), row("b", 2.0), row("c", 4.0, fits=None), BAD])
    assert told(found) == [("b", 1, 1.0), ("c", 2, 2.0), ("small", None, 0.5), ("", None, None)]


def test_nothing_fits():
    assert told(ranked([row("a", 1.0, fits=False)])) == [("a", None, None)]


def test_each_model_and_batch_is_a_group_of_its_own():
    rows = [row("a", 8.0), row("b", 4.0), row("a", 1.0, model="n"), row("b", 3.0, model="n"), row("a", 9.0, batch=2)]
    assert told(ranked(rows)) == [("b", 1, 1.0), ("a", 2, 2.0), ("a", 1, 1.0), ("b", 2, 3.0), ("a", 1, 1.0)]


def test_models_stand_against_each_other_where_each_has_one_row():
    rows = [row("a", 8.0, model="m"), row("a", 2.0, model="n"), row("a", 3.0, model="n", batch=4)]
    assert [(one.row.model.path, one.rank, one.vs_best) for one in ranked(rows)] == [
        ("n", 1, 1.0), ("m", 2, 4.0), ("n", 1, 1.0),
    ]  # fmt: skip


def test_types_stand_against_each_other():
    rows = [row("a", 8.0), row("a", 2.0, as_if="int8")]
    assert [(one.row.as_if, one.vs_best) for one in ranked(rows)] == [("int8", 1.0), ("", 4.0)]


def test_more_is_better_where_it_is():
    rows = [row("a", 1.0, rate=10.0), row("b", 1.0, rate=40.0)]
    assert told(ranked(rows, "throughput")) == [("b", 1, 1.0), ("a", 2, 4.0)]


def test_what_has_no_figure_comes_last_without_a_rank():
    rows = [row("a", 1.0), row("b", 2.0, energy=3.0), row("c", 2.0, energy=1.0)]
    assert told(ranked(rows, "energy")) == [("c", 1, 1.0), ("b", 2, 3.0), ("a", None, None)]


def test_the_order_asked_for_keeps_the_ranks():
    assert told(ranked([row("a", 4.0), row("b", 2.0)], "order")) == [("a", 2, 2.0), ("b", 1, 1.0)]


def test_figures_of_nothing():
    assert told(ranked([row("a", 1.0, energy=0.0), row("b", 1.0, energy=2.0)], "energy")) == [
        ("a", 1, 1.0), ("b", 2, None),
    ]  # fmt: skip
    assert ranked([]) == []


def test_an_unknown_figure():
    with pytest.raises(UsageError, match="latenzy"):
        ranked([], "latenzy")


@given(st.lists(st.tuples(st.floats(1e-9, 1e3), st.sampled_from([True, False, None])), min_size=1, max_size=12))
def test_laws(cells):
    rows = [row(f"m{k}", seconds, fits=fits) for k, (seconds, fits) in enumerate(cells)]
    for by in SORTS:
        found = ranked(rows, by)
        assert sorted(one.row.hardware.id for one in found) == sorted(r.hardware.id for r in rows)
    found = ranked(rows)
    ranks = [one.rank for one in found if one.rank is not None]
    assert ranks == list(range(1, len(ranks) + 1))
    assert all(one.vs_best >= 1 for one in found if one.rank is not None)
    assert [one.row.fits is False for one in found] == sorted(one.row.fits is False for one in found)


# --- the matrix ---


def test_models_down_and_machines_across():
    rows = [row("a", 1.0), row("b", 2.0), row("a", 3.0, model="n"), row("b", 4.0, model="n")]
    found = matrix(rows)
    assert (found.machines, [line.model for line in found.lines]) == (("a", "b"), ["m", "n"])
    assert found.values() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_hole_and_an_error():
    found = matrix([row("a", 1.0), row("b", 2.0), Row(RowModel("n"), error="bad"), row("b", 5.0, model="o")])
    assert found.values() == [[1.0, 2.0], [None, None], [None, 5.0]]
    assert [line.error for line in found.lines] == [None, "bad", None]


def test_batches_and_types_are_lines():
    found = matrix([row("a", 1.0), row("a", 2.0, batch=2), row("a", 3.0, as_if="int8")])
    assert [(line.batch, line.as_if) for line in found.lines] == [(None, ""), (2, ""), (None, "int8")]


def test_two_machines_of_one_name_have_two_columns():
    assert matrix([row("a", 1.0), row("a", 2.0)]).machines == ("a", "a'")


def test_another_figure():
    assert matrix([row("a", 1.0, energy=7.0), row("b", 1.0)], "energy").values() == [[7.0, None]]
