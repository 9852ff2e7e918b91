"""What goes wrong with an expression: when it is compiled (with its place, as cel-go prints it), and when it is evaluated."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

MAX_ISSUES = 100


class Issue(msgspec.Struct, frozen=True):
    """One complaint about a source: *at* is the offset of the character that it is about."""

    at: int
    why: str


class CelSyntaxError(Exception):
    """An expression that cannot be compiled; `str` shows every issue with the line it is in."""

    def __init__(self, source: str, issues: Sequence[Issue]) -> None:
        self.issues = tuple(issues[:MAX_ISSUES])
        super().__init__("\n".join(_shown(source, issue) for issue in self.issues))


def _shown(source: str, issue: Issue) -> str:
    before = source[: issue.at]
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1)
    lines = source.split("\n")
    text = lines[line - 1] if line <= len(lines) else ""
    return f"ERROR: <input>:{line}:{column + 1}: {issue.why}\n | {text}\n | {'.' * column}^"


class EvaluationError(Exception):
    """An expression that has no value for these variables: a missing key, a division by zero, an overflow."""


class CostError(Exception):
    """The evaluation went on for longer than it may; nothing absorbs it."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


def no_such_overload() -> EvaluationError:
    return EvaluationError("no such overload")
