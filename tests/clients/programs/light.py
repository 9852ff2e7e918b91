"""lightkube: typed and generic resources, apply, a watch, an async client."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from lightkube import AsyncClient, Client
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Pod
from lightkube.types import PatchType

Widget = create_namespaced_resource("tests.example.com", "v1", "Widget", "widgets")


def plain(namespace: str) -> dict[str, Any]:
    client = Client(field_manager="light", namespace=namespace)
    client.create(ConfigMap(metadata=ObjectMeta(name="c"), data={"a": "1"}))
    for op, obj in client.watch(ConfigMap, fields={"metadata.name": "c"}):
        first = (op, obj.metadata.name)
        break
    patched = client.patch(ConfigMap, "c", {"data": {"b": "2"}}, patch_type=PatchType.MERGE)
    pod = client.create(Pod(metadata=ObjectMeta(name="p"), spec=PodSpec(containers=[Container(name="c", image="host.skerry.invalid/x")])))
    applied = client.apply(ConfigMap(apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name="ssa"), data={"k": "v"}))
    again = client.apply(ConfigMap(apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name="ssa"), data={"other": "v"}))
    client.create(Widget(metadata=ObjectMeta(name="w"), spec={"size": 2}))
    client.patch(Widget.Status, "w", {"status": {"ok": 1}}, patch_type=PatchType.MERGE)
    status = client.get(Widget, "w").status
    client.deletecollection(Widget)
    names = sorted(d.metadata.name for d in client.list(Namespace) if d.metadata.name.startswith("kube-"))
    return {
        "first": first, "data": patched.data, "pod": pod.status.phase, "applied": applied.data, "again": again.data, "status": status,
        "names": names, "deployments": len(list(client.list(Deployment))), "left": len(list(client.list(Widget))),
    }  # fmt: skip


async def asynchronous(namespace: str) -> int:
    client = AsyncClient(namespace=namespace)
    try:
        await asyncio.gather(*(client.create(ConfigMap(metadata=ObjectMeta(name=f"a{n}", labels={"l": "1"}))) for n in range(10)))
        return len([c async for c in client.list(ConfigMap, labels={"l": "1"}, chunk_size=3)])
    finally:
        await client.close()


print(json.dumps({**plain(sys.argv[1]), "many": asyncio.run(asynchronous(sys.argv[1]))}))
