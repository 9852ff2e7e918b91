"""Refusals of the store, grouped by what the caller does next: pick another name, read again, or list again.

What the disk refuses is a `skerry.durable.StoreError`.
"""

from __future__ import annotations

from skerry.apiserver.store.records import Key


class RefusedError(Exception):
    """A write that the present state does not allow; nothing was changed."""

    def __init__(self, key: Key, message: str) -> None:
        super().__init__(message)
        self.key = key


class ExistsError(RefusedError):
    """Create: the name is taken, or is being taken by a write that waits."""

    def __init__(self, key: Key) -> None:
        super().__init__(key, f"{key} exists already")


class MissingError(RefusedError):
    """Update or delete: there is no such object, or a delete of it waits."""

    def __init__(self, key: Key) -> None:
        super().__init__(key, f"{key} does not exist")


class ConflictError(RefusedError):
    """Update or delete: the object is not at the revision that was read; read it again."""

    def __init__(self, key: Key, *, expected: int, actual: int) -> None:
        super().__init__(key, f"{key} is at revision {actual}, not {expected}: read it again")
        self.expected = expected
        self.actual = actual


class TooOldError(Exception):
    """Changes since `revision` are no longer held; `oldest` is the first revision that can be resumed from. List again."""

    def __init__(self, resource: str, *, revision: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {revision} ({oldest})")
        self.resource = resource
        self.revision = revision
        self.oldest = oldest
