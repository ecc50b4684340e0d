"""Einsum: products of operands, pair by pair from left to right, and sums over the letters that vanish."""

from __future__ import annotations

import math
from collections.abc import Mapping

from efficiency_cli.costs import CostError, Op, Work, cost
from efficiency_cli.graph.model import OpClass, Shape

Term = tuple[str, ...]


@cost("Einsum")
def einsum(op: Op) -> Work:
    """Operands are contracted from left to right: Π(all letters of a pair) MACs where a letter is summed.

    A pair without a summed letter is a broadcast product, 1 operation an element. A letter that only one
    operand has and the output lacks is summed first, 1 an element.
    """
    shapes = [op.shape(slot) for slot in range(len(op.inputs))]
    terms, result = _parse(op.attr("equation", ""), shapes)
    sizes = _sizes(terms, shapes)
    if not sizes.keys() >= set(result):
        raise CostError(f"equation '{op.attr('equation', '')}': the result has letters of no operand")
    macs, other, left = 0, 0, terms[0]
    for index, right in enumerate(terms[1:], start=1):
        needed = set(result).union(*terms[index + 1 :])
        left, extra_left = _sum_alone(left, needed | set(right), sizes)
        right, extra_right = _sum_alone(right, needed | set(left), sizes)
        union = tuple(dict.fromkeys(left + right))
        volume = _volume(union, sizes)
        contracted = any(letter not in needed for letter in union)
        macs += volume * contracted
        other += volume * (not contracted) + extra_left + extra_right
        left = tuple(letter for letter in union if letter in needed)
    _, rest = _sum_alone(left, set(result), sizes)
    formula = f"{op.attr('equation', '')} = {macs:,} MACs"
    op_class = OpClass.DENSE if macs else OpClass.ELEMENTWISE
    return op.work(macs=macs, other=other + rest, op_class=op_class, formula=formula)


def _volume(term: Term, sizes: Mapping[str, int]) -> int:
    return math.prod(sizes[letter] for letter in dict.fromkeys(term))


def _sum_alone(term: Term, needed: set[str], sizes: Mapping[str, int]) -> tuple[Term, int]:
    """The term without the letters nobody needs, and the additions that takes."""
    kept = tuple(letter for letter in term if letter in needed)
    return kept, 0 if set(kept) == set(term) else _volume(term, sizes)


def _parse(equation: str, shapes: list[Shape]) -> tuple[list[Term], Term]:
    """Letters of each operand and of the result; an ellipsis becomes numbered letters, from the right."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    names = left.split(",")
    if not left or len(names) != len(shapes):
        raise CostError(f"equation '{equation}' does not name {len(shapes)} operands")
    terms = [_letters(name, len(shape), equation) for name, shape in zip(names, shapes, strict=True)]
    if arrow:
        dots = max((len(t) for t in map(_dots, terms)), default=0)
        width = len(right.replace("...", "")) + dots * ("..." in right)
        return terms, _letters(right, width, equation)
    seen = [letter for term in terms for letter in term]
    once = sorted(letter for letter in set(seen) if len(letter) == 1 and seen.count(letter) == 1)
    return terms, (*max(map(_dots, terms), key=len), *once)


def _dots(term: Term) -> Term:
    return tuple(letter for letter in term if letter.startswith("."))


def _letters(name: str, rank: int, equation: str) -> Term:
    head, dots, tail = name.partition("...")
    hidden = rank - len(head) - len(tail)
    if hidden < 0 or (hidden and not dots) or not (head + tail).isalpha() * bool(head + tail) + (not head + tail):
        raise CostError(f"equation '{equation}': '{name}' does not fit an operand of rank {rank}")
    return (*head, *(f".{k}" for k in range(hidden, 0, -1)), *tail)


def _sizes(terms: list[Term], shapes: list[Shape]) -> dict[str, int]:
    """Size of each letter; 1 broadcasts."""
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            known = sizes.setdefault(letter, size)
            if known != size and 1 not in (known, size):
                raise CostError(f"letter '{letter}' is {known} and {size}")
            sizes[letter] = size if known == 1 else known
    return sizes
