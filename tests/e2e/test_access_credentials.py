"""Every credential against every route, resource and verb that a hub serves, over TLS, against a policy written by hand.

The rows come from the hub's own route table and kinds; the answers come from the tables below, which follow the Kubernetes
documentation of the roles view, edit and admin, and never from the hub's authoriser. A row that the tables do not know fails.
A credential is real: a certificate, a token, or none. What a node reaches of its own and of others' is in test_access.py.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiohttp
import pytest

from skerry.hub.server import Hub
from skerry.hub.settings import HubSettings
from skerry.model.kinds.enrollment import object_name
from skerry.model.resources import ENROLLMENTS, Resource
from skerry.trust import authority

pytestmark = pytest.mark.slow

READ, WRITE = frozenset(("get", "list", "watch")), frozenset(("create", "update", "patch", "delete", "deletecollection"))
HOME, AWAY, NAME, ANOTHER = "default", "kube-public", "one", "another"
AT_ONCE = 16

# ---------------------------------------------------------------- the policy, by hand

DISCOVERY = {("GET", p) for p in ("/api", "/api/any", "/apis", "/apis/any", "/openapi/v2", "/openapi/v3", "/openapi/v3/any", "/version")}
PUBLIC = {("GET", p) for p in ("/healthz", "/livez", "/readyz")}
OF_ACCOUNTS = {("GET", p) for p in ("/openid/v1/jwks", "/.well-known/openid-configuration")}
MASTERS_ONLY = {
    ("POST", "/apis"),
    ("GET", "/"),
    *(("GET", p) for p in ("/metrics", "/healthz/any", "/livez/any", "/readyz/any")),
    ("POST", "/skerry/login-codes"),
    ("GET", "/skerry/events"),
    *((m, p) for m in ("GET", "POST") for p in ("/skerry/keys", "/skerry/scrub")),
}
OWN_CREDENTIAL = {
    ("GET", "/enroll/ca"),
    ("POST", "/enroll"),
    *((m, p) for m in ("GET", "HEAD", "POST") for p in ("/console", "/console/any")),
}
"""These judge a credential of their own: a token that joins a node, the console's cookie."""
SELF = {
    "selfsubjectaccessreviews.authorization.k8s.io",
    "selfsubjectrulesreviews.authorization.k8s.io",
    "selfsubjectreviews.authentication.k8s.io",
}

OURS = {f"{r}.skerry.dev" for r in ("devices", "deviceprofiles")} | {f"{r}.eventing.knative.dev" for r in ("brokers", "triggers")}
APPS = {f"{r}.apps" for r in ("daemonsets", "deployments", "replicasets", "statefulsets")}
SCALED = {"deployments.apps/scale", "replicasets.apps/scale", "statefulsets.apps/scale", "replicationcontrollers/scale"}
JOBS = {"jobs.batch", "cronjobs.batch"}
NETWORK = {"ingresses.networking.k8s.io", "networkpolicies.networking.k8s.io"}
REST = {"horizontalpodautoscalers.autoscaling", "poddisruptionbudgets.policy"}
VIEW_ONLY = {"endpoints", "limitranges", "namespaces", "resourcequotas", "controllerrevisions.apps", "endpointslices.discovery.k8s.io"}
EDITED = {"configmaps", "events", "persistentvolumeclaims", "pods", "replicationcontrollers", "serviceaccounts", "services"}
EDITED |= APPS | JOBS | NETWORK | REST | OURS
HAS_STATUS = {
    "namespaces",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "services",
    "ingresses.networking.k8s.io",
}
HAS_STATUS |= APPS | JOBS | REST | {"devices.skerry.dev", "brokers.eventing.knative.dev", "triggers.eventing.knative.dev"}
VIEWED = EDITED | VIEW_ONLY | {f"{r}/status" for r in HAS_STATUS} | SCALED | {"pods/log", "devicetwins.live.skerry.dev"}
CONNECTS = {"pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"}
RBAC_OF_NAMESPACES = {"roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io"}
OTHERS = {
    "apiservices.apiregistration.k8s.io", "apiservices.apiregistration.k8s.io/status", "bindings", "componentstatuses",
    "certificatesigningrequests.certificates.k8s.io", "certificatesigningrequests.certificates.k8s.io/approval",
    "certificatesigningrequests.certificates.k8s.io/status", "clusterrolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io", "events.events.k8s.io",
    "csidrivers.storage.k8s.io", "csinodes.storage.k8s.io", "csistoragecapacities.storage.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io", "customresourcedefinitions.apiextensions.k8s.io/status", "enrollments.skerry.dev",
    "enrollments.skerry.dev/status", "flowschemas.flowcontrol.apiserver.k8s.io", "flowschemas.flowcontrol.apiserver.k8s.io/status",
    "ingressclasses.networking.k8s.io", "mutatingwebhookconfigurations.admissionregistration.k8s.io", "namespaces/finalize", "nodes",
    "nodes/proxy", "nodes/status", "persistentvolumes", "persistentvolumes/status", "pods/binding", "pods/ephemeralcontainers",
    "pods/resize", "podtemplates", "priorityclasses.scheduling.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io/status", "runtimeclasses.node.k8s.io", "sites.skerry.dev",
    "sites.skerry.dev/status", "storageclasses.storage.k8s.io", "subjectaccessreviews.authorization.k8s.io",
    "tokenreviews.authentication.k8s.io", "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io/status", "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io", "volumeattachments.storage.k8s.io",
    "volumeattachments.storage.k8s.io/status", "ipaddresses.networking.k8s.io", "servicecidrs.networking.k8s.io",
    "servicecidrs.networking.k8s.io/status",
}  # fmt: skip
"""Served, and given to nobody by view, edit or admin."""
LOCAL_REVIEWS = "localsubjectaccessreviews.authorization.k8s.io"
KNOWN = VIEWED | CONNECTS | RBAC_OF_NAMESPACES | OTHERS | SELF
KNOWN |= {
    "leases.coordination.k8s.io",
    "secrets",
    "pods/eviction",
    "serviceaccounts/token",
    "localsubjectaccessreviews.authorization.k8s.io",
}


class Row(NamedTuple):
    """One question: `scope` is a namespace, or "" at the cluster scope."""

    method: str
    path: str
    verb: str
    what: str
    scope: str


def view(row: Row) -> bool:
    return row.what in VIEWED and row.verb in READ


def edit(row: Row) -> bool:
    if view(row) or (row.what == "secrets" and row.verb in READ | WRITE):
        return True
    if row.what in CONNECTS or row.what == "leases.coordination.k8s.io":
        return True
    if row.what in ("pods/eviction", "serviceaccounts/token"):
        return row.verb == "create"
    return row.what in EDITED | SCALED and row.verb in WRITE


def admin(row: Row) -> bool:
    return edit(row) or row.what in RBAC_OF_NAMESPACES or row.what == LOCAL_REVIEWS


def account_with_a_role(row: Row) -> bool:
    return (row.what == "pods" and row.verb in READ) or ((row.what, row.verb) == ("configmaps", "update") and row.path.endswith(f"/{NAME}"))


def nothing(row: Row) -> bool:
    return False


def everybody_known(row: Row) -> bool:
    return (row.what in SELF and row.verb == "create") or (not row.what and (row.method, row.path) in DISCOVERY)


@dataclass(frozen=True)
class Credential:
    """`here` is what it may at HOME, `anywhere` what it may at every scope; `known` whether it is anybody at all."""

    name: str
    here: Any = nothing
    anywhere: Any = nothing
    known: bool = True
    refused: bool = False
    """A token that is nobody's, or acting as whom one may not: refused even where no credential is needed."""
    account: bool = False
    master: bool = False
    certificate: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def may(self, row: Row) -> bool:
        if not row.what and (row.method, row.path) in PUBLIC:
            return not self.refused
        if self.master:
            return True
        if self.account and not row.what and (row.method, row.path) in OF_ACCOUNTS:
            return True
        if self.known and everybody_known(row):
            return True
        return bool(self.anywhere(row) or (row.scope == HOME and self.here(row)))


def node_of_nothing(row: Row) -> bool:
    return row.what == "runtimeclasses.node.k8s.io" and row.verb in READ


JUDGED_BY_OBJECT = {("nodes", "create"), ("events", "create"), ("events", "patch"), ("events", "update")}
"""A node may ask; what it writes is judged by what it is (test_node_rule)."""


# ---------------------------------------------------------------- the rows


def rows(hub: Hub) -> Iterator[Row]:
    """Yield every operation that the hub serves, at each scope that it can be asked at."""
    for operation in hub.server.operations():
        what = f"{operation.resource}/{operation.subresource}" if operation.subresource else operation.resource
        if operation.path.startswith("/apis/events.k8s.io/"):
            what = "events.events.k8s.io"  # the same objects, and another group to RBAC
        scopes = (HOME, AWAY) if "{namespace}" in operation.path else ("",)
        for scope in scopes:
            path = operation.path.format(namespace=scope, name=HOME if operation.resource == "namespaces" else NAME)
            of_itself = HOME if operation.resource == "namespaces" and "{name}" in operation.path else scope
            yield Row(operation.method, path, operation.verb, what, of_itself)
            if operation.resource == "configmaps" and "{name}" in operation.path:
                other = operation.path.format(namespace=scope, name=ANOTHER)  # a role may name single objects
                yield Row(operation.method, other, operation.verb, what, of_itself)


def unknown_rows(found: list[Row]) -> list[str]:
    routes = DISCOVERY | PUBLIC | OF_ACCOUNTS | MASTERS_ONLY | OWN_CREDENTIAL
    missing = {r.what for r in found if r.what and r.what not in KNOWN}
    return sorted(missing | {f"{r.method} {r.path}" for r in found if not r.what and (r.method, r.path) not in routes})


# ---------------------------------------------------------------- credentials


@dataclass
class Stage:
    hub: Hub
    folder: Path

    def _file(self, name: str, key: str, certificate: str) -> Path:
        path = self.folder / f"{name}.pem"
        path.write_text(key + certificate)
        return path

    def certificate(self, name: str, group: str = "dev", *, at: datetime | None = None, ca: tuple[str, str] | None = None) -> Path:
        key_pem, ca_pem = ca or ((self.hub.pki.ca_key).read_text(), self.hub.pki.ca_pem())
        return self._file(name, *authority.issue_client(key_pem, ca_pem, name, group, at or datetime.now(UTC)))

    async def node(self, name: str, decision: str) -> Path:
        key = authority.make_key()
        request = authority.make_request(key, name)
        key_hash = authority.request_key_hash(request)
        spec = {"nodeName": name, "keyHash": key_hash, "csr": request, "decision": decision}
        await self.hub.api.create(ENROLLMENTS, {"metadata": {"name": object_name(name, key_hash)}, "spec": spec})
        pem = authority.issue_node((self.hub.pki.ca_key).read_text(), self.hub.pki.ca_pem(), request, name, datetime.now(UTC))
        return self._file(name, key, pem)

    async def token(self, account: str) -> str:
        asked = {"metadata": {"namespace": HOME, "name": account}}
        accounts = Resource("", "v1", "serviceaccounts", "ServiceAccount")
        await self.hub.api.create(accounts, asked)
        issuer = self.hub.server.tokens.issuer
        assert issuer is not None, "a hub has keys"
        return issuer.issue(HOME, account, {}).token

    async def bind(self, kind: str, role: str, subject: Mapping[str, str], *, everywhere: bool = False) -> None:
        plural = "clusterrolebindings" if everywhere else "rolebindings"
        resource = Resource("rbac.authorization.k8s.io", "v1", plural, plural[:-1], namespaced=not everywhere)
        group = "rbac.authorization.k8s.io"
        who = {**subject, **({} if subject["kind"] == "ServiceAccount" else {"apiGroup": group})}
        meta = {"name": f"{role}-{subject['name']}", **({} if everywhere else {"namespace": HOME})}
        ref = {"apiGroup": group, "kind": kind, "name": role}
        await self.hub.api.create(resource, {"metadata": meta, "roleRef": ref, "subjects": [who]})

    async def role(self, name: str, *rules: Mapping[str, Any], everywhere: bool = False) -> None:
        plural = "clusterroles" if everywhere else "roles"
        resource = Resource("rbac.authorization.k8s.io", "v1", plural, plural[:-1], namespaced=not everywhere)
        meta = {"name": name, **({} if everywhere else {"namespace": HOME})}
        await self.hub.api.create(resource, {"metadata": meta, "rules": list(rules)})


def _user(name: str) -> dict[str, str]:
    return {"kind": "User", "name": name}


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def credentials(stage: Stage) -> list[Credential]:
    """Make one of each, with what it may."""
    for name, role in (("vera", "view"), ("eddy", "edit"), ("anna", "admin")):
        await stage.bind("ClusterRole", role, _user(name))
    await stage.bind("ClusterRole", "view", _user("clara"), everywhere=True)
    await stage.role(
        "narrow",
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [NAME], "verbs": ["update"]},
    )
    await stage.bind("Role", "narrow", {"kind": "ServiceAccount", "name": "able", "namespace": HOME})
    await stage.role(
        "acts-as-vera", {"apiGroups": [""], "resources": ["users"], "resourceNames": ["vera"], "verbs": ["impersonate"]}, everywhere=True
    )
    await stage.bind("ClusterRole", "acts-as-vera", _user("igor"), everywhere=True)
    secrets = Resource("", "v1", "secrets", "Secret")
    data = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"}
    meta = {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
    encoded = {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
    await stage.hub.api.create(secrets, {"metadata": meta, "type": "bootstrap.kubernetes.io/token", "data": encoded})
    gone = await stage.token("gone")
    await stage.hub.api.delete(Resource("", "v1", "serviceaccounts", "ServiceAccount"), HOME, "gone")
    igor = stage.certificate("igor")
    masters = {"Impersonate-User": "root", "Impersonate-Group": "system:masters"}
    as_node = {"Impersonate-User": "system:node:node-a", "Impersonate-Group": "system:nodes"}
    return [
        Credential("admin", master=True, certificate=stage.certificate("root", "system:masters")),
        Credential("view here", here=view, certificate=stage.certificate("vera")),
        Credential("edit here", here=edit, certificate=stage.certificate("eddy")),
        Credential("admin here", here=admin, certificate=stage.certificate("anna")),
        Credential("view everywhere", anywhere=view, certificate=stage.certificate("clara")),
        Credential("no roles", certificate=stage.certificate("nora")),
        Credential("account with a role", here=account_with_a_role, account=True, headers=_bearer(await stage.token("able"))),
        Credential("account without", account=True, headers=_bearer(await stage.token("poor"))),
        Credential("deleted account", known=False, refused=True, headers=_bearer(gone)),
        Credential("bootstrap token", headers=_bearer("abcdef.0123456789abcdef")),
        Credential("wrong token", known=False, refused=True, headers=_bearer("abcdef.0123456789abcdee")),
        Credential("anonymous", known=False),
        Credential("expired certificate", known=False, certificate=stage.certificate("root2", "system:masters", at=_LONG_AGO)),
        Credential("node", anywhere=node_of_nothing, known=False, certificate=await stage.node("node-a", "Approved")),
        Credential("denied node", known=False, certificate=await stage.node("node-d", "Denied")),
        Credential("acts as vera", here=view, certificate=igor, headers={"Impersonate-User": "vera"}),
        Credential("acts as a master", known=False, refused=True, certificate=igor, headers=masters),
        Credential("admin acts as a node", known=False, certificate=stage.certificate("root3", "system:masters"), headers=as_node),
    ]


_LONG_AGO = datetime.now(UTC) - timedelta(days=365 * 6)


# ---------------------------------------------------------------- asking


class Asker:
    """Asks as one credential, several questions at once."""

    def __init__(self, hub: Hub, credential: Credential) -> None:
        context = ssl.create_default_context(cadata=hub.pki.ca_pem())
        if credential.certificate is not None:
            context.load_cert_chain(credential.certificate)
        connector = aiohttp.TCPConnector(ssl=context, limit=AT_ONCE)
        self._session = aiohttp.ClientSession(hub.url, connector=connector, headers=credential.headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def status(self, row: Row) -> int:
        """Return the answer's status, 0 where the connection was refused. Nothing that is asked changes anything."""
        query = {"dryRun": "All", "labelSelector": "no=such"} if row.verb == "deletecollection" else {}
        if row.verb == "watch":
            query = {"watch": "true", "timeoutSeconds": "1"}
        elif row.what and row.method != "GET":
            query["dryRun"] = "All"
        body = None if row.method in ("GET", "HEAD") else b"{}"
        kind = "application/merge-patch+json" if row.method == "PATCH" else "application/json"
        try:
            response = await self._session.request(row.method, row.path, params=query, data=body, headers={"Content-Type": kind})
        except aiohttp.ClientError:
            return 0
        if row.verb == "watch":
            response.close()
        else:
            await response.read()
        return response.status


async def unexpected(hub: Hub, credential: Credential, found: list[Row]) -> list[str]:
    """Ask every row; return what was answered otherwise than the policy says."""
    turn = asyncio.Semaphore(AT_ONCE)
    async with Asker(hub, credential) as asker:

        async def one(row: Row) -> str:
            async with turn:
                status = await asker.status(row)
            let_in = status not in (0, 401, 403)
            wanted = credential.may(row)
            return "" if let_in is wanted else f"{credential.name}: {row.method} {row.path} ({row.verb}): {status}, expected {wanted}"

        return [w for w in await asyncio.gather(*(one(r) for r in found)) if w]


def _asked(credential: Credential, found: list[Row], randomness: random.Random) -> list[Row]:
    """Leave out what a master's question would really do; of those who are nobody, ask a share with a rotating seed."""
    if credential.master:
        immortal = ("DELETE", f"/api/v1/namespaces/{HOME}")  # refused to everybody, and not by right
        return [r for r in found if not (r.path.startswith("/skerry/") and r.method == "POST") and (r.method, r.path) != immortal]
    if credential.name == "node":
        return [r for r in found if (r.what, r.verb) not in JUDGED_BY_OBJECT]
    if not credential.known and credential.name not in ("anonymous", "acts as a master"):
        return randomness.sample(found, len(found) // 4)
    return found


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    hub = await Hub.start(HubSettings(data=tmp_path / "hub", port=0))
    yield hub
    await hub.stop()


async def test_nobody_gets_in_where_the_policy_does_not_say_so(hub: Hub, tmp_path: Path) -> None:
    found = [r for r in rows(hub) if (r.method, r.path) not in OWN_CREDENTIAL]
    assert unknown_rows(list(rows(hub))) == [], "say in the tables above who may use these"
    seed = int(os.environ.get("SKERRY_SEED", "0")) or random.randrange(1 << 30)
    randomness = random.Random(seed)

    cells, wrong = 0, []
    for credential in await credentials(Stage(hub, tmp_path)):
        asked = _asked(credential, found, randomness)
        cells += len(asked)
        wrong += await unexpected(hub, credential, asked)

    assert wrong == [], f"seed {seed}: {len(wrong)} of {cells}:\n" + "\n".join(wrong[:50])
    assert cells >= 3000


async def test_a_certificate_of_another_authority_ends_the_handshake(hub: Hub, tmp_path: Path) -> None:
    stage = Stage(hub, tmp_path)
    other = authority.make_ca(datetime.now(UTC))
    credential = Credential("another CA", known=False, certificate=stage.certificate("root", "system:masters", ca=other))

    async with AsyncExitStack() as stack:
        asker = await stack.enter_async_context(Asker(hub, credential))
        for path in ("/healthz", "/api/v1/secrets"):
            assert await asker.status(Row("GET", path, "get", "", "")) == 0
