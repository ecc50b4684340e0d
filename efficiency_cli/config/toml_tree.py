"""`[tool.effcli]` of a pyproject.toml as the tree that a YAML file becomes, with places.

tomllib gives values without places: lines are found again by their headers and keys, which is exact for keys at the
beginning of a line and the line of their mapping for what is written inside braces.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from efficiency_cli.hardware.tree import Mapping, Node, Place, Scalar, Sequence

TABLE = ("tool", "effcli")
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_NAME = r"(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')"
_PART = re.compile(_NAME)
_KEY = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=\s*")
# a line that is longer is looked for by its table only: the patterns must not be kept busy
_LONGEST_LINE = 1_000

Key = tuple[str | int, ...]


class TomlError(Exception):
    """A text that is not TOML; `place` is where."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


def tool_table(text: str, file: str) -> Node | None:
    """The tree of [tool.effcli]; None where there is none. Raises TomlError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TomlError(*_problem(str(error), text, file)) from None
    tool = data.get(TABLE[0])
    if not isinstance(tool, dict) or TABLE[1] not in tool:
        return None
    return _Tree(text, file).node(tool[TABLE[1]], TABLE)


def _problem(message: str, text: str, file: str) -> tuple[Place, str]:
    at = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if at:
        return Place(file, int(at[1]), int(at[2])), f"not TOML: {message[: at.start()].lower()}"
    return Place(file, text.count("\n") + 1, 1), f"not TOML: {message.removesuffix(' (at end of document)').lower()}"


class _Tree:
    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.places = _places(text, file)

    def node(self, value: Any, key: Key) -> Node:
        place = self.place(key)
        if isinstance(value, dict):
            entries: dict[str, tuple[Scalar, Node]] = {}
            for name, child in value.items():
                entries[name] = (Scalar(name, self.place((*key, name), value=False)), self.node(child, (*key, name)))
            return Mapping(place, entries, [])
        if isinstance(value, list):
            return Sequence([self.node(item, (*key, k)) for k, item in enumerate(value)], place)
        return Scalar(_text(value), place)

    def place(self, key: Key, value: bool = True) -> Place:
        """Where a value (or its key) is written: the nearest that is known."""
        while key:
            if key in self.places:
                return self.places[key][value]
            key = key[:-1]
        return Place(self.file, 1, 1)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else str(value)


def _places(text: str, file: str) -> dict[Key, tuple[Place, Place]]:
    """Place of the key and of the value, of every key at the beginning of a line."""
    found: dict[Key, tuple[Place, Place]] = {}
    arrays: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > _LONGEST_LINE:
            continue
        header = _HEADER.match(line)
        if header:
            table = _table(_parts(header[2]), header[1] == "[[", arrays)
            place = Place(file, number, header.start(1) + 1)
            found.setdefault(table, (place, place))
            continue
        written = _KEY.match(line)
        if written:
            key = (*table, *_parts(written[1]))
            value = Place(file, number, written.end() + 1)
            found.setdefault(key, (Place(file, number, written.start(1) + 1), value))
    return found


def _parts(dotted: str) -> Key:
    return tuple(p.strip("\"'") if p[0] in "\"'" else p for p in _PART.findall(dotted))


def _table(parts: Key, of_array: bool, arrays: dict[Key, int]) -> Key:
    """The full key of a header: [[models]] opens the next item of a list, [models.budgets] is in its last."""
    whole: Key = ()
    for k, part in enumerate(parts):
        whole = (*whole, part)
        if of_array and k == len(parts) - 1:
            arrays[whole] = arrays.get(whole, -1) + 1
        if whole in arrays:
            whole = (*whole, arrays[whole])
    return whole
