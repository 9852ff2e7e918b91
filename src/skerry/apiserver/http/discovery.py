"""Discovery in both forms: what is served, as documents that are made once and again only when the kinds changed.

The aggregated form (v2) carries an ETag: kubectl asks for it at every command and mostly gets 304.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from skerry.apiserver.aggregation.aggregator import Aggregator, Known
from skerry.apiserver.aggregation.plan import group_rank
from skerry.apiserver.http import media
from skerry.apiserver.http.answers import json_answer, no_such_resource, page_not_found
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.registry.encoding import dumps
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.kinds import Kinds
from skerry.apiserver.schema import Subresource

_AGGREGATED = ("APIGroupDiscoveryList",)
_VERSION_ORDER = {"stable": 0, "beta": 1, "alpha": 2}


class Discovery:
    """Answers /api, /apis and what lies below them that is no resource."""

    def __init__(self, kinds: Kinds, others: Aggregator) -> None:
        self._kinds, self._others = kinds, others
        self._made: dict[object, tuple[bytes, str]] = {}
        self._at: tuple[int, int] = (-1, -1)

    async def core(self, request: Request) -> Response:
        """/api"""
        form = media.choose(request.headers.get("accept", ""), also=_AGGREGATED)
        if form.as_:
            return self._aggregated(request, form, core=True)
        return json_answer(dumps({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": _addresses(request)}))

    async def groups(self, request: Request) -> Response:
        """/apis"""
        form = media.choose(request.headers.get("accept", ""), also=_AGGREGATED)
        if form.as_:
            return self._aggregated(request, form, core=False)
        groups = [_group(name, preferred(versions)) for name, versions in self._groups(core=False)]
        groups += [_group(name, list(versions)) for name, versions in self._others.remotes().items() if name not in self._kinds.groups()]
        return json_answer(dumps({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))

    async def below(self, request: Request) -> Response:
        """/apis/GROUP, /apis/GROUP/VERSION and /api/VERSION"""
        parts = [p for p in request.path.split("/") if p]
        groups = self._kinds.groups()
        group = "" if parts[0] == "api" else parts[1]
        version = parts[1] if parts[0] == "api" else parts[2] if len(parts) > 2 else ""
        if version and self._others.serves(group, version) and version not in groups.get(group, ()):
            return await self._others.forward(group, version, request)
        remote = self._others.remotes().get(group) if not version else None
        if group not in groups and remote is not None:
            return json_answer(dumps({"kind": "APIGroup", "apiVersion": "v1", **_group(group, list(remote))}))
        if group not in groups:
            return page_not_found()
        if not version:
            return json_answer(dumps({"kind": "APIGroup", "apiVersion": "v1", **_group(group, preferred(groups[group]))}))
        if version not in groups[group]:
            raise no_such_resource()
        resources = [entry for kind in groups[group][version] for entry in _resources(kind)]
        name = f"{group}/{version}" if group else version
        head = {"kind": "APIResourceList", **({"apiVersion": "v1"} if group else {}), "groupVersion": name}
        return json_answer(dumps({**head, "resources": sorted(resources, key=lambda r: str(r["name"]))}))

    def _groups(self, *, core: bool) -> list[tuple[str, dict[str, list[Kind]]]]:
        """Return the groups that are served here, in Kubernetes' order of them."""
        return sorted(((n, v) for n, v in self._kinds.groups().items() if (n == "") is core), key=lambda item: group_rank(item[0]))

    def _aggregated(self, request: Request, form: media.Form, *, core: bool) -> Response:
        body, etag = self._document(form.version, core=core)
        headers = {
            "Content-Type": f"application/json;g=apidiscovery.k8s.io;v={form.version};as=APIGroupDiscoveryList",
            "ETag": etag,
            "Vary": "Accept",
            "Cache-Control": "public",
        }
        if request.headers.get("if-none-match") == etag:
            del headers["Content-Type"]
            return Response(304, headers)
        return Response(200, headers, body)

    def _document(self, version: str, *, core: bool) -> tuple[bytes, str]:
        now = (self._kinds.changes, self._others.changes)
        if self._at != now:
            self._made.clear()
            self._at = now
        found = self._made.get((version, core))
        if found is None:
            groups = self._groups(core=core)
            items = [_aggregated_group(name, versions) for name, versions in groups]
            local = {name for name, _ in groups}
            items += [_remote_group(n, v) for n, v in self._others.remotes().items() if not core and n not in local]
            body = dumps({"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {}, "items": items})
            found = self._made[version, core] = (body, f'"{hashlib.sha256(body).hexdigest().upper()}"')
        return found


def _remote_group(name: str, versions: Mapping[str, Known]) -> dict[str, Any]:
    found = [
        {"version": version, "resources": known.resources, "freshness": "Stale" if known.stale else "Current"}
        for version, known in versions.items()
    ]
    return {"metadata": {"name": name, "creationTimestamp": None}, "versions": found}


def preferred(versions: Mapping[str, Any]) -> list[str]:
    """Return the versions of a group, the preferred one first: stable before beta before alpha, then the higher."""
    return sorted(versions, key=_version_rank)


def _version_rank(version: str) -> tuple[int, int, int, str]:
    text = version.removeprefix("v")
    major = "".join(c for c in text if c.isdigit()) if text.isdigit() else text.split("alpha")[0].split("beta")[0]
    stage = "alpha" if "alpha" in text else "beta" if "beta" in text else "stable"
    minor = text.rpartition(stage)[2] if stage != "stable" else ""
    if not major.isdigit():
        return 3, 0, 0, version
    return _VERSION_ORDER[stage], -int(major), -int(minor) if minor.isdigit() else 0, version


def _group(name: str, versions: Sequence[str]) -> dict[str, Any]:
    found = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "versions": found, "preferredVersion": found[0]}


def _resources(kind: Kind) -> list[dict[str, Any]]:
    served = kind.served
    entry: dict[str, Any] = {
        "name": served.plural,
        "singularName": served.singular,
        "namespaced": served.namespaced,
        "kind": served.kind,
        "verbs": list(served.verbs),
    }
    if served.short_names:
        entry["shortNames"] = list(served.short_names)
    if served.categories:
        entry["categories"] = list(served.categories)
    if served.storage_hash:
        entry["storageVersionHash"] = served.storage_hash
    return [entry, *(_subresource(kind, s) for s in served.subresources)]


def _subresource(kind: Kind, sub: Subresource) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": f"{kind.served.plural}/{sub.name}", "singularName": "", "namespaced": kind.namespaced}
    if (sub.group, sub.version) != (kind.served.group, kind.served.version):
        entry |= {"group": sub.group, "version": sub.version}
    return {**entry, "kind": sub.kind, "verbs": list(sub.verbs)}


def _aggregated_group(name: str, versions: Mapping[str, list[Kind]]) -> dict[str, Any]:
    found = []
    for version in preferred(versions):
        resources = [_aggregated_resource(k) for k in sorted(versions[version], key=lambda k: k.served.plural)]
        found.append({"version": version, "resources": resources, "freshness": "Current"})
    meta: dict[str, Any] = {"name": name} if name else {}
    return {"metadata": {**meta, "creationTimestamp": None}, "versions": found}


def _aggregated_resource(kind: Kind) -> dict[str, Any]:
    served = kind.served
    own = {"group": served.group, "version": served.version} if served.custom else {"group": "", "version": ""}
    entry: dict[str, Any] = {
        "resource": served.plural,
        "responseKind": {**own, "kind": served.kind},
        "scope": "Namespaced" if served.namespaced else "Cluster",
        "singularResource": served.singular,
        "verbs": list(served.verbs),
    }
    if served.short_names:
        entry["shortNames"] = list(served.short_names)
    if served.categories:
        entry["categories"] = list(served.categories)
    if served.subresources:
        entry["subresources"] = [_aggregated_subresource(kind, s, own) for s in served.subresources]
    return entry


def _aggregated_subresource(kind: Kind, sub: Subresource, own: dict[str, str]) -> dict[str, Any]:
    same = (sub.group, sub.version) == (kind.served.group, kind.served.version)
    where = own if same else {"group": sub.group, "version": sub.version}
    return {"subresource": sub.name, "responseKind": {**where, "kind": sub.kind}, "verbs": list(sub.verbs)}


def _addresses(request: Request) -> list[dict[str, str]]:
    return [{"clientCIDR": "0.0.0.0/0", "serverAddress": request.headers.get("host", "")}]
