"""Tokens of Pods at the node: fetched once, renewed in time, and used when there is no hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from skerry.model.errors import ApiError
from skerry.model.objects import Object
from skerry.node.memory import Memory
from skerry.node.pods import PodTokens
from skerry.node.pods.env import ConfigError, NotKnownError
from skerry.testing.fakeapi import FakeApi

SOURCE = {"path": "token", "expirationSeconds": 3607}


class Hub(FakeApi):
    """Answers TokenRequests with numbered tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []
        self.error: Exception | None = None

    async def create(self, resource: Any, obj: Object, *, subresource: str = "") -> Object:
        assert (resource.plural, subresource) == ("serviceaccounts", "token")
        if self.error is not None:
            raise self.error
        self.asked.append(obj)
        return {"status": {"token": f"token-{len(self.asked)}"}}


class Node:
    def __init__(self, hub: Hub, memory: Memory) -> None:
        self.hub, self.memory = hub, memory
        self.now = datetime(2026, 11, 23, tzinfo=UTC)
        self.changes: asyncio.Queue[str] = asyncio.Queue()
        self.tokens = self.another_life()

    def another_life(self) -> PodTokens:
        self.tokens = PodTokens(self.hub, self.memory, self.changes.put_nowait, now=lambda: self.now)
        return self.tokens


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    memory = await Memory.open(tmp_path)
    node = Node(Hub(), memory)
    yield node
    await node.tokens.close()
    await memory.close()


def a_pod(uid: str = "u1") -> Object:
    return {"metadata": {"name": "p", "namespace": "default", "uid": uid}, "spec": {"serviceAccountName": "bob"}}


async def _told(node: Node) -> str:
    async with asyncio.timeout(60):
        return await node.changes.get()


async def test_a_token_is_asked_for_once_and_bound_to_its_pod(node: Node) -> None:
    with pytest.raises(NotKnownError):
        node.tokens.of(a_pod(), SOURCE)
    assert await _told(node) == "u1"

    assert [node.tokens.of(a_pod(), SOURCE) for _ in range(3)] == [b"token-1"] * 3
    assert [a["spec"] for a in node.hub.asked] == [
        {"audiences": [], "expirationSeconds": 3607, "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u1"}}
    ]


async def test_a_start_without_a_hub_uses_the_token_of_before_however_old(node: Node) -> None:
    with pytest.raises(NotKnownError):
        node.tokens.of(a_pod(), SOURCE)
    await _told(node)
    await node.tokens.close()
    node.hub.error = ConnectionError("no hub")
    node.now += timedelta(days=90)

    assert node.another_life().of(a_pod(), SOURCE) == b"token-1"


async def test_an_old_token_of_before_is_renewed_as_soon_as_there_is_a_hub(node: Node) -> None:
    with pytest.raises(NotKnownError):
        node.tokens.of(a_pod(), SOURCE)
    await _told(node)
    await node.tokens.close()
    node.now += timedelta(seconds=3607 * 0.8 + 1)

    assert node.another_life().of(a_pod(), SOURCE) == b"token-1"
    await _told(node)
    assert node.tokens.of(a_pod(), SOURCE) == b"token-2"


async def test_a_refusal_is_told_and_asked_again(node: Node) -> None:
    node.hub.error = ApiError(404, "NotFound", 'serviceaccounts "bob" not found')
    with pytest.raises(NotKnownError):
        node.tokens.of(a_pod(), SOURCE)
    await _told(node)
    with pytest.raises(ConfigError, match='no token for service account "bob": serviceaccounts "bob" not found'):
        node.tokens.of(a_pod(), SOURCE)

    node.hub.error = None
    await _told(node)
    assert node.tokens.of(a_pod(), SOURCE) == b"token-1"


async def test_what_is_over_is_forgotten(node: Node) -> None:
    for uid in ("u1", "u2"):
        with pytest.raises(NotKnownError):
            node.tokens.of(a_pod(uid), SOURCE)
        await _told(node)

    await node.tokens.forget("u1")
    assert [f.split(" ")[1] for f in node.memory.facts("token ")] == ["u2"]

    await node.tokens.close()
    await node.another_life().forget_others(set())
    assert node.memory.facts("token ") == []
