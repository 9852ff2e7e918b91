"""What a server serves, read from aggregated discovery (apidiscovery.k8s.io/v2, APIGroupDiscoveryList)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from skerry.kube.api import Served
from skerry.model.resources import Resource

DISCOVERY_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def parse_discovery(document: Mapping[str, Any]) -> list[Served]:
    """Return each resource once, at the version its group prefers (the first one listed that has it)."""
    found: dict[tuple[str, str], Served] = {}
    for group in document.get("items") or ():
        for served in _resources(group):
            found.setdefault((served.resource.group, served.resource.plural), served)
    return list(found.values())


def _resources(group: Mapping[str, Any]) -> Iterator[Served]:
    name = (group.get("metadata") or {}).get("name") or ""
    for version in group.get("versions") or ():
        for r in version.get("resources") or ():
            kind = (r.get("responseKind") or {}).get("kind") or ""
            resource = Resource(name, version["version"], r["resource"], kind, r.get("scope") == "Namespaced")
            yield Served(resource, frozenset(r.get("verbs") or ()))
