"""The JSONPath that CRDs use for columns and scale: fields, quoted fields, indexes, `[*]`, and `[?(@.type=="Ready")]`.

Compiled once, then only looks: a missing step gives nothing, and no expression can run for longer than the object is large.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_Step = Callable[[list[Any]], list[Any]]

MAX_STEPS = 64

_FIELD = re.compile(r"\.?((?:[^.\[\]\\'\"()@?=*\s]|\\.)+)")
_QUOTED = re.compile(r"""\[(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\]""")
_INDEX = re.compile(r"\[(-?\d{1,6})\]")
_ALL = re.compile(r"\[\*\]|\.\*")
_FILTER = re.compile(r"""\[\?\(\s*@((?:\.[^.\[\]\s=!<>]+)+)\s*(==|!=)\s*(?:'([^']*)'|"([^"]*)"|(true|false|-?\d+))\s*\)\]""")


class JsonPathError(ValueError):
    """Not a path that we can follow; the message names it."""


class JsonPath:
    """A compiled path."""

    def __init__(self, text: str) -> None:
        inner = text.strip()
        if inner.startswith("{") and inner.endswith("}"):
            inner = inner[1:-1].strip()
        inner = inner.removeprefix("$")
        if not inner.startswith((".", "[")):
            raise JsonPathError(f"{text!r} must be a simple json path starting with .")
        self._steps = _compile(inner, text)

    def find(self, obj: Any) -> list[Any]:
        """Return every value that the path reaches, in order; empty when a step is missing."""
        found = [obj]
        for step in self._steps:
            found = step(found)
            if not found:
                break
        return found

    def first(self, obj: Any) -> Any:
        """Return the first value, or None."""
        found = self.find(obj)
        return found[0] if found else None


def _compile(inner: str, text: str) -> list[_Step]:
    steps: list[_Step] = []
    at = 0
    if inner == ".":
        return steps
    while at < len(inner):
        for pattern, make in _SYNTAX:
            match = pattern.match(inner, at)
            if match is not None:
                steps.append(make(match))
                at = match.end()
                break
        else:
            raise JsonPathError(f"{text!r} is not a JSON path that we support, from {inner[at:][:20]!r} on")
        if len(steps) > MAX_STEPS:
            raise JsonPathError(f"{text!r} has more than {MAX_STEPS} steps")
    return steps


def _named(name: str) -> _Step:
    name = re.sub(r"\\(.)", r"\1", name)

    def step(found: list[Any]) -> list[Any]:
        return [v[name] for v in found if v.__class__ is dict and name in v]

    return step


def _indexed(match: re.Match[str]) -> _Step:
    index = int(match[1])

    def step(found: list[Any]) -> list[Any]:
        return [v[index] for v in found if v.__class__ is list and -len(v) <= index < len(v)]

    return step


def _every(match: re.Match[str]) -> _Step:
    def step(found: list[Any]) -> list[Any]:
        out: list[Any] = []
        for v in found:
            out.extend(v if v.__class__ is list else v.values() if v.__class__ is dict else ())
        return out

    return step


def _filtered(match: re.Match[str]) -> _Step:
    path, op, single, double, bare = match.groups()
    names = path.strip(".").split(".")
    wanted: Any = single if single is not None else double
    if bare is not None:
        wanted = bare == "true" if bare in ("true", "false") else int(bare)

    def holds(element: Any) -> bool:
        for name in names:
            if element.__class__ is not dict or name not in element:
                return False
            element = element[name]
        return bool((element == wanted) is (op == "=="))

    def step(found: list[Any]) -> list[Any]:
        return [element for v in found if v.__class__ is list for element in v if holds(element)]

    return step


_SYNTAX: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], _Step]], ...] = (
    (_ALL, _every),
    (_FILTER, _filtered),
    (_QUOTED, lambda m: _named(m[1] if m[1] is not None else m[2])),
    (_INDEX, _indexed),
    (_FIELD, lambda m: _named(m[1])),
)
