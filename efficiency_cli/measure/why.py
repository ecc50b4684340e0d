"""Why an estimate may be off: what takes most of a network's time, and how unlike the others measured it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from efficiency_cli.measure.cases import COLUMNS, RATIOS, Array, Case, Stack
from efficiency_cli.measure.fit import Fit, scaled

# names of what time goes to, by column of a fit
PARTS = ("dense", *RATIOS)
# A network is unlike the other families' where a part takes this much more of its time than of any of theirs,
# or where it takes this many times as long as the longest of theirs (or the shortest as it)
_MORE_OF_IT = 0.15
_TIMES_AS_LONG = 3.0


class Remark(Struct, frozen=True):
    """Of one case: the part that takes most of its time, how much, and how it is unlike other families measured.

    `most` is the largest share of that part among the others, `longer` its time over the longest (above 1) or the
    shortest (below 1) of theirs; each None where it is not unlike them, or where there are none.
    """

    case: Case
    part: str
    share: float
    most: float | None = None
    longer: float | None = None

    @property
    def outside(self) -> bool:
        return self.most is not None or self.longer is not None


def remarks(cases: Sequence[Case], found: Fit) -> list[Remark]:
    """One for each of `cases`, as the fit divides their time."""
    if not cases:
        return []
    factors = np.array([found.factors(c.share) for c in cases])
    scales = np.array([found.scales.get(c.group, 1.0) for c in cases])
    parts = scaled(Stack(cases).parts(factors), scales, found.free)
    totals = parts.sum(axis=1)
    shares = parts / np.where(totals > 0, totals, 1)[:, None]
    return [_remark(cases, k, shares, totals) for k in range(len(cases))]


def _remark(cases: Sequence[Case], k: int, shares: Array, totals: Array) -> Remark:
    case, column = cases[k], int(np.argmax(shares[k]))
    assert column < COLUMNS
    share = float(shares[k, column])
    others = [j for j, c in enumerate(cases) if c.share == case.share and c.family != case.family]
    on_board = [j for j in others if cases[j].group == case.group]
    most = max((float(shares[j, column]) for j in others), default=None)
    return Remark(
        case=case,
        part=PARTS[column],
        share=share,
        most=most if most is not None and share > most + _MORE_OF_IT else None,
        longer=_longer(float(totals[k]), [float(totals[j]) for j in on_board]),
    )


def _longer(seconds: float, others: Sequence[float]) -> float | None:
    if not others:
        return None
    if seconds > _TIMES_AS_LONG * max(others):
        return seconds / max(others)
    if seconds * _TIMES_AS_LONG < min(others):
        return seconds / min(others)
    return None
