"""RBAC rules, compiled: what one set of PolicyRules grants. Pure. Source: rbac.authorization.k8s.io/v1.

An empty rule grants nothing; what cannot be read grants nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skerry.apiserver.access.attributes import Attributes

_ALL = "*"


class Rule:
    """One PolicyRule with its lists as sets."""

    __slots__ = ("groups", "names", "paths", "resources", "verbs")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.verbs = frozenset(raw.get("verbs") or ())
        self.groups = frozenset(raw.get("apiGroups") or ())
        self.resources = frozenset(raw.get("resources") or ())
        self.names = frozenset(raw.get("resourceNames") or ())
        self.paths = tuple(raw.get("nonResourceURLs") or ())

    def grants(self, asked: Attributes) -> bool:
        if asked.verb not in self.verbs and _ALL not in self.verbs:
            return False
        return self.grants_path(asked.path) if asked.path else self._grants_resource(asked)

    def grants_path(self, path: str) -> bool:
        return any(p in (_ALL, path) or (p.endswith(_ALL) and path.startswith(p[:-1])) for p in self.paths)

    def _grants_resource(self, asked: Attributes) -> bool:
        if asked.group not in self.groups and _ALL not in self.groups:
            return False
        wanted = self.resources
        if _ALL not in wanted and asked.full_resource not in wanted and not (asked.subresource and f"*/{asked.subresource}" in wanted):
            return False
        return not self.names or asked.name in self.names

    def to_json(self) -> dict[str, Any]:
        """Return the rule as SelfSubjectRulesReview shows it."""
        if self.paths:
            return {"verbs": sorted(self.verbs), "nonResourceURLs": list(self.paths)}
        found = {"verbs": sorted(self.verbs), "apiGroups": sorted(self.groups), "resources": sorted(self.resources)}
        return {**found, "resourceNames": sorted(self.names)} if self.names else found


def compile_rules(raw: Iterable[Mapping[str, Any]] | None) -> tuple[Rule, ...]:
    return tuple(Rule(r) for r in raw or () if isinstance(r, Mapping))


def covers(held: Iterable[Rule], wanted: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the parts of *wanted* that *held* does not grant: what somebody would gain by writing that role."""
    held = tuple(held)
    return [part for raw in wanted for part in _atoms(raw) if not any(_covers(h, part) for h in held)]


def _atoms(raw: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for verb in raw.get("verbs") or ():
        for path in raw.get("nonResourceURLs") or ():
            yield {"verbs": [verb], "nonResourceURLs": [path]}
        for group in raw.get("apiGroups") or ():
            for resource in raw.get("resources") or ():
                for name in raw.get("resourceNames") or (None,):
                    atom = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
                    yield {**atom, "resourceNames": [name]} if name is not None else atom


def _covers(held: Rule, atom: Mapping[str, Any]) -> bool:
    verb = atom["verbs"][0]
    if verb not in held.verbs and _ALL not in held.verbs:
        return False
    if "nonResourceURLs" in atom:
        path = atom["nonResourceURLs"][0]
        return path in held.paths or held.grants_path(path)
    group, resource = atom["apiGroups"][0], atom["resources"][0]
    if group not in held.groups and _ALL not in held.groups:
        return False
    sub = resource.partition("/")[2]
    if resource not in held.resources and _ALL not in held.resources and not (sub and f"*/{sub}" in held.resources):
        return False
    return not held.names or atom.get("resourceNames", [None])[0] in held.names
