"""`--ops FILE`: the costs of a user's own operators, from YAML to rules.

    my.domain::Fold:
      macs: out0.numel * in1.shape[0]
      ops: 2 * out0.numel * in1.shape[0] + out0.numel     # all operations; 2 x macs unless given
      class: dense                                        # elementwise unless given
      reads: {in1: in1.bytes // 2}                        # bytes; an operand left out: all of it
      writes: {out0: out0.bytes}

Every mistake is told, with its line and column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from efficiency_cli.costs import Rule
from efficiency_cli.costs.custom import CustomRule, may_be_given
from efficiency_cli.costs.expression import MAX_SLOT, Expression, ExpressionError
from efficiency_cli.errors import ConfigError, did_you_mean
from efficiency_cli.graph.model import OpClass
from efficiency_cli.hardware import tree
from efficiency_cli.hardware.load import MAX_BYTES, UnreadableProfileError, parse_tree

_KEYS = ("macs", "ops", "class", "reads", "writes")
_HINT = "see the format: effcli help counting"
# brackets and commas mean something to YAML inside { }
_QUOTE = f"inside braces, put a formula in quotes; {_HINT}"
_CLASSES = tuple(c.value for c in OpClass)


def read_operators(path: str) -> Mapping[tuple[str, str], Rule]:
    """Rules by (domain, operator) from the YAML file `path`. Raises ConfigError with every mistake."""
    data = _data(path)
    try:
        root = parse_tree(data, path)
    except UnreadableProfileError as error:
        raise ConfigError("the file of --ops cannot be read", where=error.where, hint=_hint(error)) from error
    reader = _Reader(data.decode("utf-8-sig"))
    found = reader.operators(root)
    if reader.mistakes:
        count = f"{len(reader.mistakes)} mistakes" if len(reader.mistakes) > 1 else "a mistake"
        raise ConfigError(f"the file of --ops has {count}", where=reader.mistakes, hint=_HINT)
    return found


def _hint(error: UnreadableProfileError) -> str:
    """In one line of YAML, what is most often wrong is a formula without quotes."""
    return _QUOTE if any("flow" in line for line in error.where) else _HINT


def _data(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot read the file of --ops, {path}: {reason}", hint="check the path") from error


class _Reader:
    """Collects the mistakes of one file."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.mistakes: list[str] = []

    def refuse(self, place: tree.Place, message: str) -> None:
        self.mistakes.append(f"{place}: {message}")

    def operators(self, root: tree.Node) -> dict[tuple[str, str], Rule]:
        found: dict[tuple[str, str], Rule] = {}
        entries = self._entries(root, "the file is a mapping: my.domain::Operator: {macs: …}")
        for key, node in entries:
            name = self._name(key)
            rule = self._rule(node)
            if name is not None and rule is not None:
                found[name] = rule
        if not entries and not self.mistakes:
            self.refuse(root.place, "no operator is given")
        return found

    def _entries(self, node: tree.Node, expected: str) -> list[tuple[tree.Scalar, tree.Node]]:
        if not isinstance(node, tree.Mapping):
            self.refuse(node.place, expected)
            return []
        for key in node.repeated:
            self.refuse(key.place, f"'{key.text}' is given twice")
        return list(node.entries.values())

    def _name(self, key: tree.Scalar) -> tuple[str, str] | None:
        domain, _, op = key.text.rpartition("::")
        domain = "" if domain == "ai.onnx" else domain
        if not op or ":" in domain + op or op != op.strip():
            self.refuse(key.place, f"'{key.text}' is not DOMAIN::OPERATOR")
        elif not may_be_given(domain, op):
            self.refuse(key.place, f"'{key.text}' is a standard operator with a built-in rule, which stands")
        else:
            return domain, op
        return None

    def _rule(self, node: tree.Node) -> CustomRule | None:
        before = len(self.mistakes)
        parts: dict[str, tree.Node] = {}
        for key, value in self._entries(node, "an operator is a mapping: {macs: …, ops: …}"):
            if key.text in _KEYS:
                parts[key.text] = value
            else:
                known = did_you_mean(key.text, _KEYS) or f"known are {', '.join(_KEYS)}"
                self.refuse(key.place, f"unknown key '{key.text}'; {known}")
        if len(self.mistakes) == before and not parts:
            self.refuse(node.place, "an operator needs at least one of macs, ops, reads, writes")
        rule = CustomRule(
            macs=self._formula(parts.get("macs")),
            ops=self._formula(parts.get("ops")),
            op_class=self._class(parts.get("class")),
            reads=self._bytes(parts.get("reads"), "in"),
            writes=self._bytes(parts.get("writes"), "out"),
        )
        return rule if len(self.mistakes) == before else None

    def _class(self, node: tree.Node | None) -> OpClass:
        if node is None:
            return OpClass.ELEMENTWISE
        text = node.text if isinstance(node, tree.Scalar) else ""
        if text not in _CLASSES:
            known = did_you_mean(text, _CLASSES) or f"known are {', '.join(_CLASSES)}"
            self.refuse(node.place, f"unknown class '{text}'; {known}")
            return OpClass.ELEMENTWISE
        return OpClass(text)

    def _bytes(self, node: tree.Node | None, side: str) -> dict[int, Expression]:
        found: dict[int, Expression] = {}
        if node is None:
            return found
        for key, value in self._entries(node, f"bytes are given by operand: {{{side}0: …}}"):
            slot = re.fullmatch(rf"{side}([0-9]{{1,3}})", key.text)
            formula = self._formula(value)
            if slot is None or int(slot[1]) > MAX_SLOT:
                self.refuse(key.place, f"'{key.text}' is no operand: {side}0, {side}1, …")
            elif formula is not None:
                found[int(slot[1])] = formula
        return found

    def _formula(self, node: tree.Node | None) -> Expression | None:
        if node is None:
            return None
        if not isinstance(node, tree.Scalar):
            self.refuse(node.place, "a formula is expected, as in: out0.numel * in1.shape[0]")
            return None
        try:
            return Expression(node.text)
        except ExpressionError as error:
            self.refuse(self._inside(node, error.column), error.message)
            return None

    def _inside(self, scalar: tree.Scalar, column: int) -> tree.Place:
        """The place of a formula's column; the formula's own where its text is folded or escaped."""
        place = scalar.place
        line = self.lines[place.line - 1] if place.line <= len(self.lines) else ""
        start = place.column - 1
        start += line[start : start + 1] in ("'", '"')
        if not line.startswith(scalar.text, start):
            return place
        return tree.Place(place.file, place.line, start + column)
