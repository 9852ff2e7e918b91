"""Why a JSON text cannot be read, in the words of Go's decoder: clients and tests look for them. Pure.

Our parser says at which byte it stopped; Go's words follow from its reason and from what stands there.
"""

from __future__ import annotations

import re

_AT = re.compile(r"\(byte (\d+)\)$")
_END = "unexpected end of JSON input"
_LITERALS = (b"true", b"false", b"null")
_PLACES = (
    ("object keys must be strings", "looking for beginning of object key string"),
    ("trailing comma in object", "looking for beginning of object key string"),
    ("trailing comma in array", "looking for beginning of value"),
    ("expected ':'", "after object key"),
    ("expected ',' or '}'", "after object key:value pair"),
    ("expected ',' or ']'", "after array element"),
    ("trailing characters", "after top-level value"),
    ("invalid escape character", "in string escape code"),
    ("unicode escape", "in \\u hexadecimal character escape"),
    ("invalid number", "in numeric literal"),
)


def go_words(body: bytes, error: Exception) -> str:
    """Return what Go says about *body*, which our parser refused with *error*."""
    text = str(error)
    if isinstance(error, UnicodeDecodeError):
        return "invalid character in string literal: the text is not UTF-8"
    if isinstance(error, RecursionError):
        return "exceeded max depth"
    found = _AT.search(text)
    if found is None:
        return _END if "truncated" in text or not body.strip() else text
    at = int(found[1])
    reason = text[: found.start()]
    if "invalid escape" in reason:
        at -= 1  # our parser names the byte behind the one that it minds
    if at >= len(body):
        return _END
    return f"invalid character {_quoted(body, at)} {_place(reason, body, at)}"


def _place(reason: str, body: bytes, at: int) -> str:
    for ours, theirs in _PLACES:
        if ours in reason:
            return theirs
    if body[at] < 0x20 and body[at] not in b"\t\r\n":
        return "in string literal"
    for literal in _LITERALS:
        for length in range(len(literal) - 1, 0, -1):
            if body.endswith(literal[:length], max(0, at - length), at):
                return f"in literal {literal.decode()} (expecting '{chr(literal[length])}')"
    return "looking for beginning of value"


def _quoted(body: bytes, at: int) -> str:
    character = body[at : at + 4].decode("utf-8", "ignore")[:1] or "\ufffd"
    if character == "'":
        return r"'\''"
    escapes = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\\": r"\\", "\ufeff": r"\ufeff"}
    shown = escapes.get(character) or (character if character.isprintable() else f"\\x{ord(character):02x}")
    return f"'{shown}'"
