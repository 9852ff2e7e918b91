"""Claims at their creation."""

from __future__ import annotations

from tests.unit.apiserver.asking import Asker

CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}


async def test_a_claim_without_a_class_gets_the_default_one(ask: Asker) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    before = (await ask("POST", CLAIMS, {"metadata": {"name": "before"}, "spec": spec}))[1]
    await ask("POST", CLASSES, {"metadata": {"name": "fast"}, "provisioner": "kubernetes.io/no-provisioner"})
    await ask("POST", CLASSES, {"metadata": {"name": "usual", "annotations": DEFAULT}, "provisioner": "kubernetes.io/no-provisioner"})

    usual = (await ask("POST", CLAIMS, {"metadata": {"name": "usual"}, "spec": spec}))[1]
    none = (await ask("POST", CLAIMS, {"metadata": {"name": "none"}, "spec": {**spec, "storageClassName": ""}}))[1]

    assert [c["spec"].get("storageClassName") for c in (before, usual, none)] == [None, "usual", ""]
