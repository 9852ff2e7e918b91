"""The node put together: what it asks of its hub only once there is a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from skerry.model.objects import Name
from skerry.node.agent import follow_triggers
from skerry.node.memory import Mirror


class _Copy:
    """A copy of a collection, as a `Mirror` is."""

    key = "copy"

    def __init__(self) -> None:
        self.followed = asyncio.Event()
        self._items: dict[Name, Any] = {}
        self._subscribers: list[Any] = []

    def items(self) -> Mapping[Name, Any]:
        return self._items

    def subscribe(self, subscriber: Any) -> None:
        self._subscribers.append(subscriber)

    def tell(self, name: Name) -> None:
        self._items[name] = {}
        for subscriber in self._subscribers:
            subscriber(name)

    async def run(self) -> None:
        self.followed.set()
        await asyncio.get_running_loop().create_future()


async def test_triggers_are_asked_for_from_the_first_broker_on() -> None:
    brokers, triggers = [_Copy(), _Copy()], [_Copy(), _Copy()]
    following = asyncio.create_task(follow_triggers(cast("list[Mirror]", brokers), cast("list[Mirror]", triggers)))
    for _ in range(5):
        await asyncio.sleep(0)
    before = [t.followed.is_set() for t in triggers]

    brokers[1].tell(Name("default", "line-3"))
    async with asyncio.timeout(30):
        await asyncio.gather(*(t.followed.wait() for t in triggers))

    assert before == [False, False]
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
