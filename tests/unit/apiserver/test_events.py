"""Events are one collection under two groups: what is written under one is read under the other."""

from __future__ import annotations

import asyncio
from typing import Any

from skerry.model.objects import Object
from tests.unit.apiserver.asking import MERGE, Asker, node_user

CORE = "/api/v1/namespaces/default/events"
NEW = "/apis/events.k8s.io/v1/namespaces/default/events"


def a_core_event(name: str = "core") -> Object:
    return {
        "metadata": {"name": name},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started",
        "message": "it runs",
        "type": "Normal",
        "source": {"component": "kubelet", "host": "n1"},
        "count": 3,
        "firstTimestamp": "2026-01-05T10:00:00Z",
        "lastTimestamp": "2026-01-05T10:01:00Z",
    }


def a_new_event(name: str = "new") -> Object:
    return {
        "metadata": {"name": name},
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Pulled",
        "action": "Pulling",
        "note": "it is here",
        "type": "Normal",
        "eventTime": "2026-01-05T10:00:00.000000Z",
        "reportingController": "example.com/kubelet",
        "reportingInstance": "n1",
        "series": {"count": 2, "lastObservedTime": "2026-01-05T10:00:05.000000Z"},
    }


def _has(obj: Object, **wanted: Any) -> None:
    assert {k: obj.get(k) for k in wanted} == wanted


async def test_a_core_event_is_read_under_the_newer_group(ask: Asker) -> None:
    assert (await ask("POST", CORE, a_core_event()))[0] == 201

    _, found = await ask("GET", f"{NEW}/core")

    _has(found, apiVersion="events.k8s.io/v1", note="it runs", deprecatedCount=3, deprecatedLastTimestamp="2026-01-05T10:01:00Z")
    _has(found, deprecatedSource={"component": "kubelet", "host": "n1"}, regarding=a_core_event()["involvedObject"])
    assert "message" not in found


async def test_an_event_of_the_newer_group_is_a_core_event(ask: Asker) -> None:
    code, answer = await ask("POST", NEW, a_new_event())
    assert (code, answer["note"], answer["apiVersion"]) == (201, "it is here", "events.k8s.io/v1")

    _, found = await ask("GET", f"{CORE}/new")
    _, listed = await ask("GET", f"{CORE}?fieldSelector=involvedObject.name=p,reason=Pulled")

    _has(found, apiVersion="v1", message="it is here", reportingComponent="example.com/kubelet", involvedObject=a_new_event()["regarding"])
    _has(found, series=a_new_event()["series"], eventTime="2026-01-05T10:00:00.000000Z")
    assert [e["metadata"]["name"] for e in listed["items"]] == ["new"]
    assert found["metadata"]["resourceVersion"] == answer["metadata"]["resourceVersion"]


async def test_lists_and_selectors_speak_the_words_of_their_group(ask: Asker) -> None:
    await ask("POST", CORE, a_core_event())
    await ask("POST", NEW, a_new_event())

    _, both = await ask("GET", NEW)
    _, one = await ask("GET", f"{NEW}?fieldSelector=regarding.name=p,reason=Started")
    code, _ = await ask("GET", f"{CORE}?fieldSelector=regarding.name=p")

    assert [e["note"] for e in both["items"]] == ["it runs", "it is here"]
    assert (both["apiVersion"], [e["metadata"]["name"] for e in one["items"]], code) == ("events.k8s.io/v1", ["core"], 400)


async def test_what_is_changed_under_one_group_is_changed_under_both(ask: Asker) -> None:
    await ask("POST", CORE, a_core_event())

    code, changed = await ask("PATCH", f"{NEW}/core", {"deprecatedCount": 4, "note": "again"}, content_type=MERGE)
    _, found = await ask("GET", f"{CORE}/core")
    gone, _ = await ask("DELETE", f"{NEW}/core")

    assert (code, changed["deprecatedCount"], found["count"], found["message"]) == (200, 4, 4, "again")
    assert (gone, (await ask("GET", f"{CORE}/core"))[0]) == (200, 404)


async def test_watchers_of_both_groups_see_every_event_in_their_words(ask: Asker) -> None:
    new, core = await ask.watch(f"{NEW}?watch=true"), await ask.watch(f"{CORE}?watch=true")
    waiting = [asyncio.create_task(anext(stream)) for stream in (new, core)]
    await asyncio.sleep(0)

    await ask("POST", CORE, a_core_event())

    first, second = await asyncio.gather(*waiting)
    assert (first["type"], first["object"]["note"], second["object"]["message"]) == ("ADDED", "it runs", "it runs")
    for stream in (new, core):
        await stream.aclose()


async def test_the_newer_group_asks_for_more(ask: Asker) -> None:
    code, body = await ask("POST", NEW, {"metadata": {"name": "x"}, "regarding": {"namespace": "default"}})

    assert (code, body["details"]["causes"][0]["field"]) == (422, "eventTime")


async def test_nodes_write_core_events_only_since_the_node_rule_knows_these(ask: Asker) -> None:
    assert (await ask.as_user(node_user("n1"))("POST", NEW, a_new_event()))[0] == 403
