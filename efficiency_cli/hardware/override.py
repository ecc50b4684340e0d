"""`--set KEY=VALUE`: changes one number of a profile's tree before it is built.

memory.dram.bandwidth=2x     twice what the profile says
clock=600MHz                 everything counted in cycles follows
compute.int8.matrix=1 TOP/s  a number the profile may not have yet
overlap=0                    a key of a runtime: in every runtime
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from efficiency_cli import quantity
from efficiency_cli.errors import ProfileError, UsageError, did_you_mean
from efficiency_cli.hardware.fields import ListOf, MapOf, Number, OneOf, Record, Shape, Text, fields_of
from efficiency_cli.hardware.profile import Profile, Runtime
from efficiency_cli.hardware.tree import Mapping, Node, Place, Scalar, find, keys

_TIMES = re.compile(r"\s*([0-9][0-9.]{0,20}(?:e[+-]?[0-9]{1,3})?)\s*[x×]\s*")


_ROOT: Shape = Record(Profile)


def apply_overrides(root: Node, overrides: Sequence[str]) -> None:
    """Changes `root` by each "KEY=VALUE"; raises UsageError for a key or value that cannot be."""
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise UsageError(f"'{text}' is not KEY=VALUE", hint="as in: --set clock=600MHz")
        if not isinstance(root, Mapping):
            raise ProfileError("the profile must be a mapping", where=f"{root.place}")
        for path in _paths(root, key.strip().split(".")):
            _set(root, path, value.strip(), text)


def _paths(root: Mapping, path: list[str]) -> list[list[str]]:
    """The path itself, or the same one in every runtime for a key that only runtimes have."""
    if path[0] not in fields_of(Profile) and path[0] in fields_of(Runtime):
        return [["runtimes", name, *path] for name in keys(find(root, "runtimes"))]
    return [path]


def _set(root: Mapping, path: list[str], value: str, text: str) -> None:
    place = Place(f"--set {text}")
    node, shape = root, _ROOT
    for depth, key in enumerate(path):
        shape = _below(node, shape, key, path[:depth], text)
        if depth == len(path) - 1:
            break
        child = node.get(key)
        if child is None:
            child = Mapping(place, {}, [])
            node.put(key, child, place)
        if not isinstance(child, Mapping):
            raise _no_number(path[: depth + 1], text)
        node = child
    _put(node, path, shape, value, text)


def _below(node: Mapping, shape: Shape, key: str, path: list[str], text: str) -> Shape:
    """The shape of `key` in a mapping of `shape`."""
    if isinstance(shape, Record):
        known = list(fields_of(shape.cls))
        if key in known:
            return fields_of(shape.cls)[key].shape
    elif isinstance(shape, MapOf):
        # levels and runtimes are not made up by an option; peaks of a further type are
        known = list(shape.key.values) if isinstance(shape.key, OneOf) else list(node.entries)
        if key in known:
            return shape.item
    else:
        raise _no_number(path, text)
    where = ".".join(path) or "a profile"
    known += [] if path else list(fields_of(Runtime))
    meant = did_you_mean(key, known)
    hint = meant or f"{where} has: {', '.join(dict.fromkeys(known))}"
    raise UsageError(f"unknown key '{key}' in --set '{text}'", hint=hint)


def _no_number(path: list[str], text: str) -> UsageError:
    what = f"'{'.'.join(path)}' has nothing below it in --set '{text}'"
    return UsageError(what, hint="see the keys: effcli hw show ID")


def _put(node: Mapping, path: list[str], shape: Shape, value: str, text: str) -> None:
    place, key = Place(f"--set {text}"), path[-1]
    if isinstance(shape, Number) and not shape.bare:
        new = _multiplied(node.get(key), value, text)
        entry = Mapping(place, {}, [])
        for part, written in (("value", new), ("source", "--set"), ("kind", "derived")):
            entry.put(part, Scalar(written, place), place)
        node.put(key, entry, place)
    elif isinstance(shape, Text | OneOf | Number):
        node.put(key, Scalar(value, place), place)
    else:
        below = "a list" if isinstance(shape, ListOf) else "a group"
        hint = f"give a key below it: {', '.join(_known_below(node.get(key), shape))}"
        raise UsageError(f"'{'.'.join(path)}' is {below}, not a number, in --set '{text}'", hint=hint)


def _known_below(node: Node | None, shape: Shape) -> list[str]:
    if isinstance(shape, Record):
        return list(fields_of(shape.cls))
    return list(keys(node))


def _multiplied(old: Node | None, value: str, text: str) -> str:
    """`value`, or for "2x" twice the old value in its own unit."""
    times = _TIMES.fullmatch(value)
    if times is None:
        return value
    was = find(old, "value")
    if not isinstance(was, Scalar):
        what = f"--set '{text}' multiplies a number the profile does not have"
        raise UsageError(what, hint="give a value with its unit")
    try:
        return quantity.scaled(was.text, float(times[1]))
    except ValueError as error:
        raise UsageError(f"--set '{text}': {error}", hint="give a value with its unit") from None
