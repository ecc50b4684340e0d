"""The elements of a stored tensor as numbers that compare with a zero, a chunk at a time.

Which bytes those are is `payloads`' business, what they mean for a network `effective`'s. Floats of less
than 32 bits are compared as whole numbers without their sign: only zero matters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
from msgspec import Struct

from efficiency_cli.graph.payloads import Payload, chunks

Array = np.ndarray

# elements handed out at once, and bytes of numbers of variable length, which are read as a whole
MAX_ELEMENTS = 1 << 20
_MAX_PACKED_BYTES = 1 << 26


class _Format(Struct, frozen=True):
    """`bits` of an element, read as numpy's `dtype` (of the byte where it holds several)."""

    bits: int
    dtype: str
    signed: bool = False  # of several in a byte
    mask: int = 0  # bits of a float that are not its sign; 0: numpy compares it


# by onnx's number of the type; the zero of float8 …fnuz has no sign, their 0x80 is no number
_FORMATS = {
    1: _Format(32, "<f4"),
    2: _Format(8, "u1"),
    3: _Format(8, "i1"),
    4: _Format(16, "<u2"),
    5: _Format(16, "<i2"),
    6: _Format(32, "<i4"),
    7: _Format(64, "<i8"),
    10: _Format(16, "<f2"),
    11: _Format(64, "<f8"),
    12: _Format(32, "<u4"),
    13: _Format(64, "<u8"),
    16: _Format(16, "<u2", mask=0x7FFF),  # bfloat16
    17: _Format(8, "u1", mask=0x7F),  # float8e4m3fn
    18: _Format(8, "u1"),  # float8e4m3fnuz
    19: _Format(8, "u1", mask=0x7F),  # float8e5m2
    20: _Format(8, "u1"),  # float8e5m2fnuz
    21: _Format(4, "u1"),
    22: _Format(4, "u1", signed=True),
    23: _Format(4, "u1", mask=0x7),  # float4e2m1
    25: _Format(2, "u1"),
    26: _Format(2, "u1", signed=True),
}
# numbers that `MatMulNBits` packs into bytes have no type of their own
PACKED_TYPES = {2: 25, 4: 21, 8: 2}


def unfit(payload: Payload, scalar: bool = False) -> str:
    """Why a payload cannot be read as its shape says; '' when it can."""
    count = math.prod(payload.dims)
    if not payload.dims and not scalar:
        return "it is a scalar"
    if payload.data_type not in _FORMATS:
        return "its data type is not read"
    if not count:
        return "it is empty"
    if payload.packed:
        fits = payload.size <= min(10 * count, _MAX_PACKED_BYTES)
        return "" if fits else "its values are not stored as raw data"
    expected = (count * _FORMATS[payload.data_type].bits + 7) // 8
    return "" if payload.size == expected else f"{payload.size:,} bytes where its shape needs {expected:,}"


def values_of(payload: Payload, path: str) -> Iterator[Array]:
    """The elements in order, at most MAX_ELEMENTS at once. Raises ModelError where the file has become shorter."""
    form = _FORMATS[payload.data_type]
    left = math.prod(payload.dims)
    step = MAX_ELEMENTS * form.bits // 8
    for data in [_unpacked(payload, path)] if payload.packed else chunks(payload, path):
        for start in range(0, len(data), step):
            values = _decoded(data[start : start + step], form)[:left]
            left -= values.size
            yield values


def _decoded(data: bytes, form: _Format) -> Array:
    if form.bits < 8:
        return np.asarray(_of_bytes(form)[np.frombuffer(data, dtype="u1")]).view("i1" if form.signed else "u1")
    values = np.frombuffer(data, dtype=form.dtype)
    return values & form.mask if form.mask else values


@cache
def _of_bytes(form: _Format) -> Array:
    """For each byte the elements it holds, the low bits first, side by side as one number."""
    shifts = np.arange(0, 8, form.bits, dtype=np.uint8)
    values = (np.arange(256, dtype=np.uint8)[:, None] >> shifts) & (form.mask or (1 << form.bits) - 1)
    if form.signed:
        half = 1 << (form.bits - 1)
        values = ((values ^ half).astype(np.int8) - np.int8(half)).view(np.uint8)
    return values.view(f"u{shifts.size}").ravel()


def _unpacked(payload: Payload, path: str) -> bytes:
    """Numbers of variable length, of which the low 32 bits count: seven bits a byte, the last below 128.

    As if they had been stored as raw data; of several elements a byte each number is a byte.
    """
    raw = np.frombuffer(b"".join(chunks(payload, path)), dtype=np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    starts = np.concatenate(([0], ends[:-1] + 1)) if ends.size else ends
    values = np.zeros(ends.size, dtype=np.uint64)
    for k in range(5):
        at = np.minimum(starts + k, max(raw.size - 1, 0))
        part = np.where(starts + k <= ends, raw[at] & 0x7F, 0).astype(np.uint64)
        values |= part << np.uint64(7 * k)
    width = min(max(_FORMATS[payload.data_type].bits // 8, 1), 4)
    return values.astype(np.uint32).astype(f"<u{width}").tobytes()
