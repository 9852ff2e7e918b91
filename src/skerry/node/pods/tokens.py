"""Tokens of ServiceAccounts for the node's Pods: asked for with the Pod's UID, renewed in time, kept for a start without a hub.

What stays true: a token is asked for once for a Pod, audience and lifetime; one that is old is used rather than none, so it never
keeps a Pod from starting; when to renew is counted on a clock that never jumps.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from skerry.durable import StoreError
from skerry.kube import Api, Backoff
from skerry.model.chance import fraction
from skerry.model.errors import ApiError
from skerry.model.objects import Object, dig, name_of, uid_of
from skerry.model.resources import SERVICEACCOUNTS
from skerry.node.memory import Memory
from skerry.node.pods.env import ConfigError, NotKnownError

log = logging.getLogger(__name__)

RENEW_AT = 0.8
"""Of a token's life: what the kubelet does."""
DEFAULT_LIFETIME_S = 3600
AGAIN = Backoff(first_s=1.0, limit_s=60.0)
_FACT = "token "


class Kept(msgspec.Struct, frozen=True):
    """A token as it is remembered; `made` is the node's clock then, which may have been wrong."""

    token: str
    made: float


class Wanted(NamedTuple):
    """Which token: of which Pod and account, for whom, for how long."""

    pod_uid: str
    namespace: str
    pod: str
    account: str
    audience: str
    lifetime_s: int

    @property
    def fact(self) -> str:
        return f"{_FACT}{self.pod_uid} {self.lifetime_s} {self.audience}"


class PodTokens:
    """`of` gives a token at once or says that it is on its way; *changed* is called with the Pod's uid when one came."""

    def __init__(
        self,
        api: Api,
        memory: Memory,
        changed: Callable[[str], None],
        *,
        now: Callable[[], datetime],
        connected: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._api, self._memory, self._changed = api, memory, changed
        self._now, self._connected = now, connected
        self._held: dict[Wanted, Kept] = {}
        self._keepers: dict[Wanted, asyncio.Task[None]] = {}
        self._refused: dict[Wanted, str] = {}

    def of(self, pod: Object, source: Mapping[str, Any]) -> bytes:
        """Return the token for a projected volume's source; NotKnownError while it is on its way, ConfigError when it is refused."""
        namespace, name = name_of(pod)
        account = str(dig(pod, "spec", "serviceAccountName", default="") or "default")
        lifetime_s = int(source.get("expirationSeconds") or DEFAULT_LIFETIME_S)
        wanted = Wanted(uid_of(pod), namespace, name, account, str(source.get("audience") or ""), lifetime_s)
        if wanted not in self._keepers:
            self._keepers[wanted] = asyncio.get_running_loop().create_task(self._keep(wanted), name=f"token of {namespace}/{name}")
        kept = self._kept(wanted)
        if kept is not None:
            return kept.token.encode()
        if wanted in self._refused:
            raise ConfigError(f'no token for service account "{account}": {self._refused[wanted]}')
        raise NotKnownError(f'the token of service account "{account}" is not known to this node yet: it waits for its hub')

    async def forget(self, pod_uid: str) -> None:
        """The Pod is over: its tokens are worth nothing any more."""
        for wanted in [w for w in self._keepers if w.pod_uid == pod_uid]:
            self._keepers.pop(wanted).cancel()
            self._refused.pop(wanted, None)
            self._held.pop(wanted, None)
        await self._drop([f for f in self._memory.facts(_FACT) if f.split(" ")[1] == pod_uid])

    async def forget_others(self, pod_uids: set[str]) -> None:
        """Drop the tokens of Pods of an earlier life that are not among *pod_uids*."""
        await self._drop([f for f in self._memory.facts(_FACT) if f.split(" ")[1] not in pod_uids])

    async def close(self) -> None:
        tasks = list(self._keepers.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drop(self, facts: list[str]) -> None:
        for fact in facts:
            try:
                await self._memory.forget_fact(fact)
            except StoreError as error:
                log.warning("an old token was not forgotten", extra={"reason": str(error)})

    def _kept(self, wanted: Wanted) -> Kept | None:
        if wanted not in self._held:
            text = self._memory.fact(wanted.fact)
            if not text:
                return None
            self._held[wanted] = msgspec.json.decode(text, type=Kept)
        return self._held[wanted]

    async def _keep(self, wanted: Wanted) -> None:
        """Have a token, and a fresh one in time, until cancelled."""
        kept = self._kept(wanted)
        if kept is not None:
            await asyncio.sleep(self._left_s(kept, wanted))
        attempt = 0
        while True:
            try:
                await self._renew(wanted)
            except (ApiError, ConnectionError) as error:
                self._note_refusal(wanted, error)
                await asyncio.sleep(AGAIN.delay_s(attempt))
                attempt += 1
            else:
                attempt = 0
                await asyncio.sleep(wanted.lifetime_s * RENEW_AT * (0.95 + 0.05 * fraction()))

    def _left_s(self, kept: Kept, wanted: Wanted) -> float:
        """Return how long a token of an earlier life need not be renewed; a clock that makes no sense means at once."""
        old_s = self._now().timestamp() - kept.made
        life_s = wanted.lifetime_s * RENEW_AT
        return life_s - old_s if 0 <= old_s <= life_s else 0.0

    def _note_refusal(self, wanted: Wanted, error: Exception) -> None:
        if isinstance(error, ApiError) and error.code < 500 and error.code != 429:
            first = wanted not in self._refused
            self._refused[wanted] = error.message
            if first:
                log.warning("no token for a pod", extra={"pod": f"{wanted.namespace}/{wanted.pod}", "reason": error.message})
                self._changed(wanted.pod_uid)

    async def _renew(self, wanted: Wanted) -> None:
        if self._connected is not None:
            await self._connected()
        bound = {"apiVersion": "v1", "kind": "Pod", "name": wanted.pod, "uid": wanted.pod_uid}
        spec = {"audiences": [wanted.audience] if wanted.audience else [], "expirationSeconds": wanted.lifetime_s, "boundObjectRef": bound}
        meta = {"namespace": wanted.namespace, "name": wanted.account}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": meta, "spec": spec}
        answer = await self._api.create(SERVICEACCOUNTS, request, subresource="token")
        kept = Kept(str(dig(answer, "status", "token", default="")), self._now().timestamp())
        self._held[wanted] = kept
        self._refused.pop(wanted, None)
        try:
            await self._memory.remember(wanted.fact, msgspec.json.encode(kept).decode())
        except StoreError as error:
            log.warning("a token is kept in RAM only", extra={"pod": f"{wanted.namespace}/{wanted.pod}", "reason": str(error)})
        self._changed(wanted.pod_uid)


TokenSource = Callable[[Object, Mapping[str, Any]], bytes]
"""`PodTokens.of`: what gives a Pod its token."""


def no_tokens(pod: Object, source: Mapping[str, Any]) -> bytes:
    """Refuse by name where nobody gives tokens."""
    raise ConfigError("this node gives no tokens of service accounts: set automountServiceAccountToken: false")
