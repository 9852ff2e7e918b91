"""What discovery does not offer, nobody gets: the rows come from the server's own discovery, for each method of HTTP."""

from __future__ import annotations

from typing import Any

from tests.unit.apiserver.asking import Asker

OF_OBJECT = {"GET": {"get"}, "PUT": {"update"}, "PATCH": {"patch"}, "DELETE": {"delete"}, "POST": {"create"}}
OF_COLLECTION = {"GET": {"list", "watch"}, "POST": {"create"}, "DELETE": {"deletecollection"}}
CONNECTS = {"exec", "attach", "portforward", "proxy"}
"""Subresources of Pods, Services and Nodes that are authorised by their own rules, whatever the method."""


async def test_a_verb_that_is_not_offered_is_refused(ask: Asker) -> None:
    refused, asked = [], 0
    for group in await _groups(ask):
        _, listed = await ask("GET", group)
        for resource in listed["resources"]:
            for method, path in _not_offered(group, resource):
                status, _ = await ask(method, path, {} if method in ("POST", "PUT", "PATCH") else None)
                asked += 1
                if status != 405:
                    refused.append((method, path, status))

    assert refused == []
    assert asked > 100


async def _groups(ask: Asker) -> list[str]:
    _, groups = await ask("GET", "/apis")
    return ["/api/v1", *(f"/apis/{v['groupVersion']}" for g in groups["groups"] for v in g["versions"])]


def _not_offered(group: str, resource: dict[str, Any]) -> list[tuple[str, str]]:
    plural, _, sub = resource["name"].partition("/")
    if sub in CONNECTS:
        return []
    base = f"{group}/namespaces/default/{plural}" if resource["namespaced"] else f"{group}/{plural}"
    verbs = set(resource["verbs"])
    found = [(m, f"{base}/one/{sub}" if sub else f"{base}/one") for m, v in OF_OBJECT.items() if not v & verbs and (sub or m != "POST")]
    return found if sub else [*found, *((m, base) for m, v in OF_COLLECTION.items() if not v & verbs)]
