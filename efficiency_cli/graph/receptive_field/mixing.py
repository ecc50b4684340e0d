"""Operators that read whole axes: matrix products, reductions, softmax, attention, recurrence.

Over an axis that a window moves along, such an operator sees everything: the field is unbounded from there on.
Normalisations are not here: their statistics do not count as seeing (they are elementwise).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from efficiency_cli.graph.receptive_field.call import MICROSOFT, Call, OddNodeError, Outputs, rule
from efficiency_cli.graph.receptive_field.layout import Layout, free, permuted, reduced, scrambled, spread
from efficiency_cli.graph.receptive_field.merge import broadcasts, merged

# --- matrix products ---------------------------------------------------------------------------


def _product(call: Call, left: int, right: int, *, swap: tuple[bool, bool] = (False, False)) -> Outputs:
    """(…, m, k) · (…, k, n): k is read in full, m follows the left operand and n the right one."""
    shape = call.out_shape()
    sides = [
        _side(call, left, shape, is_left=True, swap=swap[0]),
        _side(call, right, shape, is_left=False, swap=swap[1]),
    ]
    parts = [side for side in sides if side is not None]
    others = [layout for slot, layout in enumerate(call.layouts) if layout is not None and slot not in (left, right)]
    for other in others:
        fits = broadcasts(other.shape, shape)
        parts.append(other if fits else scrambled([other], shape, call.node.name))
    return [merged(parts, shape, call.node.name)] if parts else [None]


def _side(call: Call, slot: int, shape: Sequence[int], *, is_left: bool, swap: bool) -> Layout | None:
    """One operand with k gone, its other axes where they are in the product."""
    layout = call.layout(slot)
    if layout is None:
        return None
    rank = len(layout.axes)
    if not rank:
        raise OddNodeError
    if swap and rank > 1:
        layout = permuted(layout, (*range(rank - 2), rank - 1, rank - 2))
    rest = reduced(layout, [rank - 1 if is_left or rank == 1 else rank - 2], call.node.name, whole=False)
    if rank == 1:
        kept = tuple(free(1) for _ in shape)
    elif is_left:
        plain = call.node.op in ("MatMul", "MatMulInteger")
        has_columns = not plain or call.tensor(1) is None or len(call.shape(1)) != 1
        kept = (*rest.axes[:-1], *((free(shape[-1]),) if has_columns and shape else ()))
    else:
        has_rows = len(call.shape(0)) > 1
        kept = (*rest.axes[:-2], *((free(1),) if has_rows else ()), rest.axes[-1])
    result = replace(rest, axes=kept)
    return result if broadcasts(result.shape, shape) else scrambled([layout], shape, call.node.name)


@rule("MatMul", "MatMulInteger", f"{MICROSOFT}::MatMulInteger16", f"{MICROSOFT}::MatMulIntegerToFloat")
def matmul(call: Call) -> Outputs:
    return _product(call, 0, 1)


@rule(*(f"{MICROSOFT}::{op}" for op in ("DynamicQuantizeMatMul", "MatMulNBits", "MatMulBnb4", "MatMulFpQ4")))
def matmul_packed(call: Call) -> Outputs:
    return _product(call, 0, 1)


@rule("QLinearMatMul", f"{MICROSOFT}::QLinearMatMul")
def matmul_quantized(call: Call) -> Outputs:
    return _product(call, 0, 3)


@rule("Gemm", f"{MICROSOFT}::FusedGemm", f"{MICROSOFT}::GemmFastGelu", f"{MICROSOFT}::GemmFloat8")
def gemm(call: Call) -> Outputs:
    return _product(call, 0, 1, swap=(call.number("transA", 0) == 1, call.number("transB", 0) == 1))


@rule(f"{MICROSOFT}::QGemm")
def gemm_quantized(call: Call) -> Outputs:
    return _product(call, 0, 3, swap=(call.number("transA", 0) == 1, call.number("transB", 0) == 1))


@rule(*(f"{MICROSOFT}::{op}" for op in ("FusedMatMul", "FusedMatMulActivation", "TransposeMatMul")))
def matmul_fused(call: Call) -> Outputs:
    if call.number("transBatchA", 0) or call.number("transBatchB", 0):
        return call.mixed()
    return _product(call, 0, 1, swap=(call.number("transA", 0) == 1, call.number("transB", 0) == 1))


@rule("Einsum")
def einsum(call: Call) -> Outputs:
    """Each letter is an axis; letters missing from the result are read in full."""
    equation, shape = call.text("equation", "").replace(" ", ""), call.out_shape()
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if not arrow or "." in equation or len(terms) != len(call.node.inputs) or len(result) != len(shape):
        return call.mixed()
    parts = []
    for term, layout in zip(terms, call.layouts, strict=True):
        if layout is None:
            continue
        if len(term) != len(layout.axes) or len(set(term)) != len(term):
            return call.mixed()
        summed = [k for k, letter in enumerate(term) if letter not in result]
        rest = reduced(layout, summed, call.node.name, whole=False)
        axes = tuple(rest.axes[term.index(letter)] if letter in term else free(1) for letter in result)
        parts.append(replace(rest, axes=axes))
    return [merged(parts, shape, call.node.name)]


# --- one axis in full --------------------------------------------------------------------------


@rule(
    *(f"Reduce{kind}" for kind in "Sum Mean Max Min Prod L1 L2 SumSquare LogSum LogSumExp".split()),
    f"{MICROSOFT}::QLinearReduceMean",
)
def reduce(call: Call) -> Outputs:
    layout, rank = call.layout(), len(call.shape())
    if layout is None:
        return [None]
    named = call.maybe_ints("axes", 3 if call.node.domain else 1)
    if not named and call.number("noop_with_empty_axes", 0):
        return [layout]
    if named is None and call.tensor(1) is not None and not call.node.domain:
        return call.mixed()
    axes = call.axes(named, rank) if named else range(rank)
    return [_reduced(call, layout, axes, keep=call.number("keepdims", 1) == 1)]


@rule("ArgMax", "ArgMin")
def reduce_to_index(call: Call) -> Outputs:
    layout, rank = call.layout(), len(call.shape())
    if layout is None:
        return [None]
    axis = call.axis(call.number("axis", 0), rank)
    return [_reduced(call, layout, [axis], keep=call.number("keepdims", 1) == 1)]


def _reduced(call: Call, layout: Layout, axes: Sequence[int], *, keep: bool) -> Layout:
    rest = reduced(layout, axes, call.node.name)
    kept = [axis or free(1) for k, axis in enumerate(rest.axes) if keep or k not in axes]
    return replace(rest, axes=tuple(kept))


@rule("Softmax", "LogSoftmax", "Hardmax", f"{MICROSOFT}::QLinearSoftmax", f"{MICROSOFT}::BiasSoftmax")
def softmax(call: Call) -> Outputs:
    layout, shape = call.layout(), call.out_shape()
    if layout is None:
        return call.mixed() if call.tracked else [None]
    layout = spread(layout, [call.axis(call.number("axis", -1), len(layout.axes))], call.node.name)
    side = [other for other in call.layouts[1:] if other is not None and broadcasts(other.shape, shape)]
    return [merged([layout, *side], shape, call.node.name)]


@rule("CumSum", "CumProd")
def accumulate(call: Call) -> Outputs:
    layout, axis = call.layout(), call.values(1)
    if layout is None:
        return [None]
    axes = call.axes(axis, len(layout.axes)) if axis else range(len(layout.axes))
    return [spread(layout, axes, call.node.name)]


@rule("TopK")
def largest(call: Call) -> Outputs:
    """The axis is read in full; what was where is lost."""
    layout, shape = call.layout(), call.out_shape()
    if layout is None:
        return [None]
    axis = call.axis(call.number("axis", -1), len(shape))
    rest = reduced(layout, [axis], call.node.name).with_axis(axis, free(shape[axis]))
    return [rest, rest]


# --- sequences -----------------------------------------------------------------------------------


@rule("LSTM", "GRU", "RNN", f"{MICROSOFT}::DynamicQuantizeLSTM")
def recurrent(call: Call) -> Outputs:
    """Every step sees all of the time axis (before it, or on both sides), and all features."""
    layout, shape = call.layout(), call.shape()
    if layout is None or len(shape) != 3:
        return call.mixed()
    batch_first = call.number("layout", 0) == 1
    time = 1 if batch_first else 0
    steps = reduced(spread(layout, [time], call.node.name), [2], call.node.name, whole=False)
    last = reduced(steps, [time], call.node.name)
    others = [other for other in call.layouts[1:] if other is not None]
    outputs: list[Layout | None] = []
    for slot in range(len(call.node.outputs)):
        if not call.is_known(slot):
            outputs.append(None)
            continue
        out = call.out_shape(slot)
        axes = _sequence_axes(steps, out, batch_first) if slot == 0 else _state_axes(last, out, batch_first)
        source = steps if slot == 0 else last
        parts = [replace(source, axes=axes)]
        parts.extend(scrambled([other], out, call.node.name) for other in others)
        outputs.append(merged(parts, out, call.node.name))
    return outputs


def _sequence_axes(steps: Layout, out: Sequence[int], batch_first: bool) -> tuple[tuple, ...]:  # type: ignore[type-arg]
    """(time, directions, batch, hidden), or (batch, time, directions, hidden)."""
    if len(out) != 4:
        raise OddNodeError
    a, b, _ = steps.axes
    return (a, b, free(out[2]), free(out[3])) if batch_first else (a, free(out[1]), b, free(out[3]))


def _state_axes(last: Layout, out: Sequence[int], batch_first: bool) -> tuple[tuple, ...]:  # type: ignore[type-arg]
    """(directions, batch, hidden), or (batch, directions, hidden)."""
    if len(out) != 3:
        raise OddNodeError
    batch = last.axes[0 if batch_first else 1]
    return (batch, free(out[1]), free(out[2])) if batch_first else (free(out[0]), batch, free(out[2]))


@rule(
    "Attention",
    *(
        f"{MICROSOFT}::{op}"
        for op in """Attention QAttention MultiHeadAttention GroupQueryAttention LongformerAttention
        DecoderMaskedMultiHeadAttention DecoderMaskedSelfAttention SparseAttention QOrderedAttention""".split()
    ),
)
def attention(call: Call) -> Outputs:
    """(…, sequence, features): every query sees all keys; the cache of keys and values is not followed."""
    query, shape = call.layout(), call.out_shape()
    if query is None or len(query.axes) != len(shape) or len(shape) < 3:
        return call.mixed()
    axis = len(shape) - 2
    rest = reduced(spread(query, [axis], call.node.name), [axis + 1], call.node.name, whole=False)
    rest = rest.with_axis(axis + 1, free(shape[-1]))
    parts = [rest] if broadcasts(rest.shape, shape) else [scrambled([query], shape, call.node.name)]
    parts.extend(scrambled([other], shape, call.node.name) for other in call.layouts[1:] if other is not None)
    outputs: list[Layout | None] = [merged(parts, shape, call.node.name)]
    return [*outputs, *call.mixed()[1:]]
