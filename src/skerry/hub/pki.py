"""The hub's keys and certificates on disk: made at the first start, renewed in time, never made twice.

What stays true: every file is 0600 in a folder that is 0700; the CA's key is made once, and a hub whose CA is damaged does not
start with a new one, because every node has pinned the old one. What is damaged of the rest is made anew, or named.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from skerry.trust import TrustError, Workshop, facts_of_pem, pem_to_der, token_keys
from skerry.trust.joining import ca_hash
from skerry.trust.tls import client_context, hub_context, rehearse, require_sound

ADMIN_USER, ADMIN_GROUP = "skerry-admin", "system:masters"


class PkiError(Exception):
    """The hub cannot prove who it is; the message says which file and what to do."""


class Pki(msgspec.Struct, frozen=True):
    """The folder `pki` of a hub."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.folder / "ca.key"

    @property
    def server(self) -> Path:
        return self.folder / "server.pem"

    @property
    def admin(self) -> Path:
        return self.folder / "admin.pem"

    @property
    def token_keys(self) -> Path:
        return self.folder / token_keys.FILE

    def ca_pem(self) -> str:
        return self.ca.read_text("ascii", errors="replace")

    def ca_hash(self) -> str:
        """Return the hash that tokens carry."""
        return ca_hash(pem_to_der(self.ca_pem()))

    async def prepare(self, names: Sequence[str], workshop: Workshop, now: datetime) -> None:
        """Make what is missing and renew what runs out; raises PkiError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if not self.ca_key.exists():
            self._require_new()
            await workshop.make_ca(self.folder)
        self._require_sound_ca()
        await self.renew_server(names, workshop, now)
        await self._prepare_token_keys(workshop)
        if is_due(self.admin, now):
            await self._issue_admin(workshop)
        if not self._holds():  # one of the two is damaged
            await self._issue_server(names, workshop)
            await self._issue_admin(workshop)
            if not self._holds():
                raise self._damaged("nothing that it signs can be verified")

    async def _issue_admin(self, workshop: Workshop) -> None:
        await workshop.issue_admin(self.folder, self.admin, user=ADMIN_USER, group=ADMIN_GROUP)

    def _holds(self) -> bool:
        """Whether the hub's and the admin's keys and certificates are whole: each convinces the other."""
        try:
            rehearse(hub_context(self.ca, self.server, ()), client_context(self.ca_pem(), certificate=self.admin))
        except (ssl.SSLError, ValueError):
            return False
        return True

    def _require_sound_ca(self) -> None:
        try:
            facts_of_pem(self.ca_pem())
            require_sound(self.ca, self.ca_key)
        except (TrustError, OSError, ValueError) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, why: str) -> PkiError:
        return PkiError(f"{self.ca} or {self.ca_key} cannot be read ({why}); put them back from a backup: every node has pinned this CA")

    async def _prepare_token_keys(self, workshop: Workshop) -> None:
        """Make the key of tokens at the first start; a damaged file is never replaced, since every Pod's token hangs on it."""
        if not self.token_keys.exists():
            await workshop.make_token_keys(self.token_keys)
        try:
            token_keys.read(self.token_keys)
        except (OSError, ValueError) as error:
            raise PkiError(str(error)) from error

    async def renew_server(self, names: Sequence[str], workshop: Workshop, now: datetime) -> bool:
        """Issue the hub's certificate anew when it runs out or lacks a name; return whether it did."""
        missing = set(names) - set(issued_names(self.server))
        if not missing and not is_due(self.server, now):
            return False
        await self._issue_server(names, workshop)
        return True

    async def _issue_server(self, names: Sequence[str], workshop: Workshop) -> None:
        """Issue the hub's certificate for *names* and those that it had: addresses come and go, and the oldest make room."""
        every = dict.fromkeys([*names, *issued_names(self.server)])
        await workshop.issue_server(self.folder, self.server, list(every)[:MAX_NAMES])

    def _require_new(self) -> None:
        """Refuse a new CA where there was a hub before: its nodes would take it for an attacker."""
        store = self.folder.parent / "hub.sqlite"
        if store.exists():
            raise PkiError(
                f"{store} is there and {self.ca_key} is not: put the folder pki back from a backup, or begin with an empty --data"
            )


MAX_NAMES = 64
_NAME = re.compile(r"[A-Za-z0-9*.:_-]{1,253}")


def is_due(file: Path, now: datetime) -> bool:
    """Whether the certificate in *file* is missing, damaged, or has a third of its life left or less."""
    try:
        facts = facts_of_pem(file.read_text())
    except (OSError, TrustError, UnicodeDecodeError):
        return True
    return now < facts.not_before or now >= facts.not_before + (facts.not_after - facts.not_before) * 2 / 3


def issued_names(file: Path) -> list[str]:
    """Return the names for which the certificate in *file* was issued: the first line says them."""
    try:
        with file.open(encoding="ascii", errors="replace") as text:
            head, _, names = text.readline(8192).partition(": ")
    except OSError:
        return []
    return [name for name in names.split() if _NAME.fullmatch(name)] if head == "names" else []


def server_names(host: str, names: Sequence[str]) -> list[str]:
    """Return every name under which the hub may be asked for: what was given, where it listens, and this machine's own."""
    found = [*names, "localhost", "127.0.0.1", "::1", socket.gethostname().lower()]
    try:
        wildcard = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        wildcard = False
    found += _own_addresses() if wildcard else [host]
    return list(dict.fromkeys(n for n in found if n))


def _own_addresses() -> list[str]:
    """Return the addresses from which this machine reaches others (connecting UDP sends nothing)."""
    found = []
    for family, probe in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asking:
                asking.connect((probe, 9))
                found.append(str(asking.getsockname()[0]))
        except OSError:
            continue
    return found
