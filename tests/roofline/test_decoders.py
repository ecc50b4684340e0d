"""Prefill and decode of decoders as optimum, onnxruntime-genai and PyTorch write them, against the hand formula."""

from __future__ import annotations

from pathlib import Path

import decoders
import pytest
from decoders import HEAD, HEADS, ROOM, WIDTH, WORDS

from efficiency_cli.errors import MissingDimension
from efficiency_cli.graph.binding import Interface
from efficiency_cli.graph.caches import axes_of, is_cache, is_cross
from efficiency_cli.graph.read import read_model
from efficiency_cli.roofline.estimate import Estimate, estimate
from efficiency_cli.roofline.phases import Phase, PhaseError

CONTEXT, ENCODED = 12, 20
# a key and a value of one position, float32
A_POSITION = 2 * HEADS * HEAD * 4
PHASES = [("prefill", CONTEXT, 0), ("decode", 1, CONTEXT)]


def counted(path: Path, phase: str, context: int = CONTEXT, **settings) -> Estimate:
    return estimate(read_model(str(path), propose=Phase(phase, context).sizes, **settings))


def attention(new: int, keys: int) -> int:
    """Scores and their use."""
    return 2 * WIDTH * new * keys


def by_hand(new: int, past: int, narrow: int = WIDTH, keys: int | None = None) -> int:
    """Four projections (keys and values may be `narrow`), attention and the words."""
    projections = new * (2 * WIDTH * WIDTH + 2 * WIDTH * narrow)
    return projections + attention(new, past + new if keys is None else keys) + new * WIDTH * WORDS


@pytest.mark.parametrize(("phase", "new", "past"), PHASES)
@pytest.mark.parametrize("name", ["optimum", "dynamo", "attention_23"])
def test_a_cache_that_grows(tmp_path, name, phase, new, past):
    totals = counted(getattr(decoders, name)(tmp_path / "m.onnx"), phase).totals
    assert totals.macs == by_hand(new, past)
    assert totals.kv_cache_bytes == (past + new) * A_POSITION
    assert totals.kv_cache_bytes_per_token == A_POSITION


@pytest.mark.parametrize(("phase", "new", "past"), PHASES)
def test_fewer_key_heads(tmp_path, phase, new, past):
    totals = counted(decoders.grouped(tmp_path / "m.onnx"), phase).totals
    assert totals.macs == by_hand(new, past, narrow=2 * HEAD)
    assert totals.kv_cache_bytes == (past + new) * A_POSITION // 2
    assert totals.kv_cache_bytes_per_token == A_POSITION // 2


@pytest.mark.parametrize(("phase", "new", "past"), PHASES)
@pytest.mark.parametrize("room", [str(ROOM), "max_sequence_length"])
def test_a_shared_buffer(tmp_path, room, phase, new, past):
    """What counts is how much of it is used; all of it is held."""
    settings = {} if room.isdigit() else {"dims": {"max_sequence_length": ROOM}}
    result = counted(decoders.shared_buffer(tmp_path / "m.onnx", room), phase, **settings)
    assert result.totals.macs == by_hand(new, past, narrow=2 * HEAD)
    assert result.totals.kv_cache_bytes == ROOM * A_POSITION // 2
    assert result.totals.kv_cache_bytes_per_token == A_POSITION // 2
    node = next(n for n in result.network.nodes if n.node.op == "GroupQueryAttention")
    # a key of the positions that are used; of those that are new
    assert node.work.reads["past_key_values.0.key"] == (past + new) * 2 * HEAD * 4
    assert node.work.writes["present.0.key"] == new * 2 * HEAD * 4


@pytest.mark.parametrize(("phase", "new", "past"), PHASES)
def test_a_block_of_which_attention_is_told_how_much_is_used(tmp_path, phase, new, past):
    result = counted(decoders.attention_24(tmp_path / "m.onnx"), phase)
    assert result.totals.macs == by_hand(new, past)
    assert result.totals.kv_cache_bytes == ROOM * A_POSITION
    node = next(n for n in result.network.nodes if n.node.op == "Attention")
    assert node.work.reads["present.0.key"] == (past + new) * HEADS * HEAD * 4


def test_an_open_buffer_is_as_long_as_needed(tmp_path):
    path = decoders.shared_buffer(tmp_path / "m.onnx", "max_sequence_length")
    assert counted(path, "decode").totals.kv_cache_bytes == (CONTEXT + 1) * A_POSITION // 2


@pytest.mark.parametrize("name", ["shared_buffer", "static_cache"])
def test_a_buffer_has_room_for_so_many(tmp_path, name):
    path = getattr(decoders, name)(tmp_path / "m.onnx")
    assert counted(path, "decode", ROOM - 1).totals.macs
    with pytest.raises(PhaseError, match="needs room for 65 positions") as error:
        counted(path, "decode", ROOM)
    assert "room for 64" in error.value.where[0]
    assert error.value.hint == "give a smaller context: --context 63"
    assert counted(path, "prefill", ROOM).totals.macs
    with pytest.raises(PhaseError, match="room for 65"):
        counted(path, "prefill", ROOM + 1)


@pytest.mark.parametrize(("phase", "new", "past"), PHASES)
def test_a_block_that_is_attended_to_in_full(tmp_path, phase, new, past):
    totals = counted(decoders.static_cache(tmp_path / "m.onnx"), phase).totals
    assert totals.macs == by_hand(new, past, keys=ROOM)
    assert (totals.kv_cache_bytes, totals.kv_cache_bytes_per_token) == (ROOM * A_POSITION, A_POSITION)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("phase", "new", "past"), PHASES)
def test_batch_and_heads_in_one_axis(tmp_path, phase, new, past, batch):
    path = decoders.bloom(tmp_path / "m.onnx", batch)
    totals = counted(path, phase, dims={"heads": batch * HEADS}, batch=batch).totals
    assert totals.macs == batch * by_hand(new, past)
    assert totals.kv_cache_bytes == batch * (past + new) * A_POSITION
    assert totals.kv_cache_bytes_per_token == batch * A_POSITION
    with pytest.raises(MissingDimension, match="'heads' needs a value: it is batch x heads") as error:
        counted(path, phase, batch=batch)
    assert error.value.hint.endswith("--dim heads=N")


@pytest.mark.parametrize(("phase", "new", "past"), PHASES)
def test_keys_and_values_in_one(tmp_path, phase, new, past):
    totals = counted(decoders.starcoder(tmp_path / "m.onnx"), phase).totals
    # keys and values of one head
    assert totals.macs == by_hand(new, past, narrow=HEAD)
    assert totals.kv_cache_bytes == (past + new) * 2 * HEAD * 4
    assert totals.kv_cache_bytes_per_token == 2 * HEAD * 4


# --- with an encoder ---------------------------------------------------------------------------


def crossed(new: int, past: int, made: bool) -> int:
    """The decoder, and its attention to what was encoded; `made`: its keys and values are projected, too."""
    cross = new * 2 * WIDTH * WIDTH + attention(new, ENCODED) + made * ENCODED * 2 * WIDTH * WIDTH
    return by_hand(new, past) + cross


BOTH_LENGTHS = {"encoder_sequence_length": ENCODED, "encoder_sequence_length_out": ENCODED}


@pytest.mark.parametrize(
    ("name", "phase", "new", "past", "made", "dims"),
    [
        ("encoder_decoder_first", "prefill", CONTEXT, 0, True, {"encoder_sequence_length": ENCODED}),
        ("encoder_decoder_with_past", "decode", 1, CONTEXT, False, BOTH_LENGTHS),
        ("merged", "prefill", CONTEXT, 0, True, BOTH_LENGTHS),
        ("merged", "decode", 1, CONTEXT, False, BOTH_LENGTHS),
    ],
)
def test_an_encoder_s_cache_does_not_grow(tmp_path, name, phase, new, past, made, dims):
    result = counted(getattr(decoders, name)(tmp_path / "m.onnx"), phase, dims=dims)
    assert result.totals.macs == crossed(new, past, made)
    assert result.totals.kv_cache_bytes == (past + new + ENCODED) * A_POSITION
    assert result.totals.kv_cache_bytes_per_token == A_POSITION
    assert result.coverage.unknown_shapes == ()
    # which branch of a merged decoder runs is known, not guessed
    assert not any("branch" in note for note in result.notes)


def test_an_encoder_s_length_must_be_given(tmp_path):
    with pytest.raises(MissingDimension) as error:
        counted(decoders.merged(tmp_path / "m.onnx"), "decode")
    assert "--dim encoder_sequence_length=128" in error.value.hint
    assert "--dim encoder_sequence_length_out=128" in error.value.hint
    assert "decoder" not in error.value.hint.replace("m.onnx", "").partition("--dim")[2].replace("encoder_", "")


def test_a_file_of_the_other_phase(tmp_path):
    with pytest.raises(PhaseError, match=r"needs input_ids\[1\] = 12"):
        counted(decoders.encoder_decoder_with_past(tmp_path / "m.onnx"), "prefill", dims=BOTH_LENGTHS)
    with pytest.raises(PhaseError, match="needs a cache to go on from"):
        counted(decoders.encoder_decoder_first(tmp_path / "n.onnx"), "decode", dims=BOTH_LENGTHS)


def test_an_encoder_alone_is_no_decoder():
    interface = Interface(
        {"input_ids": ["b", "s"], "attention_mask": ["b", "s"]}, {"last_hidden_state": ["b", "s", 32]}, ()
    )
    with pytest.raises(PhaseError, match="needs a decoder"):
        Phase("prefill", CONTEXT).sizes(interface)


# --- recognition -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rank", "cache", "cross"),
    [
        ("past_key_values.0.key", 4, True, False),
        ("past_key_values.0.key", 3, True, False),
        ("past_key_values.11.decoder.value", 4, True, False),
        ("past_key_values.11.encoder.value", 4, True, True),
        ("past_key_cross_0", 4, True, True),
        ("past_value_self_3", 4, True, False),
        ("present_0", 5, True, False),
        ("past_0", 3, False, False),
        ("cache_position", 1, False, False),
        ("attention_mask", 4, False, False),
        ("past_conv.3", 3, False, False),
        ("past_recurrent_state.3", 4, False, False),
        ("encoder_hidden_states", 3, False, True),
        ("compass_heading", 4, False, False),
    ],
)
def test_names_of_caches(name, rank, cache, cross):
    assert (is_cache(name, rank), is_cross(name)) == (cache, cross)


def axes(inputs, outputs=None):
    return axes_of(Interface(inputs, outputs or {"present.0.key": ["b", 4, "t", 8]}, ()))


def test_with_an_encoder_the_decoder_s_own_inputs():
    """As onnxruntime's T5 and Whisper: plain names are the encoder's where the decoder has its own."""
    found = axes(
        {
            "input_ids": ["b", "e"],
            "attention_mask": ["b", "e"],
            "decoder_input_ids": ["b", "s"],
            "decoder_attention_mask": ["b", "t"],
            "past_key_self_0": ["b", 4, "p", 8],
            "past_key_cross_0": ["b", 4, "e", 8],
        }
    )
    assert found.tokens == (("decoder_input_ids", 1),)
    assert found.total == (("decoder_attention_mask", 1),)
    assert found.past == (("past_key_self_0", 2),)


def test_a_mask_of_the_cache_alone():
    found = axes({"input_ids": ["b", "s"], "attention_mask": ["b", "p"], "past_key_values.0.key": ["b", 4, "p", 8]})
    assert (found.past, found.total) == ((("past_key_values.0.key", 2), ("attention_mask", 1)), ())


@pytest.mark.parametrize(
    ("dims", "axis"),
    [
        (["batch", 4, "past_sequence_length", 8], 2),
        (["past_sequence_length", "batch", 2, 8], 0),
        (["batch_size x num_heads", 8, "past_sequence_length"], 2),
        (["s0", 4, "s16", 8], 2),
        ([2, "b", 4, "past_seq_len", 8], 3),
        ([1, 4, 128, 8], 2),
    ],
)
def test_the_axis_of_positions(dims, axis):
    assert axes({"input_ids": [1, "s"], "past_key_values.0.key": dims}).past == (("past_key_values.0.key", axis),)


def test_inputs_of_one_number():
    found = axes(
        {
            "input_ids": ["b", "s"],
            "past_key_values.0.key": ["b", 4, "p", 8],
            "total_sequence_length": [],
            "seqlens_k": ["b"],
            "past_sequence_length": [1],
            "use_cache_branch": [1],
        }
    )
    assert (found.total_values, found.last_values) == (("total_sequence_length",), ("seqlens_k",))
    assert (found.past_values, found.flags) == (("past_sequence_length",), ("use_cache_branch",))


@pytest.mark.parametrize(("phase", "values"), [("prefill", (12, 11, 0, 0)), ("decode", (13, 12, 12, 1))])
def test_their_values(phase, values):
    names = ("total_sequence_length", "seqlens_k", "past_sequence_length", "use_cache_branch")
    inputs = {"input_ids": ["b", "s"], "past_key_values.0.key": ["b", 4, "p", 8], **{n: [1] for n in names}}
    found = Phase(phase, CONTEXT).sizes(Interface(inputs, {"present.0.key": ["b", 4, "t", 8]}, ()))
    assert found.values == dict(zip(names, values, strict=True))


def test_embeddings_in_place_of_tokens():
    inputs = {"inputs_embeds": ["b", "s", 32], "past_key_values.0.key": ["b", 4, "p", 8]}
    assert axes(inputs).tokens == (("inputs_embeds", 1),)
