"""Formulas that users write for operators of their own: whole numbers over shapes, and nothing else.

    expression: term {(+ | -) term}        term: factor {(* | // | %) factor}        factor: [-] primary
    primary:    17 | ( expression ) | min(a, b, …) | max(a, b, …)
                in0.numel | in0.bytes | in0.rank | in0.shape[1] | out0.…      shape[-1] is the last axis
                attr("name") | attr("name", 4) | attr("name")[0]

Parsed by hand: no name means anything but these, there is no power, and every value is bounded, so a
formula from anywhere can neither run code nor take long. Knows no YAML and no files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from efficiency_cli.costs import CostError, Op
from efficiency_cli.errors import did_you_mean
from efficiency_cli.graph.model import Tensor

# a formula is a line of text; these bounds are far beyond what one needs
MAX_LENGTH = 1000
MAX_DEPTH = 32
MAX_SLOT = 255
# no count of an operator can be larger, nor a step on the way to it: 2^63 is 3 years at 100 GOP/s
MAX_VALUE = 2**63 - 1

_TOKEN = re.compile(r"\s*(?:(\d+)|([A-Za-z_]\w*)|(\"[^\"]*\"|'[^']*')|(//|[-+*%(),.\[\]])|(\S))")
_OPERAND = re.compile(r"(in|out)(\d+)")
_PROPERTIES = ("numel", "bytes", "rank", "shape")
_NAMES = ("in0", "out0", "min", "max", "attr")

Value = Callable[[Op], int]


class ExpressionError(ValueError):
    """What is wrong with a formula, and the column (from 1) in its text."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.column = column


class Expression:
    """A parsed formula: call it with an operator. Two of the same text are equal."""

    __slots__ = ("_value", "text")

    def __init__(self, text: str) -> None:
        """Raises ExpressionError."""
        self.text = text
        self._value = _Parser(text).parse()

    def __call__(self, op: Op) -> int:
        """The value for `op`. Raises CostError where an operand, axis or attribute is missing, or the
        value is no count; UnknownShapeError where a shape is not known.
        """
        try:
            value = self._value(op)
        except ZeroDivisionError:
            raise CostError(f"'{self.text}' divides by zero") from None
        if value < 0:
            raise CostError(f"'{self.text}' is {value:,}, below zero")
        return value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


class _Token(Struct, frozen=True):
    kind: str  # number | name | text | sign | end
    text: str
    column: int


_KINDS = ("number", "name", "text", "sign")


def _tokens(text: str) -> list[_Token]:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"a formula has at most {MAX_LENGTH:,} characters, this one {len(text):,}", 1)
    found: list[_Token] = []
    position = 0
    while (match := _TOKEN.match(text, position)) is not None:
        group = match.lastindex or 0
        column = match.start(group) + 1
        if group > len(_KINDS):
            raise _odd_sign(match[group], column)
        found.append(_Token(_KINDS[group - 1], match[group], column))
        position = match.end()
    found.append(_Token("end", "", len(text) + 1))
    return found


def _odd_sign(sign: str, column: int) -> ExpressionError:
    if sign == "/":
        return ExpressionError("'/' is not known: division is //, of whole numbers", column)
    if sign in "\"'":
        return ExpressionError("the text is not closed", column)
    return ExpressionError(f"'{sign}' means nothing in a formula", column)


class _Parser:
    """Recursive descent; each method returns a function from an operator to a number."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0

    def parse(self) -> Value:
        value = self._expression()
        if self._token.kind != "end":
            raise self._expected("an operator such as * or +")
        return value

    @property
    def _token(self) -> _Token:
        return self.tokens[self.at]

    def _expected(self, what: str) -> ExpressionError:
        token = self._token
        if token.text == "*" and self.at and self.tokens[self.at - 1].text == "*":
            return ExpressionError("there is no power (**): multiply instead", self.tokens[self.at - 1].column)
        return ExpressionError(f"{what} is expected, not {repr(token.text) if token.text else 'the end'}", token.column)

    def _sign(self, *signs: str) -> str:
        """The next sign if it is one of these, and goes on; else ''."""
        token = self._token
        if token.kind == "sign" and token.text in signs:
            self.at += 1
            return token.text
        return ""

    def _need(self, sign: str) -> None:
        if not self._sign(sign):
            raise self._expected(f"'{sign}'")

    def _expression(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}", self._token.column)
        value = self._chain(self._term, "+", "-")
        self.depth -= 1
        return value

    def _term(self) -> Value:
        return self._chain(self._factor, "*", "//", "%")

    def _chain(self, part: Callable[[], Value], *signs: str) -> Value:
        """`a + b - c …`, worked out in a loop: a long sum is no deep nesting."""
        first = part()
        rest: list[tuple[str, Value]] = []
        while sign := self._sign(*signs):
            rest.append((sign, part()))
        return _chained(first, rest) if rest else first

    def _factor(self) -> Value:
        minus = False
        while self._sign("-"):
            minus = not minus
        value = self._primary()
        return (lambda op: -value(op)) if minus else value

    def _primary(self) -> Value:
        token = self._token
        if self._sign("("):
            value = self._expression()
            self._need(")")
            return value
        if token.kind == "number":
            return _constant(self._whole(MAX_VALUE))
        if token.kind != "name":
            raise self._expected("a number, an operand such as in0 or out0, or '('")
        self.at += 1
        if token.text in ("min", "max"):
            return self._extreme(min if token.text == "min" else max)
        if token.text == "attr":
            return self._attribute()
        return self._operand(token)

    def _whole(self, largest: int) -> int:
        token = self._token
        if token.kind != "number":
            raise self._expected("a whole number")
        self.at += 1
        # int() of a long text takes time that grows with its square
        if len(token.text) > len(str(largest)) or int(token.text) > largest:
            raise ExpressionError(f"{token.text[:20]} is more than {largest:,}", token.column)
        return int(token.text)

    def _signed(self, largest: int) -> int:
        return -self._whole(largest) if self._sign("-") else self._whole(largest)

    def _extreme(self, choose: Callable[..., int]) -> Value:
        self._need("(")
        values = [self._expression()]
        while self._sign(","):
            values.append(self._expression())
        self._need(")")
        return lambda op: choose([value(op) for value in values])

    def _attribute(self) -> Value:
        self._need("(")
        token = self._token
        if token.kind != "text":
            raise self._expected('an attribute\'s name in quotes, as in attr("group", 1),')
        self.at += 1
        default = self._signed(MAX_VALUE) if self._sign(",") else None
        self._need(")")
        return _attribute(token.text[1:-1], default, self._index())

    def _index(self) -> int | None:
        if not self._sign("["):
            return None
        index = self._signed(MAX_SLOT)
        self._need("]")
        return index

    def _operand(self, token: _Token) -> Value:
        match = _OPERAND.fullmatch(token.text)
        if match is None:
            meant = did_you_mean(token.text, _NAMES)
            known = "known are in0, in1, …, out0, …, min, max, attr"
            raise ExpressionError(f"'{token.text}' is not known; {meant or known}", token.column)
        if len(match[2]) > len(str(MAX_SLOT)) or int(match[2]) > MAX_SLOT:
            raise ExpressionError(f"an operator has at most {MAX_SLOT + 1} operands", token.column)
        self._need(".")
        name = self._token
        if name.kind != "name" or name.text not in _PROPERTIES:
            meant = did_you_mean(name.text, _PROPERTIES) or f"known are {', '.join(_PROPERTIES)}"
            raise ExpressionError(f"'{name.text}' is nothing of an operand; {meant}", name.column)
        self.at += 1
        if name.text != "shape":
            return _property(match[1], int(match[2]), name.text)
        index = self._index()
        if index is None:
            raise ExpressionError(f"an axis is expected: {token.text}.shape[0]", self._token.column)
        return _size(match[1], int(match[2]), index)


def _constant(value: int) -> Value:
    return lambda _op: value


def _chained(first: Value, rest: Sequence[tuple[str, Value]]) -> Value:
    def value(op: Op) -> int:
        result = first(op)
        for sign, part in rest:
            result = _applied(sign, result, part(op))
        return result

    return value


def _applied(sign: str, a: int, b: int) -> int:
    match sign:
        case "+":
            result = a + b
        case "-":
            result = a - b
        case "*":
            result = a * b
        case "//":
            result = a // b
        case _:
            result = a % b
    if abs(result) > MAX_VALUE:
        raise CostError("a formula gives more than 2^63 operations or bytes")
    return result


def _tensor(op: Op, side: str, slot: int) -> Tensor:
    return op.input(slot) if side == "in" else op.output(slot)


def _shape(op: Op, side: str, slot: int) -> tuple[int, ...]:
    return op.shape(slot) if side == "in" else op.out_shape(slot)


def _property(side: str, slot: int, name: str) -> Value:
    def value(op: Op) -> int:
        shape = _shape(op, side, slot)  # raises where it is not known
        tensor = _tensor(op, side, slot)
        return len(shape) if name == "rank" else tensor.bytes if name == "bytes" else tensor.numel

    return value


def _size(side: str, slot: int, axis: int) -> Value:
    def value(op: Op) -> int:
        shape = _shape(op, side, slot)
        if not -len(shape) <= axis < len(shape):
            raise CostError(f"{side}{slot}.shape[{axis}]: its rank is {len(shape)}")
        return shape[axis]

    return value


def _attribute(name: str, default: int | None, index: int | None) -> Value:
    def value(op: Op) -> int:
        found = op.node.attributes.get(name, default)
        if found is None:
            raise CostError(f"attribute '{name}' is absent, and its formula gives no default")
        if isinstance(found, tuple) and index is not None:
            if not -len(found) <= index < len(found):
                raise CostError(f"attribute '{name}' has {len(found)} elements, [{index}] is none of them")
            found = found[index]
        if not isinstance(found, int):
            raise CostError(f"attribute '{name}' is not a whole number")
        return found

    return value
