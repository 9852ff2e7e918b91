"""Claims at their creation."""

from __future__ import annotations

from skerry.model.volumes import LOCAL_PATHS
from tests.unit.apiserver.asking import MERGE, Asker

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


async def test_only_who_binds_a_pod_says_where_its_volumes_are(ask: Asker) -> None:
    pods, said = "/api/v1/namespaces/default/pods", {LOCAL_PATHS: '{"c":"/etc"}', "mine": "1"}
    pod = {"metadata": {"name": "p", "annotations": said}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    made = (await ask("POST", pods, pod))[1]
    binding = {"metadata": {"name": "p", "annotations": {LOCAL_PATHS: '{"c":"/data"}'}}, "target": {"kind": "Node", "name": "n"}}
    await ask("POST", f"{pods}/p/binding", binding)

    changed = (await ask("PATCH", f"{pods}/p", {"metadata": {"annotations": said}}, content_type=MERGE))[1]
    removed = (await ask("PATCH", f"{pods}/p/status", {"metadata": {"annotations": None}}, content_type=MERGE))[1]

    assert made["metadata"]["annotations"] == {"mine": "1"}
    assert changed["metadata"]["annotations"] == {LOCAL_PATHS: '{"c":"/data"}', "mine": "1"}
    assert removed["metadata"]["annotations"] == {LOCAL_PATHS: '{"c":"/data"}'}
