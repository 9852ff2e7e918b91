"""The node rule: a node reaches its own objects, by the questions that name them, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.apiserver.http.paths import parse
from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import MERGE, Asker, node_user, pod

DEVICES = "/apis/skerry.dev/v1alpha1/namespaces/default/devices"
PROFILES = "/apis/skerry.dev/v1alpha1/namespaces/default/deviceprofiles"
TRIGGERS = "/apis/eventing.knative.dev/v1/namespaces/default/triggers"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
SITE_A = "?labelSelector=skerry.dev/site=site-a"


def _secret(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": "x"}}


def _device(name: str, secret: str) -> dict[str, Any]:
    connection = {"modbus": {"url": "tcp://127.0.0.1:502", "unit": 1}, "credentials": {"secretRef": {"name": secret}}}
    return {
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "Device",
        "metadata": {"name": name},
        "spec": {"profile": f"profile-of-{name}", "connection": connection},
    }


def _profile(name: str) -> dict[str, Any]:
    properties = {"level": {"type": "number", "binding": {"modbus": {"input": 1, "as": "uint16"}}}}
    return {
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": name},
        "spec": {"protocol": "modbus", "properties": properties},
    }


@pytest.fixture
async def world(ask: Asker) -> Asker:
    """Two nodes at two sites, each with a Pod, a Device and what these use. Asks as node `a`."""

    async def make(path: str, obj: dict[str, Any]) -> None:
        status, answer = await ask("POST", path, obj)
        assert status == 201, answer

    for node in ("a", "b"):
        node_object = {"metadata": {"name": node, "labels": {"skerry.dev/site": f"site-{node}"}}}
        await make("/api/v1/nodes", node_object)
        await make(LEASES, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": node}})
        await make("/api/v1/namespaces/default/secrets", _secret(f"pod-secret-{node}"))
        await make("/api/v1/namespaces/default/secrets", _secret(f"device-secret-{node}"))
        await make("/api/v1/namespaces/default/configmaps", {"metadata": {"name": f"config-{node}"}})
        env = [{"secretRef": {"name": f"pod-secret-{node}"}}, {"configMapRef": {"name": f"config-{node}"}}]
        containers = [{"name": "c", "image": "host.skerry.invalid/x", "envFrom": env}]
        await make("/api/v1/namespaces/default/pods", pod(f"pod-{node}", node=node, containers=containers))
        await make(PROFILES, _profile(f"profile-of-device-{node}"))
        await make(DEVICES, _device(f"device-{node}", f"device-secret-{node}"))
        await ask("PATCH", f"{DEVICES}/device-{node}/status", {"status": {"nodeName": node}}, content_type=MERGE)
    return ask.as_user(node_user("a"))


ALLOWED = [
    "/api/v1/nodes/a",
    "/api/v1/nodes?fieldSelector=metadata.name=a",
    f"{LEASES}/a",
    "/api/v1/pods?fieldSelector=spec.nodeName=a",
    "/api/v1/namespaces/default/pods/pod-a",
    "/api/v1/namespaces/default/secrets/pod-secret-a",
    "/api/v1/namespaces/default/secrets?fieldSelector=metadata.name=pod-secret-a",
    "/api/v1/namespaces/default/secrets?fieldSelector=metadata.name=device-secret-a",
    "/api/v1/namespaces/default/configmaps?fieldSelector=metadata.name=config-a",
    "/apis/skerry.dev/v1alpha1/devices?fieldSelector=status.nodeName=a",
    f"{DEVICES}/device-a",
    f"{PROFILES}?fieldSelector=metadata.name=profile-of-device-a",
    f"/apis/eventing.knative.dev/v1/triggers{SITE_A}",
    "/apis/eventing.knative.dev/v1/triggers?labelSelector=!skerry.dev/site",
    f"/apis/eventing.knative.dev/v1/brokers{SITE_A}",
    "/apis/node.k8s.io/v1/runtimeclasses",
    "/apis/node.k8s.io/v1/runtimeclasses/process",
]
REFUSED = [
    "/api/v1/nodes",
    "/api/v1/nodes/b",
    "/api/v1/nodes?fieldSelector=metadata.name=b",
    "/api/v1/nodes?fieldSelector=metadata.name!=b",
    f"{LEASES}/b",
    LEASES,
    "/api/v1/pods",
    "/api/v1/pods?fieldSelector=spec.nodeName=b",
    "/api/v1/pods?fieldSelector=spec.nodeName!=b",
    "/api/v1/pods?fieldSelector=status.phase=Pending",
    "/api/v1/namespaces/default/pods/pod-b",
    "/api/v1/namespaces/default/pods/pod-b/status",
    "/api/v1/namespaces/default/pods/pod-a/log",
    "/api/v1/namespaces/default/pods/pod-a/exec?command=sh",
    "/api/v1/namespaces/default/secrets",
    "/api/v1/secrets",
    "/api/v1/secrets?fieldSelector=metadata.name=pod-secret-a",
    "/api/v1/namespaces/default/secrets/pod-secret-b",
    "/api/v1/namespaces/default/secrets?fieldSelector=metadata.name=pod-secret-b",
    "/api/v1/namespaces/default/secrets?fieldSelector=metadata.name=device-secret-b",
    "/api/v1/namespaces/default/secrets?fieldSelector=metadata.name!=pod-secret-a",
    "/api/v1/namespaces/default/configmaps/config-b",
    "/api/v1/namespaces/kube-system/secrets/pod-secret-a",
    "/apis/skerry.dev/v1alpha1/devices",
    "/apis/skerry.dev/v1alpha1/devices?fieldSelector=status.nodeName=b",
    f"{DEVICES}/device-b",
    f"{PROFILES}/profile-of-device-b",
    PROFILES,
    "/apis/eventing.knative.dev/v1/triggers",
    "/apis/eventing.knative.dev/v1/triggers?labelSelector=skerry.dev/site=site-b",
    "/apis/eventing.knative.dev/v1/triggers?labelSelector=skerry.dev/site in (site-a,site-b)",
    "/apis/eventing.knative.dev/v1/triggers?labelSelector=skerry.dev/site!=site-b",
    "/apis/eventing.knative.dev/v1/triggers?labelSelector=skerry.dev/site",
    f"{TRIGGERS}/any",
    "/api/v1/namespaces",
    "/api/v1/events",
    "/apis/skerry.dev/v1alpha1/enrollments",
    "/apis/skerry.dev/v1alpha1/sites",
    "/apis/live.skerry.dev/v1alpha1/namespaces/default/devicetwins/device-a",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/api",
    "/apis",
    "/openapi/v3",
    "/skerry/events",
]


async def test_a_node_reads_its_own_and_nothing_else(world: Asker) -> None:
    answers = {path: (await world("GET", path))[0] for path in (*ALLOWED, *REFUSED)}

    assert answers == dict.fromkeys(ALLOWED, 200) | dict.fromkeys(REFUSED, 403)


async def test_a_node_watches_nothing_of_anothers(world: Asker) -> None:
    collections = [p for p in REFUSED if parse(p.partition("?")[0]) and not parse(p.partition("?")[0]).name]  # type: ignore[union-attr]

    answers = {p: (await world("GET", f"{p}{'&' if '?' in p else '?'}watch=true"))[0] for p in collections}

    assert len(answers) > 20
    assert answers == dict.fromkeys(collections, 403)


async def test_a_node_writes_its_own_status_and_no_other(world: Asker) -> None:
    ready = {"status": {"phase": "Running"}}
    own = await world("PATCH", "/api/v1/namespaces/default/pods/pod-a/status", ready, content_type=MERGE)
    other = await world("PATCH", "/api/v1/namespaces/default/pods/pod-b/status", ready, content_type=MERGE)
    spec = await world("PATCH", "/api/v1/namespaces/default/pods/pod-a", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    device = await world("PATCH", f"{DEVICES}/device-a/status", {"status": {"lastSeen": "2026-01-05T10:00:00Z"}}, content_type=MERGE)
    moved = await world("PATCH", f"{DEVICES}/device-a/status", {"status": {"nodeName": "b"}}, content_type=MERGE)
    intent = await world("PATCH", f"{DEVICES}/device-a", {"spec": {"profile": "x"}}, content_type=MERGE)

    assert [r[0] for r in (own, other, spec, device, moved, intent)] == [200, 403, 403, 200, 403, 403]


async def test_only_the_hub_labels_a_node_with_its_site(world: Asker) -> None:
    site = await world("PATCH", "/api/v1/nodes/a", {"metadata": {"labels": {"skerry.dev/site": "site-b"}}}, content_type=MERGE)
    gone = await world("PATCH", "/api/v1/nodes/a", {"metadata": {"labels": None}}, content_type=MERGE)
    runtime = {"metadata": {"labels": {"runtime.skerry.dev/process": "true"}}}
    offers = await world("PATCH", "/api/v1/nodes/a", runtime, content_type=MERGE)

    assert [r[0] for r in (site, gone, offers)] == [403, 403, 200]
    assert "only the hub sets labels under skerry.dev/: skerry.dev/site" in site[1]["message"]


async def test_a_node_registers_itself_and_nobody_else(server: ApiServer, ask: Asker) -> None:
    newcomer = ask.as_user(node_user("c"))

    own = await newcomer("POST", "/api/v1/nodes", {"metadata": {"name": "c", "labels": {"kubernetes.io/os": "linux"}}})
    other = await newcomer("POST", "/api/v1/nodes", {"metadata": {"name": "d"}})
    sited = await ask.as_user(node_user("e"))("POST", "/api/v1/nodes", {"metadata": {"name": "e", "labels": {"skerry.dev/site": "x"}}})
    lease = await newcomer("POST", LEASES, {"metadata": {"name": "c"}})
    stolen = await newcomer("POST", LEASES, {"metadata": {"name": "d"}})

    assert [r[0] for r in (own, other, sited, lease, stolen)] == [201, 403, 403, 201, 403]


async def test_a_node_speaks_in_events_about_its_own_only(world: Asker) -> None:
    def event(name: str, about: dict[str, str], host: str = "a") -> dict[str, Any]:
        meta = {"name": name, "namespace": "default"}
        return {"metadata": meta, "involvedObject": about, "reason": "Seen", "type": "Normal", "source": {"component": "x", "host": host}}

    def about(kind: str, name: str) -> dict[str, str]:
        return {"kind": kind, "namespace": "default", "name": name, "apiVersion": "v1"}

    path = "/api/v1/namespaces/default/events"
    answers = {
        "own pod": await world("POST", path, event("e1", about("Pod", "pod-a"))),
        "other pod": await world("POST", path, event("e2", about("Pod", "pod-b"))),
        "own device": await world("POST", path, event("e3", about("Device", "device-a"))),
        "other device": await world("POST", path, event("e4", about("Device", "device-b"))),
        "other node": await world("POST", path, event("e5", {"kind": "Node", "name": "b"})),
        "a secret": await world("POST", path, event("e6", about("Secret", "pod-secret-a"))),
        "as another": await world("POST", path, event("e7", about("Pod", "pod-a"), host="b")),
    }

    assert {k: v[0] for k, v in answers.items()} == dict.fromkeys(answers, 403) | {"own pod": 201, "own device": 201}


async def test_a_node_deletes_its_own_pod_at_its_end(world: Asker) -> None:
    other = await world("DELETE", "/api/v1/namespaces/default/pods/pod-b", {"gracePeriodSeconds": 0})
    own = await world("DELETE", "/api/v1/namespaces/default/pods/pod-a", {"gracePeriodSeconds": 0})
    all_of_them = await world("DELETE", "/api/v1/namespaces/default/pods?fieldSelector=spec.nodeName=a")

    assert [r[0] for r in (other, own, all_of_them)] == [403, 200, 403]


async def test_a_node_cannot_become_somebody_else(world: Asker) -> None:
    answer = await world("GET", "/api/v1/secrets", impersonate_user="admin", impersonate_group="system:masters")

    assert answer[0] == 403


async def test_bindings_give_a_node_nothing(server: ApiServer, ask: Asker, world: Asker) -> None:
    binding = {
        "metadata": {"name": "mistake"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:nodes"}],
    }
    assert (await ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding))[0] == 201

    assert (await world("GET", "/api/v1/secrets"))[0] == 403


@pytest.mark.parametrize(
    "meta",
    [
        {"labels": {"node-restriction.kubernetes.io/tier": "secure"}},
        {"labels": {"node-role.kubernetes.io/control-plane": ""}},
        {"labels": {"kubernetes.io/hostname": "b"}},
        {"annotations": {"skerry.dev/labels-from-enrollment": ""}},
        {"finalizers": ["example.com/stay"]},
    ],
    ids=["restricted", "role", "another's name", "the hub's note", "finalizer"],
)
async def test_a_node_does_not_give_itself_trust_or_permanence(world: Asker, meta: dict[str, Any]) -> None:
    """Pods are sent where labels say, Secrets go with them; a finalizer would keep a removed node (T7, CVE 2025-5187)."""
    main = await world("PATCH", "/api/v1/nodes/a", {"metadata": meta}, content_type=MERGE)
    await world("PATCH", "/api/v1/nodes/a/status", {"metadata": meta}, content_type=MERGE)
    born = await world("POST", "/api/v1/nodes", {"metadata": {"name": "a", **meta}})

    assert (main[0], born[0]) == (403, 403)
    found = (await world("GET", "/api/v1/nodes/a"))[1]["metadata"]
    assert not {**found.get("labels", {}), **found.get("annotations", {})}.keys() & {*meta.get("labels", {}), *meta.get("annotations", {})}
    assert not found.get("finalizers")


async def test_a_node_cannot_fill_the_hub_with_events(world: Asker) -> None:
    """T7: 600 Events of 250 kB took 190 MB of the hub in five seconds."""

    def event(name: str, note: str) -> dict[str, Any]:
        about = {"kind": "Pod", "namespace": "default", "name": "pod-a", "apiVersion": "v1"}
        meta = {"name": name, "namespace": "default", "annotations": {"note": note}}
        return {"metadata": meta, "involvedObject": about, "reason": "Seen", "type": "Normal", "source": {"host": "a"}}

    path = "/api/v1/namespaces/default/events"
    assert (await world("POST", path, event("large", "x" * 20_000)))[0] == 413
    answers = [(await world("POST", path, event(f"e{i}", "x" * 15_000)))[0] for i in range(80)]

    assert answers[0] == 201
    assert 429 in answers
    assert answers.count(201) * 15_000 <= 1 << 20
    assert (await world("PATCH", "/api/v1/nodes/a/status", {"status": {"phase": "Running"}}, content_type=MERGE))[0] == 200


async def test_a_node_sends_no_megabytes(world: Asker) -> None:
    images = {"status": {"images": [{"names": ["x" * 1000]}] * 1200}}

    assert (await world("PATCH", "/api/v1/nodes/a/status", images, content_type=MERGE))[0] == 413
