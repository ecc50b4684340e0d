"""What other counters say of the same network, for whoever must match an old report.

Each module holds one tool's rules, in its own unit, read from its source at the commit it names; no code of
it. Where what a tool counts was lost in the export to ONNX, `differences` says what is assumed here.
"""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from efficiency_cli.costs import CostError
from efficiency_cli.roofline.conventions import calflops, fvcore, onnx_tool
from efficiency_cli.roofline.conventions.tool import Tool, operands_of
from efficiency_cli.roofline.network import CountedNode, Network

_TOOLS: dict[str, Tool] = {tool.name: tool for tool in (onnx_tool.TOOL, fvcore.TOOL, calflops.TOOL)}
NAMES = tuple(_TOOLS)
_MOST_NAMED = 8
# why a node counts nothing
_UNSEEN, _UNKNOWN = "it never sees this node", "its shape is not known"
_NO_RULE = "it has no rule for this operator"


class Convention(Struct, frozen=True):
    """Totals as the tool `name` counts them; None where it has no such figure.

    `differences`: what it counts otherwise than others, and what is assumed here; `source`: where that was read.
    """

    name: str
    macs: int | None
    flops: int
    parameters: int
    differences: tuple[str, ...]
    source: str


class NodeCount(Struct, frozen=True):
    """One node as the tool counts it, all its runs together; `macs` is None where it has no such figure.

    `why` says why it counts nothing, '' where it has a rule.
    """

    macs: int | None
    flops: int
    why: str = ""


def as_counted_by(name: str, network: Network) -> Convention:
    """The network's totals under the convention `name`, one of NAMES."""
    tool = _TOOLS[name]
    counts = [(node, _of_node(tool, node, network)) for node in network.nodes]
    without = Counter(node.node.key for node, count in counts if count.why == _NO_RULE)
    unknown = sum(count.why == _UNKNOWN for _, count in counts)
    told = [_named(without)] if without else []
    told += [f"{unknown:,} nodes of unknown shape count 0"] if unknown else []
    return Convention(
        name=name,
        macs=sum(count.macs or 0 for _, count in counts) if tool.has_macs else None,
        flops=sum(count.flops for _, count in counts),
        parameters=tool.parameters(network),
        differences=(*tool.differences, *told),
        source=tool.source,
    )


def node_as_counted_by(name: str, counted: CountedNode, network: Network) -> NodeCount:
    """One node of the network under the convention `name`."""
    return _of_node(_TOOLS[name], counted, network)


def _of_node(tool: Tool, counted: CountedNode, network: Network) -> NodeCount:
    nothing = 0 if tool.has_macs else None
    if not tool.sees(counted):
        return NodeCount(nothing, 0, _UNSEEN)
    try:
        found = tool.rule(operands_of(counted), network.dense_work(counted.node, counted.graph).macs)
    except (CostError, ArithmeticError, LookupError, TypeError, ValueError):
        # what our own rule made of operands like these, it said before
        return NodeCount(nothing, 0, _UNKNOWN)
    if found is None:
        return NodeCount(nothing, 0, _NO_RULE)
    macs, flops = found
    return NodeCount(macs * counted.repeat if macs is not None else None, flops * counted.repeat)


def _named(without: Counter[str]) -> str:
    named = [f"{key} ({count:,})" for key, count in sorted(without.items())]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"not counted by it: {', '.join(named[:_MOST_NAMED])}{more}"
