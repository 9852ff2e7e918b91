"""What a node's credential reaches: every route, resource and verb that the hub serves, against a policy written by hand.

The rows come from the hub's own discovery and route table; the expected answers come from POLICY below, never from the
hub's authoriser. T4, T7 and F32 of the fault catalogue.
"""

from __future__ import annotations

import itertools
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.edge import slowness
from tests.e2e.hub_process import HubProcess

pytestmark = pytest.mark.slow

OWN, OTHER = "node-a", "node-b"
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
METHODS = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE", "deletecollection": "DELETE"}

# (resource or resource/subresource, verb, whose, selector) that a node may; everything else is refused.
# "own" is an object of this node, "other" another node's, "any" one of nobody.
POLICY: set[tuple[str, str, str, str]] = {
    *((r, v, "own", "") for r in ("nodes", "nodes/status") for v in ("get", "update", "patch")),
    ("nodes", "list", "own", "metadata.name"),
    ("nodes", "watch", "own", "metadata.name"),
    *(("leases", v, "own", "") for v in ("get", "update", "patch")),
    ("pods", "list", "own", "spec.nodeName"),
    ("pods", "watch", "own", "spec.nodeName"),
    ("pods", "get", "own", ""),
    ("pods", "delete", "own", ""),
    *(("pods/status", v, "own", "") for v in ("get", "update", "patch")),
    *(
        (r, v, "own", s)
        for r in ("secrets", "configmaps", "deviceprofiles")
        for v, s in (("get", ""), ("list", "metadata.name"), ("watch", "metadata.name"))
    ),
    ("devices", "list", "own", "status.nodeName"),
    ("devices", "watch", "own", "status.nodeName"),
    ("devices", "get", "own", ""),
    *(("devices/status", v, "own", "") for v in ("get", "update", "patch")),
    *(
        (r, v, w, s)
        for r in ("brokers", "triggers")
        for v in ("list", "watch")
        for w, s in (("own", "site"), ("own", "no site"), ("other", "no site"), ("any", "no site"))
    ),
}
# Creation is judged by the object, in tests of its own; reviews of one's own rights are everybody's.
JUDGED_BY_OBJECT = {("nodes", "create"), ("leases", "create"), ("events", "create"), ("events", "patch"), ("events", "update")}
READ_BY_ALL = {"runtimeclasses"}
EVERYBODY = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}
NAMESPACED_ELSEWHERE = {"leases": "kube-node-lease"}


@dataclass(frozen=True)
class Cell:
    """One question to the hub."""

    resource: str
    verb: str
    whose: str
    selector: str
    method: str
    path: str

    @property
    def allowed(self) -> bool:
        if self.resource in READ_BY_ALL and self.verb in ("get", "list", "watch"):
            return True
        return (self.resource, self.verb, self.whose, self.selector) in POLICY


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path_factory.mktemp("access"))
    hub.start()
    hub.join(OWN, "site-a")
    hub.join(OTHER, "site-b")
    furnish(hub)
    yield hub
    hub.stop()


def furnish(hub: HubProcess) -> None:
    """Make an object of each kind for node-a, for node-b and for nobody."""

    def make(path: str, obj: dict[str, Any]) -> dict[str, Any]:
        answer = hub.request("POST", path, obj)
        assert answer.status in (201, 409), f"{path} {obj['metadata']['name']}: {answer}"
        made: dict[str, Any] = answer.json
        return made

    core, ours, knative = (
        "/api/v1/namespaces/default",
        "/apis/skerry.dev/v1alpha1/namespaces/default",
        "/apis/eventing.knative.dev/v1/namespaces/default",
    )
    for whose, node in (("own", OWN), ("other", OTHER), ("any", "")):
        for kind, plural in (("ConfigMap", "configmaps"), ("Secret", "secrets")):
            make(f"{core}/{plural}", {"apiVersion": "v1", "kind": kind, "metadata": {"name": whose}})
        if node:
            make(
                "/api/v1/nodes",
                {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": {"skerry.dev/site": f"site-{node[-1]}"}}},
            )
            make(
                "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
                {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": node}, "spec": {"holderIdentity": node}},
            )
        container = {
            "name": "c",
            "image": "host.skerry.invalid/x",
            "envFrom": [{"configMapRef": {"name": whose}}, {"secretRef": {"name": whose}}],
        }
        spec = {"containers": [container], **({"nodeName": node} if node else {"schedulerName": "nobody"})}
        make(f"{core}/pods", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": whose}, "spec": spec})
        make(
            f"{ours}/deviceprofiles",
            {
                "apiVersion": "skerry.dev/v1alpha1",
                "kind": "DeviceProfile",
                "metadata": {"name": whose},
                "spec": {"protocol": "mqtt", "properties": {"t": {"type": "number"}}},
            },
        )
        site = f"site-{node[-1]}" if node else "nowhere"
        device = {"profile": whose, "placement": {"nodeSelector": {"skerry.dev/site": site}}, "connection": {"mqtt": {}}}
        make(f"{ours}/devices", {"apiVersion": "skerry.dev/v1alpha1", "kind": "Device", "metadata": {"name": whose}, "spec": device})
        if node:
            hub.request(
                "PATCH",
                f"{ours}/devices/{whose}/status",
                {"status": {"nodeName": node}},
                headers={"Content-Type": "application/merge-patch+json"},
            )
        labels = {"labels": {"skerry.dev/site": site}} if node else {}
        make(f"{knative}/brokers", {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": whose, **labels}})
        trigger = {"broker": whose, "subscriber": {"uri": "http://127.0.0.1:9/"}}
        make(
            f"{knative}/triggers",
            {"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": {"name": whose, **labels}, "spec": trigger},
        )


def served(hub: HubProcess) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (group/version path, resource) of all that discovery lists."""
    paths = ["/api/v1"]
    for group in hub.request("GET", "/apis").json["groups"]:
        paths += [f"/apis/{v['groupVersion']}" for v in group["versions"]]
    for path in paths:
        for resource in hub.request("GET", path).json["resources"]:
            yield path, resource


def cells(hub: HubProcess) -> Iterator[Cell]:
    for base, resource in served(hub):
        plural, _, sub = resource["name"].partition("/")
        namespace = NAMESPACED_ELSEWHERE.get(plural, "default")
        scope = f"{base}/namespaces/{namespace}" if resource["namespaced"] else base
        for verb, whose in itertools.product(VERBS, ("own", "other", "any")):
            if (plural, verb) in JUDGED_BY_OBJECT or plural in EVERYBODY or (plural == "namespaces" and verb == "delete"):
                continue
            yield from cell(resource["name"], plural, sub, verb, whose, base, scope)


def cell(resource: str, plural: str, sub: str, verb: str, whose: str, base: str, scope: str) -> Iterator[Cell]:
    node = {"own": OWN, "other": OTHER, "any": "nobody"}[whose]
    name = node if plural in ("nodes", "leases") else whose
    if verb in ("get", "update", "patch", "delete"):
        yield Cell(resource, verb, whose, "", METHODS.get(verb, "GET"), f"{scope}/{plural}/{name}{'/' + sub if sub else ''}")
    elif sub and verb == "create":
        yield Cell(resource, verb, whose, "", "POST", f"{scope}/{plural}/{name}/{sub}")
    elif not sub and verb == "create":
        yield Cell(resource, verb, whose, "", "POST", f"{scope}/{plural}")
    elif not sub:
        site = f"site-{node[-1]}"
        for selector, query in (
            ("", ""),
            ("metadata.name", f"fieldSelector={quote(f'metadata.name={name}')}"),
            ("spec.nodeName", f"fieldSelector={quote(f'spec.nodeName={node}')}"),
            ("status.nodeName", f"fieldSelector={quote(f'status.nodeName={node}')}"),
            ("site", f"labelSelector={quote(f'skerry.dev/site={site}')}"),
            ("no site", f"labelSelector={quote('!skerry.dev/site')}"),
            ("two sites", f"labelSelector={quote(f'skerry.dev/site in ({site},site-b)')}"),
        ):
            query += "&watch=true&timeoutSeconds=1" if verb == "watch" else ""
            yield Cell(resource, verb, whose, selector, METHODS.get(verb, "GET"), f"{scope}/{plural}?{query}")
            if scope != base and selector in ("", "metadata.name"):
                yield Cell(resource, verb, whose, "all namespaces " + selector, METHODS.get(verb, "GET"), f"{base}/{plural}?{query}")


def test_a_nodes_credential_reaches_its_own_objects_and_no_others(hub: HubProcess) -> None:
    state = hub.folder / OWN
    asked = list(cells(hub))

    def ask(one: Cell) -> tuple[Cell, int, str]:
        body = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}} if one.method in ("POST", "PUT", "PATCH") else None
        kind = {"Content-Type": "application/merge-patch+json"} if one.method == "PATCH" else {}
        dry = "&" if "?" in one.path else "?"
        path = one.path + (f"{dry}dryRun=All" if one.method != "GET" else "")
        answer = hub.request(one.method, path, body, credential=state, headers=kind)
        return one, answer.status, answer.body[:200]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, asked))

    leaks = [(c, s, b) for c, s, b in answers if not c.allowed and s not in (403, 404, 405)]
    leaks += [
        (c, s, b)
        for c, s, b in answers
        if not c.allowed and s == 404 and c.whose != "any" and "page not found" not in b and c.verb != "create"
    ]
    locked_out = [(c, s, b) for c, s, b in answers if c.allowed and s in (401, 403)]
    assert len(asked) > 1500
    assert not leaks, "\n".join(map(str, leaks[:20]))
    assert not locked_out, "\n".join(map(str, locked_out[:20]))


def test_a_node_sees_nothing_of_others_in_what_it_may_list(hub: HubProcess) -> None:
    state = hub.folder / OWN
    for path in (
        f"/api/v1/pods?fieldSelector=spec.nodeName={OWN}",
        f"/apis/skerry.dev/v1alpha1/devices?fieldSelector=status.nodeName={OWN}",
        "/apis/eventing.knative.dev/v1/triggers?labelSelector=skerry.dev/site=site-a",
    ):
        listed = hub.request("GET", path, credential=state)
        assert listed.status == 200, listed
        assert [i["metadata"]["name"] for i in listed.json["items"]] == ["own"]


@pytest.mark.parametrize(
    ("path", "obj"),
    [
        ("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-c"}}),
        (
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
            {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "node-c"}},
        ),
        (
            "/api/v1/namespaces/default/events",
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": "e", "namespace": "default"},
                "involvedObject": {"kind": "Pod", "namespace": "default", "name": "other"},
                "reason": "X",
                "source": {"host": OWN},
            },
        ),
    ],
    ids=["Node", "Lease", "Event"],
)
def test_a_node_creates_nothing_in_anothers_name(hub: HubProcess, path: str, obj: dict[str, Any]) -> None:
    assert hub.request("POST", path, obj, credential=hub.folder / OWN).status == 403


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"labels": {"skerry.dev/site": "site-b"}}},
        {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}},
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "own", "uid": "x"}]}},
    ],
    ids=["site", "taints", "owner"],
)
def test_a_node_cannot_change_what_the_hub_says_of_it(hub: HubProcess, patch: dict[str, Any]) -> None:
    answer = hub.request(
        "PATCH", f"/api/v1/nodes/{OWN}", patch, credential=hub.folder / OWN, headers={"Content-Type": "application/merge-patch+json"}
    )

    assert answer.status in (403, 422), answer


def test_every_other_route_is_closed_to_a_node_and_to_nobody(hub: HubProcess) -> None:
    """The route table says what is public; a person wrote down here what may be."""
    public = {"/healthz", "/livez", "/readyz", "/enroll", "/enroll/ca", "/version"}
    for path in (
        "/skerry/events",
        "/skerry/login-codes",
        "/skerry/keys",
        "/skerry/scrub",
        "/metrics",
        "/api",
        "/apis",
        "/openapi/v3",
        "/api/v1/secrets",
        "/",
    ):
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
            answer = hub.request(method, path, credential=None)
            assert answer.status in (401, 403), f"{method} {path} without a credential: {answer}"
    for path in ("/skerry/events", "/skerry/login-codes", "/skerry/keys", "/skerry/scrub"):
        for method in ("GET", "POST"):
            assert hub.request(method, path, credential=hub.folder / OWN).status in (403, 405), path
    assert {p for p in public if hub.request("GET", p, credential=None).status == 200} <= public


def test_a_token_lets_one_node_in_and_no_second(hub: HubProcess) -> None:
    token = json.loads(hub.skerry("hub", "token", "create", "--node", "node-t", "--site", "site-a", "-o", "json"))["token"]

    def join(i: int) -> int:
        command = [
            "node",
            "join",
            hub.url,
            "--token",
            token,
            "--state",
            str(hub.folder / f"t-{i}"),
            "--name",
            "node-t",
            "--address",
            "127.0.0.1",
            "--wait",
            "5s",
        ]
        return subprocess.run([sys.executable, "-m", "skerry", *command], capture_output=True, timeout=120, check=False).returncode

    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(join, range(6)))
    assert sorted(code == 0 for code in codes) == [False] * 5 + [True]


def test_no_token_and_a_forged_one_are_refused(hub: HubProcess) -> None:
    assert hub.request("POST", "/enroll", {"node": "node-x", "csr": "nonsense"}, credential=None).status == 400
    forged = "skt1.abcdef.0123456789abcdef." + "0" * 64
    command = [
        "node",
        "join",
        hub.url,
        "--token",
        forged,
        "--state",
        str(hub.folder / "forged"),
        "--name",
        "node-f",
        "--address",
        "127.0.0.1",
    ]
    done = subprocess.run([sys.executable, "-m", "skerry", *command], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0


def test_a_denied_key_is_out_within_five_seconds(hub: HubProcess) -> None:
    state = hub.join("node-d", "site-a")
    node = subprocess.Popen(
        [sys.executable, "-m", "skerry", "node", "run", "--state", str(state)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: hub.request("GET", "/api/v1/nodes/node-d").status == 200, 90)
        wait_for(lambda: connections(node.pid, hub.port) > 0, 90)
        name = next(
            e["metadata"]["name"]
            for e in hub.request("GET", "/apis/skerry.dev/v1alpha1/enrollments").json["items"]
            if e["spec"]["nodeName"] == "node-d"
        )
        within_s = 5 * slowness()
        patched = hub.request(
            "PATCH",
            f"/apis/skerry.dev/v1alpha1/enrollments/{name}",
            {"spec": {"decision": "Denied"}},
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert patched.status == 200, patched
        denied_at = time.monotonic()

        wait_for(lambda: refused(hub, state), within_s)
        wait_for(lambda: established_to(hub, state), within_s - (time.monotonic() - denied_at) + 0.5)
    finally:
        node.kill()
        node.wait()


def established_to(hub: HubProcess, state: Path) -> bool:
    """True when the node's Lease no longer moves: nothing of the denied node gets through."""
    before = hub.request("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-d").json["metadata"]["resourceVersion"]
    time.sleep(0.2)
    after = hub.request("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-d").json["metadata"]["resourceVersion"]
    return bool(before == after)


def refused(hub: HubProcess, state: Path) -> bool:
    try:
        return hub.request("GET", "/api/v1/nodes/node-d", credential=state).status in (401, 403)
    except (TimeoutError, ssl.SSLError, ConnectionError):
        return True


def connections(pid: int, port: int) -> int:
    import psutil

    return sum(1 for c in psutil.Process(pid).net_connections("tcp") if c.raddr and c.raddr.port == port and c.status == "ESTABLISHED")


def wait_for(holds: Any, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, f"not within {timeout_s:.1f} s"
        time.sleep(0.1)
