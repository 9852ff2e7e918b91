"""Custom kinds: served as soon as they are established, in every version, gone with their objects."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import MERGE, Asker

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SPEC = {"type": "object", "properties": {"size": {"type": "integer", "maximum": 10}, "colour": {"type": "string", "default": "red"}}}


def crd(plural: str = "boxes", kind: str = "Box", *, spec: dict[str, Any] = SPEC, versions: tuple[str, ...] = ("v1",)) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": {"type": "object"}}}}
    one: dict[str, Any] = {"served": True, "schema": schema, "subresources": {"status": {}}}
    if "colour" in spec.get("properties", {}):
        one["selectableFields"] = [{"jsonPath": ".spec.colour"}]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": ["bx"]},
            "versions": [{"name": v, "storage": v == versions[-1], **one} for v in versions],
        },
    }


def box(name: str, version: str = "v1", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": f"example.com/{version}", "kind": "Box", "metadata": {"name": name}, "spec": spec}


def boxes(version: str = "v1") -> str:
    return f"/apis/example.com/{version}/namespaces/default/boxes"


async def until(ask: Asker, path: str, status: int) -> Any:
    async with asyncio.timeout(60):
        while True:
            found, answer = await ask("GET", path)
            if found == status:
                return answer
            await asyncio.sleep(0.01)


async def test_a_kind_is_served_discovered_and_checked(ask: Asker) -> None:
    assert (await ask("POST", CRDS, crd()))[0] == 201
    await until(ask, boxes(), 200)

    status, made = await ask("POST", boxes(), box("a", size=3))
    refused = await ask("POST", boxes(), box("b", size=11))
    _, selected = await ask("GET", f"{boxes()}?fieldSelector=spec.colour=red")
    _, resources = await ask("GET", "/apis/example.com/v1")
    _, index = await ask("GET", "/openapi/v3")

    assert (status, made["spec"], made["metadata"]["generation"]) == (201, {"size": 3, "colour": "red"}, 1)
    assert (refused[0], refused[1]["details"]["causes"][0]["field"]) == (422, "spec.size")
    assert [o["metadata"]["name"] for o in selected["items"]] == ["a"]
    assert [r["name"] for r in resources["resources"]] == ["boxes", "boxes/status"]
    assert "apis/example.com/v1" in index["paths"]


async def test_two_kinds_cannot_have_one_name(ask: Asker) -> None:
    await ask("POST", CRDS, crd())
    await until(ask, boxes(), 200)
    await ask("POST", CRDS, crd("cartons"))

    async with asyncio.timeout(60):
        while not (conditions := ((await ask("GET", f"{CRDS}/cartons.example.com"))[1]["status"].get("conditions"))):
            await asyncio.sleep(0.01)

    assert {c["type"]: c["status"] for c in conditions} == {"NamesAccepted": "False", "Established": "False"}


async def test_objects_are_the_same_in_every_version(ask: Asker) -> None:
    await ask("POST", CRDS, crd(versions=("v1", "v2")))
    await until(ask, boxes("v2"), 200)

    await ask("POST", boxes("v1"), box("a", "v1", size=1))
    _, newer = await ask("GET", f"{boxes('v2')}/a")
    _, older = await ask("GET", boxes("v1"))
    events = await ask.watch(f"{boxes('v1')}?watch=true&resourceVersion=0")
    event = await anext(events)
    await events.aclose()

    assert newer["apiVersion"] == "example.com/v2"
    assert [o["apiVersion"] for o in (older["items"][0], event["object"])] == ["example.com/v1"] * 2


async def test_a_watch_ends_when_its_kind_changes_and_goes_on_with_what_it_is_then(ask: Asker) -> None:
    await ask("POST", CRDS, crd(versions=("v2", "v1")))
    await until(ask, boxes("v2"), 200)
    _, listed = await ask("GET", boxes("v1"))
    path = f"{boxes('v1')}?watch=true&resourceVersion={listed['metadata']['resourceVersion']}"
    events = await ask.watch(path)
    waiting = asyncio.create_task(anext(events, None))
    await asyncio.sleep(0)

    store_v2 = [{"op": "replace", "path": f"/spec/versions/{i}/storage", "value": i == 0} for i in range(2)]
    await ask("PATCH", f"{CRDS}/boxes.example.com", store_v2, content_type="application/json-patch+json")
    ended = await asyncio.wait_for(waiting, 60)
    await ask("POST", boxes("v1"), box("a", "v1", size=1))
    events = await ask.watch(path)
    event = await anext(events)
    await events.aclose()

    assert ended is None
    assert (event["type"], event["object"]["apiVersion"]) == ("ADDED", "example.com/v1")


async def test_a_watch_ends_with_its_kind(ask: Asker) -> None:
    await ask("POST", CRDS, crd())
    await until(ask, boxes(), 200)
    events = await ask.watch(f"{boxes()}?watch=true")
    waiting = asyncio.create_task(anext(events, None))

    await ask("DELETE", f"{CRDS}/boxes.example.com")

    assert await asyncio.wait_for(waiting, 60) is None


async def test_a_changed_schema_prunes_and_completes_what_is_stored(ask: Asker) -> None:
    await ask("POST", CRDS, crd())
    await until(ask, boxes(), 200)
    await ask("POST", boxes(), box("a", size=3))

    change = {"type": "object", "properties": {"colour": {"type": "string"}, "weight": {"type": "integer", "default": 7}}}
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec"
    patch = [{"op": "replace", "path": path, "value": change}]
    assert (await ask("PATCH", f"{CRDS}/boxes.example.com", patch, content_type="application/json-patch+json"))[0] == 200

    async with asyncio.timeout(60):
        while (spec := (await ask("GET", f"{boxes()}/a"))[1]["spec"]) != {"colour": "red", "weight": 7}:
            assert spec == {"colour": "red", "size": 3}
            await asyncio.sleep(0.01)
    _, listed = await ask("GET", boxes())
    assert listed["items"][0]["spec"] == {"colour": "red", "weight": 7}


async def test_a_kind_goes_with_its_objects_and_waits_for_their_finalizers(server: ApiServer, ask: Asker) -> None:
    await ask("POST", CRDS, crd())
    await until(ask, boxes(), 200)
    held = box("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await ask("POST", boxes(), held)
    await ask("POST", boxes(), box("free"))

    await ask("DELETE", f"{CRDS}/boxes.example.com")
    await until(ask, f"{boxes()}/free", 404)
    still_there = await ask("GET", f"{CRDS}/boxes.example.com")
    await ask("PATCH", f"{boxes()}/held", {"metadata": {"finalizers": None}}, content_type=MERGE)
    await until(ask, f"{CRDS}/boxes.example.com", 404)

    assert still_there[0] == 200
    assert (await ask("GET", boxes()))[0] == 404
    assert server.store.list("boxes.example.com").records == ()


async def test_custom_kinds_and_their_selectors_outlive_a_restart(tmp_path: Path) -> None:
    first = await ApiServer.open(tmp_path / "again.sqlite")
    ask = Asker(first)
    await ask("POST", CRDS, crd())
    await until(ask, boxes(), 200)
    await ask("POST", boxes(), box("a", colour="blue"))
    await first.close()

    second = await ApiServer.open(tmp_path / "again.sqlite")
    _, found = await Asker(second)("GET", f"{boxes()}?fieldSelector=spec.colour=blue")
    await second.close()

    assert [o["metadata"]["name"] for o in found["items"]] == ["a"]


async def test_a_spec_may_be_anything_and_finalizers_in_it_mean_nothing(ask: Asker) -> None:
    await ask("POST", CRDS, crd(spec={"x-kubernetes-preserve-unknown-fields": True}))
    await until(ask, boxes(), 200)

    for i, spec in enumerate(([1, 2], "text", {"finalizers": ["x"]})):
        draft: dict[str, Any] = {**box(f"b{i}"), "spec": spec}
        assert (await ask("POST", boxes(), draft))[0] == 201
        assert (await ask("PATCH", f"{boxes()}/b{i}", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE))[0] == 200
        assert (await ask("DELETE", f"{boxes()}/b{i}"))[0] == 200
        assert (await ask("GET", f"{boxes()}/b{i}"))[0] == 404
