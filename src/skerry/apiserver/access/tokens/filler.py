"""Fills Secrets of type `kubernetes.io/service-account-token`, and removes them with their ServiceAccount.

A Secret that is there before its ServiceAccount waits for it. One that does not get its token is tried again at the next change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from skerry.apiserver.access.store_facts import StoreFacts
from skerry.apiserver.access.tokens.jwt import encode
from skerry.apiserver.access.tokens.keys import TokenKeys
from skerry.apiserver.access.tokens.legacy import NAME, TYPE, build_legacy, filled, wants_token
from skerry.apiserver.local import LocalApi
from skerry.apiserver.store import Change, Record, Store
from skerry.model.errors import ApiError
from skerry.model.objects import Object, annotations_of, dig, name_of, uid_of
from skerry.model.resources import SECRETS

log = logging.getLogger(__name__)

Place = tuple[str, str]


class SecretFiller:
    """`follow` the store's changes, `run` until cancelled."""

    def __init__(self, store: Store, api: LocalApi, keys: TokenKeys) -> None:
        self._store, self._api, self._keys = store, api, keys
        self._facts = StoreFacts(store)
        self._waiting: set[Place] = set()
        self._orphaned: set[Place] = set()
        self._wake = asyncio.Event()

    def load(self) -> None:
        """Look at what is stored."""
        for record in self._store.list("secrets").records:
            self._note(record)

    def follow(self, changes: list[Change]) -> None:
        """Take note of Secrets that want a token, and of ServiceAccounts that came or went."""
        for change in changes:
            key = change.record.key
            if key.resource == "secrets" and change.type != "DELETED":
                self._note(change.record)
            elif key.resource == "serviceaccounts":
                if change.type == "DELETED":
                    self._orphaned.add((key.namespace, key.name))
                if change.type == "DELETED" or change.type == "ADDED":
                    self._wake.set()

    def _note(self, record: Record) -> None:
        if record.fields.get("type") == TYPE:
            self._waiting.add((record.key.namespace, record.key.name))
            self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            orphaned, self._orphaned = self._orphaned, set()
            for namespace, account in sorted(orphaned):
                await self._try(self._remove(namespace, account))
            for place in sorted(self._waiting):
                await self._try(self._fill(*place))

    @staticmethod
    async def _try(work: Awaitable[None]) -> None:
        try:
            await work
        except ApiError as error:
            if error.code not in (404, 409):
                log.warning("a Secret did not get its token", extra={"reason": error.message})

    async def _fill(self, namespace: str, name: str) -> None:
        secret = self._facts.get("secrets", namespace, name)
        account_name = wants_token(secret) if secret is not None else ""
        if secret is None or not account_name:
            self._waiting.discard((namespace, name))
            return
        account = self._facts.get("serviceaccounts", namespace, account_name)
        if account is None:
            return  # it waits
        token = encode(build_legacy(account, secret), self._keys.active, self._keys.sign)
        ca = dig(self._facts.get("configmaps", namespace, "kube-root-ca.crt"), "data", "ca.crt", default="")
        await self._api.replace(SECRETS, filled(secret, account, token, str(ca)))
        self._waiting.discard((namespace, name))

    async def _remove(self, namespace: str, account: str) -> None:
        if self._facts.get("serviceaccounts", namespace, account) is not None:
            return
        for record in self._store.list("secrets", namespace).records:
            if record.fields.get("type") == TYPE:
                await self._remove_one(self._facts.get("secrets", namespace, record.key.name), account)

    async def _remove_one(self, secret: Object | None, account: str) -> None:
        if secret is not None and annotations_of(secret).get(NAME) == account:
            namespace, name = name_of(secret)
            await self._api.delete(SECRETS, namespace, name, uid=uid_of(secret))
