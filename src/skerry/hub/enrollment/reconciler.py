"""Carries out what people decide on Enrollments: status, certificate, the Node's labels, and tokens that ran out.

The front door's roster is not fed from here: it follows the Enrollments by itself, so that a denial waits for nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from skerry.hub.enrollment.plan import needs_certificate, node_labels_patch, status_for, status_patch, superseded
from skerry.hub.enrollment.tokens import from_secret
from skerry.hub.frontdoor.roster import Roster
from skerry.kube import Api, Change, Controller, Informer
from skerry.model.errors import ApiError
from skerry.model.kinds.enrollment import APPROVED, DENIED, PENDING
from skerry.model.objects import Object, dig, metadata, name_of, uid_of
from skerry.model.resources import ENROLLMENTS, NODES, SECRETS, SYSTEM_NAMESPACE, Resource
from skerry.model.times import parse_time
from skerry.trust import TrustError, Workshop

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 60.0
KEPT_AFTER_EXPIRY = timedelta(hours=1)
"""A used or expired token is kept a while, so that who shows it is told why it is refused."""
PENDING_FOR = timedelta(days=7)
"""An Enrollment that nobody decided on is dropped after this; a node that still asks makes a new one."""


BY_NODE = "node of enrollment"


def _node_of(enrollment: Object) -> str:
    return str(dig(enrollment, "spec", "nodeName", default=""))


class EnrollmentReconciler:
    """Runs until cancelled; the informers are run by whoever shares them. *changed* is called after each change of the roster."""

    def __init__(
        self,
        api: Api,
        roster: Roster,
        workshop: Workshop,
        pki: Path,
        *,
        enrollments: Informer,
        nodes: Informer,
        now: Callable[[], datetime],
        changed: Callable[[], None],
    ) -> None:
        self._api = api
        self._roster = roster
        self._workshop = workshop
        self._pki = pki
        self._now = now
        self._changed = changed
        self._enrollments = enrollments
        self._nodes = nodes
        self._of_enrollment: Controller[str] = Controller("enrollment", self._reconcile)
        self._of_node: Controller[str] = Controller("node labels", self._label)
        self._enrollments.add_index(BY_NODE, lambda enrollment: (_node_of(enrollment),))
        self._enrollments.subscribe(self._on_enrollment)
        self._nodes.subscribe(self._on_node)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for work in (self._of_enrollment.run(), self._of_node.run(), self._sweep()):
                group.create_task(work)

    def _on_enrollment(self, change: Change) -> None:
        enrollment = change.object
        if change.new is None:
            self._roster.remove(name_of(enrollment).name)
            self._changed()
        elif self._roster.put(enrollment):
            self._changed()
        self._of_enrollment.queue.add(name_of(enrollment).name)
        self._of_node.queue.add(_node_of(enrollment))

    def _on_node(self, change: Change) -> None:
        if change.new is not None:
            self._of_node.queue.add(name_of(change.object).name)

    async def _reconcile(self, name: str) -> float | None:
        enrollment = self._enrollments.get("", name)
        if enrollment is None:
            return None
        certificate = str(dig(enrollment, "status", "certificate", default=""))
        if needs_certificate(enrollment):
            certificate = await self._issue(enrollment)
        patch = status_patch(enrollment, status_for(enrollment, certificate=certificate, now=self._now()))
        if patch is not None:
            self._enrollments.learn(await self._api.patch(ENROLLMENTS, "", name, patch, subresource="status"))
        of_node = self._enrollments.indexed(BY_NODE, _node_of(enrollment))
        for old in superseded(enrollment, of_node):
            log.warning("a node was replaced: its former key is denied", extra={"enrollment": old, "by": name})
            await self._api.patch(ENROLLMENTS, "", old, {"spec": {"decision": DENIED}})
        return None

    async def _issue(self, enrollment: Object) -> str:
        try:
            return await self._workshop.issue_node(self._pki, str(dig(enrollment, "spec", "csr")), str(dig(enrollment, "spec", "nodeName")))
        except TrustError as error:
            log.warning("no certificate can be issued", extra={"enrollment": name_of(enrollment).name, "reason": str(error)})
            return ""

    async def _label(self, node_name: str) -> float | None:
        node, enrollment = self._nodes.get("", node_name), self._approved(node_name)
        if node is None or enrollment is None:
            return None  # a denied node keeps its labels: it is still at its site
        patch = node_labels_patch(node, enrollment)
        if patch is not None:
            self._nodes.learn(await self._api.patch(NODES, "", node_name, patch))
        return None

    def _approved(self, node_name: str) -> Object | None:
        found = [e for e in self._enrollments.indexed(BY_NODE, node_name) if dig(e, "spec", "decision") == APPROVED]
        allowed = [e for e in found if not self._roster.denied(str(dig(e, "spec", "keyHash")))]
        return max(allowed, key=lambda e: str(metadata(e).get("creationTimestamp") or ""), default=None)

    async def _sweep(self) -> None:
        """Drop tokens that ran out, and Enrollments that nobody decided on."""
        while True:
            try:
                await self._drop_tokens()
                await self._drop_pending()
            except (ApiError, ConnectionError) as error:
                log.warning("old tokens were not dropped", extra={"reason": str(error)})
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _drop_tokens(self) -> None:
        for secret in (await self._api.list(SECRETS, SYSTEM_NAMESPACE)).items:
            record = from_secret(secret)
            if record is not None and record.expires + KEPT_AFTER_EXPIRY < self._now():
                await self._delete(SECRETS, secret)

    async def _drop_pending(self) -> None:
        for enrollment in list(self._enrollments.objects()):
            made = metadata(enrollment).get("creationTimestamp")
            waits = dig(enrollment, "spec", "decision", default=PENDING) == PENDING
            if waits and made and parse_time(made) + PENDING_FOR < self._now():
                await self._delete(ENROLLMENTS, enrollment)

    async def _delete(self, resource: Resource, obj: Object) -> None:
        namespace, name = name_of(obj)
        try:
            await self._api.delete(resource, namespace, name, uid=uid_of(obj))
        except ApiError as error:
            if error.code not in (404, 409):
                raise
