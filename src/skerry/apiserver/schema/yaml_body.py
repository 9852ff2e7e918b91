"""YAML bodies, read as Kubernetes reads them: to what JSON can say, with YAML 1.1's words for booleans and no dates.

PyYAML's C parser only gives events; objects are built here, so that nothing is ever constructed by a tag and an alias cannot
multiply: what a document would grow to is counted before it is built. Imported only when a YAML body arrives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from skerry.apiserver.schema.codec import MAX_DEPTH
from skerry.model.errors import ApiError, bad_request
from skerry.model.objects import Object

MAX_NODES = 50_000
"""Scalars (keys too), maps and lists, with aliases counted as often as they are used. Fewer than in JSON: YAML takes twice as long."""

_TRUE = frozenset(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"))
_FALSE = frozenset(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"))
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,40})", re.ASCII)
_OCTAL = re.compile(r"[-+]?0o?[0-7_]{1,40}", re.ASCII)
_HEX = re.compile(r"[-+]?0x[0-9a-fA-F_]{1,40}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_CORE = frozenset(f"tag:yaml.org,2002:{t}" for t in ("str", "int", "float", "bool", "null", "map", "seq"))


class _RefusalError(Exception):
    """Why a document is not read."""


def decode_yaml(body: bytes, refusal: str, shown: str = "") -> tuple[Object, list[str]]:
    """Return the object and the paths of keys that stand twice; raises ApiError 400 that begins with *refusal* and ends with *shown*."""
    try:
        found, duplicates = _Builder(yaml.parse(body, Loader=getattr(yaml, "CLoader", yaml.Loader))).document()
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise _bad(refusal, f"yaml: {_words(error)}{shown}") from None
    except _RefusalError as error:
        raise _bad(refusal, f"yaml: {error}{shown}") from None
    if not isinstance(found, dict):
        raise _bad(refusal, "couldn't get version/kind; the document is not a map")
    return found, duplicates


def _bad(refusal: str, why: str) -> ApiError:
    return bad_request(f"{refusal}: {why}")


def _words(error: Exception) -> str:
    """Return the words of Go's YAML library, which is the same parser: it counts lines from 0, but for errors of the scanner."""
    marks = [m for m in (getattr(error, "context_mark", None), getattr(error, "problem_mark", None)) if m is not None and m.line]
    problem = getattr(error, "problem", None)
    if problem is None:
        return str(error).splitlines()[0][:200]
    if not marks:
        return str(problem)
    return f"line {marks[0].line + isinstance(error, yaml.scanner.ScannerError)}: {problem}"


class _Builder:
    """Builds one document from parser events."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0
        self.duplicates: list[str] = []

    def document(self) -> tuple[Any, list[str]]:
        found: Any = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _RefusalError("more than one document")
                found = self._node(next(self._events), "", 1)
        return found, self.duplicates

    def _node(self, event: Any, path: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise _RefusalError(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor)
        self._count(1)
        before = self._nodes
        if event.tag is not None and event.tag not in _CORE and event.tag != "!":
            raise _RefusalError(f"tag {event.tag} is not supported")
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path, depth)
        else:
            value = self._mapping(path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._nodes - before + 1)
        return value

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _RefusalError(f"more than {MAX_NODES} values (aliases counted as often as they are used)")

    def _alias(self, anchor: str | None) -> Any:
        if anchor is None or anchor not in self._anchors:  # unknown, or still open: a document that contains itself
            raise _RefusalError(f"unknown anchor '{anchor}' referenced")
        value, nodes = self._anchors[anchor]
        self._count(nodes)
        return _copied(value)

    def _sequence(self, path: str, depth: int) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._node(event, f"{path}[{len(found)}]", depth + 1))
        return found

    def _mapping(self, path: str, depth: int) -> Object:
        found: Object = {}
        merged: list[Any] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            plain = isinstance(event, yaml.ScalarEvent) and event.implicit[0]
            key = self._node(event, path, depth + 1)
            name = _key(key)
            at = f"{path}.{name}" if path else name
            value = self._node(next(self._events), at, depth + 1)
            if plain and name == "<<":
                merged += value if isinstance(value, list) else [value]
                continue
            if name in found:
                self.duplicates.append(at)
            found[name] = value
        for source in merged:
            if not isinstance(source, dict):
                raise _RefusalError("map merge requires map or sequence of maps as the value")
            found = {**source, **found}
        return found


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_copied(v) for v in value]
    return value


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, (int, float)):
        return str(key)
    raise _RefusalError(f"{'null' if key is None else 'a map or list'} cannot be a key")


def _scalar(event: Any) -> Any:
    text = event.value
    if event.tag == "tag:yaml.org,2002:str" or not event.implicit[0]:
        return text
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] in "+-.0123456789":
        return _number(text)
    return text


def _number(text: str) -> Any:
    digits = text.replace("_", "")
    if _INT.fullmatch(text):
        return int(digits)
    if _HEX.fullmatch(text):
        return int(digits, 16)
    if _OCTAL.fullmatch(text):
        return int(digits.replace("o", ""), 8)
    if _FLOAT.fullmatch(text) and any(c.isdigit() for c in text):
        return float(digits)
    return text
