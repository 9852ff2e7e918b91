"""One kind, compiled: what the registry does to every object of it between decoding and storing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from skerry.apiserver.schema.shape import Shape
from skerry.model.errors import Cause
from skerry.model.objects import Object

PruneUnknown = Callable[[Object], list[str]]
Complete = Callable[[Object], None]
Judge = Callable[[Object, Object | None, list[Cause], str], None]


class KindSchema(msgspec.Struct, frozen=True):
    """The order is: `prune_unknown`, the registry's own fields, `reset_status` on create, `default`, `validate`.

    All work in place on the caller's own copy. Nothing here reads a clock, a store or another object.
    """

    group: str
    version: str
    kind: str
    builtin: bool
    _prune: PruneUnknown
    _default: Complete
    _validate: Judge
    _shape: Callable[[], Shape]
    _reset_status: Complete | None = None

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def refusal(self) -> str:
        """Return how the refusal of a body that cannot be read as this kind begins."""
        return f'{self.kind} in version "{self.version}" cannot be handled as a {self.kind}: '

    @property
    def shape(self) -> Shape:
        """Return the shape for merging: merge keys, list types, list-map keys (built anew: keep it while you walk)."""
        return self._shape()

    def prune_unknown(self, obj: Object) -> list[str]:
        """Drop fields that the kind does not have and return their paths (`spec.containers[0].x`).

        Built-ins also take the form in which Kubernetes gives them back (quantities, times, nulls, empty values); a value
        of the wrong JSON type raises ApiError 400 as Go's decoder would. Custom kinds report types in `validate`.
        """
        return self._prune(obj)

    @property
    def resets_status(self) -> bool:
        """Say whether the status of a new object is the server's alone."""
        return self._reset_status is not None

    def reset_status(self, obj: Object) -> None:
        """Put `status` into the form that a new object has (the body's is dropped where Kubernetes drops it)."""
        if self._reset_status is not None:
            self._reset_status(obj)

    def default(self, obj: Object) -> None:
        """Complete the object; completing it twice changes nothing."""
        self._default(obj)

    def validate(self, obj: Object, old: Object | None = None, *, subresource: str = "") -> list[Cause]:
        """Return what is wrong, in Kubernetes' words; with *old* also what an update may not change."""
        causes: list[Cause] = []
        self._validate(obj, old, causes, subresource)
        return causes


def nothing(obj: Any) -> None:
    """Complete nothing."""
