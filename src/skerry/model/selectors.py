"""Label and field selectors: parsed once, matched against maps. Source: k8s.io/apimachinery/pkg/labels and /fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from skerry.model.names import label_value_error, qualified_name_error

MAX_TERMS = 1000
_SHOWN = 200
"""Characters of what cannot be read that the error repeats."""
_FIELD_TERM = re.compile(r"([^=!\\]++)(!=|==|=)((?:[^\\]|\\[\\,=])*+)", re.DOTALL)
"""Possessive: no part of a text is tried twice, however long it is."""
_TOKEN = re.compile(r"\s*(==|!=|=|\(|\)|,|!|<|>|[^\s=!,()<>]+)")


class SelectorError(ValueError):
    """A selector that cannot be read; the message names the text."""


class Requirement(msgspec.Struct, frozen=True):
    """One term: `op` is in, notin, exists, absent, lt or gt; equality is `in` with one value."""

    key: str
    op: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.op:
            case "in":
                return labels.get(self.key) in self.values if self.key in labels else False
            case "notin":
                return labels.get(self.key) not in self.values
            case "exists":
                return self.key in labels
            case "absent":
                return self.key not in labels
        try:
            have, want = int(labels[self.key]), int(next(iter(self.values)))
        except (KeyError, ValueError):
            return False
        return have < want if self.op == "lt" else have > want


class Selector(msgspec.Struct, frozen=True):
    """All requirements must hold; an empty selector matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(r.matches(labels) for r in self.requirements)

    def exact(self, key: str) -> str | None:
        """Return the one value that *key* must have, or None when the selector does not say."""
        for r in self.requirements:
            if r.key == key and r.op == "in" and len(r.values) == 1:
                return next(iter(r.values))
        return None

    def __bool__(self) -> bool:
        return bool(self.requirements)


EVERYTHING = Selector()


def parse_labels(text: str) -> Selector:
    """Parse `a=b,c!=d,e in (f,g),!h,i`; raises SelectorError with Kubernetes' wording where it is known."""
    tokens = _tokens(text)
    found: list[Requirement] = []
    i = 0
    while i < len(tokens):
        if tokens[i] == "," and found:
            i += 1
            if i == len(tokens):
                raise SelectorError("found '', expected: identifier after ','")
        requirement, i = _requirement(tokens, i)
        found.append(requirement)
        if i < len(tokens) and tokens[i] != ",":
            raise SelectorError(f"found '{tokens[i]}', expected: ',' or 'end of string'")
        if len(found) > MAX_TERMS:
            raise SelectorError(f"more than {MAX_TERMS} terms")
    return Selector(tuple(found))


def _tokens(text: str) -> list[str]:
    found, position = [], 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise SelectorError(f"unable to parse requirement: {text[position : position + _SHOWN]!r}")
        found.append(match[1])
        position = match.end()
    return found


def _requirement(tokens: list[str], i: int) -> tuple[Requirement, int]:
    if tokens[i] == "!":
        if i + 1 >= len(tokens):
            raise SelectorError("found '', expected: identifier")
        return Requirement(_key(tokens[i + 1]), "absent"), i + 2
    key = _key(tokens[i])
    op = tokens[i + 1] if i + 1 < len(tokens) else ","
    if op == ",":
        return Requirement(key, "exists"), i + 1
    if op in ("=", "==", "!=", "<", ">"):
        value = tokens[i + 2] if i + 2 < len(tokens) and tokens[i + 2] != "," else ""
        if value in ("=", "==", "!=", "(", ")", "!"):
            raise SelectorError(f"found '{value}', expected: identifier")
        kind = {"=": "in", "==": "in", "!=": "notin", "<": "lt", ">": "gt"}[op]
        return Requirement(key, kind, frozenset([_value(key, value)])), i + (3 if value else 2)
    if op in ("in", "notin"):
        values, i = _values(key, tokens, i + 2)
        return Requirement(key, op, values), i
    raise SelectorError(f"found '{op}', expected: in, notin, =, ==, !=, gt, lt")


def _values(key: str, tokens: list[str], i: int) -> tuple[frozenset[str], int]:
    if i >= len(tokens) or tokens[i] != "(":
        found = tokens[i] if i < len(tokens) else ""
        raise SelectorError(f"found '{found}', expected: '('")
    try:
        end = tokens.index(")", i)
    except ValueError:
        raise SelectorError("found '', expected: ')'") from None
    inner = tokens[i + 1 : end]
    values = [_value(key, t) for t in inner if t != ","] or [""]
    return frozenset(values), end + 1


def _key(text: str) -> str:
    if text in ("=", "==", "!=", "(", ")", ",", "<", ">", "!"):
        raise SelectorError(f"found '{text}', expected: !, identifier, or 'end of string'")
    wrong = qualified_name_error(text)
    if wrong:
        raise SelectorError(f'key: Invalid value: "{text}": {wrong}')
    return text


def _value(key: str, text: str) -> str:
    wrong = label_value_error(text)
    if wrong:
        raise SelectorError(f'values[0][{key}]: Invalid value: "{text}": {wrong}')
    return text


class FieldTerm(msgspec.Struct, frozen=True):
    path: str
    value: str
    equal: bool


class FieldSelector(msgspec.Struct, frozen=True):
    """Terms on field paths such as `spec.nodeName`; all must hold."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """*fields* maps each supported path to its value; a missing one counts as ""."""
        return all((fields.get(t.path, "") == t.value) is t.equal for t in self.terms)

    def exact(self, path: str) -> str | None:
        """Return the value that *path* must have, or None when the selector does not say."""
        return next((t.value for t in self.terms if t.path == path and t.equal), None)

    def __bool__(self) -> bool:
        return bool(self.terms)


NO_FIELDS = FieldSelector()


def parse_fields(text: str) -> FieldSelector:
    """Parse `metadata.name=x,status.phase!=Failed`; a backslash escapes `\\`, `,` and `=`."""
    terms = [_field_term(part) for part in re.split(r"(?<!\\),", text) if part.strip()]
    if len(terms) > MAX_TERMS:
        raise SelectorError(f"more than {MAX_TERMS} terms")
    return FieldSelector(tuple(terms))


def _field_term(part: str) -> FieldTerm:
    match = _FIELD_TERM.fullmatch(part)
    path = match[1].strip() if match is not None else ""
    if match is None or not path:
        shown = part if len(part) <= _SHOWN else f"{part[:_SHOWN]}..."
        raise SelectorError(f"invalid selector: '{shown}'; can't understand '{shown}'")
    return FieldTerm(path, re.sub(r"\\([\\,=])", r"\1", match[3]), match[2] != "!=")


def from_label_selector(selector: Mapping[str, Any] | None) -> Selector | None:
    """Return the Selector of a `metav1.LabelSelector`; None (no selector) selects nothing, {} everything."""
    if selector is None:
        return None
    found = [Requirement(k, "in", frozenset([v])) for k, v in (selector.get("matchLabels") or {}).items()]
    ops = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}
    for term in selector.get("matchExpressions") or []:
        op = ops.get(term.get("operator"))
        if op is None:
            raise SelectorError(f"{term.get('operator')!r} is not a valid label selector operator")
        found.append(Requirement(term["key"], op, frozenset(term.get("values") or ())))
    return Selector(tuple(found))
