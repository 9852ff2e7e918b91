"""The official Python client: typed calls, a watch, the dynamic client, an informer, deletion of a collection."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.informer import ADDED, DELETED, MODIFIED, SharedInformer


def core(namespace: str) -> dict[str, Any]:
    """Create, read, change and delete with typed models."""
    v1 = client.CoreV1Api()
    made = v1.create_namespaced_config_map(
        namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="c", labels={"a": "b"}), data={"x": "1"})
    )
    made.data["x"] = "2"
    replaced = v1.replace_namespaced_config_map("c", namespace, made)
    try:
        v1.replace_namespaced_config_map("c", namespace, made)
        raced = 200
    except client.ApiException as error:
        raced = error.status
    patched = v1.patch_namespaced_config_map("c", namespace, {"data": {"y": "3"}})
    listed = v1.list_namespaced_config_map(namespace, label_selector="a=b")
    v1.delete_namespaced_config_map("c", namespace)
    try:
        v1.read_namespaced_config_map("c", namespace)
        gone = 200
    except client.ApiException as error:
        gone = error.status
    return {"data": patched.data, "raced": raced, "listed": len(listed.items), "gone": gone, "changed": replaced.data}


def apps(namespace: str) -> dict[str, Any]:
    """A Deployment through the typed API, its scale and its status."""
    v1 = client.AppsV1Api()
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": "d"}),
        spec=client.V1PodSpec(containers=[client.V1Container(name="c", image="host.skerry.invalid/sleep")]),
    )
    spec = client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels={"app": "d"}), template=template)
    v1.create_namespaced_deployment(namespace, client.V1Deployment(metadata=client.V1ObjectMeta(name="d"), spec=spec))
    v1.patch_namespaced_deployment_scale("d", namespace, {"spec": {"replicas": 3}})
    for _ in range(300):
        status = v1.read_namespaced_deployment_status("d", namespace).status
        if status.replicas == 3:
            break
        time.sleep(0.1)
    owner = v1.list_namespaced_replica_set(namespace).items[0].metadata.owner_references[0].kind
    v1.delete_namespaced_deployment("d", namespace, propagation_policy="Foreground")
    return {"replicas": status.replicas, "owner": owner}


def watched(namespace: str) -> list[list[str]]:
    """What a watch shows of three changes, resumed in the middle."""
    v1 = client.CoreV1Api()
    start = v1.list_namespaced_secret(namespace).metadata.resource_version
    v1.create_namespaced_secret(namespace, {"metadata": {"name": "s"}, "stringData": {"k": "v"}})
    v1.patch_namespaced_secret("s", namespace, {"metadata": {"labels": {"l": "1"}}})
    v1.delete_namespaced_secret("s", namespace)
    seen: list[list[str]] = []
    for stop_after in (1, 2):
        stream = watch.Watch()
        for event in stream.stream(v1.list_namespaced_secret, namespace, resource_version=start, timeout_seconds=20):
            seen.append([event["type"], event["object"].metadata.name])
            start = event["object"].metadata.resource_version
            if len(seen) >= stop_after + (stop_after - 1):
                stream.stop()
    return seen


def customs(namespace: str) -> dict[str, Any]:
    """A custom resource through the dynamic client, with discovery, and from YAML text."""
    dyn = dynamic.DynamicClient(client.ApiClient())
    widgets = dyn.resources.get(api_version="tests.example.com/v1", kind="Widget")
    body = {"apiVersion": "tests.example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}}
    widgets.create(body=body, namespace=namespace)
    widgets.patch(name="w", namespace=namespace, body={"spec": {"size": 4}}, content_type="application/merge-patch+json")
    widgets.status.patch(name="w", namespace=namespace, body={"status": {"ok": True}}, content_type="application/merge-patch+json")
    got = widgets.get(name="w", namespace=namespace).to_dict()
    applied = widgets.server_side_apply(
        body={**body, "spec": {"colour": "red"}}, name="w", namespace=namespace, field_manager="painter"
    ).to_dict()
    utils.create_from_dict(
        client.ApiClient(), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "from-dict", "namespace": namespace}}
    )
    answer = client.CustomObjectsApi().delete_collection_namespaced_custom_object("tests.example.com", "v1", namespace, "widgets")
    managers = [m["manager"] for m in applied["metadata"].get("managedFields", [])]
    return {"spec": got["spec"], "status": got["status"], "applied": applied["spec"], "managers": managers, "deleted": len(answer["items"])}


def informed(namespace: str) -> dict[str, Any]:
    """An informer's cache and what its handlers are told."""
    v1 = client.CoreV1Api()
    told: list[str] = []
    informer = SharedInformer(v1.list_namespaced_service_account, namespace=namespace)
    for kind in (ADDED, MODIFIED, DELETED):
        informer.add_event_handler(kind, lambda obj, kind=kind: told.append(f"{kind} {obj.metadata.name}"))
    informer.start()
    _until(lambda: "ADDED default" in told)
    v1.create_namespaced_service_account(namespace, {"metadata": {"name": "robot"}})
    _until(lambda: "ADDED robot" in told)
    v1.delete_namespaced_service_account("robot", namespace)
    _until(lambda: "DELETED robot" in told)
    keys = informer.cache.list_keys()
    informer.stop()
    return {"cache": keys}


def _until(holds: Any) -> None:
    for _ in range(300):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("waited 30 s")


def main(namespace: str) -> None:
    config.load_kube_config()
    found = {
        "core": core(namespace),
        "apps": apps(namespace),
        "watched": watched(namespace),
        "customs": customs(namespace),
        "informed": informed(namespace),
        "version": client.VersionApi().get_code().minor,
        "groups": sorted(g.name for g in client.ApisApi().get_api_versions().groups)[:3],
    }
    print(json.dumps(found), flush=True)
    assert threading.active_count() < 20


main(sys.argv[1])
