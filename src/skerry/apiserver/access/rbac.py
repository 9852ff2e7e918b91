"""RBAC: who may do what, answered from an index that follows the store.

A role that is missing or cannot be read grants nothing. `system:masters` may do everything, also when every role is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skerry.apiserver.access.attributes import Attributes
from skerry.apiserver.access.rules import Rule, compile_rules
from skerry.apiserver.http.message import User
from skerry.apiserver.registry.encoding import dumps
from skerry.model.objects import Object, labels_of, metadata
from skerry.model.selectors import SelectorError, from_label_selector

MASTERS = "system:masters"
MAX_SELECTORS = 100
"""By so many selectors a role gathers others; the rules of the kind refuse more."""
MAX_ANSWERS = 20_000
"""Remembered answers; all are forgotten when one role or binding changes, or when there are this many."""
MAX_REMEMBERED = 512
"""A question of more characters is not remembered: what strangers send must not fill the memory."""

ROLES = "roles.rbac.authorization.k8s.io"
CLUSTER_ROLES = "clusterroles.rbac.authorization.k8s.io"
BINDINGS = "rolebindings.rbac.authorization.k8s.io"
CLUSTER_BINDINGS = "clusterrolebindings.rbac.authorization.k8s.io"
RESOURCES = (ROLES, CLUSTER_ROLES, BINDINGS, CLUSTER_BINDINGS)


class Rbac:
    """The four RBAC kinds, and the question `allowed`."""

    def __init__(self) -> None:
        self._roles: dict[tuple[str, str], tuple[Rule, ...]] = {}  # (namespace or "", name)
        self._cluster_objects: dict[str, Object] = {}
        self._bindings: dict[tuple[str, str], Object] = {}
        self._grants: dict[tuple[str, str], list[tuple[str, tuple[str, str]]]] | None = None  # subject -> (namespace, role)
        self._answers: dict[tuple[object, ...], bool] = {}
        self._stale = False

    def put(self, resource: str, namespace: str, name: str, obj: Object | None) -> None:
        """Follow one change of the store; None is a deletion."""
        self._grants = None
        self._answers.clear()
        if resource in (BINDINGS, CLUSTER_BINDINGS):
            _set(self._bindings, (namespace, name), obj)
        elif resource == ROLES:
            _set(self._roles, (namespace, name), compile_rules(obj.get("rules")) if obj is not None else None)
        elif resource == CLUSTER_ROLES:
            _set(self._cluster_objects, name, obj)
            self._stale = True

    def allowed(self, asked: Attributes) -> bool:
        """Answer one question, from memory when it was asked before."""
        if MASTERS in asked.user.groups:
            return True
        if len(asked.name) + len(asked.path) + len(asked.resource) + len(asked.namespace) > MAX_REMEMBERED:
            return self._answer(asked)
        user = asked.user
        what = (asked.group, asked.resource, asked.subresource, asked.namespace, asked.name, asked.path)
        key = (user.name, user.groups, asked.verb, *what)
        answer = self._answers.get(key)
        if answer is None:
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            answer = self._answers[key] = self._answer(asked)
        return answer

    def _answer(self, asked: Attributes) -> bool:
        return any(r.grants(asked) for r in self.rules_for(asked.user, asked.namespace))

    def rules_for(self, user: User, namespace: str = "") -> Iterable[Rule]:
        """Yield every rule that binds *user* at the cluster scope, and in *namespace* when one is given."""
        self._refresh()
        grants = self._index()
        for subject in _subjects_of(user):
            for where, role in grants.get(subject, ()):
                if where in ("", namespace):
                    yield from self._roles.get(role, ())

    def reason(self, asked: Attributes) -> str:
        """Return which binding allows this, in Kubernetes' words; "" when none does, or none is needed."""
        if MASTERS in asked.user.groups:
            return ""
        self._refresh()
        subjects = set(_subjects_of(asked.user))
        for (namespace, name), binding in self._bindings.items():
            if namespace not in ("", asked.namespace):
                continue
            subject = next((s for s in binding.get("subjects") or () if _subject(s, namespace) in subjects), None)
            ref = binding.get("roleRef") or {}
            role = (namespace if ref.get("kind") == "Role" else "", str(ref.get("name")))
            if subject is not None and any(r.grants(asked) for r in self._roles.get(role, ())):
                kind, shown = ("RoleBinding", f"{name}/{namespace}") if namespace else ("ClusterRoleBinding", name)
                return f'RBAC: allowed by {kind} "{shown}" of {ref.get("kind")} "{role[1]}" to {_called(subject, namespace)}'
        return ""

    def role_rules(self, namespace: str, name: str) -> tuple[Rule, ...]:
        """Return the rules of a Role, or of a ClusterRole with namespace ""."""
        self._refresh()
        return self._roles.get((namespace, name), ())

    def cluster_role(self, name: str) -> Object | None:
        return self._cluster_objects.get(name)

    def aggregated_rules(self, role: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the union of the ClusterRoles that the aggregation rule of *role* selects."""
        found: dict[bytes, dict[str, Any]] = {}
        labelled = [(n, labels_of(o), o.get("rules") or ()) for n, o in sorted(self._cluster_objects.items()) if o is not role]
        for raw in ((role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ())[:MAX_SELECTORS]:
            try:
                selector = from_label_selector(raw)
            except SelectorError:
                continue
            for name, labels, rules in labelled:
                if selector and name != metadata(role).get("name") and selector.matches(labels):
                    for rule in rules:
                        found.setdefault(dumps(rule), rule)
        return [*found.values()]

    def stale_aggregates(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """Return the roles that gather others and whose own rules are not what they should gather, with these."""
        gathering = [(n, o) for n, o in self._cluster_objects.items() if o.get("aggregationRule")]
        wanted = [(n, o, self.aggregated_rules(o)) for n, o in gathering]
        return [(n, rules) for n, o, rules in wanted if rules != (o.get("rules") or [])]

    def _refresh(self) -> None:
        if not self._stale:
            return
        self._stale = False
        for role in list(self._roles):
            if role[0] == "" and role[1] not in self._cluster_objects:
                del self._roles[role]
        for name, obj in self._cluster_objects.items():
            raw = self.aggregated_rules(obj) if obj.get("aggregationRule") else obj.get("rules")
            self._roles["", name] = compile_rules(raw)

    def _index(self) -> dict[tuple[str, str], list[tuple[str, tuple[str, str]]]]:
        if self._grants is None:
            self._grants = {}
            for (namespace, _), binding in self._bindings.items():
                ref = binding.get("roleRef") or {}
                role = (namespace if ref.get("kind") == "Role" else "", str(ref.get("name")))
                for subject in binding.get("subjects") or ():
                    self._grants.setdefault(_subject(subject, namespace), []).append((namespace, role))
        return self._grants


def _set(where: dict[Any, Any], key: Any, value: Any) -> None:
    if value is None:
        where.pop(key, None)
    else:
        where[key] = value


def _subject(raw: Mapping[str, Any], namespace: str) -> tuple[str, str]:
    if raw.get("kind") == "ServiceAccount":
        return "User", f"system:serviceaccount:{raw.get('namespace') or namespace}:{raw.get('name')}"
    return str(raw.get("kind")), str(raw.get("name"))


def _called(subject: Mapping[str, Any], namespace: str) -> str:
    own = f"/{subject.get('namespace') or namespace}" if subject.get("kind") == "ServiceAccount" else ""
    return f'{subject.get("kind")} "{subject.get("name")}{own}"'


def _subjects_of(user: User) -> Iterable[tuple[str, str]]:
    yield "User", user.name
    for group in user.groups:
        yield "Group", group
