"""Watches: nothing missed, nothing twice, edges of selections as Kubernetes has them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from skerry.apiserver.registry import watch
from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import CONFIGMAPS, MERGE, Asker, configmap

Event = dict[str, Any]


async def take(events: AsyncGenerator[Event, None], count: int) -> list[Event]:
    async with asyncio.timeout(60):
        return [await anext(events) for _ in range(count)]


def brief(events: list[Event]) -> list[tuple[str, str]]:
    return [(e["type"], e["object"]["metadata"].get("name", "")) for e in events]


async def test_initial_events_end_with_a_bookmark(ask: Asker) -> None:
    await ask("POST", CONFIGMAPS, configmap("a"))

    events = await ask.watch(f"{CONFIGMAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
    found = await take(events, 2)
    await events.aclose()

    assert brief(found) == [("ADDED", "a"), ("BOOKMARK", "")]
    assert found[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(found[1]["object"]["metadata"]["resourceVersion"]) >= int(found[0]["object"]["metadata"]["resourceVersion"])


async def test_a_deletion_shows_the_last_state_at_the_new_revision(ask: Asker) -> None:
    _, made = await ask("POST", CONFIGMAPS, configmap("a", k="v"))

    events = await ask.watch(f"{CONFIGMAPS}?watch=true&resourceVersion={made['metadata']['resourceVersion']}")
    await ask("DELETE", f"{CONFIGMAPS}/a")
    (event,) = await take(events, 1)
    await events.aclose()

    assert (event["type"], event["object"]["data"]) == ("DELETED", {"k": "v"})
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


async def test_a_watch_ends_at_its_time(ask: Asker) -> None:
    events = await ask.watch(f"{CONFIGMAPS}?watch=true&timeoutSeconds=1")

    async with asyncio.timeout(60):
        assert [e async for e in events] == []


async def test_a_revision_that_is_forgotten_is_an_error_in_the_stream(server: ApiServer, ask: Asker) -> None:
    _, made = await ask("POST", CONFIGMAPS, configmap("a"))
    for i in range(5):
        await ask("PATCH", f"{CONFIGMAPS}/a", {"data": {"k": str(i)}}, content_type=MERGE)
    ring = server.store._history.ring("configmaps")
    while len(ring) > 1:
        ring.drop_oldest()

    events = await ask.watch(f"{CONFIGMAPS}?watch=true&resourceVersion={made['metadata']['resourceVersion']}")
    found = [e async for e in events]

    assert [(e["type"], e["object"]["code"], e["object"]["reason"]) for e in found] == [("ERROR", 410, "Expired")]


async def test_a_slow_client_that_is_left_behind_when_a_bookmark_is_due_is_told_so(
    server: ApiServer, ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "BOOKMARK_S", 0.0)
    _, made = await ask("POST", CONFIGMAPS, configmap("a"))
    events = await ask.watch(f"{CONFIGMAPS}?watch=true&resourceVersion={made['metadata']['resourceVersion']}&allowWatchBookmarks=true")
    await ask("POST", CONFIGMAPS, configmap("b"))
    (event,) = await take(events, 1)
    for i in range(5):
        await ask("PATCH", f"{CONFIGMAPS}/a", {"data": {"k": str(i)}}, content_type=MERGE)
    ring = server.store._history.ring("configmaps")
    while len(ring) > 1:
        ring.drop_oldest()

    mark, error = await take(events, 2)
    await events.aclose()

    assert (mark["type"], mark["object"]["metadata"]["resourceVersion"]) == ("BOOKMARK", event["object"]["metadata"]["resourceVersion"])
    assert (error["type"], error["object"]["code"]) == ("ERROR", 410)


async def test_a_revision_that_does_not_come_is_an_error_in_the_stream(
    server: ApiServer, ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of a time that we lost: going on from it would hide what is different now."""
    monkeypatch.setattr(watch, "FUTURE_S", 0.01)
    events = await ask.watch(f"{CONFIGMAPS}?watch=true&resourceVersion={server.store.revision + 1000}")
    found = [e async for e in events]

    assert [(e["type"], e["object"]["code"], e["object"]["reason"]) for e in found] == [("ERROR", 410, "Expired")]
    assert "too large resource version" in found[0]["object"]["message"]


async def test_a_revision_of_the_future_is_waited_for(server: ApiServer, ask: Asker) -> None:
    future = server.store.revision + 20
    events = await ask.watch(f"{CONFIGMAPS}?watch=true&resourceVersion={future}")
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    made = [await ask("POST", CONFIGMAPS, configmap(f"c{i}")) for i in range(22)]

    first = await waiting
    await events.aclose()
    expected = next(m["metadata"]["name"] for _, m in made if int(m["metadata"]["resourceVersion"]) > future)
    assert brief([first]) == [("ADDED", expected)], "what the client knows is not told again"


async def test_a_watch_that_waits_for_the_future_ends_at_its_time(server: ApiServer, ask: Asker) -> None:
    ask_for = f"{CONFIGMAPS}?watch=true&timeoutSeconds=1&resourceVersion={server.store.revision + 1000}"
    assert [e async for e in await ask.watch(ask_for)] == []


async def test_a_pod_that_goes_at_once_is_marked_first(ask: Asker) -> None:
    pods = "/api/v1/namespaces/default/pods"
    _, made = await ask("POST", pods, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})

    events = await ask.watch(f"{pods}?watch=true&resourceVersion={made['metadata']['resourceVersion']}")
    _, answer = await ask("DELETE", f"{pods}/p")
    found = await take(events, 2)
    await events.aclose()

    assert brief(found) == [("MODIFIED", "p"), ("DELETED", "p")]
    assert [e["object"]["metadata"]["deletionGracePeriodSeconds"] for e in found] == [0, 0]
    assert answer["metadata"]["deletionTimestamp"] == found[0]["object"]["metadata"]["deletionTimestamp"]
    assert int(found[0]["object"]["metadata"]["resourceVersion"]) < int(found[1]["object"]["metadata"]["resourceVersion"])


async def test_every_watcher_gets_the_same_bytes(server: ApiServer, ask: Asker) -> None:
    responses = [await ask.raw("GET", f"{CONFIGMAPS}?watch=true") for _ in range(3)]
    streams = [cast("AsyncGenerator[bytes, None]", r.body) for r in responses]
    waiting = [asyncio.ensure_future(anext(s)) for s in streams]
    await asyncio.sleep(0)
    await ask("POST", CONFIGMAPS, configmap("a"))

    chunks = await asyncio.gather(*waiting)
    for stream in streams:
        await stream.aclose()

    assert len(set(chunks)) == 1
    assert chunks[0].endswith(b"}\n")


async def test_a_table_names_its_columns_once(ask: Asker) -> None:
    events = await ask.watch(f"{CONFIGMAPS}?watch=true", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    await ask("POST", CONFIGMAPS, configmap("a", k="v"))
    await ask("POST", CONFIGMAPS, configmap("b"))
    found = await take(events, 2)
    await events.aclose()

    assert [bool(e["object"]["columnDefinitions"]) for e in found] == [True, False]
    assert [e["object"]["rows"][0]["cells"][:2] for e in found] == [["a", 1], ["b", 0]]


async def test_two_forms_of_one_change_do_not_mix(ask: Asker) -> None:
    plain = await ask.watch(f"{CONFIGMAPS}?watch=true")
    partial = await ask.watch(f"{CONFIGMAPS}?watch=true", accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
    await ask("POST", CONFIGMAPS, configmap("a", k="v"))

    (one,), (other,) = await take(plain, 1), await take(partial, 1)
    await plain.aclose()
    await partial.aclose()

    assert (one["object"]["kind"], other["object"]["kind"]) == ("ConfigMap", "PartialObjectMetadata")
    assert "data" not in other["object"]


async def test_a_watch_resumed_again_and_again_misses_and_repeats_nothing(ask: Asker) -> None:
    _, made = await ask("POST", CONFIGMAPS, configmap("a", n="0"))

    async def write() -> None:
        for i in range(1, 101):
            await ask("PATCH", f"{CONFIGMAPS}/a", {"data": {"n": str(i)}}, content_type=MERGE)

    writing = asyncio.create_task(write())
    seen: list[str] = []
    revision = made["metadata"]["resourceVersion"]
    while len(seen) < 100:
        events = await ask.watch(f"{CONFIGMAPS}?watch=true&resourceVersion={revision}")
        for event in await take(events, min(7, 100 - len(seen))):
            seen.append(event["object"]["data"]["n"])
            revision = event["object"]["metadata"]["resourceVersion"]
        await events.aclose()
    await writing

    assert seen == [str(i) for i in range(1, 101)]


async def test_a_page_that_is_too_old_offers_to_go_on_without_a_snapshot(server: ApiServer, ask: Asker) -> None:
    for name in ("a", "b", "c"):
        await ask("POST", CONFIGMAPS, configmap(name))
    _, first = await ask("GET", f"{CONFIGMAPS}?limit=1")
    for i in range(5):
        await ask("PATCH", f"{CONFIGMAPS}/b", {"data": {"k": str(i)}}, content_type=MERGE)
    ring = server.store._history.ring("configmaps")
    while len(ring) > 1:
        ring.drop_oldest()

    status, gone = await ask("GET", f"{CONFIGMAPS}?limit=1&continue={first['metadata']['continue']}")
    _, rest = await ask("GET", f"{CONFIGMAPS}?continue={gone['metadata']['continue']}")

    assert (status, gone["reason"]) == (410, "Expired")
    assert [o["metadata"]["name"] for o in rest["items"]] == ["b", "c"]


async def test_a_watch_that_is_kept_awake_by_what_it_does_not_select_gets_bookmarks(ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BOOKMARK_S", 0.05)
    _, made = await ask("POST", CONFIGMAPS, configmap("a"))
    events = await ask.watch(
        f"{CONFIGMAPS}?watch=1&resourceVersion={made['metadata']['resourceVersion']}&labelSelector=no=no&allowWatchBookmarks=true"
    )

    async def keep_awake() -> None:
        for i in itertools.count():
            await ask("PATCH", f"{CONFIGMAPS}/a", {"data": {"k": str(i)}}, content_type=MERGE)

    busy = asyncio.create_task(keep_awake())
    (event,) = await take(events, 1)
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)
    await events.aclose()

    assert event["type"] == "BOOKMARK"
