"""A parsed YAML file before it means anything: texts, mappings and sequences with their places.

Everything is text here; what a text must be is the business of `build.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct


class Place(Struct, frozen=True):
    """Where something stands: a file with line and column counted from 1, or an option's text."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class Scalar(Struct):
    text: str
    place: Place


class Mapping(Struct):
    """Entries in file order; `entries` keeps the first of a repeated key."""

    place: Place
    entries: dict[str, tuple[Scalar, Node]]
    repeated: list[Scalar]

    def get(self, key: str) -> Node | None:
        entry = self.entries.get(key)
        return entry[1] if entry else None

    def put(self, key: str, node: Node, place: Place) -> None:
        self.entries[key] = (Scalar(key, place), node)


class Sequence(Struct):
    items: list[Node]
    place: Place


Node = Scalar | Mapping | Sequence


def find(root: Node | None, *path: str) -> Node | None:
    """The node under a path of keys, or None."""
    for key in path:
        if not isinstance(root, Mapping):
            return None
        root = root.get(key)
    return root


def keys(node: Node | None) -> Iterator[str]:
    """The keys of a mapping; nothing for anything else."""
    if isinstance(node, Mapping):
        yield from node.entries
