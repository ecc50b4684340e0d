"""Decoders of one layer, in the ways in which exporters write them: names, ranks, operators, control flow.

4 heads of 8 features (32), 50 words. Inputs and outputs are named as the exporter that is told does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

WIDTH, HEADS, HEAD, WORDS = 32, 4, 8, 50
# how many positions a block of fixed size has room for
ROOM = 64

_WEIGHTS = {
    "table": (WORDS, WIDTH),
    **dict.fromkeys(("wq", "wk", "wv", "wo", "cq", "ck", "cv", "co"), (WIDTH, WIDTH)),
    "w1": (WIDTH, 2 * HEAD),
    "head": (WIDTH, WORDS),
}
_SHAPES = {
    "split": (0, 0, HEADS, HEAD),
    "flat": (0, 0, WIDTH),
    "halves": (HEAD, HEAD),
}
_PROJECTED = "h = Gather(table, input_ids) q0 = MatMul(h, wq) k0 = MatMul(h, wk) v0 = MatMul(h, wv)"
_SPLIT = " ".join(f"{n}1 = Reshape({n}0, split) {n} = Transpose<perm = [0, 2, 1, 3]>({n}1)" for n in "qkv")
_END = "logits = MatMul(y, head)"


def _attended(query: str, key: str, value: str, weight: str, mark: str) -> str:
    """y<mark> from (batch, heads, positions, features) operands."""
    steps = f"t_ = Transpose<perm = [0, 1, 3, 2]>({key}) a_ = MatMul({query}, t_) p_ = Softmax(a_)"
    steps += f" o_ = MatMul(p_, {value}) r_ = Transpose<perm = [0, 2, 1, 3]>(o_) f_ = Reshape(r_, flat)"
    return " ".join(w[:-1] + mark if w.endswith("_") else w for w in _spaced(steps)).replace(" ,", ",") + (
        f" y{mark} = MatMul(f{mark}, {weight})"
    )


def _spaced(text: str) -> list[str]:
    for sign in "(),":
        text = text.replace(sign, f" {sign} ")
    return text.split()


def _cached(key: str, value: str, key_out: str, value_out: str) -> str:
    """Concatenation with the cache, then attention."""
    grown = f'"{key_out}" = Concat<axis = 2>("{key}", k) "{value_out}" = Concat<axis = 2>("{value}", v)'
    return f"{_PROJECTED} {_SPLIT} {grown} {_attended('q', quoted(key_out), quoted(value_out), 'wo', '')}"


def quoted(name: str) -> str:
    return f'"{name}"'


def saved(path: Path, inputs: str, outputs: str, body: str, opset: int = 23) -> Path:
    """Names with dots are in quotes, which the parser does not know."""
    text = f"g ({inputs}) => ({outputs}) {{ {body} }}"
    names = {name: f"x{k}x" for k, name in enumerate(sorted(set(text.split('"')[1::2])))}
    for name, plain in names.items():
        text = text.replace(quoted(name), plain)
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}, "com.microsoft" : 1]>{text}')
    back = {plain: name for name, plain in names.items()}
    _rename(model.graph, back)
    used = str(model)
    for name, shape in _WEIGHTS.items():
        if f'"{name}"' in used:
            model.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    for name, sizes in _SHAPES.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), name))
    onnx.save(model, path)
    return path


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(n, n) for n in node.input]
        node.output[:] = [names.get(n, n) for n in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names)


def _pair(kind: str, start: str, end: str = "") -> str:
    return ", ".join(f'{kind} "{start}{part}{end}"' for part in ("key", "value"))


LOGITS = f"float[b,s,{WORDS}] logits"
IDS = "int64[b,s] input_ids"


def optimum(path: Path) -> Path:
    """optimum, text-generation-with-past."""
    inputs = f"{IDS}, int64[b,total_sequence_length] attention_mask, int64[b,s] position_ids"
    past = _pair("float[b,4,past_sequence_length,8]", "past_key_values.0.")
    present = _pair("float[b,4,total_sequence_length,8]", "present.0.")
    body = _cached("past_key_values.0.key", "past_key_values.0.value", "present.0.key", "present.0.value")
    return saved(path, f"{inputs}, {past}", f"{LOGITS}, {present}", f"{body} {_END}")


def dynamo(path: Path) -> Path:
    """PyTorch's exporter on a DynamicCache: the outputs are called after operators."""
    past = "float[b,4,s16,8] past_key_values_key_cache_0, float[b,4,s16,8] past_key_values_value_cache_0"
    present = "float[b,4,t,8] cat_2, float[b,4,t,8] cat_3"
    body = _cached("past_key_values_key_cache_0", "past_key_values_value_cache_0", "cat_2", "cat_3").replace('"', "")
    return saved(path, f"{IDS}, {past}", f"{LOGITS}, {present}", f"{body} {_END}")


def attention_23(path: Path) -> Path:
    """PyTorch's exporter at opset 23: the cache is an operand of Attention."""
    past = "float[b,4,s16,8] past_key_values_key_cache_0, float[b,4,s16,8] past_key_values_value_cache_0"
    present = "float[b,4,t,8] getitem_1, float[b,4,t,8] getitem_2"
    body = f"{_PROJECTED} o, getitem_1, getitem_2 = Attention<q_num_heads = 4, kv_num_heads = 4, is_causal = 1>"
    body += "(q0, k0, v0, , past_key_values_key_cache_0, past_key_values_value_cache_0) y = MatMul(o, wo)"
    return saved(path, f"{IDS}, {past}", f"{LOGITS}, {present}", f"{body} {_END}")


def grouped(path: Path) -> Path:
    """onnxruntime-genai's builder: lengths come from the mask; 2 key heads of 4."""
    inputs = f"{IDS}, int64[b,total_sequence_length] attention_mask"
    past = _pair("float[b,2,past_sequence_length,8]", "past_key_values.0.")
    present = _pair("float[b,2,total_sequence_length,8]", "present.0.")
    lengths = (
        "one = Constant<value_ints = [1]>() zero = Constant<value_int = 0>() at = Constant<value_int = 1>() "
        "sum = ReduceSum<keepdims = 1>(attention_mask, one) last = Sub(sum, one) seqlens = Cast<to = 6>(last) "
        "all = Shape(attention_mask) size = Gather<axis = 0>(all, at) total = Cast<to = 6>(size)"
    )
    return saved(path, f"{inputs}, {past}", f"{LOGITS}, {present}", f"{lengths} {_grouped('seqlens', 'total')}")


def _grouped(last: str, total: str) -> str:
    narrow = "h = Gather(table, input_ids) q0 = MatMul(h, wq) k0 = MatMul(h, w1) v0 = MatMul(h, w1)"
    attend = '"present.0.key", "present.0.value" = com.microsoft.GroupQueryAttention<num_heads = 4, kv_num_heads = 2>'
    past = f'"past_key_values.0.key", "past_key_values.0.value", {last}, {total}'
    return f"{narrow} o, {attend}(q0, k0, v0, {past}) y = MatMul(o, wo) {_END}"


def shared_buffer(path: Path, room: str = str(ROOM)) -> Path:
    """GroupQueryAttention whose past and present are one block; how much of it is used are two inputs."""
    inputs = f"{IDS}, int32[b] seqlens_k, int32[1] total_sequence_length"
    past = _pair(f"float[b,2,{room},8]", "past_key_values.0.")
    present = _pair(f"float[b,2,{room},8]", "present.0.")
    body = _grouped("seqlens_k", "total_sequence_length")
    return saved(path, f"{inputs}, {past}", f"{LOGITS}, {present}", body)


def attention_24(path: Path) -> Path:
    """Opset 24: positions are scattered into a block, of which Attention is told how much is in use."""
    inputs = f"{IDS}, int64[b] write_indices, int64[b] nonpad_kv_seqlen"
    past = _pair(f"float[b,4,{ROOM},8]", "past_key_values.0.")
    present = _pair(f"float[b,4,{ROOM},8]", "present.0.")
    written = " ".join(
        f'"present.0.{part}" = TensorScatter("past_key_values.0.{part}", {part[0]}, write_indices)'
        for part in ("key", "value")
    )
    attend = 'o = Attention(q, "present.0.key", "present.0.value", , , , nonpad_kv_seqlen)'
    joined = "r = Transpose<perm = [0, 2, 1, 3]>(o) f = Reshape(r, flat) y = MatMul(f, wo)"
    body = f"{_PROJECTED} {_SPLIT} {written} {attend} {joined} {_END}"
    return saved(path, f"{inputs}, {past}", f"{LOGITS}, {present}", body, opset=24)


def static_cache(path: Path) -> Path:
    """PyTorch's exporter on a StaticCache: positions are written into a block, and all of it is attended to."""
    inputs = f"{IDS}, int64[s] cache_position, float[b,1,s,{ROOM}] attention_mask"
    past = f"float[b,4,{ROOM},8] past_key_values_key_cache_0, float[b,4,{ROOM},8] past_key_values_value_cache_0"
    present = f"float[b,4,{ROOM},8] index_copy, float[b,4,{ROOM},8] index_copy_1"
    written = (
        "column = Constant<value_ints = [1, 1, -1, 1]>() at = Reshape(cache_position, column) "
        "ks = Shape(k) where = Expand(at, ks) "
        "index_copy = ScatterElements<axis = 2>(past_key_values_key_cache_0, where, k) "
        "index_copy_1 = ScatterElements<axis = 2>(past_key_values_value_cache_0, where, v)"
    )
    body = f"{_PROJECTED} {_SPLIT} {written} {_attended('q', 'index_copy', 'index_copy_1', 'wo', '')} {_END}"
    return saved(path, f"{inputs}, {past}", f"{LOGITS}, {present}", body)


def bloom(path: Path, batch: int = 1) -> Path:
    """optimum's Bloom: batch and heads are one axis, and keys are stored transposed."""
    inputs = f"{IDS}, int64[b,total_sequence_length] attention_mask"
    past = 'float[heads,8,past_sequence_length] "past_key_values.0.key", '
    past += 'float[heads,past_sequence_length,8] "past_key_values.0.value"'
    present = 'float[bh,8,t] "present.0.key", float[bh,t,8] "present.0.value"'
    rows = f"rows = Constant<value_ints = [{4 * batch}, -1, 8]>() qm = Reshape(q, rows) "
    rows += "km = Reshape(k, rows) vm = Reshape(v, rows)"
    body = (
        f"{_PROJECTED} {_SPLIT} {rows} kt = Transpose<perm = [0, 2, 1]>(km) "
        '"present.0.key" = Concat<axis = 2>("past_key_values.0.key", kt) '
        '"present.0.value" = Concat<axis = 1>("past_key_values.0.value", vm) '
        'a = MatMul(qm, "present.0.key") p = Softmax(a) o = MatMul(p, "present.0.value") '
        f"back = Constant<value_ints = [{batch}, 4, -1, 8]>() o4 = Reshape(o, back) "
        "r = Transpose<perm = [0, 2, 1, 3]>(o4) "
        f"f = Reshape(r, flat) y = MatMul(f, wo) {_END}"
    )
    return saved(path, f"{inputs}, {past}", f"{LOGITS}, {present}", body)


def starcoder(path: Path) -> Path:
    """optimum's StarCoder: one key head, whose keys and values are one tensor."""
    inputs = f"{IDS}, int64[b,total_sequence_length] attention_mask"
    past = 'float[b,past_sequence_length,16] "past_key_values.0.key_value"'
    present = 'float[b,total_sequence_length,16] "present.0.key_value"'
    body = (
        "h = Gather(table, input_ids) q0 = MatMul(h, wq) n = MatMul(h, w1) "
        '"present.0.key_value" = Concat<axis = 1>("past_key_values.0.key_value", n) '
        'kx, vx = Split<axis = 2>("present.0.key_value", halves) '
        "ax = Constant<value_ints = [1]>() k = Unsqueeze(kx, ax) v = Unsqueeze(vx, ax) "
        "q1 = Reshape(q0, split) q = Transpose<perm = [0, 2, 1, 3]>(q1) "
        f"{_attended('q', 'k', 'v', 'wo', '')} {_END}"
    )
    return saved(path, f"{inputs}, {past}", f"{LOGITS}, {present}", body)


_CROSS_PAST = _pair("float[b,4,encoder_sequence_length_out,8]", "past_key_values.0.encoder.")
_OWN_PAST = _pair("float[b,4,past_decoder_sequence_length,8]", "past_key_values.0.decoder.")
_MASK = "int64[b,encoder_sequence_length] encoder_attention_mask"
_CROSS_QUERY = "c0 = MatMul(y, cq) c1 = Reshape(c0, split) c = Transpose<perm = [0, 2, 1, 3]>(c1)"
_MADE = " ".join(
    f"{n}0 = MatMul(encoder_hidden_states, c{n[1]}) {n}1 = Reshape({n}0, split) "
    f"{n} = Transpose<perm = [0, 2, 1, 3]>({n}1)"
    for n in ("ek", "ev")
)


def _own(past: bool, start: str = "present") -> str:
    keys = [f"{start}.0.decoder.{part}" for part in ("key", "value")]
    if past:
        return _cached("past_key_values.0.decoder.key", "past_key_values.0.decoder.value", *keys)
    made = f'"{keys[0]}" = Identity(k) "{keys[1]}" = Identity(v)'
    return f"{_PROJECTED} {_SPLIT} {made} {_attended('q', 'k', 'v', 'wo', '')}"


def encoder_decoder_with_past(path: Path) -> Path:
    """optimum's decoder_with_past_model.onnx: the encoder's cache goes in, and does not come out."""
    present = _pair("float[b,4,t,8]", "present.0.decoder.")
    cross = ('"past_key_values.0.encoder.key"', '"past_key_values.0.encoder.value"')
    body = f"{_own(True)} {_CROSS_QUERY} {_attended('c', *cross, 'co', 'c')} logits = MatMul(yc, head)"
    ids = "int64[b,1] input_ids"
    return saved(path, f"{_MASK}, {ids}, {_OWN_PAST}, {_CROSS_PAST}", f"{LOGITS}, {present}", body)


def encoder_decoder_first(path: Path) -> Path:
    """optimum's decoder_model.onnx: no cache goes in; the encoder's is made."""
    hidden = "float[b,encoder_sequence_length,32] encoder_hidden_states"
    present = ", ".join(_pair("float[b,4,t,8]", f"present.0.{side}.") for side in ("decoder", "encoder"))
    kept = '"present.0.encoder.key" = Identity(ek) "present.0.encoder.value" = Identity(ev)'
    body = (
        f"{_own(False)} {_MADE} {kept} {_CROSS_QUERY} {_attended('c', 'ek', 'ev', 'co', 'c')} logits = MatMul(yc, head)"
    )
    ids = "int64[b,decoder_sequence_length] input_ids"
    return saved(path, f"{_MASK}, {ids}, {hidden}", f"{LOGITS}, {present}", body)


def merged(path: Path) -> Path:
    """optimum's decoder_model_merged.onnx: one If on use_cache_branch, with the cache or without."""
    hidden = "float[b,encoder_sequence_length,32] encoder_hidden_states"
    ids = "int64[b,decoder_sequence_length] input_ids"
    names = [f"present.0.{side}.{part}" for side in ("decoder", "encoder") for part in ("key", "value")]
    outputs = ", ".join([LOGITS, *(f'float[b,4,t{k},8] "{n}"' for k, n in enumerate(names))])

    def branch(past: bool, mark: str) -> str:
        start = f"{mark}.present"
        if past:
            ek, ev = '"past_key_values.0.encoder.key"', '"past_key_values.0.encoder.value"'
            cross = f'"{start}.0.encoder.key" = Identity({ek}) "{start}.0.encoder.value" = Identity({ev})'
        else:
            ek, ev = "ek", "ev"
            cross = f'{_MADE} "{start}.0.encoder.key" = Identity(ek) "{start}.0.encoder.value" = Identity(ev)'
        made = [f'float[b,4,t{k},8] "{mark}.{n}"' for k, n in enumerate(names)]
        attend = f"{_CROSS_QUERY} {_attended('c', ek, ev, 'co', 'c')} last = MatMul(yc, head)"
        made = ", ".join([LOGITS.replace("logits", "last"), *made])
        return f"{mark} () => ({made}) {{ {_own(past, start)} {cross} {attend} }}"

    left = ", ".join(["logits", *map(quoted, names)])
    body = (
        f"{left} = If<then_branch = {branch(True, 'cached')}, else_branch = {branch(False, 'first')}>(use_cache_branch)"
    )
    inputs = f"{_MASK}, {ids}, {hidden}, {_OWN_PAST}, {_CROSS_PAST}, bool[1] use_cache_branch"
    return saved(path, inputs, outputs, body)
