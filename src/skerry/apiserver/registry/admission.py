"""Admission: what is checked and completed beyond one object's own schema. Plug-ins are pure but for look-ups.

A plug-in is registered for the kinds that it concerns, so that all others pay nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skerry.apiserver.registry.options import WriteOptions
from skerry.model.objects import Object

if TYPE_CHECKING:
    from skerry.apiserver.registry.kind import Kind
    from skerry.apiserver.registry.registry import Registry


@dataclass(slots=True)
class Admission:
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


Plugin = Callable[[Admission], None]
"""Completes `new` in place, or raises ApiError to refuse."""


class Chain:
    """The plug-ins in their order: the mutating ones before the schema speaks, the validating ones after it."""

    def __init__(self) -> None:
        self._mutating: dict[tuple[str, str], list[Plugin]] = {}
        self._validating: dict[tuple[str, str], list[Plugin]] = {}
        self._everywhere: list[Plugin] = []

    def mutating(self, key: str, operations: Iterable[str], plugin: Plugin) -> None:
        """Run *plugin* for `plural.group` *key* before validation."""
        for operation in operations:
            self._mutating.setdefault((key, operation), []).append(plugin)

    def validating(self, key: str, operations: Iterable[str], plugin: Plugin) -> None:
        """Run *plugin* for `plural.group` *key* once the object is complete and valid."""
        for operation in operations:
            self._validating.setdefault((key, operation), []).append(plugin)

    def everywhere(self, plugin: Plugin) -> None:
        """Run *plugin* on every write of every kind, last."""
        self._everywhere.append(plugin)

    def mutate(self, asked: Admission) -> None:
        for plugin in self._mutating.get((asked.kind.key, asked.operation), ()):
            plugin(asked)

    def validate(self, asked: Admission) -> None:
        for plugin in self._validating.get((asked.kind.key, asked.operation), ()):
            plugin(asked)
        for plugin in self._everywhere:
            plugin(asked)
