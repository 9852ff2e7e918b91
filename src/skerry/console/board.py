"""Keeps the views of all nodes, sites and devices, and tells every browser what of them changed, a few times a second.

A change that shows nothing new (a heartbeat) reaches no browser. Nothing here waits for a browser.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from skerry.console.ports import Sources
from skerry.console.stream import Browser
from skerry.console.views import View, device_view, node_view, site_view, units
from skerry.model.objects import Name, Object, dig, labels_of, name_of
from skerry.model.resources import SITE_LABEL

PACE_S = 0.3
"""Changes are collected for so long before they are looked at."""

Views = dict[str, dict[str, View]]


def board(sources: Sources) -> Views:
    """Return all views by kind and key."""
    nodes, devices = sources.nodes.objects(), sources.devices.objects()
    profiles = {name_of(p): p for p in sources.profiles.objects()}
    sites = {name_of(n).name: labels_of(n).get(SITE_LABEL, "") for n in nodes}
    pods = _count_pods(sources.pods.objects())
    return {
        "site": {name_of(s).name: site_view(s) for s in sources.sites.objects()},
        "node": {
            name_of(n).name: node_view(n, pods=len(phases := pods.get(name_of(n).name, [])), running=phases.count("Running")) for n in nodes
        },
        "device": {str(name_of(d)): _device(d, sites, profiles) for d in devices},
    }


def _device(device: Object, sites: Mapping[str, str], profiles: Mapping[Name, Object]) -> View:
    profile = Name(name_of(device).namespace, str(dig(device, "spec", "profile", default="")))
    return device_view(device, site=sites.get(str(dig(device, "status", "nodeName", default="")), ""), units=units(profile, profiles))


def _count_pods(pods: Iterable[Object]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pod in pods:
        phase = str(dig(pod, "status", "phase", default="Pending"))
        if phase not in ("Succeeded", "Failed"):
            found.setdefault(str(dig(pod, "spec", "nodeName", default="")), []).append(phase)
    return found


def changes(old: Views, new: Views) -> list[tuple[str, View]]:
    """Return what to tell: (kind, view) for what is new or changed, ("gone", {kind, key}) for what went."""
    told: list[tuple[str, View]] = []
    for kind, views in new.items():
        before: Mapping[str, View] = old.get(kind, {})
        told += [(kind, view) for key, view in views.items() if before.get(key) != view]
        told += [("gone", {"kind": kind, "key": key}) for key in before if key not in views]
    return told


class Board:
    """The shared state behind all open pages."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._dirty = asyncio.Event()
        self._browsers: set[Browser] = set()
        self.views = board(sources)
        for collection in (sources.nodes, sources.pods, sources.sites, sources.devices, sources.profiles):
            collection.subscribe(self._changed)

    def _changed(self, change: object) -> None:
        self._dirty.set()

    def add(self, browser: Browser) -> None:
        self._browsers.add(browser)

    def remove(self, browser: Browser) -> None:
        self._browsers.discard(browser)

    @property
    def browsers(self) -> frozenset[Browser]:
        return frozenset(self._browsers)

    def refresh(self) -> Views:
        """Bring the views up to date, tell the open pages, and return them."""
        self._dirty.clear()
        new = board(self._sources)
        for kind, view in changes(self.views, new):
            for browser in self._browsers:
                browser.tell(kind, view)
        self.views = new
        return new

    async def run(self) -> None:
        """Tell changes until cancelled; while nobody looks, nothing is computed."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(PACE_S)
            if self._browsers:
                self.refresh()
            else:
                self._dirty.clear()
