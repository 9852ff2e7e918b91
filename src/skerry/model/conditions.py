"""Conditions after the Kubernetes conventions: one entry a type, `lastTransitionTime` moves only with `status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from skerry.model.times import rfc3339


def get_condition(conditions: Sequence[Mapping[str, Any]] | None, kind: str) -> Mapping[str, Any] | None:
    return next((c for c in conditions or () if c.get("type") == kind), None)


def is_true(conditions: Sequence[Mapping[str, Any]] | None, kind: str) -> bool:
    found = get_condition(conditions, kind)
    return found is not None and found.get("status") == "True"


def with_condition(
    conditions: Sequence[Mapping[str, Any]] | None,
    kind: str,
    status: bool | None,
    *,
    reason: str,
    message: str = "",
    now: datetime,
    generation: int | None = None,
) -> list[dict[str, Any]]:
    """Return the conditions with *kind* set; the order of the others stays. `status` None means Unknown."""
    word = "Unknown" if status is None else str(bool(status))
    old = get_condition(conditions, kind)
    since = old.get("lastTransitionTime") if old and old.get("status") == word else None
    new: dict[str, Any] = {"type": kind, "status": word, "reason": reason, "message": message}
    new["lastTransitionTime"] = since or rfc3339(now)
    if generation is not None:
        new["observedGeneration"] = generation
    found = [dict(c) for c in conditions or ()]
    for i, c in enumerate(found):
        if c.get("type") == kind:
            found[i] = {**c, **new}
            return found
    return [*found, new]
