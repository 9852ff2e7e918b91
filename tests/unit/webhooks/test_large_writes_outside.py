"""Large writes that somebody outside is asked about: nobody waits for their places meanwhile, least of all who is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skerry.apiserver.http.message import User
from skerry.apiserver.registry import beside
from skerry.apiserver.registry.beside import AT_ONCE, LARGE, MAX_OUTSIDE
from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import CONFIGMAPS, MERGE, Asker, configmap
from tests.unit.webhooks.serving import Answerer, Served, allow
from tests.unit.webhooks.test_admission import configure, hook_of
from tests.unit.webhooks.test_conversion import CRDS, NEW, OLD, crd, gauge

TEXT = "x" * LARGE
NOT_OF_HOOKS = [{"name": "others", "expression": "request.userInfo.username != 'hooks'"}]


class Meeting:
    """Whoever comes waits until as many are there."""

    def __init__(self, size: int) -> None:
        self._left, self._all = size, asyncio.Event()

    async def join(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self._all.set()
        await self._all.wait()


@pytest.fixture
def hooks(ask: Asker) -> Asker:
    """Asks as those who run the webhooks."""
    return ask.as_user(User("hooks", ("system:masters", "system:authenticated")))


def writing_back(hooks: Asker, meeting: Meeting) -> Answerer:
    """Return an answerer that writes a large object for each that it is asked about, once all are."""

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        await meeting.join()
        status, _ = await hooks("POST", CONFIGMAPS, configmap(f"{request['name']}-noted", text=TEXT))
        return {"allowed": status == 201}

    return answer


@pytest.mark.parametrize("which", ["Mutating", "Validating"])
async def test_a_webhook_that_writes_large_objects_finds_a_place(ask: Asker, hooks: Asker, hook: Served, which: str) -> None:
    await configure(ask, which, hook_of(hook.url(), matchConditions=NOT_OF_HOOKS))
    hook.answer = writing_back(hooks, Meeting(AT_ONCE + 1))

    answers = await asyncio.gather(*[ask("POST", CONFIGMAPS, configmap(f"c{i}", text=TEXT)) for i in range(AT_ONCE + 1)])

    assert [status for status, _ in answers] == [201] * (AT_ONCE + 1), answers


async def test_small_changes_of_large_objects_give_up_their_places_too(ask: Asker, hooks: Asker, hook: Served) -> None:
    for i in range(AT_ONCE + 1):
        await ask("POST", CONFIGMAPS, configmap(f"c{i}", text=TEXT))
    await configure(ask, "Validating", hook_of(hook.url(), matchConditions=NOT_OF_HOOKS))
    hook.answer = writing_back(hooks, Meeting(AT_ONCE + 1))
    change = {"metadata": {"labels": {"l": "1"}}}

    answers = await asyncio.gather(*[ask("PATCH", f"{CONFIGMAPS}/c{i}", change, content_type=MERGE) for i in range(AT_ONCE + 1)])

    assert [status for status, _ in answers] == [200] * (AT_ONCE + 1), answers


async def test_a_webhook_may_change_the_large_object_that_it_is_asked_about(ask: Asker, hooks: Asker, hook: Served) -> None:
    await ask("POST", CONFIGMAPS, configmap("c", text=TEXT))
    await configure(ask, "Validating", hook_of(hook.url(), matchConditions=NOT_OF_HOOKS))

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        note = {"metadata": {"annotations": {"seen": "yes"}}}
        status, _ = await hooks("PATCH", f"{CONFIGMAPS}/c", note, content_type=MERGE)
        return {"allowed": status == 200}

    hook.answer = answer

    status, changed = await ask("PATCH", f"{CONFIGMAPS}/c", {"metadata": {"labels": {"l": "1"}}}, content_type=MERGE)

    assert status == 200, changed
    assert (changed["metadata"]["labels"], changed["metadata"]["annotations"]) == ({"l": "1"}, {"seen": "yes"})


async def test_an_eviction_with_much_in_it_gives_up_its_place(ask: Asker, hooks: Asker, hook: Served) -> None:
    pods = "/api/v1/namespaces/default/pods"
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/eviction"]}
    await configure(ask, "Validating", hook_of(hook.url(), rules=[rule]))
    hook.answer = writing_back(hooks, Meeting(AT_ONCE))
    body = {"metadata": {"annotations": {"why": TEXT}}}
    for i in range(AT_ONCE):
        spec = {"containers": [{"name": "c", "image": "i"}]}
        await ask("POST", pods, {"metadata": {"name": f"p{i}"}, "spec": spec})

    answers = await asyncio.gather(*[ask("POST", f"{pods}/p{i}/eviction", body) for i in range(AT_ONCE)])

    assert [status for status, _ in answers] == [201] * AT_ONCE, answers


async def test_those_who_convert_objects_may_write_large_ones(server: ApiServer, ask: Asker, hooks: Asker, hook: Served) -> None:
    meeting, noted = Meeting(AT_ONCE + 1), iter(range(100))

    async def convert(request: dict[str, Any]) -> dict[str, Any]:
        await meeting.join()
        status, _ = await hooks("POST", CONFIGMAPS, configmap(f"noted-{next(noted)}", text=TEXT))
        objects = [{**o, "apiVersion": request["desiredAPIVersion"]} for o in request["objects"]]
        return {"result": {"status": "Success" if status == 201 else "Failure"}, "convertedObjects": objects}

    hook.answer = convert
    assert (await ask("POST", CRDS, crd(hook)))[0] == 201
    await server.custom.settle_all()

    answers = await asyncio.gather(*[ask("POST", NEW, gauge(f"g{i}", "v2", address=TEXT)) for i in range(AT_ONCE + 1)])

    assert [status for status, _ in answers] == [201] * (AT_ONCE + 1), [a["message"] for s, a in answers if s != 201]


async def test_only_so_many_large_objects_wait_for_others(ask: Asker, hook: Served) -> None:
    await configure(ask, "Validating", hook_of(hook.url()))
    decided = asyncio.Event()

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        await decided.wait()
        return await allow(request)

    hook.answer = answer
    waiting = [asyncio.create_task(ask("POST", CONFIGMAPS, configmap(f"c{i}", text=TEXT))) for i in range(MAX_OUTSIDE)]
    while len(hook.asked) < MAX_OUTSIDE:
        await asyncio.sleep(0.01)

    refused, answer_ = await ask("POST", CONFIGMAPS, configmap("one-more", text=TEXT))
    decided.set()
    small, _ = await ask("POST", CONFIGMAPS, configmap("small"))

    assert (refused, small) == (429, 201)
    assert "try again" in answer_["message"]
    assert {status for status, _ in await asyncio.gather(*waiting)} == {201}


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_nobody_is_told_to_come_back_with_what_is_stored(
    server: ApiServer, ask: Asker, hook: Served, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async def convert(request: dict[str, Any]) -> dict[str, Any]:
        if request["desiredAPIVersion"] == "example.com/v1":  # as it is stored: from then on too many wait
            monkeypatch.setattr(beside, "MAX_OUTSIDE", 0)
        objects = [{**o, "apiVersion": request["desiredAPIVersion"]} for o in request["objects"]]
        return {"result": {"status": "Success"}, "convertedObjects": objects}

    hook.answer = convert
    await ask("POST", CRDS, crd(hook))
    await server.custom.settle_all()
    if method == "PATCH":
        await ask("POST", OLD, gauge("g", "v1", host=TEXT))
    path, body = (f"{NEW}/g", {"spec": {"address": TEXT}}) if method == "PATCH" else (NEW, gauge("g", "v2", address=TEXT))

    status, answer = await ask(method, path, body, content_type=MERGE if method == "PATCH" else "application/json")

    assert status == (200 if method == "PATCH" else 201), answer
