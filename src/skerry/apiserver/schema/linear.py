"""Regular expressions in time linear in the text, for patterns on which Python's engine could take for ever.

`re` backtracks: a repeat inside a repeat, `^(a+)+$`, takes exponential time on a text that nearly matches, and whoever may create
an object of a kind with such a pattern could stop the server. Kubernetes runs RE2, which cannot be made to. Here the parsed
pattern becomes a nondeterministic automaton whose sets of states are computed when a character first leads to them, and kept.
"""

from __future__ import annotations

import re._constants as sre  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Callable, Iterable
from typing import Any

MAX_NODES = 20_000
MAX_REPEATS = 1_000
MAX_KEPT = 4_096
"""Transitions that are remembered; then it starts afresh, so that a text of many different characters costs no memory."""

Accepts = Callable[[int], bool]


class UnsupportedError(ValueError):
    """A construct that is not regular, or that is not done here."""


class Linear:
    """A compiled pattern; `search` says whether it matches anywhere in a text."""

    def __init__(self, pattern: str) -> None:
        self._steps: dict[int, tuple[Accepts, int]] = {}
        self._free: dict[int, list[int]] = {}
        self._anchors: dict[int, tuple[Any, int]] = {}
        self._size = 0
        self._flags = 0
        self._accept = self._node()
        self._start = self._build(parser.parse(pattern, sre.SRE_FLAG_ASCII), self._accept)
        self._first = self._closure([self._start], at_start=True, at_end=False)
        self._again = self._closure([self._start], at_start=False, at_end=False)
        self._empty = self._accept in self._closure([self._start], at_start=True, at_end=True)
        self._ends: dict[frozenset[int], bool] = {}
        self._kept: dict[frozenset[int], dict[str, frozenset[int]]] = {}
        self._number_kept = 0

    def search(self, text: str) -> bool:
        if not text:
            return self._empty
        states = self._first
        for character in text:
            if self._accept in states:
                return True
            known = self._kept.get(states)
            after = known.get(character) if known is not None else None
            states = after if after is not None else self._step(states, character)
        return self._accept in states or self._accepts_at_end(states)

    def _accepts_at_end(self, states: frozenset[int]) -> bool:
        found = self._ends.get(states)
        if found is None:
            found = self._accept in self._closure([*states, self._start], at_start=False, at_end=True)
            self._ends[states] = found
        return found

    def _step(self, states: frozenset[int], character: str) -> frozenset[int]:
        code = ord(character)
        reached = [target for s in states if s in self._steps for accepts, target in (self._steps[s],) if accepts(code)]
        found = self._closure(reached, at_start=False, at_end=False) | self._again
        self._number_kept += 1
        if self._number_kept > MAX_KEPT:
            self._kept.clear()
            self._ends.clear()
            self._number_kept = 1
        self._kept.setdefault(states, {})[character] = found
        return found

    def _closure(self, states: Iterable[int], *, at_start: bool, at_end: bool) -> frozenset[int]:
        """Return every state that is reached without reading."""
        waiting = list(states)
        seen: set[int] = set()
        while waiting:
            state = waiting.pop()
            if state in seen:
                continue
            seen.add(state)
            waiting += self._free.get(state, ())
            anchor = self._anchors.get(state)
            if anchor is not None and (at_start if anchor[0] in _STARTS else at_end):
                waiting.append(anchor[1])
        return frozenset(seen)

    def _node(self) -> int:
        self._size += 1
        if self._size > MAX_NODES:
            raise UnsupportedError(f"needs more than {MAX_NODES} states")
        return self._size

    def _build(self, parts: Any, then: int) -> int:
        """Return the state from which *parts* lead to *then*."""
        for op, argument in reversed(list(parts)):
            then = self._part(op, argument, then)
        return then

    def _part(self, op: Any, argument: Any, then: int) -> int:
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            return self._repeat(argument[0], argument[1], argument[2], then)
        if op is sre.SUBPATTERN:
            return self._with_flags(argument, then)
        if op is sre.BRANCH:
            state = self._node()
            self._free[state] = [self._build(branch, then) for branch in argument[1]]
            return state
        state = self._node()
        if op is sre.AT:
            if argument not in (*_STARTS, *_ENDS):
                raise UnsupportedError(f"{argument} is not supported")
            self._anchors[state] = (argument, then)
        else:
            self._steps[state] = (_accepts(op, argument, self._flags), then)
        return state

    def _with_flags(self, argument: Any, then: int) -> int:
        """Build a group, whose flags are for what stands in it."""
        _, on, off, parts = argument
        before, self._flags = self._flags, (self._flags | on) & ~off
        if self._flags & ~_FLAGS:
            raise UnsupportedError("of the flags inside a pattern, i and s are supported here")
        try:
            return self._build(parts, then)
        finally:
            self._flags = before

    def _repeat(self, low: int, high: Any, parts: Any, then: int) -> int:
        if high is sre.MAXREPEAT:
            loop = self._node()
            self._free[loop] = [then]
            self._free[loop].append(self._build(parts, loop))
            then = loop
        else:
            for _ in range(int(high) - low):
                maybe = self._node()
                self._free[maybe] = [then, self._build(parts, then)]
                then = maybe
        for _ in range(low):
            then = self._build(parts, then)
        return then


_FLAGS = sre.SRE_FLAG_IGNORECASE | sre.SRE_FLAG_DOTALL
_STARTS = (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING)
_ENDS = (sre.AT_END_STRING,)


def _accepts(op: Any, argument: Any, flags: int) -> Accepts:
    if op in (sre.LITERAL, sre.NOT_LITERAL):
        same = _cases(argument) if flags & sre.SRE_FLAG_IGNORECASE else {argument}
        return same.__contains__ if op is sre.LITERAL else lambda c: c not in same
    if op is sre.ANY:
        return (lambda c: True) if flags & sre.SRE_FLAG_DOTALL else lambda c: c != 10
    if op is sre.IN:
        negated = bool(argument) and argument[0][0] is sre.NEGATE
        members = [_accepts(o, a, flags) for o, a in argument[int(negated) :]]
        return lambda c: any(m(c) for m in members) is not negated
    if op is sre.RANGE:
        low, high = argument
        if flags & sre.SRE_FLAG_IGNORECASE:
            return lambda c: any(low <= each <= high for each in _cases(c))
        return lambda c: bool(low <= c <= high)
    if op is sre.CATEGORY and argument in _CATEGORIES:
        return _CATEGORIES[argument]
    raise UnsupportedError(f"{op} is not supported")


def _cases(code: int) -> set[int]:
    """Return a character and, for an ASCII letter, its other case."""
    return {code, code ^ 32} if code < 128 and chr(code).isalpha() else {code}


_SPACES = frozenset(map(ord, " \t\n\r\f\v"))


def _is_word(c: int) -> bool:
    return c < 128 and (chr(c).isalnum() or c == 95)


_CATEGORIES: dict[Any, Accepts] = {
    sre.CATEGORY_DIGIT: lambda c: 48 <= c <= 57,
    sre.CATEGORY_NOT_DIGIT: lambda c: not 48 <= c <= 57,
    sre.CATEGORY_SPACE: lambda c: c in _SPACES,
    sre.CATEGORY_NOT_SPACE: lambda c: c not in _SPACES,
    sre.CATEGORY_WORD: _is_word,
    sre.CATEGORY_NOT_WORD: lambda c: not _is_word(c),
}


def may_explode(pattern: str) -> bool:
    """Return whether Python's engine could need more than linear time on some text.

    One repeat of something of fixed width cannot be read in two ways; with two repeats, or alternatives inside one, a text may
    be. Without an anchor even one repeat is tried again from every place. Raises UnsupportedError for more repeats than RE2 takes.
    """
    parts = list(parser.parse(pattern, sre.SRE_FLAG_ASCII))
    if _repeats(parts) > MAX_REPEATS:
        raise UnsupportedError(f"repeats more than {MAX_REPEATS} times")
    anchored = bool(parts) and parts[0][0] is sre.AT and parts[0][1] in _STARTS
    return _freedom(parts) > int(anchored)


def _repeats(parts: Any) -> int:
    """Return how often the innermost part is repeated by numbers that the pattern names, repeats of repeats multiplied."""
    most = 1
    for op, argument in parts:
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            low, high, body = argument
            most = max(most, _repeats(body) * max(1, int(low) if high is sre.MAXREPEAT else int(high)))
        elif op is sre.SUBPATTERN:
            most = max(most, _repeats(argument[3]))
        elif op is sre.BRANCH:
            most = max(most, *map(_repeats, argument[1]))
    return most


def _freedom(parts: Any) -> int:
    """Return how many choices a text leaves open: one a repeat of varying length, one more for alternatives inside it."""
    total = 0
    for op, argument in parts:
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            low, high, body = argument
            total += _freedom(body) * (2 if high is sre.MAXREPEAT or int(high) > 1 else 1) + int(low != high) + int(_branches(body))
        elif op is sre.SUBPATTERN:
            total += _freedom(argument[3])
        elif op is sre.BRANCH:
            total += sum(_freedom(branch) for branch in argument[1])
    return total


def _branches(parts: Any) -> bool:
    return any(op is sre.BRANCH or (op is sre.SUBPATTERN and _branches(argument[3])) for op, argument in parts)
