"""The shipped microcontroller runtimes are what the tool fits to public measurements: fitting again moves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from efficiency_cli.measure.cases import Case, case_of, without_repeats
from efficiency_cli.measure.fit import Fit, fit
from efficiency_cli.measure.place import Unplaced, place
from efficiency_cli.measure.runs import read_runs
from efficiency_cli.measure.validate import estimated

TABLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "mcu" / "measurements.csv"

pytestmark = pytest.mark.skipif(not TABLE.is_file(), reason="needs ../shared")

# numbers are written with three digits, a ratio's clipping at a whole bandwidth moves others a little
SCALE_WITHIN, RATIO_WITHIN = 0.05, 0.10


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    placed, _ = place(read_runs(str(TABLE)))
    found = [case_of(placed[k], outcome) for k, outcome in estimated(placed) if not isinstance(outcome, Unplaced)]
    return [case.at_bandwidth for case in without_repeats(found)]


@pytest.fixture(scope="module")
def again(cases: list[Case]) -> Fit:
    pytest.importorskip("scipy")
    return fit(cases, free=True)


def test_most_rows_have_a_machine(cases: list[Case]) -> None:
    # 339 rows; 9 of runtimes that are not described, and logs that were published twice
    assert len(cases) >= 310


def test_no_scale_moves(again: Fit) -> None:
    moved = {g: round(s, 3) for g, s in again.scales.items() if abs(s - 1) > SCALE_WITHIN}
    assert not moved


def test_no_ratio_moves(again: Fit, cases: list[Case]) -> None:
    # memory is fitted against its whole bandwidth: the profile's share of it is what comes out
    shares = {c.share: c.placed.profile.runtime(c.share).efficiency_of("memory") for c in cases}
    for p in again.parameters:
        if not p.refused:
            factor = p.factor * shares[p.share] if p.name == "memory" else p.factor
            assert factor == pytest.approx(1, abs=RATIO_WITHIN), (p.share, p.name)
