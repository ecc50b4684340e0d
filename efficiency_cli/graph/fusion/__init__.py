"""Nodes to kernels: what a runtime launches as one.

Patterns are names that a profile lists (`graph/patterns.py`). First `spared.py` says which nodes a runtime does not
execute, then `units.py` finds operators written as several nodes, then `grouping.py` puts units into kernels.
BatchNormalization with constant weights and Q/DQ around an operator are no choice of the runtime here but part of
the counting (`execution.py`). Work is never changed: only which bytes cross a kernel's border.
"""

from __future__ import annotations

from collections.abc import Iterable

from efficiency_cli.graph.execution import Execution
from efficiency_cli.graph.fusion.grouping import Group, groups_of
from efficiency_cli.graph.fusion.inserted import Inserted, inserted_nodes
from efficiency_cli.graph.fusion.spared import arranged
from efficiency_cli.graph.model import Graph
from efficiency_cli.graph.patterns import DEFAULT_PATTERNS, PATTERNS, SETS, expanded

__all__ = [
    "DEFAULT_PATTERNS",
    "PATTERNS",
    "SETS",
    "Group",
    "Inserted",
    "arranged",
    "expanded",
    "groups_of",
    "inserted_nodes",
    "kernels_of",
]


def kernels_of(graph: Graph, execution: Execution, patterns: Iterable[str]) -> list[tuple[int, ...]]:
    """Node indices by kernel, in the order they run. Nodes that do not run are in none.

    A node with bodies (If, Loop) stands alone, to mark where its bodies' kernels go.
    """
    chosen = expanded(patterns)
    return [tuple(g.nodes) for g in groups_of(graph, arranged(graph, execution, chosen), chosen)]
