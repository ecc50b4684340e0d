"""Random numbers. A draw of a uniform number counts 1, whatever the generator."""

from __future__ import annotations

from efficiency_cli.costs import Op, Work, cost


@cost("RandomUniform", "RandomUniformLike")
def uniform(op: Op) -> Work:
    """3 an element: draw, scale, shift. The Like form reads no data, only a shape."""
    return op.work(other=3 * op.elements(), touched={0: 0})


@cost("RandomNormal", "RandomNormalLike")
def normal(op: Op) -> Work:
    """8 an element by Box–Muller: draw, log, scale, root, cos, product; scale, shift."""
    return op.work(other=8 * op.elements(), touched={0: 0})


@cost("Bernoulli")
def bernoulli(op: Op) -> Work:
    """2 an element: draw, compare."""
    return op.work(other=2 * op.elements())


@cost("Multinomial")
def multinomial(op: Op) -> Work:
    """2 a class to exponentiate and accumulate; a sample costs a draw and ⌈log₂ classes⌉ comparisons."""
    batch, classes = op.shape()
    search = 1 + max(classes - 1, 0).bit_length()
    return op.work(other=2 * batch * classes + search * op.elements())
