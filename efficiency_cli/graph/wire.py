"""Drops tensor payloads from a serialised ModelProto without decoding it.

A scan over the protobuf wire format: messages are entered only where they are large enough to
hide a payload, everything else is passed on byte for byte. What is left is small and goes to
onnx's own parser. This module knows field numbers, not what they mean.

Field numbers: onnx.proto of onnx 1.23 (they never change, by protobuf's rules).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct, field

Chunks = list[bytes]


class Source(Protocol):
    """Bytes at rest: a file read a window at a time, or bytes in memory."""

    def __len__(self) -> int: ...

    def byte(self, pos: int) -> int:
        """The byte at `pos`, 0 ≤ pos < len."""

    def slice(self, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`."""


class Bytes:
    """A Source over bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def byte(self, pos: int) -> int:
        return self.data[pos]

    def slice(self, start: int, end: int) -> bytes:
        return self.data[start:end]


# payloads up to this many bytes stay: shape inference reads them (method.md §3: "a few KB")
KEEP_BYTES = 2048
# a structure larger than this is not a network but an attack or a mistake
MAX_KEPT_BYTES = 64 * 2**20
# a name, or a list in one piece, longer than this is one too
MAX_TEXT_BYTES = 2**18
# scanning is bounded too: a 40,000-node network has about 0.2 M fields outside its small messages
MAX_FIELDS = 1_000_000
# protobuf itself refuses messages nested deeper than 100
MAX_DEPTH = 100

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# TensorProto.data_location = EXTERNAL: "the values are elsewhere", which a dropped payload is
_EXTERNAL_MARK = bytes([14 << 3 | _VARINT, 1])


class WireError(ValueError):
    """The bytes are not a complete protobuf message. `offset` is where that shows."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(what)
        self.offset = offset


class _Message(Struct, frozen=True):
    """How to treat a message's large fields: enter them, drop them, or (by default) keep them."""

    enter: Mapping[int, _Message] = field(default_factory=dict)
    drop: frozenset[int] = frozenset()
    mark: bytes = b""  # appended when a field was dropped
    verbatim_from: frozenset[int] = frozenset()  # unpacked lists: the rest is kept as it is


def _onnx_messages() -> _Message:
    # raw_data 9, packed float 4, int32 5, int64 7, double 10, uint64 11; string_data 6 and
    # unpacked lists come one element a field, and are left to the parser
    tensor = _Message(
        drop=frozenset({4, 5, 7, 9, 10, 11, 12}),
        mark=_EXTERNAL_MARK,
        verbatim_from=frozenset({4, 5, 6, 7, 10, 11}),
    )
    sparse = _Message(enter={1: tensor, 2: tensor})
    node_fields: dict[int, _Message] = {}
    # doc strings and metadata go wherever they are
    node = _Message(enter=node_fields, drop=frozenset({6, 9}))
    graph = _Message(enter={1: node, 5: tensor, 15: sparse}, drop=frozenset({10, 16}))
    node_fields[5] = _Message(
        enter={5: tensor, 6: graph, 10: tensor, 11: graph, 22: sparse, 23: sparse},
        drop=frozenset({4, 13}),  # a long string (a compiled blob) and the doc string
        verbatim_from=frozenset({7, 8, 9}),
    )
    function = _Message(enter={7: node, 11: node_fields[5]}, drop=frozenset({8, 14}))
    return _Message(enter={7: graph, 25: function}, drop=frozenset({6, 14, 20}))


_MODEL = _onnx_messages()


def strip_payloads(source: Source) -> bytes:
    """The serialised model without tensor payloads over KEEP_BYTES.

    A tensor whose payload was dropped says data_location = EXTERNAL. Raises WireError where the
    bytes end early, claim impossible lengths or nest too deeply.
    """
    return b"".join(_Scan(source).strip(0, len(source), _MODEL, 0))


class _Scan:
    """One pass over a message; counts fields and kept bytes, so that hostile ones cannot keep it busy."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.byte = source.byte
        self.fields = 0
        self.kept = 0

    def strip(self, pos: int, end: int, message: _Message, depth: int) -> Chunks:
        """The chunks that remain of source[pos:end]; one chunk where nothing was dropped."""
        if depth > MAX_DEPTH:
            raise WireError(f"messages are nested more than {MAX_DEPTH} deep", pos)
        chunks: Chunks = []
        kept_from, dropped = pos, False
        while pos < end:
            start = pos
            self._count(pos)
            number, wire_type, pos = self._tag(pos, end)
            if wire_type != _BYTES:
                if number in message.verbatim_from:
                    break
                pos = self._skip_scalar(pos, end, wire_type)
                continue
            length, pos = self._varint(pos, end)
            if pos + length > end:
                raise WireError(f"a part claims {length:,} bytes where {end - pos:,} are left", start)
            if length <= KEEP_BYTES:
                if number in message.verbatim_from and number not in message.drop:
                    break
            elif number in message.drop:
                chunks.append(self._keep(kept_from, start))
                kept_from, dropped = pos + length, True
            elif (inner := message.enter.get(number)) is not None:
                kept_before = self.kept
                part = self.strip(pos, pos + length, inner, depth + 1)
                if len(part) > 1:
                    chunks.append(self._keep(kept_from, start))
                    chunks.append(_header(number, sum(map(len, part))))
                    chunks.extend(part)
                    kept_from = pos + length
                else:  # it stays as it is, inside the run of bytes that is kept at the end
                    self.kept = kept_before
            elif length > MAX_TEXT_BYTES:
                raise WireError(f"a name or a list takes {length:,} bytes", start)
            pos += length
        chunks.append(self._keep(kept_from, end))
        if dropped:
            # two chunks at least: tells the caller that the length changed
            chunks.append(message.mark)
        return chunks

    def _count(self, pos: int) -> None:
        self.fields += 1
        if self.fields > MAX_FIELDS:
            raise WireError("the graph has more parts than a network can have", pos)

    def _keep(self, start: int, end: int) -> bytes:
        self.kept += end - start
        if self.kept > MAX_KEPT_BYTES:
            raise WireError(f"the graph without its weights is over {MAX_KEPT_BYTES >> 20} MiB", start)
        return self.source.slice(start, end)

    def _tag(self, pos: int, end: int) -> tuple[int, int, int]:
        """Field number, wire type and the position behind them; tags under 128 take one byte, nearly all."""
        tag = self.byte(pos)
        if tag < 0x80:
            pos += 1
        else:
            tag, pos = self._varint(pos, end)
        if tag >> 3 == 0:
            raise WireError("this is not a protobuf message", pos)
        return tag >> 3, tag & 7, pos

    def _varint(self, pos: int, end: int) -> tuple[int, int]:
        result = shift = 0
        while pos < end and shift < 70:
            byte = self.byte(pos)
            pos += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result, pos
            shift += 7
        raise WireError("the file ends inside a number" if pos >= end else "a number is malformed", pos)

    def _skip_scalar(self, pos: int, end: int, wire_type: int) -> int:
        if wire_type == _VARINT:
            return self._varint(pos, end)[1]
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire_type)
        if size is None:
            raise WireError("this is not a protobuf message", pos)
        if pos + size > end:
            raise WireError("the file ends inside a number", pos)
        return pos + size


def _header(number: int, length: int) -> bytes:
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(length)


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
