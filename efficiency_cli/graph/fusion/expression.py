"""Decompositions written as expressions, and where a graph computes one: 'Mul(x, Sigmoid(x))'.

    Operator(…)    a node; Add and Mul take their operands in either order, further constant operands are free
    x y            any tensor that is no constant, the same one wherever the name stands
    c              any constant
    0.5            a constant of one element, of about this value where the file holds it
    d:Sub(…)       a node whose result is named: 'd' stands for it later
    (A | B)        either

One Cast between floating-point types may stand before any operator. Nothing here looks at who else reads what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from msgspec import Struct

from efficiency_cli.graph.fusion.flow import Flow
from efficiency_cli.graph.model import Node

_TOKEN = re.compile(r"\s*([A-Za-z_]\w*|-?\d+\.?\d*|[():,|])")
_COMMUTATIVE = frozenset({"Add", "Mul"})
# exporters write 0.7071067 or 1.4142 to few digits, and in half precision to three
_CLOSE = 0.01


class Operator(Struct, frozen=True):
    op: str
    operands: tuple[Expression, ...]
    name: str = ""


class Named(Struct, frozen=True):
    name: str


class Number(Struct, frozen=True):
    value: float


class Either(Struct, frozen=True):
    options: tuple[Expression, ...]


Expression = Operator | Named | Number | Either


class Match(Struct, frozen=True):
    """What the names of an expression are bound to, and the nodes that it covers so far."""

    bound: Mapping[str, str]
    nodes: frozenset[int]


@cache
def parse(text: str) -> Expression:
    """The expression that `text` writes; ValueError for what is none."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s", "", text):
        raise ValueError(text)
    expression, end = _either(tokens, 0)
    if end != len(tokens):
        raise ValueError(text)
    return expression


def _either(tokens: Sequence[str], at: int) -> tuple[Expression, int]:
    first, at = _single(tokens, at)
    options = [first]
    while at < len(tokens) and tokens[at] == "|":
        option, at = _single(tokens, at + 1)
        options.append(option)
    return (first if len(options) == 1 else Either(tuple(options))), at


def _single(tokens: Sequence[str], at: int) -> tuple[Expression, int]:
    token = tokens[at]
    if token == "(":
        inner, at = _either(tokens, at + 1)
        return inner, at + 1
    if not token[0].isalpha():
        return Number(float(token)), at + 1
    if at + 1 < len(tokens) and tokens[at + 1] == ":":
        inner, at = _single(tokens, at + 2)
        if not isinstance(inner, Operator):
            raise ValueError(token)
        return Operator(inner.op, inner.operands, token), at
    if at + 1 == len(tokens) or tokens[at + 1] != "(":
        return Named(token), at + 1
    operands = []
    at += 1
    while tokens[at] != ")":
        operand, at = _either(tokens, at + 1)
        operands.append(operand)
    return Operator(token, tuple(operands)), at + 1


def roots(expression: Expression) -> frozenset[str]:
    """The operators that the expression's last node can be."""
    if isinstance(expression, Either):
        return frozenset(op for option in expression.options for op in roots(option))
    return frozenset({expression.op}) if isinstance(expression, Operator) else frozenset()


def matches(flow: Flow, expression: Expression, name: str) -> Iterator[Match]:
    """Every way in which the tensor is computed as the expression says."""
    yield from _matched(flow, expression, name, Match({}, frozenset()))


def _matched(flow: Flow, expression: Expression, name: str, so_far: Match) -> Iterator[Match]:
    match expression:
        case Named(wanted):
            yield from _named(flow, wanted, name, so_far)
        case Number(value):
            if _is_number(flow, name, value):
                yield so_far
        case Either(options):
            for option in options:
                yield from _matched(flow, option, name, so_far)
        case Operator():
            yield from _operator(flow, expression, name, so_far)


def _named(flow: Flow, wanted: str, name: str, so_far: Match) -> Iterator[Match]:
    source = flow.resolve(name)
    if wanted in so_far.bound:
        if so_far.bound[wanted] == source:
            yield so_far
    elif wanted == "c":
        if flow.constant(name):
            yield so_far
    elif name and not flow.constant(name):
        yield Match({**so_far.bound, wanted: source}, so_far.nodes)


def _is_number(flow: Flow, name: str, value: float) -> bool:
    if not flow.scalar(name):
        return False
    held = flow.tensor(name).value
    return not held or abs(float(held[0]) - value) <= _CLOSE * max(abs(value), _CLOSE)


def _operator(flow: Flow, wanted: Operator, name: str, so_far: Match) -> Iterator[Match]:
    nodes = so_far.nodes
    k = flow.made_by(name)
    if k is not None and wanted.op != "Cast" and _is_float_cast(flow, flow.graph.nodes[k]):
        nodes |= {k}
        k = flow.made_by(flow.graph.nodes[k].inputs[0])
    if k is None or flow.graph.nodes[k].op != wanted.op:
        return
    node = flow.graph.nodes[k]
    count = len(wanted.operands)
    if len(node.inputs) < count or not all(not i or flow.constant(i) for i in node.inputs[count:]):
        return
    bound = so_far.bound
    if wanted.name:
        source = flow.resolve(name)
        if bound.get(wanted.name, source) != source:
            return
        bound = {**bound, wanted.name: source}
    covered = Match(bound, nodes | {k})
    yield from _operands(flow, wanted.operands, node.inputs[:count], covered)
    if node.op in _COMMUTATIVE and count == 2:
        yield from _operands(flow, wanted.operands, (node.inputs[1], node.inputs[0]), covered)


def _operands(flow: Flow, expressions: Sequence[Expression], names: Sequence[str], so_far: Match) -> Iterator[Match]:
    if not expressions:
        yield so_far
        return
    for found in _matched(flow, expressions[0], names[0], so_far):
        yield from _operands(flow, expressions[1:], names[1:], found)


def _is_float_cast(flow: Flow, node: Node) -> bool:
    if node.op != "Cast":
        return False
    types = [flow.tensor(n).dtype for n in (node.inputs[0], node.outputs[0])]
    return all(t is not None and t.is_float for t in types)
