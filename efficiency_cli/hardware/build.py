"""A parsed YAML file -> Profile, collecting every mistake with its place.

One walk over the shapes of `fields.py` does all of it; what needs two places at once (is the
default runtime there, is the source listed) is checked at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, TypeVar

from msgspec import Struct, field

from efficiency_cli import quantity
from efficiency_cli.errors import suggest
from efficiency_cli.hardware.fields import (
    Field,
    ListOf,
    MapOf,
    Measure,
    Number,
    OneOf,
    Own,
    Record,
    Shape,
    Text,
    fields_of,
)
from efficiency_cli.hardware.profile import KINDS, Profile, Quantity
from efficiency_cli.hardware.tree import Mapping, Node, Place, Scalar, Sequence, find, keys

# ids end in file names, dotted paths and options
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,63}")
# a source that is one word is meant as a key of `sources`
_KEY_LIKE = re.compile(r"[\w.-]+")
# nobody mends more at a time, and a hostile file may hold a hundred thousand
_MOST_MISTAKES = 100
_NUMBER_KEYS = ("value", "source", "kind", "note")
_NUMBER_KEY_SET = frozenset(_NUMBER_KEYS)
_Record = TypeVar("_Record")


class Checker(Struct):
    """What the walk knows: the clock, the sources, and the mistakes so far."""

    clock_hz: float | None
    sources: tuple[str, ...]
    mistakes: list[tuple[Place, str]] = field(default_factory=list)

    def wrong(self, node: Node, message: str) -> None:
        self.mistakes.append((node.place, message))
        if len(self.mistakes) >= _MOST_MISTAKES:
            raise _TooManyMistakesError


class _TooManyMistakesError(Exception):
    """Ends the walk."""


def build_profile(root: Node, id_: str, path: str) -> tuple[Profile | None, list[tuple[Place, str]]]:
    """The profile a tree stands for, and its mistakes in file order; None when there are any."""
    checker = Checker(_clock_hz(root), tuple(keys(find(root, "sources"))))

    def walk() -> Profile:
        profile: Profile = _record(checker, root, Profile, "the profile", {"id": id_, "path": path})
        _cross_check(checker, root)
        return profile

    return _walked(checker, walk)


def build_record(root: Node, cls: type[_Record], what: str) -> tuple[_Record | None, list[tuple[Place, str]]]:
    """The `cls` a tree stands for, called `what` ("the config") in its mistakes; None when there are any."""
    checker = Checker(None, ())
    return _walked(checker, lambda: _record(checker, root, cls, what, {}))


def _walked(checker: Checker, walk: Callable[[], _Record]) -> tuple[_Record | None, list[tuple[Place, str]]]:
    found: _Record | None = None
    try:
        found = walk()
    except _TooManyMistakesError:
        checker.mistakes.append((checker.mistakes[-1][0], f"stopped after {_MOST_MISTAKES} mistakes"))
    mistakes = sorted(checker.mistakes, key=lambda m: (m[0].line, m[0].column))
    return (None if mistakes else found), mistakes


def _clock_hz(root: Node) -> float | None:
    clock = find(root, "clock")
    if clock is None:
        return None
    text = find(clock, "value")
    # a wrong clock is reported where it is read; per-cycle numbers need not complain again
    try:
        hertz = quantity.parse(text.text, "frequency") if isinstance(text, Scalar) else 1.0
    except ValueError:
        return 1.0
    return hertz if hertz > 0 else 1.0


def _value(checker: Checker, node: Node, shape: Shape, path: str) -> Any:
    """The Python value of a node, or None after reporting what is wrong with it."""
    match shape:
        case Text():
            return _text(checker, node, path)
        case OneOf(values):
            return _one_of(checker, node, values, path)
        case Number(_, bare):
            return _bare_number(checker, node, shape, path) if bare else _number(checker, node, shape, path)
        case ListOf(item):
            return _list(checker, node, item, path)
        case MapOf():
            return _map(checker, node, shape, path)
        case Record(cls):
            return _record(checker, node, cls, path, {})
        case Own(read):
            return read(node, path, checker.wrong)


def _text(checker: Checker, node: Node, path: str) -> str | None:
    if not isinstance(node, Scalar):
        checker.wrong(node, f"{path} must be text")
    elif not node.text.strip():
        checker.wrong(node, f"{path} is empty")
    else:
        return node.text
    return None


def _one_of(checker: Checker, node: Node, values: tuple[str, ...], path: str) -> str | None:
    text = _text(checker, node, path)
    if text is not None and text not in values:
        checker.wrong(node, unknown(f"{path}: unknown value", text, values))
        return None
    return text


def unknown(what: str, word: str, known: Iterable[str]) -> str:
    """ "what 'word'; did you mean 'x'?", or what is known."""
    known, word = list(known), _clipped(word)
    close = suggest(word, known)
    rest = f"did you mean '{close}'?" if close else f"known: {', '.join(known) or 'none'}"
    return f"{what} '{word}'; {rest}"


def _clipped(word: str) -> str:
    return word if len(word) <= 60 else word[:59] + "…"


def _mapping(checker: Checker, node: Node, path: str) -> Mapping | None:
    if not isinstance(node, Mapping):
        checker.wrong(node, f"{path} must be a mapping")
        return None
    for key in node.repeated:
        first = node.entries[key.text][0].place.line
        checker.wrong(key, f"duplicate key '{_clipped(key.text)}' in {path}, first on line {first}")
    return node


def _record(checker: Checker, node: Node, cls: type, path: str, given: dict[str, str]) -> Any:
    mapping = _mapping(checker, node, path)
    if mapping is None:
        return None
    known = fields_of(cls)
    for key, (written, _) in mapping.entries.items():
        if key not in known:
            checker.wrong(written, unknown(f"unknown key in {path}:", key, known))
    values: dict[str, Any] = dict(given)
    for name, described in known.items():
        value = _field(checker, mapping, described, path)
        if value is not None:
            values[described.name] = value
        elif described.required and name not in mapping.entries:
            checker.wrong(mapping, f"missing key '{name}' in {path}")
    # an incomplete record exists only beside a reported mistake and is thrown away with it
    complete = all(f.name in values for f in known.values() if f.required)
    return cls(**values) if complete else None


def _field(checker: Checker, mapping: Mapping, described: Field, path: str) -> Any:
    node = mapping.get(described.key)
    if node is None:
        return None
    # the whole has a name with a space ("the profile"), which no path has
    below = described.key if " " in path else f"{path}.{described.key}"
    return _value(checker, node, described.shape, below)


def _map(checker: Checker, node: Node, shape: MapOf, path: str) -> Any:
    mapping = _mapping(checker, node, path)
    if mapping is None:
        return None
    if not mapping.entries:
        checker.wrong(mapping, f"{path} is empty")
    found = {}
    for key, (written, child) in mapping.entries.items():
        if not _key(checker, written, shape.key, path):
            continue
        if shape.key_field and isinstance(shape.item, Record):
            value = _record(checker, child, shape.item.cls, f"{path}.{key}", {shape.key_field: key})
        else:
            value = _value(checker, child, shape.item, f"{path}.{key}")
        found[key] = value
    return tuple(found.values()) if shape.key_field else found


def _key(checker: Checker, written: Scalar, allowed: Text | OneOf, path: str) -> bool:
    if isinstance(allowed, OneOf):
        if not allowed.allows(written.text):
            checker.wrong(written, unknown(f"unknown key in {path}:", written.text, allowed.values))
            return False
    elif not ID.fullmatch(written.text):
        shown = _clipped(written.text)
        checker.wrong(written, f"'{shown}' is not a name in {path}: use letters, digits, '-', '_' and '+'")
        return False
    return True


def _list(checker: Checker, node: Node, item: Shape, path: str) -> tuple[Any, ...] | None:
    if not isinstance(node, Sequence):
        checker.wrong(node, f"{path} must be a list, as in [a, b]")
        return None
    return tuple(_value(checker, n, item, f"{path}[{i}]") for i, n in enumerate(node.items))


def _number(checker: Checker, node: Node, shape: Number, path: str) -> Quantity | None:
    if isinstance(node, Scalar):
        checker.wrong(node, f"{path} must be a mapping {{value: …, source: …, kind: …}}")
        return None
    plain = _plain_number(checker, node, shape.measure)
    if plain is not None:
        return plain
    mapping = _mapping(checker, node, path)
    if mapping is None:
        return None
    for key, (written, _) in mapping.entries.items():
        if key not in _NUMBER_KEYS:
            checker.wrong(written, unknown(f"unknown key in {path}:", key, _NUMBER_KEYS))
    parts = [_part(checker, mapping, key, path) for key in _NUMBER_KEYS[:3]]
    note = _text(checker, n, f"{path}.note") if (n := mapping.get("note")) else ""
    value = mapping.get("value")
    amount = _amount(checker, value, shape, path) if isinstance(value, Scalar) and parts[0] else None
    if amount is None or not all(parts):
        return None
    text, source, kind = (str(p) for p in parts)
    return Quantity(amount, text, source, kind, note or "")


def _plain_number(checker: Checker, node: Node, measure: Measure) -> Quantity | None:
    """A number with nothing wrong in it; None where there may be something to tell.

    Loading is mostly this, and all machines are loaded to list them.
    """
    if not isinstance(node, Mapping) or node.repeated or not node.entries.keys() <= _NUMBER_KEY_SET:
        return None
    texts = {key: n.text for key, (_, n) in node.entries.items() if isinstance(n, Scalar) and n.text.strip()}
    if len(texts) != len(node.entries) or texts.get("kind") not in KINDS:
        return None
    text, source = texts.get("value"), texts.get("source")
    if text is None or source is None or not (" " in source or source in checker.sources):
        return None
    try:
        amount = _parsed(text, measure.dimension, checker.clock_hz)
    except ValueError:
        return None
    if amount < measure.least or amount > measure.most or (measure.positive and amount == 0):
        return None
    return Quantity(amount, text, source, texts["kind"], texts.get("note", ""))


# the same few texts stand in many profiles
_parsed = lru_cache(maxsize=4096)(quantity.parse_clocked)


def _part(checker: Checker, mapping: Mapping, key: str, path: str) -> str | None:
    node = mapping.get(key)
    if node is None:
        checker.wrong(mapping, f"missing key '{key}' in {path}")
        return None
    if key == "kind":
        return _one_of(checker, node, KINDS, f"{path}.kind")
    text = _text(checker, node, f"{path}.{key}")
    if key == "source" and text and _KEY_LIKE.fullmatch(text) and text not in (*checker.sources, "--set"):
        checker.wrong(node, unknown(f"{path}: unknown source", text, checker.sources))
    return text


def _bare_number(checker: Checker, node: Node, shape: Number, path: str) -> float | None:
    if not isinstance(node, Scalar):
        checker.wrong(node, f"{path} must be a plain number")
        return None
    return _amount(checker, node, shape, path)


def _amount(checker: Checker, node: Scalar, shape: Number, path: str) -> float | None:
    measure = shape.measure
    try:
        amount = quantity.parse_clocked(node.text, measure.dimension, checker.clock_hz)
    except ValueError as error:
        checker.wrong(node, f"{path}: {error}")
        return None
    if amount < measure.least:
        problem = "is negative" if measure.least == 0 else f"is below {measure.least:g}"
    elif measure.positive and amount == 0:
        problem = "is zero"
    elif amount > measure.most:
        problem = f"is above {measure.most:g}"
    else:
        return amount
    checker.wrong(node, f"{path}: '{node.text}' {problem}")
    return None


def _cross_check(checker: Checker, root: Node) -> None:
    rules: tuple[Callable[[Checker, Node], None], ...] = (_default_runtime, _runtime_dtypes, _levels, _holds)
    for rule in rules:
        rule(checker, root)


def _default_runtime(checker: Checker, root: Node) -> None:
    node, known = find(root, "runtime"), list(keys(find(root, "runtimes")))
    if isinstance(node, Scalar) and node.text and node.text not in known:
        checker.wrong(node, unknown("unknown default runtime", node.text, known))


def _runtime_dtypes(checker: Checker, root: Node) -> None:
    runtimes, known = find(root, "runtimes"), list(keys(find(root, "compute")))
    for name in keys(runtimes):
        node = find(runtimes, name, "dtype")
        if isinstance(node, Scalar) and node.text and known and node.text not in known:
            what = f"runtimes.{name}.dtype: no entry under compute for"
            checker.wrong(node, unknown(what, node.text, known))


def _levels(checker: Checker, root: Node) -> None:
    per_byte, known = find(root, "energy", "per_byte"), list(keys(find(root, "memory")))
    if isinstance(per_byte, Mapping):
        for name, (written, _) in per_byte.entries.items():
            if name not in known:
                checker.wrong(written, unknown("energy.per_byte: unknown memory level", name, known))


def _holds(checker: Checker, root: Node) -> None:
    """Something must hold the weights, and something the activations."""
    memory = find(root, "memory")
    if not isinstance(memory, Mapping) or not memory.entries:
        return
    held = {
        item.text
        for name in memory.entries
        if isinstance(holds := find(memory, name, "holds"), Sequence)
        for item in holds.items
        if isinstance(item, Scalar)
    }
    for what in ("weights", "activations"):
        if what not in held:
            checker.wrong(memory, f"no level of memory holds {what}")
