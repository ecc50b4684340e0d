"""The profile format as JSON Schema, for editors and other programs: `effcli schema profile`.

Derived from the annotations of `profile.py`, as loading is; nothing is said here a second time.
"""

from __future__ import annotations

from typing import Any

from efficiency_cli.hardware.fields import ListOf, MapOf, Number, OneOf, Own, Record, Shape, Text, fields_of
from efficiency_cli.hardware.profile import KINDS, Profile
from efficiency_cli.quantity import UNITS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def profile_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a profile file.

    It cannot say everything that loading checks: units against dimensions, references between
    keys, and that a number lies in its range stay with `effcli hw lint`. Below a `base` any part may be
    left out, at every depth.
    """
    whole, part = schema_of(Record(Profile)), schema_of(Record(Profile), part=True)
    told = {"$schema": DIALECT, "title": "effcli hardware profile", "type": "object"}
    return {**told, "if": {"required": ["base"]}, "then": part, "else": whole}


def schema_of(shape: Shape, part: bool = False) -> dict[str, Any]:
    """The schema of a shape; of a `part`, without what a whole one must have."""
    match shape:
        case Text():
            return {"type": "string", "minLength": 1}
        case OneOf(values, pattern):
            return {"anyOf": [_choice(values), {"pattern": f"^({pattern})$"}]} if pattern else _choice(values)
        case Number():
            return _number(shape)
        case ListOf(item):
            return {"type": "array", "items": schema_of(item, part)}
        case MapOf(key, item):
            names = {"propertyNames": schema_of(key)} if isinstance(key, OneOf) else {}
            return {"type": "object", "minProperties": 1, **names, "additionalProperties": schema_of(item, part)}
        case Record(cls):
            return _record(cls, part)
        case Own(_, schema):
            return schema()


def _choice(values: tuple[str, ...]) -> dict[str, Any]:
    # `schema_version: 1` is an integer to a YAML-aware editor and text to the loader
    numbers = [int(v) for v in values if v.isdecimal()]
    return {"enum": [*values, *numbers]}


def _number(shape: Number) -> dict[str, Any]:
    units = [u for u in UNITS[shape.measure.dimension] if u]
    told = f"a number with a unit: {', '.join(units)}" if units else "a number"
    value = {"type": ["string", "number"], "description": told}
    if shape.bare:
        return value
    text = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "properties": {"value": value, "source": text, "kind": {"enum": list(KINDS)}, "note": text},
        "required": ["value", "source", "kind"],
        "additionalProperties": False,
    }


def _record(cls: type, part: bool) -> dict[str, Any]:
    known = fields_of(cls)
    properties = {
        key: schema_of(described.shape, part) | ({"description": described.doc} if described.doc else {})
        for key, described in known.items()
    }
    required = [] if part else [key for key, described in known.items() if described.required]
    # what stands on another one may leave out what that one says
    needed = {"anyOf": [{"required": ["base"]}, {"required": required}]} if "base" in known else {"required": required}
    return {"type": "object", "properties": properties, **needed, "additionalProperties": False}
