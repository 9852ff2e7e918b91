"""kubernetes-asyncio: typed calls, a watch that is resumed, many requests at once."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from kubernetes_asyncio import client, config, watch


async def main(namespace: str) -> None:
    await config.load_kube_config()
    async with client.ApiClient() as api:
        v1 = client.CoreV1Api(api)
        names = [f"c{n}" for n in range(20)]
        await asyncio.gather(
            *(v1.create_namespaced_config_map(namespace, {"metadata": {"name": n, "labels": {"many": "yes"}}}) for n in names)
        )
        first = await v1.list_namespaced_config_map(namespace, label_selector="many=yes", limit=7)
        pages, token = len(first.items), first.metadata._continue
        while token:
            page = await v1.list_namespaced_config_map(namespace, label_selector="many=yes", limit=7, _continue=token)
            pages, token = pages + len(page.items), page.metadata._continue
        seen = await watched(v1, namespace, first.metadata.resource_version)
        deleted = await v1.delete_collection_namespaced_config_map(namespace, label_selector="many=yes")
        lease = await client.CoordinationV1Api(api).create_namespaced_lease(
            namespace, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "renewTime": "2026-01-02T03:04:05.000006Z"}}
        )
        print(json.dumps({"paged": pages, "seen": seen, "deleted": deleted.kind, "renewed": str(lease.spec.renew_time)}))


async def watched(v1: Any, namespace: str, revision: str) -> list[str]:
    seen: list[str] = []
    async with watch.Watch() as stream:
        asyncio.get_running_loop().call_later(0.2, lambda: background.add(asyncio.ensure_future(change(v1, namespace))))
        async for event in stream.stream(
            v1.list_namespaced_config_map, namespace, label_selector="many=yes", resource_version=revision, timeout_seconds=30
        ):
            seen.append(f"{event['type']} {event['object'].metadata.name}")
            if len(seen) == 3:
                break
    await asyncio.gather(*background)
    return seen


background: set[asyncio.Future[Any]] = set()


async def change(v1: Any, namespace: str) -> None:
    """Let one object enter the selection, one leave it, one end."""
    await v1.create_namespaced_config_map(namespace, {"metadata": {"name": "later", "labels": {"many": "yes"}}})
    await v1.patch_namespaced_config_map(
        "c3", namespace, {"metadata": {"labels": {"many": None}}}, _content_type="application/merge-patch+json"
    )
    await v1.delete_namespaced_config_map("c4", namespace)


asyncio.run(main(sys.argv[1]))
