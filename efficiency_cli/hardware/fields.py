"""The vocabulary in which `profile.py` declares its format, and what it says, read back.

A struct with annotated fields is the only description of the YAML format: loading (`build.py`),
overrides and the JSON Schema (`schema.py`) all walk the shapes that `shape_of` makes of annotations.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from msgspec import Struct

from efficiency_cli.hardware.tree import Node


class Measure(Struct, frozen=True):
    """A number of one dimension (a key of `quantity.UNITS`) within `least`..`most`.

    `positive` also refuses zero.
    """

    dimension: str
    positive: bool = False
    least: float = 0.0
    most: float = float("inf")


class OneOf(Struct, frozen=True):
    """A text out of a closed set, or one that matches `pattern` as a whole ('': none does)."""

    values: tuple[str, ...]
    pattern: str = ""

    def allows(self, text: str) -> bool:
        return text in self.values or bool(self.pattern and re.fullmatch(self.pattern, text))


class Key(Struct, frozen=True):
    """The key in the file, where Python's name must differ (`class`)."""

    name: str


class Given(Struct, frozen=True):
    """A field that is not written as a key: the file's stem, or the key the mapping stands under."""


class KeyedBy(Struct, frozen=True):
    """A tuple written as a mapping; each key becomes `field` of its item."""

    field: str


class Text(Struct, frozen=True):
    """Any text that is not empty."""


class Number(Struct, frozen=True):
    """A number; `bare` is written plainly ("16"), else as value/source/kind/note."""

    measure: Measure
    bare: bool


class ListOf(Struct, frozen=True):
    """A sequence."""

    item: Shape


class MapOf(Struct, frozen=True):
    """A mapping from one kind of key; `key_field` puts the key into the item."""

    key: Text | OneOf
    item: Shape
    key_field: str = ""


class Record(Struct, frozen=True):
    """A mapping with the keys of a struct."""

    cls: type[Struct]


class Own(Struct, frozen=True):
    """A value with a notation of its own: `read(node, path, wrong)` gives it, or None after telling `wrong`
    what is; `schema()` is its JSON Schema.
    """

    read: Callable[[Node, str, Callable[[Node, str], None]], Any]
    schema: Callable[[], dict[str, Any]]


Shape = Text | OneOf | Number | ListOf | MapOf | Record | Own


class Field(Struct, frozen=True):
    """One key of a record."""

    key: str
    name: str
    shape: Shape
    required: bool
    doc: str


def _first(metadata: tuple[Any, ...], kind: type) -> Any:
    return next((m for m in metadata if isinstance(m, kind)), None)


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) not in (types.UnionType, typing.Union):
        return annotation
    return next(a for a in typing.get_args(annotation) if a is not type(None))


def shape_of(annotation: Any, metadata: tuple[Any, ...] = ()) -> Shape:
    """What an annotation says about the YAML that stands for it."""
    annotation = _without_none(annotation)
    if hasattr(annotation, "__metadata__"):
        return shape_of(annotation.__origin__, metadata + annotation.__metadata__)
    own: Own | None = _first(metadata, Own)
    if own is not None:
        return own
    measure = _first(metadata, Measure)
    if measure is not None:
        return Number(measure, bare=annotation is float)
    if annotation is str:
        return _first(metadata, OneOf) or Text()
    keyed = _first(metadata, KeyedBy)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if keyed is not None:
        return MapOf(Text(), shape_of(arguments[0]), keyed.field)
    if origin is tuple:
        return ListOf(shape_of(arguments[0]))
    if origin is Mapping:
        key = shape_of(arguments[0])
        assert isinstance(key, Text | OneOf)
        return MapOf(key, shape_of(arguments[1]))
    return Record(annotation)


@cache
def fields_of(cls: type[Struct]) -> Mapping[str, Field]:
    """The keys of a record in the order of its declaration, `Given` ones left out."""
    # profile.py does not postpone its annotations: to evaluate texts takes a start longer than to read the profile
    hints = inspect.get_annotations(cls, eval_str=True)
    names = cls.__struct_fields__
    without_default = len(names) - len(cls.__struct_defaults__)
    found = {}
    for index, field in enumerate(names):
        hint = hints[field]
        metadata = getattr(hint, "__metadata__", ())
        if _first(metadata, Given):
            continue
        key = _first(metadata, Key)
        name = key.name if key else field
        doc = _first(metadata, str) or ""
        found[name] = Field(name, field, shape_of(hint), index < without_default, doc)
    return found
