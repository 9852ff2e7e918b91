"""RBAC rules, compiled: what one set of PolicyRules grants. Pure. Source: rbac.authorization.k8s.io/v1.

An empty rule grants nothing; what cannot be read grants nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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


MAX_NAMED = 5
"""Parts that `lacking` names; the others it counts."""
MAX_LOOKS = 20_000
"""About 50 ms. Who writes a role of a hundred rules needs some thousands."""
_Part = tuple[str, ...]  # a verb, then a path, or a group, a resource and perhaps a name
_Lack = tuple[int, list[_Part]]
_NOTHING: _Lack = (0, [])


def lacking(held: Iterable[Rule], wanted: Iterable[Mapping[str, Any]]) -> tuple[int, list[dict[str, Any]]]:
    """Return how many parts of *wanted* *held* does not grant, and the first of them: what somebody would gain by writing that role.

    A part is one verb on one resource; a rule of 20 KiB has millions. Those for which the same rules are held are looked at once;
    TooManyPartsError when there are too many others.
    """
    mine = _Held(held)
    count = 0
    named: list[dict[str, Any]] = []
    for raw in wanted:
        for more, parts in (mine.lacks_paths(raw), mine.lacks_resources(raw)):
            count += more
            named += [_shown(part) for part in parts[: MAX_NAMED - len(named)]]
    return count, named


def _shown(part: _Part) -> dict[str, Any]:
    if len(part) == 2:
        return {"verbs": [part[0]], "nonResourceURLs": [part[1]]}
    shown = {"verbs": [part[0]], "apiGroups": [part[1]], "resources": [part[2]]}
    return {**shown, "resourceNames": [part[3]]} if len(part) > 3 else shown


class TooManyPartsError(ValueError):
    """It would take too long to say what is lacking."""


class _Held:
    """Rules by what they name: which of them (by their numbers) are about a verb, a group, a resource."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._all = frozenset(range(len(self._rules)))
        self._by = {name: self._index(name) for name in ("verbs", "groups", "resources")}
        self._about: dict[tuple[str, str], frozenset[int]] = {}
        self._left = MAX_LOOKS

    def _index(self, name: str) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        for i, rule in enumerate(self._rules):
            for value in getattr(rule, name):
                found.setdefault(value, set()).add(i)
        return found

    def _of(self, name: str, value: str) -> frozenset[int]:
        about = self._about.get((name, value))
        if about is None:
            by = self._by[name]
            sub = value.partition("/")[2] if name == "resources" else ""
            about = frozenset().union(by.get(value, ()), by.get(_ALL, ()), by.get(f"*/{sub}", ()) if sub else ())
            self._about[name, value] = about
        return about

    def lacks_paths(self, raw: Mapping[str, Any]) -> _Lack:
        paths = raw.get("nonResourceURLs") or ()

        def lack(rules: frozenset[int]) -> _Lack:
            missing = [p for p in paths if not any(p in self._rules[i].paths or self._rules[i].grants_path(p) for i in rules)]
            return len(missing), [(p,) for p in missing[:MAX_NAMED]]

        return self._each("verbs", raw.get("verbs") or (), self._all, lack) if paths else _NOTHING

    def lacks_resources(self, raw: Mapping[str, Any]) -> _Lack:
        groups, resources, names = (raw.get(k) or () for k in ("apiGroups", "resources", "resourceNames"))

        def lack_names(rules: frozenset[int]) -> _Lack:
            if any(not self._rules[i].names for i in rules):
                return _NOTHING
            if not names:
                return 1, [()]
            granted = frozenset().union(*(self._rules[i].names for i in rules))
            missing = [n for n in names if n not in granted]
            return len(missing), [(n,) for n in missing[:MAX_NAMED]]

        def lack_resources(rules: frozenset[int]) -> _Lack:
            return self._each("resources", resources, rules, lack_names)

        def lack_groups(rules: frozenset[int]) -> _Lack:
            return self._each("groups", groups, rules, lack_resources)

        return self._each("verbs", raw.get("verbs") or (), self._all, lack_groups)

    def _each(self, name: str, values: Iterable[str], rules: frozenset[int], below: Callable[[frozenset[int]], _Lack]) -> _Lack:
        """Return what is lacking for all *values*, where only *rules* are left that could grant it."""
        known: dict[frozenset[int], _Lack] = {}
        count = 0
        named: list[_Part] = []
        for value in values:
            self._left -= 1
            if self._left < 0:
                raise TooManyPartsError(f"more than {MAX_LOOKS} comparisons: write it in smaller pieces")
            about = self._of(name, value)
            left = about if rules is self._all else rules & about
            lack = known.get(left)
            if lack is None:
                lack = known[left] = below(left)
            count += lack[0]
            named += [(value, *part) for part in lack[1][: MAX_NAMED - len(named)]]
        return count, named
