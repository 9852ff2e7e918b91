"""The string extension of cel-go (version 2) and the regular expressions of Kubernetes."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from skerry.apiserver.cel.errors import EvaluationError
from skerry.apiserver.cel.functions import define, length
from skerry.apiserver.cel.library_standard import to_string
from skerry.apiserver.cel.types import BOOL, DYN, INT, STRING, list_of
from skerry.apiserver.cel.values import Value
from skerry.apiserver.schema.patterns import PatternError, compile_finder, compile_pattern

_STRINGS = list_of(STRING)
MAX_RESULT = 4 * 1024 * 1024
"""Longest text that an expression may make: characters."""
MAX_FIND = 1_000
"""Longest text in which a pattern is looked for that backtracks: what Python's engine then does is quadratic."""
_NESTED = re.compile(r"[*+}][^()]*\)[*+{]")


def add() -> None:
    _tests()
    _changes()
    _splitting()
    _regular_expressions()


def _tests() -> None:
    define("contains", (STRING, STRING), BOOL, lambda s, part: part in s, member=True, cost=lambda s, p: 1 + len(s) * len(p) // 100)
    define("startsWith", (STRING, STRING), BOOL, str.startswith, member=True, cost=lambda s, p: length(p))
    define("endsWith", (STRING, STRING), BOOL, str.endswith, member=True, cost=lambda s, p: length(p))
    for name, find in (("indexOf", str.find), ("lastIndexOf", str.rfind)):
        define(name, (STRING, STRING), INT, find, member=True, cost=lambda s, p: 1 + len(s) // 10)
    define("indexOf", (STRING, STRING, INT), INT, _index_from, member=True, cost=lambda s, *_: length(s))
    define("lastIndexOf", (STRING, STRING, INT), INT, _last_from, member=True, cost=lambda s, *_: length(s))


def _index_from(text: str, part: str, start: int) -> int:
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    return text.find(part, start)


def _last_from(text: str, part: str, start: int) -> int:
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    return text.rfind(part, 0, start + len(part))


_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"


def _changes() -> None:
    simple = {
        "lowerAscii": lambda s: s.translate(_LOWER),
        "upperAscii": lambda s: s.translate(_UPPER),
        "trim": lambda s: s.strip(_SPACES),
    }
    for name, do in simple.items():
        define(name, (STRING,), STRING, do, member=True, cost=length)
    define("charAt", (STRING, INT), STRING, _char_at, member=True)
    define("substring", (STRING, INT), STRING, lambda s, i: _substring(s, i, len(s)), member=True, cost=lambda s, *_: length(s))
    define("substring", (STRING, INT, INT), STRING, _substring, member=True, cost=lambda s, *_: length(s))
    define(
        "replace", (STRING, STRING, STRING), STRING, lambda s, a, b: _replace(s, a, b, -1), member=True, cost=lambda s, *_: 2 * length(s)
    )
    define("replace", (STRING, STRING, STRING, INT), STRING, _replace, member=True, cost=lambda s, *_: 2 * length(s))
    define("format", (STRING, list_of(DYN)), STRING, formatted, member=True, cost=lambda s, args: 1 + len(s) + len(args))
    define("strings.quote", (STRING,), STRING, _quoted, cost=length)


def _char_at(text: str, at: int) -> str:
    if not 0 <= at <= len(text):
        raise EvaluationError(f"index out of range: {at}")
    return text[at : at + 1]


def _substring(text: str, start: int, end: int) -> str:
    if start > end:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {end}")
    if not 0 <= start <= len(text) or end > len(text):
        raise EvaluationError(f"index out of range: {start if not 0 <= start <= len(text) else end}")
    return text[start:end]


def _replace(text: str, old: str, new: str, count: int) -> str:
    times = text.count(old) if count < 0 else min(count, text.count(old))
    if len(text) + times * len(new) > MAX_RESULT:
        raise EvaluationError(f"a text of more than {MAX_RESULT} characters")
    return text.replace(old, new, count)


_QUOTES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"'}


def _quoted(text: str) -> str:
    return '"' + "".join(_QUOTES.get(c, c) for c in text) + '"'


_VERB = re.compile(r"%(?:%|(?:\.(\d{1,3}))?([a-zA-Z]))")


def formatted(text: str, args: list[Any]) -> str:
    """Fill the verbs of *text* (%s %d %f %e %b %x %X %o) with *args*."""
    left = list(args)
    size = len(text)

    def filled(match: re.Match[str]) -> str:
        nonlocal size
        if match[0] == "%%":
            return "%"
        if not left:
            raise EvaluationError(f"index {len(args)} out of range")
        found = _verb(match[2], match[1], left.pop(0))
        size += len(found)
        if size > MAX_RESULT:
            raise EvaluationError(f"a text of more than {MAX_RESULT} characters")
        return found

    return _VERB.sub(filled, text)


def _verb(verb: str, precision: str | None, value: Value) -> str:
    kind = value.__class__
    try:
        if verb == "s":
            return _shown(value)
        if verb == "d":
            return str(int(value)) if kind is not str and kind is not float else _refused(verb)
        if verb in "fe":
            return f"{float(value):.{precision or 6}{verb}}" if kind is not str else _refused(verb)
        if verb == "b":
            return format(int(value), "b")
        if verb == "o":
            return format(int(value), "o")
        if verb in "xX":
            found = value.hex() if kind is bytes else value.encode().hex() if kind is str else format(int(value), "x")
            return str(found.upper() if verb == "X" else found)
    except (TypeError, ValueError):
        return _refused(verb)
    raise EvaluationError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')


def _refused(verb: str) -> str:
    raise EvaluationError(f"error during formatting: {verb} clause does not take this type")


def _shown(value: Value) -> str:
    if value is None:
        return "null"
    if value.__class__ is list:
        return "[" + ", ".join(map(_shown, value)) + "]"
    if value.__class__ is dict:
        return "{" + ", ".join(f"{_shown(k)}: {_shown(v)}" for k, v in sorted(value.items(), key=lambda e: str(e[0]))) + "}"
    name = getattr(value, "name", None)
    return str(name) if name is not None else to_string(value)


def _splitting() -> None:
    define("split", (STRING, STRING), _STRINGS, lambda s, by: _split(s, by, -1), member=True, cost=lambda s, *_: length(s))
    define("split", (STRING, STRING, INT), _STRINGS, _split, member=True, cost=lambda s, *_: length(s))
    define("join", (_STRINGS,), STRING, lambda parts: _join(parts, ""), member=True, cost=_join_cost)
    define("join", (_STRINGS, STRING), STRING, lambda parts, by: _join(parts, by), member=True, cost=_join_cost)


def _split(text: str, by: str, count: int) -> list[str]:
    if count == 0:
        return []
    if count == 1:
        return [text]
    if not by:
        return list(text) if count < 0 or count >= len(text) else [*text[: count - 1], text[count - 1 :]]
    return text.split(by, -1 if count < 0 else count - 1)


def _join(parts: list[Any], by: str) -> str:
    if any(p.__class__ is not str for p in parts):
        raise EvaluationError("join: elements must be strings")
    return by.join(parts)


def _join_cost(parts: list[Any], by: str = "") -> int:
    return 1 + sum(len(p) if p.__class__ is str else 1 for p in parts) // 10 + len(parts) * (1 + len(by) // 10)


def _regular_expressions() -> None:
    cost = lambda s, pattern, *_: 1 + (len(s) // 10 + 1) * (len(pattern) // 4 + 1)  # noqa: E731
    define("matches", (STRING, STRING), BOOL, _matches, member=True, cost=cost)
    define("matches", (STRING, STRING), BOOL, _matches, cost=cost)
    define("find", (STRING, STRING), STRING, _find, member=True, cost=cost)
    define("findAll", (STRING, STRING), _STRINGS, lambda s, p: _find_all(s, p, -1), member=True, cost=cost)
    define("findAll", (STRING, STRING, INT), _STRINGS, _find_all, member=True, cost=cost)


def _matches(text: str, pattern: str) -> bool:
    return bool(_compiled(pattern)(text))


def _find(text: str, pattern: str) -> str:
    match = _finder(pattern, text).search(text)
    return match[0] if match else ""


def _find_all(text: str, pattern: str, limit: int) -> list[str]:
    found: list[str] = []
    for match in _finder(pattern, text).finditer(text):
        if 0 <= limit <= len(found):
            break
        found.append(match[0])
    return found


@lru_cache(256)
def _compiled(pattern: str) -> Any:
    try:
        return compile_pattern(pattern)
    except PatternError as error:
        raise EvaluationError(f"error parsing regexp: {error}") from None


def _finder(pattern: str, text: str) -> re.Pattern[str]:
    found, dangerous = _finders(pattern)
    if dangerous and len(text) > MAX_FIND:
        raise EvaluationError(f"find: this pattern is not looked for in a text of more than {MAX_FIND} characters")
    return found


@lru_cache(256)
def _finders(pattern: str) -> tuple[re.Pattern[str], bool]:
    try:
        found, dangerous = compile_finder(pattern)
        if dangerous and _NESTED.search(pattern):
            raise PatternError("repeats inside repeats are not supported by find")
    except PatternError as error:
        raise EvaluationError(f"error parsing regexp: {error}") from None
    return found, dangerous


def check_pattern(pattern: str) -> str:
    """Return what is wrong with a regular expression that stands in a source, or ""."""
    try:
        compile_pattern(pattern)
    except PatternError as error:
        return str(error)
    return ""
