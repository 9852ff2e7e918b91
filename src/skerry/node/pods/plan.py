"""What to do about one Pod: a pure plan from (what is wanted, what is seen) to steps.

What stays true: planning again after the steps were done gives none; of a container at most one attempt is started, and
only after the one before it ended; nothing is stopped unless the Pod ends, is over, or the container failed its probe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from skerry.node.pods.shape import ContainerShape, PodShape
from skerry.node.runtimes.contract import Container

KEPT_ATTEMPTS = 2
"""The latest attempt and the one before it, for `kubectl logs --previous`."""


class ContainerSeen(msgspec.Struct, frozen=True):
    """What is known of one container. Times are monotonic seconds.

    `retry_at`: not to be started before. `started`: its startup probe passed, or it has none. `unhealthy`: what a probe
    found that means a restart. `stopping`: somebody is at it.
    """

    attempts: tuple[Container, ...] = ()
    retry_at: float = 0.0
    started: bool = False
    ready: bool = False
    unhealthy: str = ""
    stopping: bool = False

    @property
    def latest(self) -> Container | None:
        return self.attempts[-1] if self.attempts else None

    @property
    def running(self) -> bool:
        return self.latest is not None and self.latest.state == "running"

    @property
    def exit_code(self) -> int | None:
        """How the latest attempt ended, None when it runs or there was none."""
        return self.latest.exit_code if self.latest is not None and self.latest.state == "exited" else None


UNSEEN = ContainerSeen()


class Start(msgspec.Struct, frozen=True):
    name: str
    attempt: int


class Stop(msgspec.Struct, frozen=True):
    """`why` is for the Event: the end of the Pod, or what its probe found."""

    name: str
    grace_s: float
    why: str


class Remove(msgspec.Struct, frozen=True):
    """Forget an attempt that nobody asks for any more."""

    name: str
    attempt: int


class Finish(msgspec.Struct, frozen=True):
    """Nothing of the Pod runs and nothing will: say so to the API."""


Step = Start | Stop | Remove | Finish
Seen = Mapping[str, ContainerSeen]
Outcome = Literal["Succeeded", "Failed"]


class Plan(msgspec.Struct, frozen=True):
    """`wake_at` (monotonic seconds) is when to plan again if nothing happens before."""

    steps: tuple[Step, ...]
    wake_at: float | None = None


def plan(shape: PodShape, seen: Seen, *, ending: bool, over: bool, finished: bool, grace_s: float, now: float) -> Plan:
    """Return the next steps.

    *ending*: the Pod is to be gone. *over*: the API has it as Succeeded or Failed. *finished*: Finish was carried out.
    """
    old = tuple(_removals(shape, seen))
    if ending or over or outcome(shape, seen) is not None:
        stops = tuple(_stops(shape, seen, grace_s))
        living = any(seen.get(n, UNSEEN).running for n in shape.names())
        end: tuple[Step, ...] = (Finish(),) if ending and not living and not finished else ()
        return Plan((*old, *stops, *end))
    sick = tuple(Stop(n, shape.grace_s, s.unhealthy) for n, s in _by_name(shape, seen) if s.running and s.unhealthy and not s.stopping)
    due = [(c, seen.get(c.name, UNSEEN)) for c in _turn(shape, seen)]
    starts = tuple(Start(c.name, _next_attempt(s)) for c, s in due if s.retry_at <= now)
    waits = [s.retry_at for _, s in due if s.retry_at > now]
    return Plan((*old, *sick, *starts), min(waits, default=None))


def outcome(shape: PodShape, seen: Seen) -> Outcome | None:
    """Return how the Pod ended by itself, None while it may still run."""
    for c in shape.init:
        code = seen.get(c.name, UNSEEN).exit_code
        if not c.sidecar and shape.policy == "Never" and code not in (None, 0):
            return "Failed"
    if shape.policy == "Always" or not shape.main:
        return None
    codes = [seen.get(c.name, UNSEEN).exit_code for c in shape.main]
    if any(code is None or (code != 0 and shape.policy == "OnFailure") for code in codes):
        return None
    return "Failed" if any(codes) else "Succeeded"


def initialized(shape: PodShape, seen: Seen) -> bool:
    """Whether every init container did its part, so that the others may run."""
    return all(_init_done(c, seen.get(c.name, UNSEEN)) for c in shape.init)


def _init_done(c: ContainerShape, seen: ContainerSeen) -> bool:
    return (seen.running and seen.started) if c.sidecar else seen.exit_code == 0


def _turn(shape: PodShape, seen: Seen) -> Iterator[ContainerShape]:
    """Yield the containers that should run now and do not."""
    mains_began = any(seen.get(c.name, UNSEEN).attempts for c in shape.main)
    for c in shape.init:
        s = seen.get(c.name, UNSEEN)
        if not s.running and (c.sidecar or (s.exit_code != 0 and not mains_began)):
            yield c
        if not mains_began and not _init_done(c, s):
            return
    for c in shape.main:
        s = seen.get(c.name, UNSEEN)
        if not s.running and _again(shape, s.exit_code):
            yield c


def _again(shape: PodShape, code: int | None) -> bool:
    """Whether a container that does not run should: *code* is None when it never ran."""
    return code is None or shape.policy == "Always" or (shape.policy == "OnFailure" and code != 0)


def _next_attempt(seen: ContainerSeen) -> int:
    return 0 if seen.latest is None else seen.latest.attempt + 1


def _stops(shape: PodShape, seen: Seen, grace_s: float) -> Iterator[Stop]:
    """Stop the containers first, then the sidecars that served them."""
    sidecars = tuple(c for c in shape.init if c.sidecar)
    for group in (tuple(c for c in (*shape.main, *shape.init) if c not in sidecars), sidecars):
        living = [c.name for c in group if seen.get(c.name, UNSEEN).running]
        yield from (Stop(n, grace_s, "") for n in living if not seen[n].stopping)
        if living:
            return


def _removals(shape: PodShape, seen: Seen) -> Iterator[Remove]:
    for name, s in _by_name(shape, seen):
        yield from (Remove(name, a.attempt) for a in s.attempts[:-KEPT_ATTEMPTS])


def _by_name(shape: PodShape, seen: Seen) -> Iterator[tuple[str, ContainerSeen]]:
    return ((n, seen[n]) for n in shape.names() if n in seen)
