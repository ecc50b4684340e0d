"""Two transformers with symbolic shapes, with the nodes that PyTorch's exporters leave.

An encoder as the tracing exporter writes it, a decoder with a KV cache as the current one does. Sources:
google-research/bert ("BERT-Small", 4 layers of 512); stories15M of karpathy/llama2.c (a LLaMA, 6 × 288,
here the output projection is not tied to the embedding).
"""

from __future__ import annotations

import math

import numpy as np
from graph_builder import Builder, Dims, module_path
from onnx import TensorProto

MASKED = float(np.finfo(np.float32).min)  # what a masked score becomes before the softmax

BERT_LAYERS, BERT_WIDTH, BERT_HEADS, BERT_INNER = 4, 512, 8, 2048
BERT_WORDS, BERT_POSITIONS, BERT_TYPES = 30522, 512, 2

LLAMA_LAYERS, LLAMA_WIDTH, LLAMA_HEADS, LLAMA_INNER, LLAMA_WORDS = 6, 288, 6, 768, 32000
LLAMA_HEAD = LLAMA_WIDTH // LLAMA_HEADS
ROPE_BASE = 10000.0


# --- encoder ---


def bert_small(b: Builder) -> None:
    """BERT-Small with its pooler; inputs input_ids, attention_mask, token_type_ids of [batch, sequence]."""
    ids, mask, types = (
        b.input(name, ["batch", "sequence"], TensorProto.INT64)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    x = _bert_embeddings(b, ids, types)
    mask = _bert_mask(b, mask)
    for layer in range(BERT_LAYERS):
        x = _bert_layer(b, x, mask, f"encoder.layer.{layer}")
    first = b.op("Gather", [x, b.constant("zero", 0)], "/pooler", axis=1)
    weight = b.weight("pooler.dense.weight", (BERT_WIDTH, BERT_WIDTH))
    bias = b.weight("pooler.dense.bias", (BERT_WIDTH,), fill=0)
    pooled = b.op("Gemm", [first, weight, bias], "/pooler/dense", alpha=1.0, beta=1.0, transB=1)
    pooled = b.op("Tanh", [pooled], "/pooler/activation")
    b.output("last_hidden_state", x, ["batch", "sequence", BERT_WIDTH])
    b.output("pooler_output", pooled, ["batch", BERT_WIDTH])


def _bert_embeddings(b: Builder, ids: str, types: str) -> str:
    scope = "/embeddings"
    words = _embedding(b, "embeddings.word_embeddings", BERT_WORDS, BERT_WIDTH, ids)
    kinds = _embedding(b, "embeddings.token_type_embeddings", BERT_TYPES, BERT_WIDTH, types)
    length = _size(b, ids, 1, scope)
    positions = b.op("Range", [b.constant("zero", 0), length, b.constant("one", 1)], scope)
    positions = b.op("Unsqueeze", [positions, b.constant("axis_0", [0])], scope)
    places = _embedding(b, "embeddings.position_embeddings", BERT_POSITIONS, BERT_WIDTH, positions)
    total = b.op("Add", [b.op("Add", [words, kinds], scope), places], scope)
    return _layer_norm(b, total, "embeddings.LayerNorm")


def _bert_mask(b: Builder, mask: str) -> str:
    """1 for a token, 0 for padding -> 0 or a very negative number, [batch, 1, 1, sequence]."""
    wide = b.op("Unsqueeze", [mask, b.constant("axis_1", [1])])
    wide = b.op("Unsqueeze", [wide, b.constant("axis_2", [2])])
    kept = b.op("Cast", [wide], to=TensorProto.FLOAT)
    dropped = b.op("Sub", [b.constant("one_f", 1, np.float32), kept])
    return b.op("Mul", [dropped, b.constant("masked", MASKED, np.float32)])


def _bert_layer(b: Builder, x: str, mask: str, name: str) -> str:
    attended = _bert_attention(b, x, mask, f"{name}.attention.self")
    out = _linear(b, attended, f"{name}.attention.output.dense", BERT_WIDTH, BERT_WIDTH)
    x = b.op("Add", [out, x], module_path(f"{name}.attention.output"))
    x = _layer_norm(b, x, f"{name}.attention.output.LayerNorm")
    inner = _linear(b, x, f"{name}.intermediate.dense", BERT_WIDTH, BERT_INNER)
    inner = _gelu(b, inner, module_path(f"{name}.intermediate.intermediate_act_fn"))
    out = _linear(b, inner, f"{name}.output.dense", BERT_INNER, BERT_WIDTH)
    x = b.op("Add", [out, x], module_path(f"{name}.output"))
    return _layer_norm(b, x, f"{name}.output.LayerNorm")


def _bert_attention(b: Builder, x: str, mask: str, name: str) -> str:
    """softmax(Q·Kᵀ / √d + mask)·V with every view's shape computed from its input's, as tracing writes it."""
    scope, head = module_path(name), BERT_WIDTH // BERT_HEADS
    split = b.constant("heads_and_head", [BERT_HEADS, head])
    query, key, value = (
        _traced_reshape(b, _linear(b, x, f"{name}.{role}", BERT_WIDTH, BERT_WIDTH), split, scope)
        for role in ("query", "key", "value")
    )
    query = b.op("Transpose", [query], scope, perm=(0, 2, 1, 3))
    value = b.op("Transpose", [value], scope, perm=(0, 2, 1, 3))
    key = b.op("Transpose", [key], scope, perm=(0, 2, 3, 1))
    scores = b.op("MatMul", [query, key], scope)
    scores = b.op("Div", [scores, b.constant("root_head", math.sqrt(head), np.float32)], scope)
    weights = b.op("Softmax", [b.op("Add", [scores, mask], scope)], scope, axis=-1)
    context = b.op("Transpose", [b.op("MatMul", [weights, value], scope)], scope, perm=(0, 2, 1, 3))
    return _traced_reshape(b, context, b.constant("width", [BERT_WIDTH]), scope)


def _traced_reshape(b: Builder, x: str, tail: str, scope: str) -> str:
    """`x.view(x.size(0), x.size(1), *tail)`."""
    axis = b.constant("axis_0", [0])
    sizes = [b.op("Unsqueeze", [_size(b, x, dim, scope), axis], scope) for dim in (0, 1)]
    return b.op("Reshape", [x, b.op("Concat", [*sizes, tail], scope, axis=0)], scope, allowzero=0)


def _size(b: Builder, x: str, dim: int, scope: str) -> str:
    """`x.size(dim)` as a scalar: Shape, then Gather."""
    index = b.constant("one" if dim else "zero", dim)
    return b.op("Gather", [b.op("Shape", [x], scope), index], scope, axis=0)


def _gelu(b: Builder, x: str, scope: str) -> str:
    """x · (1 + erf(x / √2)) · 0.5."""
    root = b.constant("root_two", math.sqrt(2), np.float32)
    cdf = b.op("Erf", [b.op("Div", [x, root], scope)], scope)
    cdf = b.op("Add", [cdf, b.constant("one_f", 1, np.float32)], scope)
    return b.op("Mul", [b.op("Mul", [x, cdf], scope), b.constant("half", 0.5, np.float32)], scope)


def _layer_norm(b: Builder, x: str, name: str) -> str:
    scale = b.weight(f"{name}.weight", (BERT_WIDTH,), fill=1)
    shift = b.weight(f"{name}.bias", (BERT_WIDTH,), fill=0)
    return b.op("LayerNormalization", [x, scale, shift], module_path(name), axis=-1, epsilon=1e-12)


def _embedding(b: Builder, name: str, rows: int, width: int, indices: str) -> str:
    return b.op("Gather", [b.weight(f"{name}.weight", (rows, width)), indices], module_path(name), axis=0)


def _linear(b: Builder, x: str, name: str, features: int, units: int, *, bias: bool = True) -> str:
    """A linear layer on [batch, sequence, features]: MatMul with the transposed weight, then Add."""
    scope = module_path(name)
    product = b.op("MatMul", [x, b.weight(f"{name}.weight", (features, units))], scope)
    return b.op("Add", [b.weight(f"{name}.bias", (units,), fill=0), product], scope) if bias else product


# --- decoder ---


def decoder_kv(b: Builder) -> None:
    """A LLaMA of 15 M (24 M with the output projection untied) that reads and returns its key/value cache."""
    ids = b.input("input_ids", ["batch", "sequence"], TensorProto.INT64)
    mask = b.input("attention_mask", ["batch", "total_sequence_length"], TensorProto.INT64)
    positions = b.input("position_ids", ["batch", "sequence"], TensorProto.INT64)
    past: Dims = ["batch", LLAMA_HEADS, "past_sequence_length", LLAMA_HEAD]
    total: Dims = ["batch", LLAMA_HEADS, "total_sequence_length", LLAMA_HEAD]
    pasts = [
        tuple(b.input(f"past_key_values.{layer}.{part}", past) for part in ("key", "value"))
        for layer in range(LLAMA_LAYERS)
    ]
    x = _embedding(b, "model.embed_tokens", LLAMA_WORDS, LLAMA_WIDTH, ids)
    mask = _causal_mask(b, ids, mask, pasts[0][0])
    rotation = _rotation(b, positions)
    presents = []
    for layer, (past_key, past_value) in enumerate(pasts):
        x, present = _llama_layer(b, x, f"model.layers.{layer}", mask, rotation, past_key, past_value)
        presents.append(present)
    x = _rms_norm(b, x, "model.norm")
    logits = _linear(b, x, "lm_head", LLAMA_WIDTH, LLAMA_WORDS, bias=False)
    b.output("logits", logits, ["batch", "sequence", LLAMA_WORDS])
    for layer, present in enumerate(presents):
        for part, value in zip(("key", "value"), present, strict=True):
            b.output(f"present.{layer}.{part}", value, total)


def _causal_mask(b: Builder, ids: str, mask: str, past_key: str) -> str:
    """0 where a key is neither padding nor in the future, else very negative: [batch, 1, sequence, total]."""
    zero, one = b.constant("zero", 0), b.constant("one", 1)
    new = b.op("Squeeze", [b.op("Shape", [ids], start=1, end=2)])
    past = b.op("Squeeze", [b.op("Shape", [past_key], start=2, end=3)])
    total = b.op("Add", [past, new])
    keys = b.op("Range", [zero, total, one])
    queries = b.op("Unsqueeze", [b.op("Range", [past, total, one]), b.constant("axis_1", [1])])
    seen = b.op("LessOrEqual", [keys, queries])
    real = b.op("Cast", [mask], to=TensorProto.BOOL)
    real = b.op("Unsqueeze", [real, b.constant("axes_1_2", [1, 2])])
    kept = b.op("And", [seen, real])
    seen_bias, masked = b.constant("zero_f", 0, np.float32), b.constant("masked", MASKED, np.float32)
    return b.op("Where", [kept, seen_bias, masked])


def _rotation(b: Builder, positions: str) -> tuple[str, str]:
    """cos and sin of position · base^(−2i/d), [batch, 1, sequence, d], shared by all layers."""
    scope = "/model/rotary_emb"
    frequency = ROPE_BASE ** (-np.arange(0, LLAMA_HEAD, 2) / LLAMA_HEAD)
    place = b.op("Unsqueeze", [positions, b.constant("axes_1_3", [1, 3])], scope)
    place = b.op("Cast", [place], scope, to=TensorProto.FLOAT)
    frequencies = b.constant("model.rotary_emb.inv_freq", frequency, np.float32)
    angle = b.op("Mul", [place, frequencies], scope)
    angle = b.op("Concat", [angle, angle], scope, axis=-1)
    return b.op("Cos", [angle], scope), b.op("Sin", [angle], scope)


def _llama_layer(
    b: Builder, x: str, name: str, mask: str, rotation: tuple[str, str], past_key: str, past_value: str
) -> tuple[str, tuple[str, str]]:
    """One block; returns its output and the (key, value) cache with the new tokens appended."""
    scope = module_path(f"{name}.self_attn")
    normed = _rms_norm(b, x, f"{name}.input_layernorm")
    query, key, value = (_heads(b, normed, f"{name}.self_attn.{role}_proj", scope) for role in "qkv")
    key = b.op("Concat", [past_key, _rotate(b, key, rotation, scope)], scope, axis=2)
    value = b.op("Concat", [past_value, value], scope, axis=2)
    attended = _decoder_attention(b, _rotate(b, query, rotation, scope), key, value, mask, scope)
    out = _linear(b, attended, f"{name}.self_attn.o_proj", LLAMA_WIDTH, LLAMA_WIDTH, bias=False)
    x = b.op("Add", [x, out], module_path(name))
    normed = _rms_norm(b, x, f"{name}.post_attention_layernorm")
    return b.op("Add", [x, _swiglu(b, normed, f"{name}.mlp")], module_path(name)), (key, value)


def _heads(b: Builder, x: str, name: str, scope: str) -> str:
    """Project, then [batch, sequence, width] -> [batch, heads, sequence, head]."""
    y = _linear(b, x, name, LLAMA_WIDTH, LLAMA_WIDTH, bias=False)
    lengths = b.op("Shape", [x], scope, start=0, end=2)
    shape = b.op("Concat", [lengths, b.constant("heads_and_head", [LLAMA_HEADS, LLAMA_HEAD])], scope, axis=0)
    return b.op("Transpose", [b.op("Reshape", [y, shape], scope)], scope, perm=(0, 2, 1, 3))


def _rotate(b: Builder, x: str, rotation: tuple[str, str], scope: str) -> str:
    """Rotary embedding: x·cos + rotate_half(x)·sin."""
    cos, sin = rotation
    start, middle, end = (b.constant(f"at_{i}", [i]) for i in (0, LLAMA_HEAD // 2, LLAMA_HEAD))
    axis = b.constant("axis_3", [3])
    low = b.op("Slice", [x, start, middle, axis], scope)
    high = b.op("Slice", [x, middle, end, axis], scope)
    half = b.op("Concat", [b.op("Neg", [high], scope), low], scope, axis=-1)
    return b.op("Add", [b.op("Mul", [x, cos], scope), b.op("Mul", [half, sin], scope)], scope)


def _decoder_attention(b: Builder, query: str, key: str, value: str, mask: str, scope: str) -> str:
    turned = b.op("Transpose", [key], scope, perm=(0, 1, 3, 2))
    scores = b.op("MatMul", [query, turned], scope)
    scores = b.op("Mul", [scores, b.constant("head_scale", LLAMA_HEAD**-0.5, np.float32)], scope)
    weights = b.op("Softmax", [b.op("Add", [scores, mask], scope)], scope, axis=-1)
    context = b.op("Transpose", [b.op("MatMul", [weights, value], scope)], scope, perm=(0, 2, 1, 3))
    lengths = b.op("Shape", [context], scope, start=0, end=2)
    shape = b.op("Concat", [lengths, b.constant("width", [LLAMA_WIDTH])], scope, axis=0)
    return b.op("Reshape", [context, shape], scope)


def _rms_norm(b: Builder, x: str, name: str) -> str:
    """x / √(mean(x²) + ε) · weight, in the primitive operations the exporter leaves."""
    scope = module_path(name)
    square = b.op("Pow", [x, b.constant("two_f", 2, np.float32)], scope)
    mean = b.op("ReduceMean", [square, b.constant("last_axis", [-1])], scope, keepdims=1)
    root = b.op("Sqrt", [b.op("Add", [mean, b.constant("rms_epsilon", 1e-5, np.float32)], scope)], scope)
    normed = b.op("Mul", [x, b.op("Reciprocal", [root], scope)], scope)
    return b.op("Mul", [b.weight(f"{name}.weight", (LLAMA_WIDTH,), fill=1), normed], scope)


def _swiglu(b: Builder, x: str, name: str) -> str:
    """down(silu(gate(x)) · up(x))."""
    scope = module_path(name)
    gate = _linear(b, x, f"{name}.gate_proj", LLAMA_WIDTH, LLAMA_INNER, bias=False)
    gate = b.op("Mul", [gate, b.op("Sigmoid", [gate], f"{scope}/act_fn")], f"{scope}/act_fn")
    up = _linear(b, x, f"{name}.up_proj", LLAMA_WIDTH, LLAMA_INNER, bias=False)
    gated = b.op("Mul", [gate, up], scope)
    return _linear(b, gated, f"{name}.down_proj", LLAMA_INNER, LLAMA_WIDTH, bias=False)
