"""Carries out the plan for each CertificateSigningRequest; the key worker signs, and alone holds the CA's key."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from skerry.hub.certificates.plan import Drop, Fail, Sign, failed, plan
from skerry.kube import Api, Change, Controller, Informer
from skerry.model.errors import ApiError
from skerry.model.objects import Object, dig, name_of, uid_of
from skerry.model.resources import Resource
from skerry.model.times import rfc3339
from skerry.trust import TrustError, Workshop

log = logging.getLogger(__name__)

REQUESTS = Resource("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", namespaced=False)


class CertificateSigner:
    """Runs until cancelled; the informer is run by whoever shares it."""

    def __init__(self, api: Api, workshop: Workshop, pki: Path, *, requests: Informer, now: Callable[[], datetime]) -> None:
        self._api, self._workshop, self._pki, self._now = api, workshop, pki, now
        self._requests = requests
        self.controller: Controller[str] = Controller("certificates", self._reconcile)
        requests.subscribe(self._on_change)

    async def run(self) -> None:
        await self.controller.run()

    def _on_change(self, change: Change) -> None:
        if change.new is not None:
            self.controller.queue.add(name_of(change.object).name)

    async def _reconcile(self, name: str) -> float | None:
        csr = self._requests.get("", name)
        if csr is None:
            return None
        step = plan(csr, self._now())
        match step:
            case Drop():
                await self._drop(csr)
                return None
            case Sign(lifetime_s):
                step = await self._sign(csr, lifetime_s)
        if isinstance(step, Fail):
            await self._tell(csr, failed(csr, step, rfc3339(self._now())))
            return None
        return None if isinstance(step, Sign) else step.seconds

    async def _sign(self, csr: Object, lifetime_s: int) -> Sign | Fail:
        try:
            request = base64.b64decode(str(dig(csr, "spec", "request"))).decode("ascii")
            certificate = await self._workshop.issue_requested(self._pki, request, lifetime_s)
        except (TrustError, ValueError) as error:
            return Fail("SignerValidationFailure", str(error))
        log.info("certificate issued", extra={"request": name_of(csr).name, "asked_by": str(dig(csr, "spec", "username"))})
        await self._tell(csr, {"status": {"certificate": base64.b64encode(certificate.encode()).decode()}})
        return Sign(lifetime_s)

    async def _tell(self, csr: Object, patch: Object) -> None:
        self._requests.learn(await self._api.patch(REQUESTS, "", name_of(csr).name, patch, subresource="status"))

    async def _drop(self, csr: Object) -> None:
        try:
            await self._api.delete(REQUESTS, "", name_of(csr).name, uid=uid_of(csr))
        except ApiError as error:
            if error.code not in (404, 409):
                raise
