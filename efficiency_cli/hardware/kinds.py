"""The keys of a profile: data types, and the kinds of kernels that a runtime may tell apart.

A kernel is of several kinds, from its operator to its class; what a profile says of the finest one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# bits of the element types a machine may have a peak for, by family, narrow to wide
INTEGER_BITS = {"int2": 2, "int4": 4, "int8": 8, "int16": 16, "int32": 32, "int64": 64}
FLOAT_BITS = {
    "float4e2m1": 4,
    "float8e4m3fn": 8,
    "float8e5m2": 8,
    "float16": 16,
    "bfloat16": 16,
    # stored in 32 bits, multiplied with 19
    "tfloat32": 19,
    "float32": 32,
    "float64": 64,
}
DTYPES = (*INTEGER_BITS, *FLOAT_BITS)
# types of a model that compute as another type does
SAME_PEAK = {
    "uint2": "int2",
    "uint4": "int4",
    "uint8": "int8",
    "uint16": "int16",
    "uint32": "int32",
    "uint64": "int64",
    "bool": "int8",
    "float8e4m3fnuz": "float8e4m3fn",
    "float8e5m2fnuz": "float8e5m2",
    "float8e8m0": "float8e5m2",
    "float6e2m3": "float8e4m3fn",
    "float6e3m2": "float8e5m2",
    "complex64": "float32",
    "complex128": "float64",
}

# the operator classes of `graph.model.OpClass`
OP_CLASSES = (
    "dense",
    "depthwise",
    "attention",
    "recurrent",
    "elementwise",
    "pooling",
    "normalization",
    "softmax",
    "movement",
)
# kinds within `dense` that a runtime may tell apart (`costs.Work.variant`)
DENSE_VARIANTS = (
    "convolution",
    "pointwise",
    "grouped",
    "first-layer",
    "transposed",
    "gemm",
    "batched-gemm",
    "gemv",
    "batched-gemv",
    "packed-gemm",  # weights of a few bits, unpacked on the way
    "packed-gemv",
    "packed8-gemm",  # and of eight, beside activations in floating point
    "packed8-gemv",
    "convolution-1d",
    "convolution-3d",
)
# kinds that are as others where a runtime does not tell
WIDER = {
    "batched-gemv": "gemv",
    "packed-gemm": "gemm",
    "packed-gemv": "gemv",
    "packed8-gemm": "packed-gemm",
    "packed8-gemv": "packed-gemv",
    "convolution-1d": "convolution",
    "convolution-3d": "convolution",
    "depthwise-1d": "depthwise",
    "depthwise-3d": "depthwise",
}
# convolutions that do not run in a blocked layout (see `Runtime.channel_block`)
UNBLOCKED = (
    *("unblocked-convolution", "unblocked-pointwise", "unblocked-first-layer"),
    *("unblocked-depthwise", "unblocked-grouped"),
)
# and within `attention`: one new position a sequence, where no query shares the keys that another has read
ATTENTION_VARIANTS = ("decode-attention",)
DEPTHWISE_VARIANTS = ("depthwise-1d", "depthwise-3d")
# within what only moves or computes element by element: a Transpose that moves more than one axis and the last one
OTHER_VARIANTS = ("general-transpose", "linear-resize", "cubic-resize")
CLASS_KEYS = (
    *(*OP_CLASSES, *DENSE_VARIANTS, *DEPTHWISE_VARIANTS),
    *(*ATTENTION_VARIANTS, *OTHER_VARIANTS, *UNBLOCKED),
)
# `memory` is the fraction of the bandwidth
EFFICIENCY_KEYS = (*CLASS_KEYS, "memory")
# a runtime may tell single operators apart, as in `Transpose`, and types within a class or operator: `int8-gemm`
_OPERATOR = "[A-Z][A-Za-z0-9]{0,63}"
# what multiplies unsigned weights is another kernel on some machines: `uint8-convolution`
_KIND_TYPES = (*DTYPES, *(f"u{dtype}" for dtype in INTEGER_BITS))
KIND_PATTERN = f"(({'|'.join(_KIND_TYPES)})-)?({'|'.join(CLASS_KEYS)}|{_OPERATOR})"


def widening(variant: str) -> Iterator[str]:
    """`variant` and the kinds that it is of where a runtime does not tell: packed8-gemm, packed-gemm, gemm."""
    while variant:
        yield variant
        variant = WIDER.get(variant, "")


def first_of(known: Mapping[str, Any], kinds: Sequence[str]) -> str:
    """The first of `kinds` that is known, '' when none is."""
    return next((kind for kind in kinds if kind in known), "") if known else ""


def kinds_of(
    op_class: str, variant: str, operator: str, dtype: str, unblocked: bool = False, unsigned: bool = False
) -> tuple[str, ...]:
    """What a runtime may tell a kernel apart by, the finest first: int8-gemm, int8-Gemm, int8-dense, gemm …

    A quantised operator is of the kind that the operator is in its type: QLinearAdd is int8-Add. `unblocked`: it
    does not run in the runtime's blocked layout (see `Runtime.channel_block`). `unsigned`: its weights are unsigned
    integers.
    """
    own = variant or op_class
    beside = f"unblocked-{WIDER.get(own, own)}" if unblocked else ""
    operator = operator.removeprefix("QLinear")
    plain = tuple(dict.fromkeys(k for k in (beside, *widening(variant), operator, op_class) if k))
    types = (f"u{dtype}", dtype) if unsigned else (dtype,)
    return (*(f"{one}-{kind}" for one in types for kind in plain), *plain) if dtype else plain
