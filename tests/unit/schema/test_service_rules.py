"""What is wrong with a Service, in Kubernetes' words."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.apiserver.schema.rules.services import service
from skerry.model.errors import Cause

PORTS = [{"port": 80, "protocol": "TCP", "targetPort": 80}]
PLAIN: dict[str, Any] = {"type": "ClusterIP", "sessionAffinity": "None", "ports": PORTS}


def _said(spec: dict[str, Any], old: dict[str, Any] | None = None, *, subresource: str = "", **more: Any) -> list[str]:
    causes: list[Cause] = []
    service({"spec": {**PLAIN, **spec}, **more}, None if old is None else {"spec": {**PLAIN, **old}}, causes, subresource)
    return [str(c) for c in causes]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"ports": []}, "spec.ports: Required value"),
    ({"type": "ExternalName", "externalName": ""}, "spec.externalName: Required value"),
    (
        {"type": "LoadBalancer", "clusterIP": "None", "externalTrafficPolicy": "Cluster"},
        "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services",
    ),
    (
        {"ports": [{**PORTS[0], "nodePort": 30080}]},
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    ),
    (
        {"externalTrafficPolicy": "Local"},
        'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services',
    ),
    (
        {"type": "NodePort", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30081},
        "spec.healthCheckNodePort: Invalid value: 30081: "
        "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
    ),
    (
        {"allocateLoadBalancerNodePorts": True},
        "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
    ),
    ({"loadBalancerClass": "a/b"}, "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"),
    (
        {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}},
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
    ),
    (
        {"type": "NodePort", "externalTrafficPolicy": "Cluster", "ports": [
            {"name": "a", "port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30080},
            {"name": "b", "port": 81, "protocol": "TCP", "targetPort": 81, "nodePort": 30080},
        ]},
        "spec.ports[1].nodePort: Duplicate value: 30080",
    ),
    (
        {"type": "ExternalName", "externalName": "a.example", "clusterIP": "10.96.0.9", "ports": []},
        "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "words"), REFUSED)
def test_what_is_wrong_is_said(spec: dict[str, Any], words: str) -> None:
    assert _said(spec) == [words]


HELD = {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"]}
CHANGES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    (
        {"clusterIP": "10.96.0.8", "clusterIPs": ["10.96.0.8"]},
        ['spec.clusterIPs[0]: Invalid value: []string{"10.96.0.8"}: may not change once set'],
    ),
    ({"clusterIP": "", "clusterIPs": []}, ["spec.clusterIPs[0]: Invalid value: []string(nil): primary clusterIP can not be unset"]),
    ({"clusterIPs": ["10.96.0.9", "fd00:96::9"], "ipFamilies": ["IPv4", "IPv6"]}, []),
    ({"ipFamilies": ["IPv6"]}, ['spec.ipFamilies[0]: Invalid value: []core.IPFamily{"IPv6"}: may not change once set']),
    ({"type": "ExternalName", "externalName": "a.example", "clusterIP": None, "clusterIPs": None, "ipFamilies": None}, []),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_an_address_stays_once_it_is_given(change: dict[str, Any], words: list[str]) -> None:
    assert _said({**HELD, **change}, HELD) == words


def test_only_a_load_balancer_has_ingress_points() -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "here"}]}}

    plain = _said({}, subresource="status", status=status)
    balanced = _said({"type": "LoadBalancer"}, subresource="status", status=status)

    assert plain == ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"]
    assert len(balanced) == 1
    assert balanced[0].startswith('status.loadBalancer.ingress[1].ip: Invalid value: "here"')
