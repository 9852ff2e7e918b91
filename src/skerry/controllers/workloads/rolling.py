"""The arithmetic of a rollout: how many replicas each ReplicaSet of a Deployment shall have next. Pure, numbers only.

A rolling update never makes more than replicas + maxSurge Pods, and takes down an available Pod only while more than
replicas - maxUnavailable are available.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace


class Size(msgspec.Struct, frozen=True):
    """A ReplicaSet in numbers: what it shall have, what it has, and how many of these are available."""

    name: str
    wanted: int
    actual: int
    available: int


class Limits(msgspec.Struct, frozen=True):
    """A Deployment's rolling update, resolved: at least one of the two is above zero."""

    replicas: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        return self.replicas + self.surge

    @property
    def fewest_available(self) -> int:
        return max(0, self.replicas - self.unavailable)


def limits(replicas: int, surge: int | str, unavailable: int | str) -> Limits:
    """Resolve percentages as Kubernetes does: surge up, unavailable down, and never both zero."""
    up = _resolve(surge, replicas, round_up=True)
    down = _resolve(unavailable, replicas, round_up=False)
    if up == 0 and down == 0:
        down = 1
    return Limits(replicas, up, min(down, replicas))


def _resolve(value: int | str, total: int, *, round_up: bool) -> int:
    if isinstance(value, int):
        return max(0, value)
    percent = int(value.rstrip("%")) * total / 100
    return max(0, math.ceil(percent) if round_up else math.floor(percent))


def roll(new: Size, old: Sequence[Size], limit: Limits) -> dict[str, int]:
    """Return the next sizes by name, only those that change: first the new one grows, then the old ones (oldest first) shrink."""
    grown = _grow(new, old, limit)
    if grown != new.wanted:
        return {new.name: grown}
    return _shrink(new, old, limit)


def _grow(new: Size, old: Sequence[Size], limit: Limits) -> int:
    if new.wanted >= limit.replicas:
        return limit.replicas
    room = limit.most - new.wanted - sum(s.wanted for s in old)
    return min(new.wanted + max(0, room), limit.replicas)


def _shrink(new: Size, old: Sequence[Size], limit: Limits) -> dict[str, int]:
    total = new.wanted + sum(s.wanted for s in old)
    spare = total - limit.fewest_available - max(0, new.wanted - new.available)
    if spare <= 0:
        return {}
    sizes = {s.name: s for s in old}
    # Replicas that are not available are missed by nobody: they go first, whatever the age of their ReplicaSet.
    for size in old:
        broken = min(spare, max(0, size.wanted - size.available))
        sizes[size.name] = replace(size, wanted=size.wanted - broken)
        spare -= broken
    healthy = new.available + sum(min(s.available, sizes[s.name].wanted) for s in old) - limit.fewest_available
    for size in old:
        now = sizes[size.name]
        gone = min(now.wanted, max(0, healthy))
        sizes[size.name] = replace(now, wanted=now.wanted - gone)
        healthy -= gone
    return {s.name: sizes[s.name].wanted for s in old if sizes[s.name].wanted != s.wanted}


def recreate(new: Size, old: Sequence[Size], replicas: int, *, old_pods_remain: bool) -> dict[str, int]:
    """Return the next sizes when nothing new may run beside anything old."""
    ended = {s.name: 0 for s in old if s.wanted}
    if ended:
        return ended
    if old_pods_remain or new.wanted == replicas:
        return {}
    return {new.name: replicas}


def rescale(sizes: Sequence[Size], limit: Limits, before: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return the sizes after `replicas` was changed in the middle of a rollout: each active one keeps its share.

    *sizes* are newest first. *before* says, by name, of how many replicas a size is a share; else it is of all there are.
    """
    active = [s for s in sizes if s.wanted]
    total = sum(s.wanted for s in active)
    if len(active) < 2:
        return {s.name: limit.replicas for s in active if s.wanted != limit.replicas}
    change = limit.most - total
    ordered = sorted(active if change > 0 else reversed(active), key=lambda s: -s.wanted)
    added: dict[str, int] = {}
    for size in ordered:
        left = change - sum(added.values())
        share = _rounded(size.wanted * limit.most, (before or {}).get(size.name) or total) - size.wanted
        added[size.name] = max(0, min(share, left)) if change > 0 else min(0, max(share, left))
    # What rounding left over goes to the largest; when it is too small to take it, to the next.
    for size in ordered:
        more = max(change - sum(added.values()), -size.wanted - added[size.name])
        added[size.name] += more
    return {s.name: s.wanted + added[s.name] for s in active if added[s.name]}


def _rounded(value: int, by: int) -> int:
    return (2 * value + by) // (2 * by)
