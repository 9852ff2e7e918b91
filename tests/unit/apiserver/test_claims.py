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

    again = await ask("POST", f"{pods}/p/binding", binding)

    assert (again[0], again[1]["message"].endswith('pod p is already assigned to node "n"')) == (409, True)
    assert made["metadata"]["annotations"] == {"mine": "1"}
    assert changed["metadata"]["annotations"] == {LOCAL_PATHS: '{"c":"/data"}', "mine": "1"}
    assert removed["metadata"]["annotations"] == {LOCAL_PATHS: '{"c":"/data"}'}


async def test_a_pod_that_came_with_its_node_is_told_once_where_its_volumes_are(ask: Asker) -> None:
    pods = "/api/v1/namespaces/default/pods"
    await ask("POST", pods, {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}})
    codes = []
    for node, notes in (("n", None), ("other", '{"c":"/data"}'), ("n", '{"c":"/data"}'), ("n", '{"c":"/etc"}')):
        meta = {"name": "p", **({"annotations": {LOCAL_PATHS: notes}} if notes else {})}
        codes.append((await ask("POST", f"{pods}/p/binding", {"metadata": meta, "target": {"kind": "Node", "name": node}}))[0])

    assert codes == [409, 409, 201, 409]
    assert (await ask("GET", f"{pods}/p"))[1]["metadata"]["annotations"] == {LOCAL_PATHS: '{"c":"/data"}'}
