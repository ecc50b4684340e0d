"""Shapes of com.microsoft operators (onnxruntime's contrib operators), which onnx knows nothing of.

Operand order and meaning: onnxruntime's docs/ContribOperators.md. Operators that are an ai.onnx
one with extras (FusedConv) are inferred as that one, see `standard_twin`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from efficiency_cli.graph.shapes.types import Call, TypeInfo

ContribRule = Callable[[Call], Sequence[TypeInfo | None]]

FLOAT, UINT8, INT32 = 1, 2, 6  # TensorProto data types
_NCHWC = "com.microsoft.nchwc"


def rule_for(domain: str, op: str) -> ContribRule | None:
    """The shape rule of a contrib operator; onnxruntime also writes some into the default domain."""
    if domain == "com.microsoft" or op in _ALSO_DEFAULT:
        return _RULES.get(op)
    return _NCHWC_RULES.get(op) if domain == _NCHWC else None


def standard_twin(domain: str, op: str) -> str | None:
    """The ai.onnx operator whose shapes this one shares, if there is one."""
    if domain in ("com.microsoft", _NCHWC):
        return _TWINS.get(op)
    # onnx 1.23 infers nothing for these two (functions in its schemas) one node at a time
    return {"LessOrEqual": "Less", "GreaterOrEqual": "Greater"}.get(op)


def _same(call: Call) -> Sequence[TypeInfo | None]:
    """Every output like the first operand."""
    return [call.get(0)] * call.outputs


def _like(info: TypeInfo, shape: Sequence[int], elem: int | None = None) -> TypeInfo:
    return TypeInfo(info.elem if elem is None else elem, tuple(shape), info.bounded)


def _broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...] | None:
    rank = max(len(a), len(b))
    left, right = (1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b)
    if any(x != y and 1 not in (x, y) for x, y in zip(left, right, strict=True)):
        return None
    return tuple(y if x == 1 else x for x, y in zip(left, right, strict=True))


def _matmul_shape(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...] | None:
    """numpy's matmul of the two shapes."""
    if not a or not b:
        return None
    batch = _broadcast(a[:-2], b[:-2])
    if batch is None:
        return None
    return batch + (tuple(a[-2:-1])) + (tuple(b[-1:]) if len(b) > 1 else ())


def _skip_normalization(call: Call) -> Sequence[TypeInfo | None]:
    """output, mean, inverse deviation (both per row), input + skip."""
    info, shape = call.get(0), call.shape(0)
    if info is None or not shape:
        return [info] * call.outputs
    row = _like(info, (*shape[:-1], 1), FLOAT)
    return [info, row, row, info][: call.outputs]


def _binary_quantized(call: Call) -> Sequence[TypeInfo | None]:
    """QLinearAdd and QLinearMul: operands 0 and 3 broadcast."""
    info, a, b = call.get(0), call.shape(0), call.shape(3)
    shape = _broadcast(a, b) if a is not None and b is not None else None
    return [_like(info, shape) if info and shape is not None else None]


def _concat_quantized(call: Call) -> Sequence[TypeInfo | None]:
    """y_scale, y_zero_point, then (tensor, scale, zero point) each."""
    parts = call.operands[2::3]
    shapes = [p.static_shape for p in parts if p is not None and p.static]
    first = call.get(2)
    if first is None or len(shapes) != len(parts):
        return [None]
    dims, axis = list(shapes[0]), call.attr("axis", 0)
    dims[axis] = sum(s[axis] for s in shapes)
    return [_like(first, dims)]


def _global_pool_quantized(call: Call) -> Sequence[TypeInfo | None]:
    info, shape = call.get(0), call.shape(0)
    if info is None or not shape:
        return [None]
    ones = (1,) * (len(shape) - 2)
    last = call.attr("channels_last", 0)
    return [_like(info, (shape[0], *ones, shape[-1]) if last else (*shape[:2], *ones))]


def _pool_quantized(call: Call) -> Sequence[TypeInfo | None]:
    """The usual window arithmetic; channels may come last."""
    info, shape = call.get(0), call.shape(0)
    if info is None or not shape:
        return [None]
    last = bool(call.attr("channels_last", 0))
    spatial = shape[1:-1] if last else shape[2:]
    out = _window(call, spatial, call.attributes.get("kernel_shape", ()))
    return [_like(info, (shape[0], *out, shape[-1]) if last else (*shape[:2], *out))]


def _window(call: Call, spatial: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """floor((in + pads − dilation·(k−1) − 1) / stride) + 1, ceil with ceil_mode; SAME pads give ceil(in/stride)."""
    rank = len(spatial)
    strides = call.attributes.get("strides") or [1] * rank
    dilations = call.attributes.get("dilations") or [1] * rank
    pads = call.attributes.get("pads") or [0] * (2 * rank)
    auto = call.attributes.get("auto_pad", b"NOTSET")
    sizes = []
    for k in range(rank):
        if auto in (b"SAME_UPPER", b"SAME_LOWER"):
            sizes.append(-(-spatial[k] // strides[k]))
            continue
        room = spatial[k] + pads[k] + pads[k + rank] - dilations[k] * (kernel[k] - 1) - 1
        up = strides[k] - 1 if call.attr("ceil_mode", 0) else 0
        sizes.append((room + up) // strides[k] + 1)
    return sizes


def _nhwc_conv(call: Call) -> Sequence[TypeInfo | None]:
    """Channels-last activation [N, spatial…, C]; the weight stays [M, C/group, k…]."""
    info, shape, weight = call.get(0), call.shape(0), call.shape(1)
    if info is None or not shape or not weight:
        return [None]
    return [_like(info, (shape[0], *_window(call, shape[1:-1], weight[2:]), weight[0]))]


def _gemm_quantized(call: Call) -> Sequence[TypeInfo | None]:
    """QGemm: a, a_scale, a_zero, b, b_scale, b_zero, c, y_scale, y_zero; float out without y_scale."""
    a, b = call.shape(0), call.shape(3)
    info = call.get(0)
    if info is None or not a or not b:
        return [None]
    rows = a[1] if call.attr("transA", 0) else a[0]
    columns = b[0] if call.attr("transB", 0) else b[1]
    return [_like(info, (rows, columns), None if call.get(7) else FLOAT)]


def _fused_matmul(call: Call) -> Sequence[TypeInfo | None]:
    info, a, b = call.get(0), call.shape(0), call.shape(1)
    if info is None or not a or not b:
        return [None]
    if call.attr("transA", 0) and len(a) > 1:
        a = (*a[:-2], a[-1], a[-2])
    if call.attr("transB", 0) and len(b) > 1:
        b = (*b[:-2], b[-1], b[-2])
    shape = _matmul_shape(a, b)
    return [_like(info, shape) if shape is not None else None]


def _float_matmul(call: Call) -> Sequence[TypeInfo | None]:
    """Integer operands 0 and 1, float result."""
    info, a, b = call.get(0), call.shape(0), call.shape(1)
    shape = _matmul_shape(a, b) if a and b else None
    return [_like(info, shape, FLOAT) if info and shape is not None else None]


def _packed_matmul(call: Call) -> Sequence[TypeInfo | None]:
    """MatMulNBits and MatMulBnb4: [..., K] to [..., N], both sizes attributes."""
    info, shape = call.get(0), call.shape(0)
    if info is None or not shape:
        return [None]
    return [_like(info, (*shape[:-1], call.attr("N", 0)))]


def _attention(call: Call) -> Sequence[TypeInfo | None]:
    """input [B, S, D], weights [D, q+k+v]; output [B, S, v], present [2, B, heads, past + S, size]."""
    info, shape, weights = call.get(0), call.shape(0), call.shape(1)
    if info is None or not shape or not weights:
        return [None] * call.outputs
    sizes = call.attributes.get("qkv_hidden_sizes") or [weights[-1] // 3] * 3
    past = call.shape(4)
    heads = max(call.attr("num_heads", 1), 1)
    elem = FLOAT if info.elem in (UINT8, 3) else info.elem
    length = shape[1] + (past[3] if past else 0)
    present = _like(info, (2, shape[0], heads, length, sizes[1] // heads), elem)
    return [_like(info, (*shape[:2], sizes[2]), elem), present][: call.outputs]


def _multi_head_attention(call: Call) -> Sequence[TypeInfo | None]:
    """query [B, S, D] (or packed [B, S, heads, 3, size]); value [B, L, Dv] or [B, heads, L, size]."""
    info, query = call.get(0), call.shape(0)
    if info is None or not query:
        return [None] * call.outputs
    heads = max(call.attr("num_heads", 1), 1)
    if len(query) == 5:
        batch, length, heads, _, size = query
        hidden, kv_length = heads * size, length
    else:
        batch, length, hidden = query[:3]
        size, kv_length = hidden // heads, length
        value, key = call.shape(2), call.shape(1)
        if value and len(value) == 4:
            hidden, kv_length, size = value[1] * value[3], value[2], value[3]
        elif value and len(value) == 3:
            hidden, kv_length, size = value[2], value[1], value[2] // heads
        elif key and len(key) == 5:
            kv_length = key[1]
    past = call.shape(6)
    present = _like(info, (batch, heads, kv_length + (past[2] if past else 0), size))
    return [_like(info, (batch, length, hidden)), present, present, None][: call.outputs]


def _group_query_attention(call: Call) -> Sequence[TypeInfo | None]:
    """query [B, S, heads·size] (packed with key and value when those are absent); past [B, kv heads, P, size].

    The present cache is as long as the past buffer when that already holds the total length (a shared
    buffer), else past + new.
    """
    info, query = call.get(0), call.shape(0)
    if info is None or not query:
        return [None] * call.outputs
    heads, kv_heads = max(call.attr("num_heads", 1), 1), max(call.attr("kv_num_heads", 1), 1)
    packed = call.get(1) is None
    size = query[2] // (heads + 2 * kv_heads) if packed else query[2] // heads
    past, total = call.shape(3), call.value(6)
    before = past[2] if past else 0
    length = before + query[1] if total is None else max(before, total)
    cache = call.get(3) or info
    present = _like(cache, (query[0], kv_heads, length, size))
    return [_like(info, (*query[:2], heads * size)), present, present][: call.outputs]


def _embed_layer_norm(call: Call) -> Sequence[TypeInfo | None]:
    """input_ids [B, S], word embedding [V, H]: output [B, S, H], mask index [B], embedding sum."""
    ids, table, info = call.shape(0), call.shape(2), call.get(2)
    if not ids or not table or info is None:
        return [None] * call.outputs
    whole = _like(info, (*ids, table[1]))
    return [whole, TypeInfo(INT32, (ids[0],)), whole][: call.outputs]


def _lstm(call: Call) -> Sequence[TypeInfo | None]:
    """X [T, B, I]: Y [T, directions, B, H], Y_h and Y_c [directions, B, H]."""
    info, shape, weight = call.get(0), call.shape(0), call.shape(1)
    if info is None or not shape or not weight:
        return [None] * call.outputs
    hidden = call.attr("hidden_size", weight[-1] // 4)
    state = _like(info, (weight[0], shape[1], hidden))
    return [_like(info, (shape[0], weight[0], shape[1], hidden)), state, state][: call.outputs]


def _gather_block_quantized(call: Call) -> Sequence[TypeInfo | None]:
    """Gather along `gather_axis` of packed data, dequantised to the scales' type."""
    data, indices, scales = call.shape(0), call.shape(1), call.get(2)
    source = call.get(0)
    if not data or indices is None or scales is None or source is None:
        return [None]
    bits = call.attr("bits", 4)
    axis = call.attr("gather_axis", 0)
    dims = list(data)
    if source.elem == UINT8:  # int4 types count their elements already
        dims[-1] = dims[-1] * 8 // bits
    return [TypeInfo(scales.elem, (*dims[:axis], *indices, *dims[axis + 1 :]))]


def _split_gelu(call: Call) -> Sequence[TypeInfo | None]:
    info, shape = call.get(0), call.shape(0)
    return [_like(info, (*shape[:-1], shape[-1] // 2)) if info and shape else None]


def _reorder_input(call: Call) -> Sequence[TypeInfo | None]:
    """To the blocked layout: logical NCHW either way."""
    info, shape = call.get(0), call.shape(0)
    if info is None or not shape:
        return [None]
    if call.attr("channels_last", 0):
        return [_like(info, (shape[0], shape[-1], *shape[1:-1]))]
    return [info]


def _reorder_output(call: Call) -> Sequence[TypeInfo | None]:
    """From the blocked layout: the padding channels go."""
    info, shape = call.get(0), call.shape(0)
    if info is None or not shape:
        return [None]
    channels = call.attr("channels", shape[1])
    if call.attr("channels_last", 0):
        return [_like(info, (shape[0], *shape[2:], channels))]
    return [_like(info, (shape[0], channels, *shape[2:]))]


_ALSO_DEFAULT = frozenset({"SimplifiedLayerNormalization"})

_TWINS = {
    "FusedConv": "Conv",
    "Conv": "Conv",
    "MaxPool": "MaxPool",
    "AveragePool": "AveragePool",
    "GlobalAveragePool": "GlobalAveragePool",
    "GlobalMaxPool": "GlobalMaxPool",
    "FusedGemm": "Gemm",
    "Inverse": "Identity",
    "QuantizeLinear": "QuantizeLinear",
    "DequantizeLinear": "DequantizeLinear",
    "Pad": "Pad",
    "Trilu": "Trilu",
    "Unique": "Unique",
}

_RULES: dict[str, ContribRule] = {
    **dict.fromkeys(
        """BiasGelu FastGelu Gelu QuickGelu BiasAdd BiasSoftmax BiasDropout QLinearSoftmax QLinearSigmoid
        QLinearLeakyRelu SimplifiedLayerNormalization RotaryEmbedding GemmaRotaryEmbedding MoE QMoE GroupNorm
        SkipGroupNorm NhwcMaxPool GatedRelativePositionBias Rfft Irfft""".split(),
        _same,
    ),
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), _skip_normalization),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _binary_quantized),
    "QLinearConcat": _concat_quantized,
    "QLinearGlobalAveragePool": _global_pool_quantized,
    "QLinearAveragePool": _pool_quantized,
    **dict.fromkeys(("NhwcConv", "NhwcFusedConv"), _nhwc_conv),
    "QGemm": _gemm_quantized,
    "FusedMatMul": _fused_matmul,
    "FusedMatMulActivation": _fused_matmul,
    **dict.fromkeys(("DynamicQuantizeMatMul", "MatMulIntegerToFloat"), _float_matmul),
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4"), _packed_matmul),
    "Attention": _attention,
    "QAttention": _attention,
    "MultiHeadAttention": _multi_head_attention,
    "GroupQueryAttention": _group_query_attention,
    **dict.fromkeys(("EmbedLayerNormalization", "QEmbedLayerNormalization"), _embed_layer_norm),
    "DynamicQuantizeLSTM": _lstm,
    "GatherBlockQuantized": _gather_block_quantized,
    "BiasSplitGelu": _split_gelu,
}

_NCHWC_RULES: dict[str, ContribRule] = {
    "ReorderInput": _reorder_input,
    "ReorderOutput": _reorder_output,
}
