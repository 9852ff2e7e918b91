"""What still stands in a namespace that is being deleted, and how that is said. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from skerry.model.conditions import with_condition

FINALIZER = "kubernetes"
FIRST_LOOK_S = 0.2
LATER_LOOK_S = 2.0


class Remaining(msgspec.Struct, frozen=True):
    """Counts by resource and by finalizer, and what could not be looked at."""

    objects: Mapping[str, int] = msgspec.field(default_factory=dict)
    finalizers: Mapping[str, int] = msgspec.field(default_factory=dict)
    failures: Mapping[str, str] = msgspec.field(default_factory=dict)

    def and_object(self, resource: str, finalizers: Iterable[str]) -> Remaining:
        counts = dict(self.finalizers)
        for finalizer in finalizers:
            counts[finalizer] = counts.get(finalizer, 0) + 1
        return replace(self, objects={**self.objects, resource: self.objects.get(resource, 0) + 1}, finalizers=counts)

    def and_failure(self, resource: str, message: str) -> Remaining:
        return replace(self, failures={**self.failures, resource: message})


def is_purged(remaining: Remaining) -> bool:
    return not remaining.objects and not remaining.failures


def next_look_s(looks: int, remaining: Remaining) -> float:
    """Return when to look again: soon after a deletion that needs no waiting, later while something holds on."""
    return LATER_LOOK_S if looks or remaining.finalizers or remaining.failures or "pods" in remaining.objects else FIRST_LOOK_S


def _written(key: str) -> str:
    """Return a resource as Kubernetes writes it here: with a dot for the core group."""
    return key if "." in key else f"{key}."


def conditions(old: Sequence[Mapping[str, Any]], remaining: Remaining, now: datetime) -> list[dict[str, Any]]:
    """Return the conditions that tell why the namespace is still there, in Kubernetes' words."""
    contents = ", ".join(f"{_written(key)} has {n} resource instances" for key, n in sorted(remaining.objects.items()))
    holders = ", ".join(f"{name} in {n} resource instances" for name, n in sorted(remaining.finalizers.items()))
    failures = ", ".join(sorted(remaining.failures.values()))
    undeleted = f"Failed to delete all resource types, {len(remaining.failures)} remaining: {failures}"
    said = (
        ("NamespaceDeletionDiscoveryFailure", False, "", ""),  # resources are known here, not discovered
        ("NamespaceDeletionGroupVersionParsingFailure", False, "", ""),
        ("NamespaceDeletionContentFailure", bool(failures), "ContentDeletionFailed", undeleted),
        ("NamespaceContentRemaining", bool(contents), "SomeResourcesRemain", f"Some resources are remaining: {contents}"),
        (
            "NamespaceFinalizersRemaining",
            bool(holders),
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {holders}",
        ),
    )
    absent = {
        "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
        "NamespaceDeletionGroupVersionParsingFailure": ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        "NamespaceDeletionContentFailure": ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
        "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
    }
    found = [dict(c) for c in old]
    for kind, state, reason, message in said:
        words = (reason, message) if state else absent[kind]
        found = with_condition(found, kind, state, reason=words[0], message=words[1], now=now)
    return found
