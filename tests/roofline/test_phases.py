"""Prefill and decode: sizes by the exporters' names, MACs by the hand formula, the cache and the times."""

from __future__ import annotations

from pathlib import Path

import pytest

from efficiency_cli.errors import MissingDimension, UsageError
from efficiency_cli.graph.binding import Interface, Use
from efficiency_cli.graph.read import read_model
from efficiency_cli.hardware.load import load_profile
from efficiency_cli.roofline.estimate import estimate
from efficiency_cli.roofline.phases import Phase, PhaseError, generating

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "decoder_kv.onnx"
MODELS = ROOT.parent / "shared" / "models"
CONTEXT = 96

# (layers, width, MACs of the weights of one layer, vocabulary)
LLAMA = (6, 288, 4 * 288 * 288 + 3 * 288 * 768, 32000)
GPT2 = (12, 768, 4 * 768 * 768 + 2 * 768 * 3072, 50257)
SMALL = (4, 768, 4 * 768 * 768 + 2 * 768 * 3072, 8000)


def by_hand(network: tuple[int, int, int, int], new: int, past: int) -> int:
    """Every new position goes through all weights, and attends twice (QK, AV) to what is there."""
    layers, width, weights, vocabulary = network
    return new * (layers * weights + width * vocabulary) + layers * 2 * width * new * (past + new)


def counted(path: Path, phase: str, context: int | None = CONTEXT, **settings):
    chosen = Phase(phase, context)
    model = read_model(str(path), propose=chosen.sizes, **settings)
    return generating(estimate(model), chosen, None)


def model_named(name: str) -> Path:
    path = SAMPLE if name == SAMPLE.name else MODELS / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


FAMILIES = {SAMPLE.stem: LLAMA, "llama_15m": LLAMA, "gpt2": GPT2, "gpt2_small4": SMALL}
DECODERS = sorted(p.name for mark in ("past", "hfgen", "gqa") for p in MODELS.glob(f"*.{mark}*.onnx"))


def family(name: str) -> tuple[int, int, int, int]:
    return FAMILIES[name.partition(".")[0]]


def check(path: Path, phase: str, new: int, past: int) -> None:
    """MACs, the cache after the run, and what it grows by, against the hand formula."""
    network = family(path.name)
    layers, width, *_ = network
    # keys and values
    a_position = layers * 2 * width * (2 if "fp16" in path.name else 4)
    totals = counted(path, phase, new + past if phase == "prefill" else past).totals
    assert totals.macs == by_hand(network, new, past)
    assert totals.kv_cache_bytes == (new + past) * a_position
    assert totals.kv_cache_bytes_per_token == a_position


def is_of(name: str, phase: str) -> bool:
    """Whether a file can run in the phase."""
    other = "decode" if phase == "prefill" else "prefill"
    one_step = phase == "prefill" and ("gqa" in name or "static" in name)
    return not name.endswith(f"_{other}.onnx") and not one_step


@pytest.mark.parametrize(("phase", "new", "past"), [("prefill", CONTEXT, 0), ("decode", 1, CONTEXT)])
@pytest.mark.parametrize("name", [SAMPLE.name, *DECODERS])
def test_every_decoder_equals_the_hand_formula(name, phase, new, past):
    path = model_named(name)
    if not is_of(name, phase):
        with pytest.raises(PhaseError):
            counted(path, phase)
    elif "static" in name:
        check(path, phase, 1, 128)
    else:
        check(path, phase, new, past)


@pytest.mark.skipif(not DECODERS, reason="needs ../shared/models")
def test_no_decoder_is_left_out():
    one_phase, one_step, both = 12, 4, 14
    assert len(DECODERS) == one_phase + one_step + both
    runs = [is_of(name, phase) for name in DECODERS for phase in ("prefill", "decode")]
    assert sum(runs) == one_phase + one_step + 2 * both


@pytest.mark.parametrize("batch", [1, 3])
def test_the_cache_and_its_growth(batch):
    layers, width, *_ = LLAMA
    a_token = batch * layers * 2 * width * 4  # keys and values, float32
    for phase, positions in (("prefill", CONTEXT), ("decode", CONTEXT + 1)):
        totals = counted(SAMPLE, phase, batch=batch).totals
        assert totals.kv_cache_bytes_per_token == a_token
        assert totals.kv_cache_bytes == positions * a_token


def test_sizes_are_fixed_or_open():
    path = model_named("gpt2_small4.past_static_s1_p128.onnx")
    known = counted(path, "decode", None)
    assert known.generation.context == 128
    assert known.totals.macs == by_hand(SMALL, 1, 128)
    with pytest.raises(PhaseError, match=r"needs input_ids\[1\] = 128") as error:
        counted(path, "prefill", 128)
    assert "fixed at 1" in error.value.where[0]
    with pytest.raises(PhaseError, match="a context of 64 needs"):
        counted(path, "decode", 64)


def test_an_open_context_must_be_given():
    with pytest.raises(MissingDimension, match="--context N"):
        counted(SAMPLE, "decode", None)


def test_a_dimension_that_says_otherwise_is_refused():
    with pytest.raises(UsageError, match="'past_sequence_length' = 96, and 7 is given"):
        counted(SAMPLE, "decode", dims={"past_sequence_length": 7})
    with pytest.raises(UsageError, match="'sequence' = 1, and 8 is given"):
        counted(SAMPLE, "decode", shapes={"input_ids": (1, 8)})
    same = counted(SAMPLE, "decode", dims={"past_sequence_length": CONTEXT})
    assert same.totals.macs == by_hand(LLAMA, 1, CONTEXT)


def test_what_is_no_decoder_is_refused():
    for path in sorted((ROOT / "samples").glob("*.onnx")):
        if path != SAMPLE:
            with pytest.raises(PhaseError, match="needs a decoder"):
                counted(path, "prefill")
            break


def test_times_of_both_phases():
    machine = load_profile("a100")
    estimates = {}
    for name in ("prefill", "decode"):
        estimates[name] = estimate(read_model(str(SAMPLE), propose=Phase(name, CONTEXT).sizes), machine)
    first = generating(estimates["prefill"], Phase("prefill", CONTEXT), estimates["decode"])
    later = generating(estimates["decode"], Phase("decode", CONTEXT), estimates["prefill"])
    for result in (first, later):
        totals = result.to_dict()["totals"]
        assert totals["ttft_s"]["expected"] == estimates["prefill"].latency.expected_s
        assert totals["tpot_s"]["expected"] == estimates["decode"].latency.expected_s
        assert totals["context"] == CONTEXT
    assert first.to_dict()["totals"]["latency_s"] == first.to_dict()["totals"]["ttft_s"]
    assert later.to_dict()["totals"]["latency_s"] == later.to_dict()["totals"]["tpot_s"]


def test_without_a_machine_there_are_no_times():
    totals = counted(SAMPLE, "decode").to_dict()["totals"]
    assert (totals["phase"], totals["ttft_s"], totals["tpot_s"]) == ("decode", None, None)
    plain = estimate(
        read_model(str(SAMPLE), dims={"sequence": 1, "past_sequence_length": 4, "total_sequence_length": 5})
    )
    assert plain.to_dict()["totals"]["phase"] is None


# --- recognition ------------------------------------------------------------------------------------


def sizes(inputs, outputs, nodes=(), phase="decode"):
    return dict(Phase(phase, 5).sizes(Interface(inputs, outputs, tuple(nodes))).sizes)


@pytest.mark.parametrize(
    "past",
    [
        "past_key_values.0.key",
        "past_0",
        "past_key_self_0",
        "input.past_key_values.layers.0.keys",
        "cache_k_0",
        "k_cache",
    ],
)
def test_exporters_names(past):
    found = sizes({"input_ids": ["b", "s"], past: ["b", 4, "p", 16]}, {"present.0.key": ["b", 4, "t", 16]})
    assert found == {"input_ids[1]": 1, f"{past}[2]": 5}


def test_masks_and_positions():
    inputs = {
        "input_ids": ["b", "s"],
        "position_ids": [3, "b", "s"],
        "attention_mask": ["b", 1, "s", "t"],
        "cache_position": ["s"],
        "past_0": [2, "b", 4, "p", 16],
        "total_sequence_length": [],
    }
    found = sizes(inputs, {"present_0": [2, "b", 4, "t", 16]}, phase="prefill")
    assert {k: found[k] for k in ("input_ids[1]", "position_ids[2]", "cache_position[0]")} == {
        "input_ids[1]": 5,
        "position_ids[2]": 5,
        "cache_position[0]": 5,
    }
    assert (found["attention_mask[2]"], found["attention_mask[3]"]) == (5, 5)


def test_names_that_say_nothing():
    """The cache is what a Concat continues into an output; tokens look rows up in a table."""
    nodes = [Use("Gather", ("table", "a"), ("h",)), Use("Concat", ("c", "k"), ("d",))]
    found = sizes({"a": ["b", "s"], "c": ["b", 4, "p", 16]}, {"d": ["b", 4, "t", 16]}, nodes)
    assert found == {"a[1]": 1, "c[2]": 5}
    with pytest.raises(PhaseError, match="needs a decoder"):
        sizes({"a": ["b", "s"], "c": ["b", 4, "p", 16]}, {"e": ["b", 4, "t", 16]}, nodes)


def test_tokens_are_needed():
    with pytest.raises(PhaseError, match="no input of tokens"):
        sizes({"past_0": ["b", 4, "p", 16]}, {"present_0": ["b", 4, "t", 16]})
