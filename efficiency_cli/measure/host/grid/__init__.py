"""The cases of the micro-benchmark: chains of one operator in the sizes that networks have, and small blocks.

Operators that reshape their input come in pairs or with what brings its shape back, so that chains can be long; what
a chain has besides its operator is fitted with it.
"""

from __future__ import annotations

from efficiency_cli.measure.host.grid import blocks, convolutions, elementwise, movement, narrow, products
from efficiency_cli.measure.host.grid.case import Case

_PARTS = (convolutions, products, elementwise, movement, narrow, blocks)


def cases(quick: bool = False) -> list[Case]:
    """The grid, in an order that is always the same; `quick`: a part of it."""
    found = [case for part in _PARTS for case in part.cases()]
    return [c for c in found if c.quick] if quick else found
