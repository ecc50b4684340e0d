"""What a stripped model will take once it is parsed, found out before it is: two bytes can be a message.

Only models whose structure is large are looked through, see `check_parts`. What is malformed here is left to
protobuf, which refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from efficiency_cli.graph.wire import WireError

# structures up to this size need no look: the largest of 220 exported networks has 1.2 MB
SMALL_BYTES = 2 * 2**20
# about what one message or one other field takes in onnx's C++ and in Python together
_MESSAGE_BYTES, _FIELD_BYTES = 400, 60
MAX_PARSED_BYTES = 500 * 10**6
MAX_PARTS = 3_000_000

_Kind = Mapping[int, str]
# messages by name: their fields that are messages themselves (onnx.proto of onnx 1.23)
_MESSAGES: Mapping[str, _Kind] = {
    "model": {7: "graph", 8: "leaf", 14: "leaf", 25: "function", 26: "leaf"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "leaf", 15: "sparse", 16: "leaf"},
    "node": {5: "attribute", 9: "leaf", 10: "leaf"},
    "attribute": {
        **{5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
        **{14: "type", 15: "type", 22: "sparse", 23: "sparse"},
    },
    "function": {7: "node", 9: "leaf", 11: "attribute", 12: "value", 14: "leaf"},
    "value": {2: "type", 4: "leaf"},
    "type": {1: "tensor type", 4: "element", 5: "map", 8: "tensor type", 9: "element"},
    "tensor type": {2: "shape"},
    "shape": {1: "leaf"},
    "element": {1: "type"},
    "map": {2: "type"},
    "tensor": {3: "leaf", 13: "leaf", 16: "leaf"},
    "sparse": {1: "tensor", 2: "tensor"},
    "leaf": {},
}
# fields that may hold a packed list of numbers, a byte each at the least
_PACKED: Mapping[str, frozenset[int]] = {
    "attribute": frozenset({7, 8}),
    "tensor": frozenset({1, 4, 5, 7, 10, 11}),
    "sparse": frozenset({3}),
}


def check_parts(data: bytes) -> None:
    """Raise WireError where parsing `data`, a ModelProto, would take more than MAX_PARSED_BYTES."""
    if len(data) <= SMALL_BYTES:
        return
    messages = fields = 0
    pending = [("model", 0, len(data))]
    while pending:
        kind, start, end = pending.pop()
        inner, packed = _MESSAGES[kind], _PACKED.get(kind, frozenset())
        for number, begin, stop in _fields(data, start, end):
            fields += max(1, stop - begin) if number in packed else 1
            if number in inner:
                messages += 1
                if begin < stop:
                    pending.append((inner[number], begin, stop))
            if fields > MAX_PARTS or messages * _MESSAGE_BYTES + fields * _FIELD_BYTES > MAX_PARSED_BYTES:
                raise WireError("the graph has more parts than a network can have", begin)


def _fields(data: bytes, pos: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Field number, start and end of the payload (empty for numbers); ends quietly at what is malformed."""
    while pos < end:
        tag, pos = _varint(data, pos)
        wire_type = tag & 7
        if wire_type == 2:
            length, pos = _varint(data, pos)
            yield tag >> 3, pos, min(pos + length, end)
            pos += length
        elif wire_type == 0:
            _, pos = _varint(data, pos)
            yield tag >> 3, pos, pos
        elif wire_type in (1, 5):
            yield tag >> 3, pos, pos
            pos += 8 if wire_type == 1 else 4
        else:
            return


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    """A number and the position behind it; 0 and past the end where there is none."""
    result = shift = 0
    for at in range(pos, min(pos + 10, len(data))):
        result |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return result, at + 1
        shift += 7
    return 0, len(data) + 1
