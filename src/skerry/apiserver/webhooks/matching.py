"""Which writes a webhook or a policy wants to hear of. Pure.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/predicates of Kubernetes 1.32.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from skerry.model.objects import Object
from skerry.model.selectors import Selector, from_label_selector

NAMESPACES = "namespaces"
LATER = "admissionregistration.k8s.io"
"""The group of those who judge: nobody outside is asked about these, or one mistake could never be taken back."""


class Place(msgspec.Struct, frozen=True):
    """What is written, and how: a resource in one version, perhaps a subresource of it."""

    group: str
    version: str
    plural: str
    subresource: str
    operation: str
    namespaced: bool


def rule_matches(rule: Mapping[str, Any], place: Place, name: str = "") -> bool:
    """Say whether one of `rules` (or of a policy's resourceRules) is about *place*."""
    scope = rule.get("scope") or "*"
    if scope != "*" and (scope == "Namespaced") is not place.namespaced:
        return False
    names = rule.get("resourceNames")
    return (
        _among(rule.get("operations"), place.operation)
        and _among(rule.get("apiGroups"), place.group)
        and _among(rule.get("apiVersions"), place.version)
        and (not names or name in names)
        and any(_resource_matches(r, place) for r in rule.get("resources") or ())
    )


def _among(wanted: Sequence[str] | None, value: str) -> bool:
    return wanted is not None and ("*" in wanted or value in wanted)


def _resource_matches(pattern: str, place: Place) -> bool:
    resource, _, sub = pattern.partition("/")
    return resource in ("*", place.plural) and (sub == "*" or sub == place.subresource)


def matching_version(rules: Iterable[Mapping[str, Any]], place: Place, others: Sequence[str], *, exact: bool, name: str = "") -> str | None:
    """Return the version in which somebody wants to see the object; None when they do not want to.

    *others* are the versions that have the same objects: unless *exact*, a rule for one of those is one for this, too.
    """
    rules = list(rules)
    for version in (place.version, *(() if exact else others)):
        there = Place(place.group, version, place.plural, place.subresource, place.operation, place.namespaced)
        if any(rule_matches(r, there, name) for r in rules):
            return version
    return None


class Selectors(msgspec.Struct, frozen=True):
    """`namespaceSelector` and `objectSelector`; None selects nothing, an empty one everything."""

    namespace: Selector | None
    object: Selector | None

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> Selectors:
        return cls(_selector(source.get("namespaceSelector")), _selector(source.get("objectSelector")))

    def match(self, place: Place, namespace: Mapping[str, str] | None, new: Object | None, old: Object | None) -> bool:
        """Say whether the labels of the namespace, and those of the object as it was or will be, are selected."""
        if self.namespace is None or self.object is None:
            return False
        if self.namespace.requirements and namespace is not None and not self.namespace.matches(namespace):
            return False
        if not self.object.requirements:
            return True
        return any(o is not None and self.object.matches(labels_of(o)) for o in (new, old))


def _selector(source: Mapping[str, Any] | None) -> Selector | None:
    return from_label_selector(source or {})


def labels_of(obj: Object) -> Mapping[str, str]:
    return (obj.get("metadata") or {}).get("labels") or {}
