"""Where a model's file, or a file beside it, holds the values of its constants; and those bytes in chunks.

`read` leaves payloads alone. This finds them again in the serialised ModelProto without decoding it, for
those who ask for weights. Nothing outside the model's own folder is opened. No protobuf, no numpy.

Field numbers: onnx.proto of onnx 1.23 (they never change, by protobuf's rules).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from efficiency_cli.errors import ModelError
from efficiency_cli.graph.source import FileBytes, open_bytes
from efficiency_cli.graph.wire import MAX_DEPTH, MAX_FIELDS, WireError

CHUNK = 1 << 20
# names, locations and packed shapes; a longer one is no such thing
_MAX_TEXT = 1 << 16

_GRAPH, _GRAPH_NODE, _GRAPH_INITIALIZER = 7, 1, 5
_NODE_OUTPUT, _NODE_OP, _NODE_ATTRIBUTE = 2, 4, 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH = 5, 6
_DIMS, _DATA_TYPE, _INT32, _NAME, _RAW, _EXTERNAL, _IN_FILE = 1, 2, 5, 8, 9, 13, 14
# float, int64, double, uint64 lists are stored as raw data is, int32 lists as variable-length numbers
_FIXED_LISTS = (4, 10)
_OTHER_LISTS = (7, 11)


class Payload(Struct, frozen=True):
    """Bytes `start` to `end` of a file (None: the model's own). `packed`: each element a varint.

    `missing` says why there are none, '' where there are. Of external data whose file is not there, `location`
    is the file's name as the model has it, and `start` and `end` are where it would hold them.
    """

    name: str
    dims: tuple[int, ...]
    data_type: int
    start: int = 0
    end: int = 0
    packed: bool = False
    file: str | None = None
    missing: str = ""
    location: str = ""

    @property
    def size(self) -> int:
        return self.end - self.start


def payloads_of(path: str) -> dict[str, Payload]:
    """The payload of every initializer and Constant of the model file, by the tensor's name.

    A name that two scopes use has none that is known to be its own. Raises ModelError for an incomplete
    file and for external data outside the model's folder.
    """
    found: dict[str, Payload] = {}
    with open_bytes(path) as source:
        finder = _Finder(source, Path(path).parent)
        try:
            for payload in finder.model():
                twice = payload.name in found
                found[payload.name] = (
                    Payload(payload.name, (), 0, missing="two tensors have this name") if (twice) else payload
                )
        except WireError as error:
            raise ModelError(f"{path} is not a complete ONNX model: {error}", hint="export it again") from error
    return found


def chunks(payload: Payload, path: str) -> Iterator[bytes]:
    """The payload's bytes, CHUNK at a time. Raises ModelError where the file has become shorter."""
    name = payload.file or path
    with Path(name).open("rb") as file:
        file.seek(payload.start)
        left = payload.size
        while left:
            data = file.read(min(CHUNK, left))
            if not data:
                raise ModelError(f"{name} ended while the weights were read", hint="run it again")
            left -= len(data)
            yield data


class _Field(Struct, frozen=True):
    number: int
    value: int  # of a varint
    start: int  # of a length-delimited field
    end: int


class _Finder:
    def __init__(self, source: FileBytes, folder: Path) -> None:
        self.source = source
        self.folder = folder
        self.count = 0

    def model(self) -> Iterator[Payload]:
        for field in self._fields(0, len(self.source)):
            if field.number == _GRAPH:
                yield from self._graph(field, 0)

    def _graph(self, graph: _Field, depth: int) -> Iterator[Payload]:
        if depth > MAX_DEPTH:
            raise WireError("graphs are nested too deeply", graph.start)
        for field in self._fields(graph.start, graph.end):
            if field.number == _GRAPH_INITIALIZER:
                yield self._tensor(field, "")
            elif field.number == _GRAPH_NODE:
                yield from self._node(field, depth)

    def _node(self, node: _Field, depth: int) -> Iterator[Payload]:
        output, op, attributes = "", "", []
        for field in self._fields(node.start, node.end):
            if field.number == _NODE_OUTPUT and not output:
                output = self._text(field)
            elif field.number == _NODE_OP:
                op = self._text(field)
            elif field.number == _NODE_ATTRIBUTE:
                attributes.append(field)
        for attribute in attributes:
            for field in self._fields(attribute.start, attribute.end):
                if field.number == _ATTRIBUTE_GRAPH:
                    yield from self._graph(field, depth + 1)
                elif field.number == _ATTRIBUTE_TENSOR and op == "Constant":
                    yield self._tensor(field, output)

    def _tensor(self, tensor: _Field, name: str) -> Payload:
        dims: list[int] = []
        data_type, data, packed, missing, in_file = 0, None, False, "", True
        entries: dict[str, str] = {}
        for field in self._fields(tensor.start, tensor.end):
            if field.number == _DIMS:
                dims += [field.value] if field.start < 0 else self._varints(field)
            elif field.number == _DATA_TYPE:
                data_type = field.value
            elif field.number == _NAME and not name:
                name = self._text(field)
            elif field.number == _RAW or field.number in _FIXED_LISTS or field.number == _INT32:
                if data is not None or field.start < 0:
                    missing = "its values are stored one by one"
                data, packed = field, field.number == _INT32
            elif field.number in _OTHER_LISTS:
                missing = "its values are whole numbers of 64 bits"
            elif field.number == _EXTERNAL:
                entries.update([self._entry(field)])
            elif field.number == _IN_FILE:
                in_file = field.value == 0
        if not in_file:
            return self._external(name, tuple(dims), data_type, entries)
        if data is None:
            missing = missing or "it has no values in the file"
        if missing or data is None:
            return Payload(name, tuple(dims), data_type, missing=missing)
        return Payload(name, tuple(dims), data_type, data.start, data.end, packed)

    def _external(self, name: str, dims: tuple[int, ...], data_type: int, entries: dict[str, str]) -> Payload:
        location = entries.get("location", "")
        file = self._beside(name, location)
        offset, length = entries.get("offset", "0"), entries.get("length", "")
        if not offset.isdecimal() or not (length or "0").isdecimal() or len(offset + length) > 36:
            return Payload(name, dims, data_type, missing="its place in the external data is no number")
        start = int(offset)
        if file is None:
            end = start + int(length or "0")
            missing = "its file of external data is not there"
            return Payload(name, dims, data_type, start, end, missing=missing, location=location)
        size = file.stat().st_size
        end = start + int(length) if length else size
        if end > size or start > end:
            return Payload(name, dims, data_type, missing="its place is outside the external data")
        return Payload(name, dims, data_type, start, end, file=str(file))

    def _beside(self, name: str, location: str) -> Path | None:
        """The file of external data; None where there is none. Raises ModelError outside the folder."""
        refused = ModelError(
            f"the weights of '{name}' are said to be outside the model's folder: {location[:80]!r}",
            where="links out of it count as outside",
            hint="keep the file of external data beside the model, under a plain name",
        )
        if not location or "\0" in location:
            return None
        if Path(location).is_absolute() or ".." in Path(location).parts:
            raise refused
        try:
            folder = self.folder.resolve()
            file = (folder / location).resolve()
            if not file.is_relative_to(folder):
                raise refused
            regular = stat.S_ISREG(os.stat(file, follow_symlinks=False).st_mode)
        except (OSError, RuntimeError):
            return None
        return file if regular else None

    def _entry(self, entry: _Field) -> tuple[str, str]:
        texts = {f.number: self._text(f) for f in self._fields(entry.start, entry.end)}
        return texts.get(1, ""), texts.get(2, "")

    def _text(self, field: _Field) -> str:
        if field.start < 0 or field.end - field.start > _MAX_TEXT:
            return ""
        return self.source.slice(field.start, field.end).decode("utf-8", "replace")

    def _varints(self, field: _Field) -> list[int]:
        values, position = [], field.start
        if field.end - field.start > _MAX_TEXT:
            raise WireError("a shape is too long", field.start)
        while position < field.end:
            value, position = self._varint(position, field.end)
            values.append(value)
        return values

    def _fields(self, position: int, end: int) -> Iterator[_Field]:
        """The fields of a message; `start` is -1 of those that are not length-delimited: they have none inside."""
        while 0 <= position < end:
            self.count += 1
            if self.count > MAX_FIELDS:
                raise WireError("the graph has more parts than a network can have", position)
            tag, position = self._varint(position, end)
            kind, value, start = tag & 7, 0, -1
            if kind == 0:
                value, position = self._varint(position, end)
            elif kind == 2:
                length, start = self._varint(position, end)
                position = start + length
            elif kind in (1, 5):
                position += 8 if kind == 1 else 4
            else:
                raise WireError("this is not a protobuf message", position)
            if position > end:
                raise WireError("a part is longer than what holds it", position)
            yield _Field(tag >> 3, value, start, position)

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        result = shift = 0
        while position < end and shift < 70:
            byte = self.source.byte(position)
            position += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result, position
            shift += 7
        raise WireError("a number is malformed", position)
