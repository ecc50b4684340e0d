"""The live set by hand and against a naive simulation; what fits where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import level, profile
from onnx_text import read
from some_networks import models

import efficiency_cli as eff
from efficiency_cli.graph.fusion import DEFAULT_PATTERNS
from efficiency_cli.graph.model import Model
from efficiency_cli.graph.read import read_model
from efficiency_cli.hardware.profile import MemoryLevel
from efficiency_cli.roofline.memory import Fit, LiveSet, fit, live_set
from efficiency_cli.roofline.network import Kernel, Network
from efficiency_cli.roofline.phases import Phase

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
F = 4  # bytes of a float32


def live(text: str, patterns: frozenset[str] = frozenset()) -> LiveSet:
    network = Network(read(text))
    return live_set(network, network.kernels(patterns))


# --- by hand ---


def test_a_chain_holds_an_operand_and_a_result() -> None:
    # 10 -> 20 -> 5 elements
    text = """g (float[1,10] x) => (float[] y) <float[10,20] w, float[20,5] v> {
        [one] a = MatMul(x, w)  [two] y = MatMul(a, v)
    }"""
    assert live(text) == LiveSet((30 * F, 25 * F), 30 * F, "one")


def test_a_residual_stays_until_it_is_added() -> None:
    text = "g (float[10] x) => (float[] y) { a = Exp(x)  b = Exp(a)  [last] y = Add(b, x) }"
    # x a | x a b | x b y
    assert live(text) == LiveSet((20 * F, 30 * F, 30 * F), 30 * F, "Exp_1")


def test_an_output_stays_to_the_end() -> None:
    text = "g (float[10] x) => (float[] a, float[] y) { a = Exp(x)  b = Exp(x)  c = Exp(b)  y = Exp(c) }"
    # x a | x a b | a b c | a c y
    assert live(text).by_kernel == (20 * F, 30 * F, 30 * F, 30 * F)


def test_an_input_is_there_from_the_start() -> None:
    text = "g (float[10] x, float[100] late) => (float[] y) { a = Exp(x)  b = Concat<axis = 0>(a, late)  y = Exp(b) }"
    # x late a | a late b | b y
    assert live(text).by_kernel == (120 * F, 220 * F, 220 * F)


def test_an_input_that_nobody_reads_is_there_as_well() -> None:
    assert live("g (float[10] x, float[7] z) => (float[] y) { y = Exp(x) }").by_kernel == (27 * F,)


def test_an_input_of_which_a_part_is_read_is_there_in_full() -> None:
    text = """g (float[100] x) => (float[] y) <int64[1] lo = {0}, int64[1] hi = {10}> {
        s = Slice(x, lo, hi)  y = Exp(s)
    }"""
    # x and its first ten | those and their exponentials
    assert live(text).by_kernel == (110 * F, 20 * F)


def test_a_fused_kernel_holds_no_inner_tensors() -> None:
    text = "g (float[1,8,4,4] x) => (float[] y) <float[8,8,1,1] w> { c = Conv(x, w)  a = Add(c, x)  y = Relu(a) }"
    assert live(text, DEFAULT_PATTERNS).by_kernel == (2 * 8 * 16 * F,)
    assert live(text).by_kernel == (2 * 8 * 16 * F, 3 * 8 * 16 * F, 2 * 8 * 16 * F)


def test_an_input_that_is_handed_on_stays_to_the_end() -> None:
    text = "g (float[10] x, float[2,5] z) => (float[] y, float[] v) { a = Exp(x)  y = Exp(a)  v = Flatten(z) }"
    # x z a | a z y
    assert live(text).by_kernel == (30 * F, 30 * F)


def test_a_view_takes_no_room() -> None:
    assert live("g (float[2,5] x) => (float[] y) { f = Flatten(x)  r = Exp(f)  y = Identity(r) }").by_kernel == (
        20 * F,
    )


def test_without_kernels_the_inputs_remain() -> None:
    assert live("g (float[2,5] x) => (float[] y) { y = Flatten<axis = 0>(x) }") == LiveSet((), 10 * F, "")


def test_what_a_loop_starts_with_stays_while_its_body_runs() -> None:
    text = """g (float[10] x) => (float[] y) <int64 n = {3}> {
        a = Exp(x)  b = Exp(a)
        l = Loop (n, , b) <body = t (int64 i, bool c, float[10] v) => (bool d, float[] u) {
            d = Identity(c)  u = Neg(v)
        }>
        y = Abs(l)
    }"""
    # x a | a b | b v u | l y, where l is the last u
    assert live(text).by_kernel == (20 * F, 20 * F, 30 * F, 20 * F)


def test_what_a_body_reads_from_around_it_stays_until_the_last_trip() -> None:
    text = """g (float[10] x) => (float[] y) <int64 n = {3}> {
        a = Exp(x)
        l = Loop (n, , x) <body = t (int64 i, bool c, float[10] v) => (bool d, float[10] u) {
            d = Identity(c)  e = Add(v, a)  f = Neg(e)  u = Exp(f)
        }>
        y = Abs(l)
    }"""
    # x a | then x, a and v throughout the body beside  e | e f | f u  | l y
    assert live(text).by_kernel == (20 * F, 40 * F, 50 * F, 50 * F, 20 * F)


def test_one_trip_takes_what_it_starts_with() -> None:
    text = """g (float[10] x) => (float[] y) <int64 n = {1}> {
        b = Exp(x)
        l = Loop (n, , b) <body = t (int64 i, bool c, float[10] v) => (bool d, float[10] u) {
            d = Identity(c)  u = Neg(v)
        }>
        y = Abs(l)
    }"""
    # x b | b, which v is, and u | l y
    assert live(text).by_kernel == (20 * F, 20 * F, 20 * F)


def test_lists_of_a_scan_are_there_as_a_whole() -> None:
    text = """g (float[10] s, float[5,10] xs) => (float[] y, float[] ys) {
        y, ys = Scan<num_scan_inputs = 1, body = b (float[10] v, float[10] x) => (float[10] u, float[10] z) {
            u = Add(v, x)  z = Exp(u)
        }>(s, xs)
    }"""
    # s, v, u (10 each), all of xs and all of ys, into which z goes
    assert live(text).by_kernel == (130 * F, 130 * F)


def test_a_branch_s_result_is_the_node_s() -> None:
    text = """g (float[10] x, bool c) => (float[] y) {
        a = Exp(x)
        r = If (c) <
            then_branch = t () => (float[10] p) { p = Neg(a) },
            else_branch = e () => (float[10] q) { q = Abs(a) }
        >
        y = Exp(r)
    }"""
    # x c a | a, the branch's | that and y; the condition is read when it branches
    assert live(text).by_kernel[0] == 20 * F + 1
    assert live(text).by_kernel[1:] == (20 * F, 20 * F)


def test_a_constant_output_is_a_copy_that_stays() -> None:
    text = """g (float[10] x) => (float[] y, float[] z) <float[7] w> { y = Exp(x)  z = Identity(w) }"""
    assert live(text).by_kernel == (27 * F,)


def test_visual_wake_words_in_int8() -> None:
    result = eff.estimate(eff.read_model(str(SAMPLES / "vww_mobilenetv1_int8.onnx")))
    # the first pointwise convolution: 48 x 48 in 8 channels become 16
    assert result.live.peak_bytes == 48 * 48 * 8 + 48 * 48 * 16 == 55_296
    assert result.live.peak_at == "/blocks/blocks.0/pointwise/Conv"
    assert result.totals.peak_activation_bytes == 55_296


# --- against a simulation ---


def simulated(network: Network, kernels: Sequence[Kernel]) -> list[int]:
    """Kernel by kernel, every tensor that is there already and is needed from here on."""
    graph = network.model.graph
    size = {network.key_of(n): graph.tensors[n].bytes for n in graph.inputs}
    inputs = set(size)
    outputs = {network.key_of(n) for n in graph.outputs}
    for kernel in kernels:
        size.update(kernel.writes)
    result = []
    for now, _ in enumerate(kernels):
        total = 0
        for key, bytes_ in size.items():
            there = key in inputs or any(key in k.writes for k in kernels[: now + 1])
            needed = any(key in k.reads for k in kernels[now:]) or key in kernels[now].writes or key in outputs
            # an input that nobody reads is there when the run starts
            idle = key in inputs and now == 0
            total += bytes_ if there and (needed or idle) else 0
        result.append(total)
    return result


@settings(max_examples=100, deadline=None)
@given(models(), st.sets(st.sampled_from(["bias", "activation", "add", "pad", "pointwise", "movement"])))
def test_the_live_set_of_any_network(model: Model, patterns: set[str]) -> None:
    network = Network(model)
    kernels = network.kernels(patterns)
    found = live_set(network, kernels)
    assert list(found.by_kernel) == simulated(network, kernels)
    if kernels:
        assert found.peak_bytes == max(found.by_kernel)
        assert found.by_kernel[[k.name for k in kernels].index(found.peak_at)] == found.peak_bytes
        # a kernel cannot run without what it reads and writes
        for kernel, bytes_ in zip(kernels, found.by_kernel, strict=True):
            assert bytes_ >= sum((dict(kernel.reads) | dict(kernel.writes)).values())


# --- decoders ---


def decoding(path: Path, context: int) -> eff.Estimate:
    return eff.estimate(read_model(str(path), propose=Phase("decode", context).sizes))


DECODERS = [SAMPLES / "decoder_kv.onnx"] + [
    SAMPLES.parents[1] / "shared" / "models" / f"{name}.onnx"
    for name in ("llama_15m.past_ts17dyn", "gpt2_small4.hfgen_decode", "llama_15m.gqa_nb4")
]


@pytest.mark.parametrize("path", DECODERS, ids=lambda p: p.stem)
def test_the_peak_of_decoding_grows_evenly_with_the_cache(path: Path) -> None:
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    first, second, third = (decoding(path, c) for c in (1000, 2000, 3000))
    growth = second.live.peak_bytes - first.live.peak_bytes
    assert third.live.peak_bytes - second.live.peak_bytes == growth
    # what is read of the cache and what is written of it are both there at the end
    assert growth >= 1000 * first.totals.kv_cache_bytes_per_token > 0
    assert growth <= 1000 * 3 * first.totals.kv_cache_bytes_per_token


# --- does it fit ---

FLASH = level("flash", 1.0, 1000, ["weights"])
SRAM = level("sram", 1.0, 100, ["activations"])
TCM = level("tcm", 1.0, 10, ["activations"])
SHARED = level("ram", 1.0, 1000)
ENDLESS = level("dram", 1.0)


@pytest.mark.parametrize(
    ("memory", "weights", "activations", "expected"),
    [
        ([FLASH, SRAM], 1000, 100, Fit("flash", 1000, "sram", 100, True)),
        ([FLASH, SRAM], 1001, 100, Fit("flash", 1000, "sram", 100, False)),
        ([FLASH, SRAM], 1000, 101, Fit("flash", 1000, "sram", 100, False)),
        ([TCM, SRAM, FLASH], 0, 100, Fit("flash", 1000, "sram", 100, True)),
        ([SHARED], 600, 400, Fit("ram", 1000, "ram", 1000, True)),
        ([SHARED], 600, 401, Fit("ram", 1000, "ram", 1000, False)),
        ([TCM, ENDLESS], 10**12, 10**12, Fit("dram", None, "dram", None, None)),
        ([level("flash", 1.0, None, ["weights"]), SRAM], 1, 101, Fit("flash", None, "sram", 100, False)),
        ([level("flash", 1.0, None, ["weights"]), SRAM], 1, 100, Fit("flash", None, "sram", 100, None)),
        ([SRAM], 1, 1, Fit("", None, "", None, None)),
    ],
)
def test_fit(memory: list[MemoryLevel], weights: int, activations: int, expected: Fit) -> None:
    assert fit(profile(memory=memory), weights, activations) == expected


@settings(deadline=None)
@given(st.integers(0, 2000), st.integers(0, 2000))
def test_more_room_never_breaks_a_fit(weights: int, activations: int) -> None:
    larger = level("ram", 1.0, 3000)
    if fit(profile(memory=[SHARED]), weights, activations).fits:
        assert fit(profile(memory=[larger]), weights, activations).fits
