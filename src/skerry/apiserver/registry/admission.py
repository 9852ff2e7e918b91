"""Admission: what is checked and completed beyond one object's own schema. Plug-ins are pure but for look-ups.

A plug-in is registered for the kinds that it concerns, so that all others pay nothing for it. What has to ask others (webhooks,
policies that are compiled first) stands outside: it is asked only whether it has anything to say about a write, and only then is it
waited for. Nothing is locked meanwhile: the write is stored only if its object is still as it was read, else it is judged anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Protocol

import msgspec

from skerry.apiserver.registry.beside import wait_outside
from skerry.apiserver.registry.options import WriteOptions
from skerry.model.objects import Object

if TYPE_CHECKING:
    from skerry.apiserver.registry.delete import DeleteOptions
    from skerry.apiserver.registry.kind import Kind
    from skerry.apiserver.registry.registry import Registry


class Admission(msgspec.Struct):
    """One write that asks to be admitted. `new` is None for a deletion, `old` for a creation."""

    operation: str
    kind: Kind
    namespace: str
    name: str
    new: Object | None
    old: Object | None
    options: WriteOptions
    registry: Registry
    subresource: str = ""
    generated: bool = False
    """The name was made of generateName, and is made anew when it is taken."""
    waited: bool = False
    """Others were asked meanwhile, or had their turn: what was true before may no longer be."""
    deletion: DeleteOptions | None = None
    """How to delete."""
    until: float = 0.0
    """Until when others are waited for, by the loop's clock; 0 before they are."""


Plugin = Callable[[Admission], None]
"""Completes `new` in place, or raises ApiError to refuse."""


class Outside(Protocol):
    """Who judges by asking others. Each method returns None at once when nobody wants to hear of this write.

    What is waited for completes `asked.new` in place (and leaves it complete), or raises ApiError to refuse.
    """

    def mutating(self, asked: Admission) -> Awaitable[None] | None: ...

    def validating(self, asked: Admission) -> Awaitable[None] | None: ...

    def below(self, asked: Admission) -> Awaitable[None] | None:
        """Judge what is stored nowhere: `asked.new` is the request's own object."""
        ...


class Chain:
    """The plug-ins in their order: the mutating ones before the schema speaks, the validating ones after it."""

    outside: Outside | None = None

    def __init__(self) -> None:
        self._mutating: dict[tuple[str, str], list[Plugin]] = {}
        self._validating: dict[tuple[str, str], list[Plugin]] = {}
        self._everywhere: list[Plugin] = []
        self._last: list[Plugin] = []

    def mutating(self, key: str, operations: Iterable[str], plugin: Plugin) -> None:
        """Run *plugin* for `plural.group` *key* before validation."""
        for operation in operations:
            self._mutating.setdefault((key, operation), []).append(plugin)

    def validating(self, key: str, operations: Iterable[str], plugin: Plugin) -> None:
        """Run *plugin* for `plural.group` *key* once the object is complete and valid."""
        for operation in operations:
            self._validating.setdefault((key, operation), []).append(plugin)

    def everywhere(self, plugin: Plugin) -> None:
        """Run *plugin* on every write of every kind, after the other validating ones."""
        self._everywhere.append(plugin)

    def last(self, plugin: Plugin) -> None:
        """Run *plugin* on every write of every kind when nobody else objects: nothing is waited for between it and the store."""
        self._last.append(plugin)

    def mutate(self, asked: Admission) -> None:
        for plugin in self._mutating.get((asked.kind.key, asked.operation), ()):
            plugin(asked)

    def validate(self, asked: Admission) -> None:
        for plugin in self._validating.get((asked.kind.key, asked.operation), ()):
            plugin(asked)
        for plugin in self._everywhere:
            plugin(asked)

    async def validate_slowly(self, asked: Admission) -> None:
        """Do the same for a large object: others have their turn after each plug-in."""
        for plugin in (*self._validating.get((asked.kind.key, asked.operation), ()), *self._everywhere):
            plugin(asked)
            await asyncio.sleep(0)

    async def mutate_outside(self, asked: Admission) -> None:
        """Let others complete the object; does not suspend unless there is somebody to wait for."""
        if self.outside is None or asked.options.internal:
            return
        waiting = self.outside.mutating(asked)
        if waiting is not None:
            asked.waited = True
            await wait_outside(waiting, asked.options.place)

    async def validate_outside(self, asked: Admission) -> None:
        """Let others judge the finished object; does not suspend unless there is somebody to wait for."""
        if self.outside is not None and not asked.options.internal:
            waiting = self.outside.validating(asked)
            if waiting is not None:
                asked.waited = True
                await wait_outside(waiting, asked.options.place)
        self.judge_last(asked)

    def judge_last(self, asked: Admission) -> None:
        """Judge what others may have changed meanwhile; called anew when anybody was waited for since."""
        for plugin in self._last:
            plugin(asked)
