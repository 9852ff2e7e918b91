"""What `kubectl get` shows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from skerry.apiserver.schema import table_format
from skerry.apiserver.schema.table.jsonpath import JsonPath, JsonPathError
from skerry.model.objects import Object
from tests.unit.schema.pipeline import catalogue

NOW = datetime(2026, 1, 5, 10, 0, 0, tzinfo=UTC)
MADE = "2026-01-05T09:55:00Z"
META = {"name": "x", "namespace": "n", "creationTimestamp": MADE}


def _row(key: str, **obj: Any) -> list[Any]:
    return table_format(key).cells({"metadata": META, **obj}, NOW)


def _names(key: str, *, wide: bool = True) -> list[str]:
    return [c["name"] for c in table_format(key).columns if wide or c["priority"] == 0]


def _pod(*statuses: Object, phase: str = "Running", **rest: Any) -> list[Any]:
    containers = [{"name": s["name"]} for s in statuses] or [{"name": "c"}]
    status = {"phase": phase, "containerStatuses": list(statuses), **rest.pop("status", {})}
    return _row("pods", spec={"containers": containers, **rest.pop("spec", {})}, status=status, **rest)


RUNNING = {"name": "c", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": MADE}}}


def _waiting(reason: str, restarts: int = 0) -> Object:
    ended = {"terminated": {"finishedAt": "2026-01-05T09:59:00Z", "exitCode": 1}}
    return {
        "name": "c",
        "ready": False,
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason}},
        "lastState": ended if restarts else {},
    }


def test_every_row_has_a_cell_for_each_column() -> None:
    for resource in catalogue().resources():
        if "list" in resource.verbs:
            format_ = table_format(resource.key)
            assert len(format_.cells({"metadata": META}, NOW)) == len(format_.columns), resource.key


def test_columns_of_pods() -> None:
    assert _names("pods", wide=False) == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert _names("pods")[5:] == ["IP", "Node", "Nominated Node", "Readiness Gates"]


@pytest.mark.parametrize(
    ("row", "ready", "status", "restarts"),
    [
        (_pod(RUNNING), "1/1", "Running", "0"),
        (_pod(phase="Pending"), "0/1", "Pending", "0"),
        (_pod(_waiting("CrashLoopBackOff", 3)), "0/1", "CrashLoopBackOff", "3 (60s ago)"),
        (_pod(_waiting("ContainerCreating"), phase="Pending"), "0/1", "ContainerCreating", "0"),
        (_pod({**RUNNING, "ready": False, "state": {"terminated": {"exitCode": 2}}}, phase="Failed"), "0/1", "ExitCode:2", "0"),
        (
            _pod({**RUNNING, "ready": False, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}, phase="Succeeded"),
            "0/1",
            "Completed",
            "0",
        ),
        (_pod(phase="Pending", status={"reason": "Evicted"}), "0/1", "Evicted", "0"),
    ],
)
def test_a_pods_state_in_one_word(row: list[Any], ready: str, status: str, restarts: str) -> None:
    assert row[1:5] == [ready, status, restarts, "5m"]


def test_a_pod_that_is_being_deleted_is_terminating() -> None:
    format_ = table_format("pods")
    pod = {
        "metadata": {**META, "deletionTimestamp": MADE},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"phase": "Running", "containerStatuses": [RUNNING]},
    }

    assert format_.cells(pod, NOW)[2] == "Terminating"


def test_a_pod_waits_for_its_init_containers() -> None:
    init = {"name": "i", "state": {"running": {}}}

    row = _pod(spec={"initContainers": [{"name": "i"}, {"name": "j"}]}, status={"initContainerStatuses": [init]}, phase="Pending")

    assert row[2] == "Init:0/2"


def test_a_node_says_ready_and_whether_it_takes_pods() -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "127.0.0.2"}]}
    row = table_format("nodes").cells(
        {"metadata": {**META, "labels": {"node-role.kubernetes.io/edge": ""}}, "spec": {"unschedulable": True}, "status": ready}, NOW
    )

    assert row[:6] == ["x", "Ready,SchedulingDisabled", "edge", "5m", "", "127.0.0.2"]
    assert _row("nodes", status={"conditions": [{"type": "Ready", "status": "Unknown"}]})[1] == "NotReady"
    assert _row("nodes")[1] == "Unknown"


@pytest.mark.parametrize(
    ("spec", "external", "ports"),
    [
        ({"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP"}]}, "<none>", "80/TCP"),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]},
            "<none>",
            "80:30080/TCP,53/UDP",
        ),
        ({"type": "LoadBalancer"}, "<pending>", "<none>"),
        ({"type": "ExternalName", "externalName": "example.com"}, "example.com", "<none>"),
    ],
)
def test_services(spec: Object, external: str, ports: str) -> None:
    assert _row("services", spec=spec)[3:5] == [external, ports]


def test_events_tell_what_happened_to_what() -> None:
    row = _row(
        "events",
        type="Warning",
        reason="Failed",
        message=" no \n",
        involvedObject={"kind": "Pod", "name": "p", "fieldPath": "spec"},
        source={"component": "node", "host": "a"},
        firstTimestamp=MADE,
        lastTimestamp="2026-01-05T09:59:30Z",
        count=4,
    )

    assert row == ["30s", "Warning", "Failed", "pod/p", "spec", "node, a", "no", "5m", 4, "x"]


def test_workloads_count() -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j:1"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "x"}}, "template": template}

    assert _row("deployments.apps", spec=spec, status={"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}) == [
        "x", "2/3", 3, 2, "5m", "a,b", "i:1,j:1", "app=x",
    ]  # fmt: skip
    assert _row("replicasets.apps", spec=spec)[1:4] == [3, 0, 0]


HPA, INGRESS = "horizontalpodautoscalers.autoscaling", "ingresses.networking.k8s.io"
OLD_CLASS = {"metadata": {**META, "annotations": {"volume.beta.kubernetes.io/storage-class": "slow"}}}
OLD_DEFAULT = {"metadata": {**META, "annotations": {"storageclass.beta.kubernetes.io/is-default-class": "true"}}}


@pytest.mark.parametrize(
    ("key", "obj", "column", "cell"),
    [
        (INGRESS, {"spec": {"rules": [{"host": h} for h in "abc"]}}, "Hosts", "a,b,c"),
        (
            INGRESS,
            {"spec": {"rules": [{"host": "a"}, {}, *({"host": h} for h in "bcde")]}},
            "Hosts",
            "a,b,c + 3 more...",
        ),
        (INGRESS, {"spec": {"rules": [{}, {}, {}, {}]}}, "Hosts", "*"),
        ("storageclasses.storage.k8s.io", OLD_DEFAULT, "Name", "x (default)"),
        ("persistentvolumes", {"spec": {}}, "Capacity", "0"),
        ("persistentvolumes", {"spec": {"storageClassName": "fast"}, **OLD_CLASS}, "StorageClass", "slow"),
        ("persistentvolumeclaims", {"spec": {"storageClassName": "fast"}, **OLD_CLASS}, "StorageClass", "slow"),
        ("persistentvolumeclaims", {"spec": {"volumeName": "v"}}, "Capacity", "0"),
        ("persistentvolumeclaims", {"spec": {}}, "Capacity", ""),
        (HPA, {"spec": {"maxReplicas": 5}}, "MaxPods", 5),
        (HPA, {"spec": {}}, "Targets", "<none>"),
    ],
)
def test_cells(key: str, obj: Object, column: str, cell: Any) -> None:
    assert _row(key, **obj)[_names(key).index(column)] == cell


def _metric(kind: str, target: Object, **rest: str) -> Object:
    return {"type": kind, kind[0].lower() + kind[1:]: {"target": target, **rest}}


def _measured(kind: str, current: Object) -> Object:
    return {"type": kind, kind[0].lower() + kind[1:]: {"current": current}}


@pytest.mark.parametrize(
    ("metric", "measured", "shown"),
    [
        (_metric("Resource", {"averageUtilization": 80}, name="cpu"), _measured("Resource", {"averageUtilization": 0}), "cpu: 0%/80%"),
        (_metric("Resource", {"averageUtilization": 80}, name="cpu"), {}, "cpu: <unknown>/80%"),
        (_metric("Resource", {"averageValue": "1Gi"}, name="memory"), _measured("Resource", {"averageValue": "5Mi"}), "memory: 5Mi/1Gi"),
        (_metric("ContainerResource", {"averageUtilization": 80}, name="cpu"), {}, "cpu: <unknown>/80%"),
        (_metric("Pods", {"averageValue": "10"}), _measured("Pods", {"averageValue": "3"}), "3/10"),
        (_metric("Object", {"value": "10"}), _measured("Object", {"value": "3"}), "3/10"),
        (_metric("Object", {"averageValue": "10"}), _measured("Object", {"averageValue": "3"}), "3/10 (avg)"),
        (_metric("External", {"averageValue": "10"}), {}, "<unknown>/10 (avg)"),
        ({"type": "Other"}, {}, "<unknown type>"),
    ],
)
def test_what_an_autoscaler_aims_at(metric: Object, measured: Object, shown: str) -> None:
    for count, text in ((1, shown), (2, f"{shown}, {shown}"), (3, f"{shown}, {shown} + 1 more...")):
        row = _row(HPA, spec={"metrics": [metric] * count}, status={"currentMetrics": [measured] * count})
        assert row[2] == text


RBAC = "rbac.authorization.k8s.io"
NO_COLUMNS = {"customresourcedefinitions.apiextensions.k8s.io", "limitranges", f"clusterroles.{RBAC}", f"roles.{RBAC}"}
"""Kinds for which Kubernetes has no printer either."""


def test_every_kind_has_columns_of_its_own() -> None:
    plain = table_format("no.such.kind")

    assert {r.key for r in catalogue().resources() if "list" in r.verbs and table_format(r.key) is plain} == NO_COLUMNS


def test_a_custom_kind_shows_its_columns() -> None:
    columns: list[dict[str, Any]] = [
        {"name": "Connected", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Connected")].status'},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
        {"name": "Seen", "type": "date", "jsonPath": ".status.lastSeen"},
        {"name": "Missing", "type": "string", "jsonPath": ".status.nothing"},
        {"name": "Whole", "type": "string", "jsonPath": ".spec"},
    ]
    format_ = table_format("devices.skerry.dev", columns)
    status = {
        "conditions": [{"type": "InSync", "status": "False"}, {"type": "Connected", "status": "True"}],
        "lastSeen": "2026-01-05T09:59:58Z",
    }

    assert [c["name"] for c in format_.columns] == ["Name", "Connected", "Replicas", "Seen", "Missing", "Whole"]
    assert format_.columns[2]["priority"] == 1
    assert format_.cells({"metadata": META, "spec": {"replicas": 2.0}, "status": status}, NOW) == [
        "x",
        "True",
        2,
        "2s",
        None,
        '{"replicas":2.0}',
    ]


def test_a_custom_kind_without_columns_shows_its_age() -> None:
    assert [c["name"] for c in table_format("x", []).columns] == ["Name", "Age"]
    assert table_format("x", []).cells({"metadata": META}, NOW) == ["x", "5m"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]),
        ("{.a.b}", [1]),
        (".a['x.y/z']", [2]),
        (r".a.x\.y/z", [2]),
        (".l[0].n", ["p"]),
        (".l[-1].n", ["q"]),
        (".l[*].n", ["p", "q"]),
        (".l[?(@.n=='q')].v", [5]),
        (".l[?(@.n!='q')].v", [4]),
        (".l[9].n", []),
        (".a.b.c", []),
        (".nothing", []),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    obj = {"a": {"b": 1, "x.y/z": 2}, "l": [{"n": "p", "v": 4}, {"n": "q", "v": 5}]}

    assert JsonPath(path).find(obj) == found


@pytest.mark.parametrize("path", ["a.b", "", ".a[", ".a[?(@.x)]", ".a[1:2]", "..a", ".a[?(@.x=='1' && @.y=='2')]", "." + "a." * 70])
def test_json_paths_that_are_not_followed_are_refused(path: str) -> None:
    with pytest.raises(JsonPathError):
        JsonPath(path)
