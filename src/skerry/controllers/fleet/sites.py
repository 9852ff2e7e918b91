"""Keeps the status of Sites: who is there, and whether the place can be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from skerry.controllers.fleet.site_plan import is_heard, status
from skerry.controllers.informers import Informers
from skerry.kube import Api, Change, Controller
from skerry.model.objects import Object, labels_of, name_of, uid_of
from skerry.model.resources import NODES, SITE_LABEL, SITES

BY_SITE = "site"


def _site(node: Object) -> Iterable[str]:
    return (labels_of(node).get(SITE_LABEL, ""),)


def _facts(node: Object | None) -> tuple[str, bool] | None:
    """Return what a Site's status says of a node."""
    return None if node is None else (labels_of(node).get(SITE_LABEL, ""), is_heard(node))


class Sites:
    """The Site controller."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._sites, self._nodes = informers.of(SITES), informers.of(NODES)
        self._nodes.add_index(BY_SITE, _site)
        self.controller = Controller[str]("sites", self.reconcile)
        self._sites.subscribe(lambda change: self.controller.queue.add(change.name.name))
        self._nodes.subscribe(self._on_node)

    def _on_node(self, change: Change) -> None:
        """Look at the Sites that a node left, came to, or is heard at again or no more: most of what a node writes is none of that."""
        if _facts(change.old) != _facts(change.new):
            for node in (change.old, change.new):
                if node is not None:
                    self.controller.queue.add(labels_of(node).get(SITE_LABEL, ""))

    async def reconcile(self, name: str) -> None:
        site = self._sites.get("", name)
        if site is None:
            return
        new = status(site, self._nodes.indexed(BY_SITE, name), self._now())
        if new != site.get("status"):
            patch = {"metadata": {"uid": uid_of(site)}, "status": new}
            self._sites.learn(await self._api.patch(SITES, *name_of(site), patch, subresource="status"))
