"""PodSecurity: what the standards forbid, in Kubernetes' words, and what a namespace's labels make of it."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.apiserver.policies.standards import refusals, worded
from tests.unit.apiserver.asking import MERGE, Asker

PODS = "/api/v1/namespaces/n/pods"
GOOD = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def spec_of(security: Any = None, pod: Any = None, **more: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i", **({"securityContext": security} if security else {})}
    found: dict[str, Any] = {"containers": [{**container, **more.pop("container", {})}], **more}
    return {**found, "securityContext": pod} if pod else found


BASELINE = [
    ({"hostNetwork": True, "hostPID": True}, "host namespaces (hostNetwork=true, hostPID=true)"),
    ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "v")'),
    ({"security": {"privileged": True}}, 'privileged (container "c" must not set securityContext.privileged=true)'),
    (
        {"security": {"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}}},
        'non-default capabilities (container "c" must not include "NET_ADMIN" in securityContext.capabilities.add)',
    ),
    ({"container": {"ports": [{"containerPort": 1, "hostPort": 80}]}}, 'hostPort (container "c" uses hostPort 80)'),
    ({"security": {"procMount": "Unmasked"}}, 'procMount (container "c" must not set securityContext.procMount to "Unmasked")'),
    (
        {"pod": {"seLinuxOptions": {"type": "spc_t", "user": "u"}}},
        'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set)',
    ),
    (
        {"pod": {"seccompProfile": {"type": "Unconfined"}}},
        'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
    ({"pod": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}, {"name": "net.ipv4.tcp_rmem"}]}}, "forbidden sysctls (kernel.msgmax)"),
    (
        {"pod": {"appArmorProfile": {"type": "Unconfined"}}},
        'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")',
    ),
    (
        {"security": {"windowsOptions": {"hostProcess": True}}},
        'hostProcess (container "c" must not set securityContext.windowsOptions.hostProcess=true)',
    ),
]


@pytest.mark.parametrize(("spec", "text"), BASELINE)
def test_what_baseline_forbids(spec: dict[str, Any], text: str) -> None:
    assert worded(refusals("baseline", {}, spec_of(**spec))) == text


RESTRICTED = [
    (
        {"allowPrivilegeEscalation": None},
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)',
    ),
    ({"capabilities": None}, 'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"])'),
    (
        {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}},
        'unrestricted capabilities (container "c" must not include "CHOWN" in securityContext.capabilities.add)',
    ),
    ({"runAsNonRoot": None}, 'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)'),
    ({"runAsNonRoot": False}, 'runAsNonRoot != true (container "c" must not set securityContext.runAsNonRoot=false)'),
    ({"runAsUser": 0}, 'runAsUser=0 (container "c" must not set runAsUser=0)'),
    (
        {"seccompProfile": None},
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
    ),
]


@pytest.mark.parametrize(("change", "text"), RESTRICTED)
def test_what_restricted_forbids_beyond_that(change: dict[str, Any], text: str) -> None:
    security = {k: v for k, v in {**GOOD, **change}.items() if v is not None}

    assert worded(refusals("restricted", {}, spec_of(security))) == text


def test_a_pod_that_says_nothing_breaks_restricted_in_the_known_sentence() -> None:
    assert worded(refusals("restricted", {}, spec_of())) == (
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )


def test_restricted_volumes() -> None:
    volumes = [{"name": "a", "hostPath": {"path": "/"}}, {"name": "b", "nfs": {}}, {"name": "c", "emptyDir": {}}]

    found = dict(refusals("restricted", {}, spec_of(GOOD, volumes=volumes)))

    assert found["restricted volume types"] == 'volumes "a", "b" use restricted volume types "hostPath", "nfs"'


@pytest.mark.parametrize("level", ["privileged", "baseline", "restricted"])
def test_a_pod_that_keeps_all_rules_passes(level: str) -> None:
    assert refusals(level, {}, spec_of(GOOD)) == []


async def namespace(ask: Asker, **labels: str) -> None:
    named = {f"pod-security.kubernetes.io/{k}": v for k, v in labels.items()}
    assert (await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "n", "labels": named}}))[0] == 201


def pod(spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": spec}


async def test_enforce_refuses(ask: Asker) -> None:
    await namespace(ask, enforce="baseline", warn="restricted")

    status, answer = await ask("POST", PODS, pod(spec_of(hostNetwork=True)))

    assert status == 403
    assert answer["message"] == 'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'


async def test_warn_only_warns(ask: Asker) -> None:
    await namespace(ask, enforce="baseline", warn="restricted", **{"warn-version": "v1.30"})

    response = await ask.raw("POST", PODS, pod(spec_of()))

    assert response.status == 201
    assert 'would violate PodSecurity \\"restricted:v1.30\\": allowPrivilegeEscalation != false' in " ".join(response.headers["Warning"])


async def test_templates_are_warned_about_and_stored(ask: Asker) -> None:
    await namespace(ask, enforce="restricted", warn="restricted")
    labels = {"matchLabels": {"a": "b"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": spec_of()}
    body = {"metadata": {"name": "d"}, "spec": {"selector": labels, "template": template}}

    response = await ask.raw("POST", "/apis/apps/v1/namespaces/n/deployments", body)

    assert response.status == 201
    assert "would violate PodSecurity" in " ".join(response.headers["Warning"])


async def test_a_namespace_that_becomes_stricter_says_who_breaks_its_rules(ask: Asker) -> None:
    await namespace(ask)
    await ask("POST", PODS, pod(spec_of(hostNetwork=True)))
    change = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}

    response = await ask.raw("PATCH", "/api/v1/namespaces/n", change, content_type=MERGE)

    assert response.status == 200
    assert 'existing pods in namespace \\"n\\" violate the new PodSecurity enforce level \\"baseline:latest\\"' in " ".join(
        response.headers["Warning"]
    )
    assert "p: host namespaces" in " ".join(response.headers["Warning"])


@pytest.mark.parametrize(
    ("label", "value", "why"), [("enforce", "strict", "must be one of"), ("warn-version", "1.2", 'must be "latest" or "v1.x"')]
)
async def test_labels_that_mean_nothing_are_refused(ask: Asker, label: str, value: str, why: str) -> None:
    body = {"metadata": {"name": "n", "labels": {f"pod-security.kubernetes.io/{label}": value}}}

    status, answer = await ask("POST", "/api/v1/namespaces", body)

    assert status == 422
    assert why in answer["message"]
