"""Orders with a lower peak, against all orders of small graphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypothesis import given, settings
from onnx_text import read
from some_networks import models

from efficiency_cli.graph.model import Model
from efficiency_cli.roofline.memory.live import alive, blocks_of, live_set
from efficiency_cli.roofline.memory.order import best_order
from efficiency_cli.roofline.network import Kernel, Network

F = 4  # bytes of a float32
# two branches that widen, each narrowed again: one after the other only one is wide
BRANCHES = """g (float[10] x) => (float[] y) <int64[1] wide = {10}, int64[1] axis = {0}> {
    [wide_a] a = Tile(x, wide)  [wide_b] b = Tile(x, wide)
    [narrow_a] p = ReduceSum(a, axis)  [narrow_b] q = ReduceSum(b, axis)
    y = Add(p, q)
}"""


def network_of(text: str) -> tuple[Network, tuple[Kernel, ...]]:
    network = Network(read(text))
    return network, network.kernels(frozenset())


def test_a_wide_branch_is_finished_before_the_next() -> None:
    network, kernels = network_of(BRANCHES)
    found = best_order(network, kernels)
    # x a b | x b q' and so on: two wide ones and x, against one wide one, x and the other's sum
    assert found.peak_before == (10 + 100 + 100) * F
    assert found.peak == (10 + 100 + 1) * F
    assert found.saved == 99 * F
    assert [k.name for k in found.kernels][:2] in (["wide_a", "narrow_a"], ["wide_b", "narrow_b"])


def test_a_chain_stays_as_it_is() -> None:
    network, kernels = network_of("g (float[10] x) => (float[] y) { a = Exp(x)  b = Neg(a)  y = Abs(b) }")
    found = best_order(network, kernels)
    assert found.kernels == kernels
    assert found.saved == 0


def test_a_body_runs_as_a_whole() -> None:
    network, kernels = network_of(
        """g (float[10] x) => (float[] y) <int64 n = {3}, int64[1] wide = {10}, int64[1] axis = {0}> {
            a = Tile(x, wide)
            l = Loop (n, , x) <body = t (int64 i, bool c, float[10] v) => (bool d, float[10] u) {
                d = Identity(c)  [one] e = Neg(v)  [two] u = Exp(e)
            }>
            p = ReduceSum(a, axis)
            y = Add(l, p)
        }"""
    )
    found = best_order(network, kernels)
    names = [k.name for k in found.kernels]
    assert names.index("two") == names.index("one") + 1
    assert found.peak <= found.peak_before
    assert found.peak == live_set(network, found.kernels).peak_bytes


def test_no_kernels() -> None:
    network, kernels = network_of("g (float[2,5] x) => (float[] y) { y = Flatten<axis = 0>(x) }")
    assert best_order(network, kernels).kernels == ()


def orders(kernels: Sequence[Kernel]) -> Iterator[tuple[Kernel, ...]]:
    """Every order in which what a kernel reads is there."""
    made = {key for k in kernels for key in k.writes}

    def go_on(done: tuple[Kernel, ...], left: tuple[Kernel, ...]) -> Iterator[tuple[Kernel, ...]]:
        if not left:
            yield done
        there = {key for k in done for key in k.writes}
        for kernel in left:
            if all(key in there or key not in made for key in kernel.reads):
                yield from go_on((*done, kernel), tuple(k for k in left if k is not kernel))

    yield from go_on((), tuple(kernels))


@settings(max_examples=60, deadline=None)
@given(models())
def test_no_order_of_a_small_graph_is_better(model: Model) -> None:
    network = Network(model)
    kernels = network.kernels()
    if len(kernels) > 7:
        return
    found = best_order(network, kernels)
    peaks = [max(alive(blocks_of(network, order), len(order)), default=0) for order in orders(kernels)]
    assert found.peak == min(peaks)
    assert found.peak == max(alive(blocks_of(network, found.kernels), len(kernels)), default=0)
    assert sorted(k.index for k in found.kernels) == list(range(len(kernels)))
