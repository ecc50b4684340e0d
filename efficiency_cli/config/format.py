"""The format of `effcli.yaml`, declared: one struct a mapping, read by the walk that reads profiles.

    version: 1
    hardware: cortex-m7
    models:
      - path: models/*.onnx
        budgets: {latency: 15 ms, flash: {max: 1 MiB, level: warn}}

Loading (`file.py`) and the JSON Schema (`schema.py`) both follow these annotations; nothing is said twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from msgspec import Struct, field

from efficiency_cli import quantity
from efficiency_cli.hardware.build import unknown
from efficiency_cli.hardware.fields import OneOf, Own
from efficiency_cli.hardware.tree import Mapping as MappingNode
from efficiency_cli.hardware.tree import Node, Place, Scalar, Sequence
from efficiency_cli.judge.budget import LEVELS, Budget, Side, check_name, parse_limit
from efficiency_cli.judge.gauge import DEFAULT_ON, NAMES, ON, Gauge

Wrong = Callable[[Node, str], None]

VERSION = "1"
PHASES = ("prefill", "decode")
_TEXT = {"type": "string", "minLength": 1}
# as an axis can be, see `commands/values.py`
_MOST_DIGITS = 18
_LIMIT_KEYS = ("max", "min", "level", "on", "message")


class Placed(Struct, frozen=True):
    """A text, and where it stands."""

    text: str
    place: Place


def _told_text(node: Node, path: str, wrong: Wrong) -> str | None:
    if not isinstance(node, Scalar):
        wrong(node, f"{path} must be text")
    elif not node.text.strip():
        wrong(node, f"{path} is empty")
    else:
        return node.text
    return None


def _placed(node: Node, path: str, wrong: Wrong) -> Placed | None:
    text = _told_text(node, path, wrong)
    return None if text is None else Placed(text, node.place)


def _names(node: Node, path: str, wrong: Wrong) -> tuple[str, ...]:
    """A text, a list of texts, or several in one text with commas."""
    if isinstance(node, Sequence):
        texts = [_told_text(item, f"{path}[{k}]", wrong) for k, item in enumerate(node.items)]
        if not texts:
            wrong(node, f"{path} is empty")
        return tuple(t for t in texts if t is not None)
    text = _told_text(node, path, wrong)
    return (text,) if text is not None else ()


def _size(node: Node, path: str, wrong: Wrong) -> int | None:
    text = node.text.strip() if isinstance(node, Scalar) else ""
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and int(text) > 0):
        wrong(node, f"{path}: '{text}' is not a whole number above 0" if text else f"{path} must be a whole number")
        return None
    return int(text)


def _sizes(node: Node, path: str, wrong: Wrong) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, child in _entries(node, path, wrong):
        size = _size(child, f"{path}.{key.text}", wrong)
        if size is not None:
            found[key.text] = size
    return found


def _entries(node: Node, path: str, wrong: Wrong) -> list[tuple[Scalar, Node]]:
    if not isinstance(node, MappingNode):
        wrong(node, f"{path} must be a mapping")
        return []
    for key in node.repeated:
        first = node.entries[key.text][0].place.line
        wrong(key, f"duplicate key '{key.text}' in {path}, first on line {first}")
    return list(node.entries.values())


# --- budgets -----------------------------------------------------------------------------------


def _budgets(node: Node, path: str, wrong: Wrong) -> tuple[Budget, ...]:
    """A mapping of metrics to limits; `on` and `message` of the entry are filled in by `file.py`."""
    found: list[Budget] = []
    for key, child in _entries(node, path, wrong):
        try:
            check_name(key.text)
        except ValueError as error:
            what, _, hint = str(error).partition("\n")
            wrong(key, f"{what} in {path}; {hint}")
            continue
        found += _limits(key, child, f"{path}.{key.text}", wrong)
    if isinstance(node, MappingNode) and not node.entries:
        wrong(node, f"{path} is empty")
    return tuple(found)


def _limits(key: Scalar, node: Node, path: str, wrong: Wrong) -> list[Budget]:
    if isinstance(node, Scalar):
        one = _limit(key, node, None, path, wrong)
        return [one] if one else []
    if not isinstance(node, MappingNode):
        wrong(node, f"{path} must be a limit with its unit, or {{max: …, level: …}}")
        return []
    parts = {k.text: child for k, child in _entries(node, path, wrong)}
    for written in (k for k, _ in node.entries.values() if k.text not in _LIMIT_KEYS):
        wrong(written, unknown(f"unknown key in {path}:", written.text, _LIMIT_KEYS))
    sides: list[Side] = [side for side in ("max", "min") if side in parts]
    if not sides:
        wrong(node, f"{path} has neither max nor min")
    level = _word(parts.get("level"), LEVELS, f"{path}.level", wrong) or "error"
    on = _word(parts.get("on"), ON, f"{path}.on", wrong) or ""
    told = parts.get("message")
    message = _told_text(told, f"{path}.message", wrong) or "" if told is not None else ""
    found = [(side, _limit(key, parts[side], side, f"{path}.{side}", wrong)) for side in sides]
    return [_filled(budget, level, on, message) for _, budget in found if budget]


def _filled(budget: Budget, level: str, on: str, message: str) -> Budget:
    from msgspec.structs import replace

    changes: dict[str, Any] = {"level": level, "message": message}
    return replace(budget, **changes, **({"on": on} if on else {}))


def _word(node: Node | None, words: tuple[str, ...], path: str, wrong: Wrong) -> str | None:
    if node is None:
        return None
    text = _told_text(node, path, wrong)
    if text is not None and text not in words:
        wrong(node, unknown(f"{path}: unknown value", text, words))
        return None
    return text


def _limit(key: Scalar, node: Node, side: Side | None, path: str, wrong: Wrong) -> Budget | None:
    text = _told_text(node, path, wrong)
    if text is None:
        return None
    try:
        found, value = parse_limit(key.text, text, side)
    except ValueError as error:
        wrong(node, f"{path}: {error}")
        return None
    return Budget(key.text, found, value, text.strip(), on="", place=str(key.place))  # type: ignore[arg-type]


# --- JSON Schema of what has a notation of its own ----------------------------------------------


def _names_schema() -> dict[str, Any]:
    return {"anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": _TEXT}]}


def _size_schema() -> dict[str, Any]:
    # an integer to a YAML-aware editor, text to the loader
    return {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^0*[1-9][0-9]*$"}]}


def _sizes_schema() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": _size_schema()}


def _budgets_schema() -> dict[str, Any]:
    properties = {name: _budget_schema(gauge, relative) for name, (gauge, relative) in NAMES.items()}
    return {"type": "object", "minProperties": 1, "properties": properties, "additionalProperties": False}


def _budget_schema(gauge: Gauge, relative: bool) -> dict[str, Any]:
    dimension = "fraction" if relative else gauge.dimension
    value: dict[str, Any] = {"type": ["string", "number"]} if dimension == "count" else {"type": "string"}
    if dimension == "fraction":
        value["pattern"] = "%"
    units = [u for u in quantity.UNITS[dimension] if u] if dimension != "fraction" else ["%"]
    told = f"how much worse than the baseline: {gauge.doc}" if relative else gauge.doc
    properties = {
        **({"max": value} if relative else {"max": value, "min": value}),
        "level": {"enum": list(LEVELS)},
        "on": {"enum": list(ON)},
        "message": _TEXT,
    }
    sides = [{"required": [side]} for side in properties if side in ("max", "min")]
    whole = {"type": "object", "properties": properties, "anyOf": sides, "additionalProperties": False}
    return {"description": f"{told}; a number with a unit: {', '.join(units)}", "anyOf": [value, whole]}


# --- the format --------------------------------------------------------------------------------

Path = Annotated[Placed, Own(_placed, lambda: _TEXT)]
Names = Annotated[tuple[str, ...], Own(_names, _names_schema)]
Sizes = Annotated[Mapping[str, int], Own(_sizes, _sizes_schema)]
Size = Annotated[int | None, Own(_size, _size_schema)]


class Entry(Struct, frozen=True):
    """Models that share budgets."""

    path: Annotated[Path, "a file, or a glob that must match something; from the folder of this file"]
    hardware: Annotated[Names, "ids, aliases, globs or paths of machines; the file's own unless given"] = ()
    runtime: Annotated[str, "software stack of the machines"] = ""
    dims: Annotated[Sizes, "values of symbolic dimensions, added to those of the file"] = field(default_factory=dict)
    batch: Annotated[Size, "the first axis of every input"] = None
    phase: Annotated[str, OneOf(PHASES), "of a decoder with a key/value cache"] = ""
    context: Annotated[Size, "tokens of the context, for phase"] = None
    budgets: Annotated[tuple[Budget, ...], Own(_budgets, _budgets_schema), "limits by metric"] = ()
    on: Annotated[str, OneOf(ON), "what of the interval is judged; expected unless given"] = DEFAULT_ON
    message: Annotated[str, "told with every failure"] = ""


class Config(Struct, frozen=True):
    """The whole file."""

    version: Annotated[str, OneOf((VERSION,)), "of this format"]
    hardware: Annotated[Names, "machines of all models that name none"] = ()
    runtime: Annotated[str, "software stack of the machines"] = ""
    dims: Annotated[Sizes, "values of symbolic dimensions, for the models that have them"] = field(default_factory=dict)
    baseline: Annotated[str, "file of the estimates that were accepted; from the folder of this file"] = ""
    models: Annotated[tuple[Entry, ...], "what is checked"] = ()
