"""What is wrong with objects of the other built-in kinds, in Kubernetes' words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from skerry.apiserver.schema.builtin import _MODULES
from skerry.model.names import dns_subdomain_error
from tests.unit.schema.pipeline import a_deployment, a_pod, catalogue, complaints, created, kind, texts

TEMPLATE = a_deployment()["spec"]
RBD = {"monitors": ["m"], "image": "i"}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
VOLUME = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}
PORTS = {"ports": [{"port": 80}]}
PERCENT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
    "regex used for validation is '[0-9]+%')"
)
GROUPS = {
    "DaemonSet": "apps",
    "Deployment": "apps",
    "StatefulSet": "apps",
    "Job": "batch",
    "Ingress": "networking.k8s.io",
    "IngressClass": "networking.k8s.io",
    "NetworkPolicy": "networking.k8s.io",
    "EndpointSlice": "discovery.k8s.io",
    "StorageClass": "storage.k8s.io",
    "PodDisruptionBudget": "policy",
    "HorizontalPodAutoscaler": "autoscaling",
}


def _said(name: str, body: dict[str, Any]) -> list[str]:
    group = GROUPS.get(name, "")
    version = "v2" if group == "autoscaling" else "v1"
    meta = {"name": "x", "namespace": "n"} if name not in ("PersistentVolume", "IngressClass", "StorageClass") else {"name": "x"}
    obj = {"apiVersion": f"{group}/{version}".lstrip("/"), "kind": name, "metadata": meta, **copy.deepcopy(body)}
    return texts(complaints(kind(name, group=group, version=version), obj))


@pytest.mark.parametrize(
    ("name", "spec", "said"),
    [
        (
            "Deployment",
            TEMPLATE | {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
            "strategy.rollingUpdate.maxUnavailable: Invalid value: intstr.IntOrString{Type:0, IntVal:0, "
            'StrVal:""}: may not be 0 when `maxSurge` is 0',
        ),
        (
            "DaemonSet",
            TEMPLATE | {"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}},
            'updateStrategy.rollingUpdate.maxSurge: Invalid value: intstr.IntOrString{Type:0, IntVal:1, StrVal:""}: '
            "may not be set when maxUnavailable is non-zero",
        ),
        (
            "DaemonSet",
            TEMPLATE | {"updateStrategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
            "updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
        ),
        (
            "StatefulSet",
            TEMPLATE | {"podManagementPolicy": "X"},
            "podManagementPolicy: Invalid value: \"X\": must be 'OrderedReady' or 'Parallel'",
        ),
        (
            "StatefulSet",
            TEMPLATE | {"updateStrategy": {"rollingUpdate": {"partition": -1}}},
            "updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "StatefulSet",
            TEMPLATE | {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "X"}},
            'persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "X": supported values: "Retain", "Delete"',
        ),
        (
            "Service",
            PORTS | {"externalIPs": ["127.0.0.1"]},
            'externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
        ),
        (
            "Service",
            PORTS | {"type": "LoadBalancer", "loadBalancerSourceRanges": ["x"]},
            'LoadBalancerSourceRanges[0]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
        ),
        ("Service", PORTS | {"trafficDistribution": "X"}, 'trafficDistribution: Unsupported value: "X": supported values: "PreferClose"'),
        (
            "PersistentVolumeClaim",
            CLAIM | {"volumeMode": "X"},
            'volumeMode: Unsupported value: "X": supported values: "Block", "Filesystem"',
        ),
        (
            "PersistentVolumeClaim",
            CLAIM | {"accessModes": ["ReadWriteOnce", "ReadWriteOncePod"]},
            "accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
        ),
        (
            "PersistentVolumeClaim",
            CLAIM | {"resources": {"requests": {"storage": "0"}}},
            'resources[storage]: Invalid value: "0": must be greater than zero',
        ),
        ("PersistentVolume", VOLUME | {"local": {"path": "/x"}}, "nodeAffinity: Required value: Local volume requires node affinity"),
        (
            "PersistentVolume",
            VOLUME | {"hostPath": {"path": "/x"}, "nfs": {"server": "s", "path": "/"}},
            "nfs: Forbidden: may not specify more than 1 volume type",
        ),
        (
            "PersistentVolume",
            VOLUME | {"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"},
            "persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
        ),
        (
            "PodDisruptionBudget",
            {"minAvailable": "x"},
            f'minAvailable: Invalid value: intstr.IntOrString{{Type:1, IntVal:0, StrVal:"x"}}: {PERCENT}',
        ),
        (
            "HorizontalPodAutoscaler",
            {"scaleTargetRef": {"kind": "a", "name": "b"}, "maxReplicas": 1, "metrics": [{"type": "Pods"}]},
            "metrics[0].pods: Required value: must populate information for the given metric source",
        ),
        (
            "ResourceQuota",
            {"hard": {"requests.cpu": "1"}, "scopes": ["X"]},
            'scopes: Invalid value: []core.ResourceQuotaScope{"X"}: unsupported scope',
        ),
        (
            "ResourceQuota",
            {"hard": {"pods": "1"}, "scopes": ["Terminating", "NotTerminating"]},
            'scopes: Invalid value: []core.ResourceQuotaScope{"Terminating", "NotTerminating"}: conflicting scopes',
        ),
        (
            "ResourceQuota",
            {"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}},
            "scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' "
            "for scope selector",
        ),
        (
            "LimitRange",
            {"limits": [{"type": "Pod", "default": {"cpu": "1"}}]},
            "limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
        ),
        ("LimitRange", {"limits": [{"type": "Container"}] * 2}, 'limits[1].type: Duplicate value: "Container"'),
        (
            "Ingress",
            {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Exact", "backend": {}}]}}]},
            'rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required',
        ),
        (
            "Ingress",
            {"defaultBackend": {"service": {"name": "a", "port": {"name": "x", "number": 1}}}},
            'defaultBackend: Invalid value: "": cannot set both port name & port number',
        ),
        (
            "Ingress",
            {"rules": [{"host": "10.1.1.1"}]},
            'rules[0].host: Invalid value: "10.1.1.1": must be a DNS name, not an IP address',
        ),
        (
            "IngressClass",
            {"controller": "nginx"},
            'controller: Invalid value: "nginx": must be a domain-prefixed path (such as "acme.io/foo")',
        ),
        ("NetworkPolicy", {"podSelector": {}, "egress": [{"to": [{}]}]}, "egress[0].to[0]: Required value: must specify a peer"),
        (
            "NetworkPolicy",
            {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}]},
            'ingress[0].from[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`',
        ),
    ],
)
def test_what_is_wrong_with_a_spec(name: str, spec: dict[str, Any], said: str) -> None:
    assert _said(name, {"spec": spec}) == [f"spec.{said}"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            {"addressType": "IPv4", "endpoints": [{"addresses": ["::1"]}]},
            'endpoints[0].addresses[0]: Invalid value: "::1": must be a valid IPv4 address',
        ),
        ({"addressType": "IPv6", "endpoints": [], "ports": [{"port": 1}, {"port": 2}]}, 'ports[1].name: Duplicate value: ""'),
        (
            {"addressType": "FQDN", "endpoints": [{"addresses": ["a_b"]}, {"addresses": ["a.example."]}], "ports": [{"port": 0}]},
            f'endpoints[0].addresses[0]: Invalid value: "a_b": {dns_subdomain_error("a_b")}',
        ),
    ],
)
def test_what_is_wrong_with_an_endpoint_slice(body: dict[str, Any], said: str) -> None:
    assert _said("EndpointSlice", body) == [said]


def test_a_node_on_the_hubs_machine_has_endpoints() -> None:
    assert _said("EndpointSlice", {"addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}]}) == []


def test_a_daemon_set_without_a_selector_matches_nothing() -> None:
    (text,) = _said("DaemonSet", {"spec": {"template": TEMPLATE["template"]}})

    assert text.endswith("`selector` does not match template `labels`")


def _quota(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "n"}, "spec": spec}


def test_what_the_pods_of_a_stateful_set_mount_may_be_claimed() -> None:
    mounts = [{"name": "data", "mountPath": "/data"}]
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i", "volumeMounts": mounts}]}}
    body = {"selector": {"matchLabels": {"a": "b"}}, "serviceName": "s", "template": template}
    claimed = body | {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": CLAIM}]}

    assert _said("StatefulSet", {"spec": claimed}) == []
    assert _said("StatefulSet", {"spec": body}) == []  # Kubernetes leaves what is wrong with a Pod to the Pod
    assert len(_said("Deployment", {"spec": {k: v for k, v in body.items() if k != "serviceName"}})) == 1


def test_huge_pages_have_quotas() -> None:
    assert _said("ResourceQuota", {"spec": {"hard": {"hugepages-2Mi": "4Mi", "requests.hugepages-1Gi": "1Gi"}}}) == []


def test_the_scopes_of_a_quota_are_a_set() -> None:
    one, other, wider = (_quota(scopes=s) for s in (["BestEffort", "Terminating"], ["Terminating", "BestEffort"], ["BestEffort"]))

    assert complaints(kind("ResourceQuota"), other, one) == []
    assert len(complaints(kind("ResourceQuota"), wider, one)) == 1


def test_a_claim_without_a_class_may_be_given_one() -> None:
    plain: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "c", "namespace": "n"},
        "spec": CLAIM,
    }
    classed = {**plain, "spec": CLAIM | {"storageClassName": "fast"}}
    moved = {**plain, "spec": CLAIM | {"storageClassName": "slow"}}

    assert complaints(kind("PersistentVolumeClaim"), copy.deepcopy(classed), copy.deepcopy(plain)) == []
    assert len(complaints(kind("PersistentVolumeClaim"), moved, classed)) == 1


def test_what_a_younger_rule_refuses_can_still_be_labelled_and_go() -> None:
    stored = a_deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}})
    stored["metadata"]["finalizers"] = ["foregroundDeletion"]
    released, scaled, broken = (copy.deepcopy(stored) for _ in range(3))
    released["metadata"] |= {"finalizers": [], "labels": {"a": "b"}}
    scaled["spec"]["replicas"] = 3
    broken["spec"]["replicas"] = -1
    deployments = kind("Deployment", group="apps")

    assert complaints(deployments, released, copy.deepcopy(stored)) == []
    assert complaints(deployments, scaled, copy.deepcopy(stored)) == []
    assert texts(complaints(deployments, broken, copy.deepcopy(stored))) == [
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    ]
    assert len(complaints(deployments, copy.deepcopy(stored))) == 1


@pytest.mark.parametrize(
    ("name", "group", "body"),
    [
        ("Pod", "", {"spec": {"containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", "rbd": RBD}]}}),
        (
            "PersistentVolume",
            "",
            {
                "spec": {
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "rbd": RBD,
                }
            },
        ),
    ],
)
def test_a_younger_default_is_no_change_of_what_stays_as_it_is(name: str, group: str, body: dict[str, Any]) -> None:
    schema = kind(name, group=group)
    stored = created(schema, {"apiVersion": "v1", "kind": name, "metadata": {"name": "x", "resourceVersion": "5"}, **copy.deepcopy(body)})
    for name_of_default in ("pool", "user", "keyring"):
        del _source(stored)[name_of_default]
    labelled, moved = (created(schema, copy.deepcopy(stored)) for _ in range(2))
    labelled["metadata"]["labels"] = {"a": "b"}
    _source(moved)["image"] = "other"

    assert schema.validate(labelled, stored) == []
    assert len(schema.validate(moved, stored)) == 1


def _source(obj: dict[str, Any]) -> dict[str, Any]:
    spec = obj["spec"]
    found: dict[str, Any] = (spec["volumes"][0] if "volumes" in spec else spec)["rbd"]
    return found


JUDGED_ELSEWHERE = {("", "ServiceAccount"), ("", "ComponentStatus"), ("apiregistration.k8s.io", "APIService")}
"""A ServiceAccount has nothing to judge but its name, nobody writes a ComponentStatus, `aggregation.plan` judges APIServices."""


def test_every_kind_that_is_stored_has_rules() -> None:
    stored = {(r.group, r.kind) for r in catalogue().resources() if "list" in r.verbs}

    assert stored - set(_MODULES["rules"]) == JUDGED_ELSEWHERE


@pytest.mark.parametrize(
    ("source", "given", "added"),
    [
        ("hostPath", {"path": "/x"}, {"type": ""}),
        ("iscsi", {"targetPortal": "p", "iqn": "iqn.2001-04.com.example:x", "lun": 0}, {"iscsiInterface": "default"}),
        ("rbd", {"monitors": ["m"], "image": "i", "user": "u"}, {"pool": "rbd", "keyring": "/etc/ceph/keyring"}),
        (
            "azureDisk",
            {"diskName": "d", "diskURI": "/subscriptions/x"},
            {"cachingMode": "ReadWrite", "kind": "Shared", "fsType": "ext4", "readOnly": False},
        ),
        ("scaleIO", {"gateway": "g", "system": "s", "volumeName": "v"}, {"storageMode": "ThinProvisioned", "fsType": "xfs"}),
    ],
)
def test_defaults_of_volumes(source: str, given: dict[str, Any], added: dict[str, Any]) -> None:
    pod = created(kind("Pod"), a_pod(volumes=[{"name": "v", source: dict(given)}]))

    assert pod["spec"]["volumes"] == [{"name": "v", source: {**given, **added}}]
