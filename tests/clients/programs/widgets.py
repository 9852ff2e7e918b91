"""An operator as people write them with kopf: handlers, a timer, a daemon, an index, children, finalizers."""

from __future__ import annotations

from typing import Any

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.level = 20
    settings.watching.server_timeout = 30


@kopf.index("widgets.tests.example.com")
def sizes(name: str, spec: Any, **_: Any) -> dict[str, int]:
    return {name: spec.get("size", 0)}


def make_once(namespace: str, made: dict[str, Any]) -> None:
    """Create a ConfigMap; kopf calls a handler again when a timer of the same object ended in between."""
    import kubernetes

    kubernetes.config.load_kube_config()
    try:
        kubernetes.client.CoreV1Api().create_namespaced_config_map(namespace, made)
    except kubernetes.client.ApiException as error:
        if error.reason != "Conflict":
            raise


@kopf.on.create("widgets.tests.example.com")
def created(spec: Any, body: Any, patch: Any, **_: Any) -> dict[str, int]:
    child = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"size": str(spec.get("size"))}}
    kopf.adopt(child, owner=body)
    child["metadata"]["name"] = f"{body['metadata']['name']}-child"
    make_once(body["metadata"]["namespace"], child)
    kopf.info(body, reason="Seen", message="made its ConfigMap")
    return {"made": 1}


@kopf.on.update("widgets.tests.example.com", field="spec.size")
def resized(old: Any, new: Any, patch: Any, **_: Any) -> None:
    patch.status["resized"] = f"{old}->{new}"


@kopf.on.delete("widgets.tests.example.com")
def deleted(name: str, namespace: str, **_: Any) -> None:
    make_once(namespace, {"metadata": {"name": f"{name}-farewell"}})


@kopf.timer("widgets.tests.example.com", interval=0.5)
def ticked(status: Any, patch: Any, **_: Any) -> None:
    patch.status["ticks"] = int(status.get("ticks") or 0) + 1


@kopf.on.event("configmaps", labels={"watched": "yes"})
def noticed(name: str, namespace: str, type: str | None, **_: Any) -> None:  # noqa: A002 - kopf's name
    print(f"noticed {namespace}/{name} {type}", flush=True)
