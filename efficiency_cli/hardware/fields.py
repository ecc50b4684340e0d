"""The vocabulary in which `profile.py` declares its format, and what it says, read back.

A dataclass with annotated fields is the only description of the YAML format: loading (`build.py`),
overrides and the JSON Schema (`schema.py`) all walk the shapes that `shape_of` makes of annotations.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of one dimension (a key of `quantity.UNITS`) within `least`..`most`.

    `positive` also refuses zero.
    """

    dimension: str
    positive: bool = False
    least: float = 0.0
    most: float = float("inf")


@dataclass(frozen=True, slots=True)
class OneOf:
    """A text out of a closed set."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """The key in the file, where Python's name must differ (`class`)."""

    name: str


@dataclass(frozen=True, slots=True)
class Given:
    """A field that is not written as a key: the file's stem, or the key the mapping stands under."""


@dataclass(frozen=True, slots=True)
class KeyedBy:
    """A tuple written as a mapping; each key becomes `field` of its item."""

    field: str


@dataclass(frozen=True, slots=True)
class Text:
    """Any text that is not empty."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number; `bare` is written plainly ("16"), else as value/source/kind/note."""

    measure: Measure
    bare: bool


@dataclass(frozen=True, slots=True)
class ListOf:
    """A sequence."""

    item: Shape


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping from one kind of key; `key_field` puts the key into the item."""

    key: Text | OneOf
    item: Shape
    key_field: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with the keys of a dataclass."""

    cls: type


Shape = Text | OneOf | Number | ListOf | MapOf | Record


@dataclass(frozen=True, slots=True)
class Field:
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
def fields_of(cls: type) -> Mapping[str, Field]:
    """The keys of a record in the order of its dataclass, `Given` ones left out."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found = {}
    for declared in dataclasses.fields(cls):
        hint = hints[declared.name]
        metadata = getattr(hint, "__metadata__", ())
        if _first(metadata, Given):
            continue
        key = _first(metadata, Key)
        name = key.name if key else declared.name
        required = declared.default is dataclasses.MISSING and declared.default_factory is dataclasses.MISSING
        doc = _first(metadata, str) or ""
        found[name] = Field(name, declared.name, shape_of(hint), required, doc)
    return found
