"""Text from a model made safe to show: names, domains, paths, whatever a stranger wrote.

Control characters, ANSI escapes, bidirectional overrides, zero-width characters and lone surrogates
become visible `\\x1b`-style escapes; each text format adds what it alone needs. JSON has its own escaping.
"""

from __future__ import annotations

import re

# a name longer than this is shown by its two ends
LONGEST = 200
_HEAD = 40
# our own signs where the output takes ASCII only
_ASCII = str.maketrans(
    {"…": "...", "–": "-", "×": "x", "µ": "u", "·": "*", "≥": ">=", "≤": "<=", "−": "-", "÷": "/", "→": "->"}
    # of formulas in the cost rules
    | {"Π": "prod ", "√": "sqrt ", "α": "alpha", "β": "beta", "²": "^2", "³": "^3", "ᵈ": "^d", "ᵀ": "^T", "₂": "_2"}
    | {"Σ": "sum ", "θ": "theta", "π": "pi", "\u0303": "~"}
    | {"⌈": "ceil(", "⌉": ")", "⌊": "floor(", "⌋": ")", "‖": "||", "⊗": "outer"}
)
# first characters that spreadsheets take for a formula, the full-width ones as well
_FORMULA = tuple("=+-@＝＋－＠")
_MARKDOWN = re.compile(r"[\\`*\[\]|~]|:(?=//)|(?<=www)\.|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")

# @someone and #1: GitHub looks for them in the rendered text, where a character reference is no help
_REFERENCE = re.compile(r"@(?=\w)|(?<!&)#(?=\w)")


def escaped(text: str, unicode: bool = True) -> str:
    """`text` on one line and harmless, at its full length; without `unicode` in ASCII."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _escape(c) for c in text)
    return text if unicode or text.isascii() else "".join(c if c.isascii() else _escape(c) for c in text)


def shown(text: str, unicode: bool = True) -> str:
    """`escaped`, and no longer than LONGEST: the middle goes, the tail tells more than the head."""
    text = escaped(text, unicode)
    if len(text) <= LONGEST:
        return text
    gap = "…" if unicode else "..."
    return f"{text[:_HEAD]}{gap}{text[len(gap) + _HEAD - LONGEST :]}"


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def signs(text: str, unicode: bool) -> str:
    """Our own text with its signs (×, –, …) spelled in ASCII where `unicode` is off."""
    return text if unicode else text.translate(_ASCII)


def csv_cell(text: str) -> str:
    """`escaped`, with an apostrophe in front of what a spreadsheet would run as a formula."""
    text = escaped(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def markdown_code(text: str) -> str:
    """`shown` as code, in which GitHub makes no mentions and no links, and which nothing inside can leave."""
    return f"<code>{_referenced(text)}</code>"


def markdown_text(text: str) -> str:
    """`shown` with all that Markdown, HTML or GitHub would act on written so that it does not."""
    return _REFERENCE.sub(r"\g<0><!-- -->", _referenced(text))


def _referenced(text: str) -> str:
    import html  # half a percent of the shortest run, for Markdown alone

    safe = html.escape(shown(text), quote=False)
    # html.escape has made `&` and `;`, neither of which is in the pattern
    return _MARKDOWN.sub(lambda m: f"&#{ord(m[0])};", safe)
