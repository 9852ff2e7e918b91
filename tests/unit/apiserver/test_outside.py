"""Admission that waits for others: they are asked only for what concerns them, and what changed meanwhile is judged again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.server import ApiServer
from skerry.model.errors import ApiError
from tests.unit.apiserver.asking import CONFIGMAPS, MERGE, Asker, configmap


class Peer:
    """Completes or judges ConfigMaps through a function of the test's."""

    def __init__(
        self, mutate: Callable[[Admission], Awaitable[None]] | None = None, validate: Callable[[Admission], Awaitable[None]] | None = None
    ) -> None:
        self._mutate, self._validate = mutate, validate

    def mutating(self, asked: Admission) -> Awaitable[None] | None:
        return self._mutate(asked) if self._mutate and asked.kind.key == "configmaps" else None

    def validating(self, asked: Admission) -> Awaitable[None] | None:
        return self._validate(asked) if self._validate and asked.kind.key == "configmaps" else None

    def below(self, asked: Admission) -> Awaitable[None] | None:
        return None


async def test_what_others_complete_is_stored(server: ApiServer, ask: Asker) -> None:
    async def add(asked: Admission) -> None:
        assert asked.new is not None
        asked.new.setdefault("data", {})["added"] = "yes"

    server.chain.outside = Peer(mutate=add)

    status, made = await ask("POST", CONFIGMAPS, configmap("c", a="1"))

    assert status == 201
    assert made["data"] == {"a": "1", "added": "yes"}


async def test_what_others_refuse_is_not_stored(server: ApiServer, ask: Asker) -> None:
    async def refuse(asked: Admission) -> None:
        raise ApiError(403, "Forbidden", "not here")

    server.chain.outside = Peer(validate=refuse)

    assert (await ask("POST", CONFIGMAPS, configmap("c")))[0] == 403
    assert (await ask("GET", f"{CONFIGMAPS}/c"))[0] == 404


async def test_an_update_that_was_overtaken_while_others_were_asked_is_judged_again(server: ApiServer, ask: Asker) -> None:
    await ask("POST", CONFIGMAPS, configmap("c", a="1"))
    seen: list[str] = []

    async def look(asked: Admission) -> None:
        assert asked.old is not None
        seen.append(asked.old["data"]["a"])
        if len(seen) == 1:
            server.chain.outside = None
            await ask("PATCH", f"{CONFIGMAPS}/c", {"data": {"a": "2"}}, content_type=MERGE)
            server.chain.outside = peer

    peer = server.chain.outside = Peer(validate=look)

    _, changed = await ask("PATCH", f"{CONFIGMAPS}/c", {"data": {"b": "3"}}, content_type=MERGE)

    assert changed["data"] == {"a": "2", "b": "3"}
    assert seen == ["1", "2"]


async def test_nothing_is_made_in_a_namespace_that_went_while_others_were_asked(server: ApiServer, ask: Asker) -> None:
    await ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})

    async def wait(asked: Admission) -> None:
        await ask("DELETE", "/api/v1/namespaces/n")

    server.chain.outside = Peer(validate=wait)

    status, refused = await ask("POST", "/api/v1/namespaces/n/configmaps", configmap("c"))

    assert status == 403
    assert "being terminated" in refused["message"]


async def test_the_last_plugin_speaks_after_everybody_outside(server: ApiServer, ask: Asker) -> None:
    order: list[str] = []

    async def outside(asked: Admission) -> None:
        order.append("outside")

    server.chain.outside = Peer(validate=outside)
    server.chain.last(lambda asked: order.append("last") if asked.name == "c" else None)

    await ask("POST", CONFIGMAPS, configmap("c"))

    assert order == ["outside", "last"]
