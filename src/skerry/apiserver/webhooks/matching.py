"""Which writes a webhook or a policy wants to hear of. Pure.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/predicates of Kubernetes 1.32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def matching(rules: Sequence[Mapping[str, Any]], place: Place, others: Sequence[Place], *, exact: bool, name: str = "") -> Place | None:
    """Return the place in which somebody wants to see the object; None when they do not want to.

    *others* are the same objects in other versions: unless *exact*, a rule for one of those is one for this, too; earlier rules come first.
    """
    if any(rule_matches(r, place, name) for r in rules):
        return place
    return None if exact else next((other for r in rules for other in others if rule_matches(r, other, name)), None)


class Selectors(msgspec.Struct, frozen=True):
    """`namespaceSelector` and `objectSelector`; None selects nothing, an empty one everything."""

    namespace: Selector | None
    object: Selector | None

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> Selectors:
        return cls(_selector(source.get("namespaceSelector")), _selector(source.get("objectSelector")))

    def match(self, namespace: Mapping[str, str] | None, new: Object | None, old: Object | None) -> bool:
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
