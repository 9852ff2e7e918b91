"""Regular expressions of custom resources: written for RE2, run by Python's `re`.

RE2 syntax is read as RE2 means it (`$` and `\\z` are the end of the text, classes are ASCII). What RE2 has and we do not know
is refused when the CRD is created, never guessed. No pattern can make us take more than linear time, as none can with RE2.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from skerry.apiserver.schema.linear import Linear, UnsupportedError, may_explode

MAX_PATTERN = 4096
_POSIX = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "space": r"\t\n\v\f\r ",
    "word": r"\w",
    "xdigit": "0-9A-Fa-f",
    "punct": r"!-/:-@\[-`{-~",
}
_FLAGS = re.compile(r"\(\?([ims]*(?:-[ims]+)?)([:)])")
_LOOKAROUND = re.compile(r"\(\?(?:=|!|<=|<!|\()")


class PatternError(ValueError):
    """Not a regular expression that we can run; the message says why."""


@lru_cache(maxsize=512)
def compile_pattern(text: str) -> Callable[[str], object]:
    """Return the function that searches a text for the pattern (true or false); raises PatternError.

    Patterns on which Python's engine could need more than linear time run on `linear`, the others on Python's engine.
    """
    if len(text) > MAX_PATTERN:
        raise PatternError(f"is longer than {MAX_PATTERN} characters")
    translated = _translate(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # nested sets are spelt differently in Python, and not used in RE2
            compiled = re.compile(translated, re.ASCII)
            return Linear(translated).search if may_explode(translated) else compiled.search
    except (re.error, OverflowError, RecursionError, UnsupportedError) as error:
        raise PatternError(str(error)) from error


def compile_finder(text: str) -> tuple[re.Pattern[str], bool]:
    """Return the pattern for finding what matches, and whether long texts are dangerous to it; raises PatternError."""
    if len(text) > MAX_PATTERN:
        raise PatternError(f"is longer than {MAX_PATTERN} characters")
    translated = _translate(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(translated, re.ASCII), may_explode(translated)
    except (re.error, OverflowError, RecursionError, UnsupportedError) as error:
        raise PatternError(str(error)) from error


def _translate(text: str) -> str:
    if _LOOKAROUND.search(text):
        raise PatternError("look-around is not part of RE2")
    out: list[str] = []
    i, in_class = 0, False
    groups = [_Group(multiline=False)]
    while i < len(text):
        c = text[i]
        if c == "\\":
            out.append(_escape(text[i : i + 2]))
            i += 2
            continue
        if in_class and text.startswith("[:", i):
            end = text.find(":]", i)
            name = text[i + 2 : end] if end > 0 else ""
            if name not in _POSIX:
                raise PatternError(f"class [:{name}:] is not supported")
            out.append(_POSIX[name])
            i = end + 2
            continue
        if c == "[" and not in_class:
            in_class = True
            start = 2 if text.startswith("[^", i) else 1
            start += text.startswith("]", i + start)  # a bracket that comes first stands for itself
            out.append(text[i : i + start].replace("]", r"\]"))
            i += start
            continue
        if c == "[":
            c = r"\["
        elif c == "]" and in_class:
            in_class = False
        elif not in_class and (flags := _FLAGS.match(text, i)) is not None:
            out.append(_begin(groups, flags[1], alone=flags[2] == ")"))
            i = flags.end()
            continue
        elif not in_class:
            if text.startswith("(?", i) and not text.startswith("(?P<", i):
                raise PatternError(f"{text[i : i + 4]} is not supported")
            c = _outside_classes(c, groups)
        out.append(c)
        i += 1
    return "".join(out) + ")" * len(groups[0].flags)


@dataclass(slots=True)
class _Group:
    """A group that is open. RE2 takes flags in the middle, `a(?i)b|c`, for the rest of the group; Python for groups of their own."""

    multiline: bool
    flags: list[str] = field(default_factory=list)


def _begin(groups: list[_Group], flags: str, *, alone: bool) -> str:
    """Begin a group with flags, or what is left of this one when they stand *alone*; return how Python writes it."""
    on, _, off = flags.partition("-")
    multiline = ("m" in on or groups[-1].multiline) and "m" not in off
    if alone:
        groups[-1].flags.append(flags)
        groups[-1].multiline = multiline
    else:
        groups.append(_Group(multiline))
    return f"(?{flags}:"


def _outside_classes(c: str, groups: list[_Group]) -> str:
    """Return how Python writes a character of RE2 that is in no class."""
    here = groups[-1]
    if c == "$":
        return "$" if here.multiline else r"\Z"
    if c == "(":
        groups.append(_Group(here.multiline))
    elif c == "|":
        return ")" * len(here.flags) + "|" + "".join(f"(?{f}:" for f in here.flags)
    elif c == ")" and len(groups) > 1:
        groups.pop()
        return ")" * (len(here.flags) + 1)
    return c


def _escape(pair: str) -> str:
    if pair == r"\z":
        return r"\Z"
    if len(pair) < 2:
        raise PatternError("trailing backslash")
    if pair[1] in "pPQECGKXRhHNZ123456789k":
        raise PatternError(f"{pair} is not supported")
    return pair
