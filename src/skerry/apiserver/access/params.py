"""Who writes a ValidatingAdmissionPolicy may read what it takes parameters from: its messages can tell every word of them.

As in Kubernetes: a policy demands `get` on all objects of its paramKind, a binding `get` (by a selector: `list`) on what its paramRef
names. What stays as it was is not asked again; masters and the server itself are not asked at all.
"""

from __future__ import annotations

from typing import Any

from skerry.apiserver.access.attributes import Attributes
from skerry.apiserver.access.authorise import Access
from skerry.apiserver.access.rbac import MASTERS
from skerry.apiserver.registry.admission import Admission, Chain
from skerry.apiserver.registry.registry import Registry
from skerry.model.errors import forbidden
from skerry.model.objects import Object, dig
from skerry.model.resources import Resource

GROUP = "admissionregistration.k8s.io"
POLICIES = Resource(GROUP, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False)
BINDINGS = f"validatingadmissionpolicybindings.{GROUP}"
ALL = "*"


class PolicyParams:
    """The check, ready to be added to the chain."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def add_to(self, chain: Chain) -> None:
        chain.validating(POLICIES.key, ("CREATE", "UPDATE"), self._judge_policy)
        chain.validating(BINDINGS, ("CREATE", "UPDATE"), self._judge_binding)

    def _judge_policy(self, asked: Admission) -> None:
        kind = dig(asked.new, "spec", "paramKind")
        if kind and kind != dig(asked.old, "spec", "paramKind"):
            shown = f"(kind={kind.get('kind')}, apiVersion={kind.get('apiVersion')})"
            self._require(asked, "get", kind, ALL, ALL, f'must have "get" permission on all objects of the referenced paramKind {shown}')

    def _judge_binding(self, asked: Admission) -> None:
        ref, named = dig(asked.new, "spec", "paramRef"), dig(asked.new, "spec", "policyName")
        if not ref or (ref, named) == (dig(asked.old, "spec", "paramRef"), dig(asked.old, "spec", "policyName")):
            return
        policy = asked.registry.lookup(POLICIES, "", str(named))
        verb, name = ("get", str(ref["name"])) if ref.get("name") else ("list", ALL)
        why = f'does not have "{verb}" permission on the object referenced by paramRef'
        self._require(asked, verb, dig(policy, "spec", "paramKind"), str(ref.get("namespace") or ALL), name, why)

    def _require(self, asked: Admission, verb: str, kind: Object | None, namespace: str, name: str, why: str) -> None:
        user = asked.options.user
        if asked.options.internal or MASTERS in user.groups:
            return
        group, plural = _collection(asked.registry, kind or {})
        if not self._access.allowed(Attributes(user, verb, group, plural, namespace=namespace, name=name)):
            own = asked.kind.resource
            raise forbidden(own.plural, own.group, asked.name, f"user {user.name} {why}")


def _collection(registry: Registry, kind: dict[str, Any]) -> tuple[str, str]:
    """Return group and plural of a kind; what is not known yet could be anything."""
    for known in registry.kinds:
        if (known.resource.api_version, known.resource.kind) == (kind.get("apiVersion"), kind.get("kind")):
            return known.resource.group, known.resource.plural
    return ALL, ALL
