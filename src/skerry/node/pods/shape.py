"""What of a Pod the plan looks at: who runs in which order, and who is started again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from skerry.model.objects import Object, dig, metadata

Policy = Literal["Always", "OnFailure", "Never"]

DEFAULT_GRACE_S = 30.0


class ContainerShape(msgspec.Struct, frozen=True):
    """`sidecar` is an init container with `restartPolicy: Always`: it starts in its turn and stays."""

    name: str
    sidecar: bool = False


class PodShape(msgspec.Struct, frozen=True):
    """`grace_s` is what the Pod asks for at its end."""

    policy: Policy
    init: tuple[ContainerShape, ...]
    main: tuple[ContainerShape, ...]
    grace_s: float = DEFAULT_GRACE_S

    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in (*self.init, *self.main))


def shape_of(pod: Object) -> PodShape:
    """Read the shape; every field has Kubernetes' default."""
    spec = pod.get("spec") or {}
    init = tuple(ContainerShape(c["name"], c.get("restartPolicy") == "Always") for c in spec.get("initContainers") or ())
    main = tuple(ContainerShape(c["name"]) for c in spec.get("containers") or ())
    grace = spec.get("terminationGracePeriodSeconds")
    return PodShape(spec.get("restartPolicy") or "Always", init, main, DEFAULT_GRACE_S if grace is None else float(grace))


def container_of(pod: Object, name: str) -> Mapping[str, Any]:
    """Return the container's part of the spec."""
    spec = pod.get("spec") or {}
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if container.get("name") == name:
            found: Mapping[str, Any] = container
            return found
    raise KeyError(name)


def is_ending(pod: Object) -> bool:
    return bool(metadata(pod).get("deletionTimestamp"))


def grace_of(pod: Object) -> float:
    """Return how long its containers may take to end."""
    grace = metadata(pod).get("deletionGracePeriodSeconds")
    return shape_of(pod).grace_s if grace is None else float(grace)


def is_terminal(pod: Object) -> bool:
    """Whether the API has it as over: such a Pod never runs again."""
    return dig(pod, "status", "phase") in ("Succeeded", "Failed")
