"""The node's state folder: what is where, and only its owner may read it.

What stays true: a key is made once and never replaced; certificate, CA and settings are written whole or not at all.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec

from skerry.model.unreadable import NOT_JSON
from skerry.node.identity.settings import NodeSettings
from skerry.trust import CertificateFacts, TrustError, facts_of_pem, replace_private


class IdentityError(Exception):
    """The state folder is not that of a node that has joined, or another process uses it; the message says what to do."""


class Identity(msgspec.Struct, frozen=True):
    """A node that has joined."""

    settings: NodeSettings
    ca: str
    """The hub's CA (PEM), pinned when the node joined."""
    certificate: CertificateFacts

    @property
    def name(self) -> str:
        return self.settings.name


class StateFolder(msgspec.Struct, frozen=True):
    """One node's folder."""

    path: Path

    @property
    def key(self) -> Path:
        return self.path / "node.key"

    @property
    def certificate(self) -> Path:
        return self.path / "node.crt"

    @property
    def ca(self) -> Path:
        return self.path / "hub-ca.crt"

    @property
    def settings(self) -> Path:
        return self.path / "node.json"

    def prepare(self) -> None:
        """Make the folder, for its owner only (others may pass through: Pods have users of their own)."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o711)

    def lock(self) -> int:
        """Take the folder for this process until it ends; raises IdentityError when another has it. Returns the handle."""
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise IdentityError(f"another skerry node runs with {self.path}; stop it first, or use another --state") from error
        return handle

    def load(self) -> Identity:
        """Read who we are; raises IdentityError when the node has not joined, or a file is damaged."""
        try:
            settings = self.load_settings()
            ca, certificate = self.ca.read_text(), self.certificate.read_text()
            return Identity(settings, ca, facts_of_pem(certificate))
        except FileNotFoundError as error:
            raise IdentityError(f"{self.path} has no {Path(str(error.filename)).name}: join first, with `skerry node join`") from error
        except TrustError as error:
            raise IdentityError(f"{self.certificate} is damaged ({error}): join again with the same --state") from error

    def load_settings(self) -> NodeSettings:
        """Read `node.json`; raises FileNotFoundError, or IdentityError naming the field."""
        try:
            return msgspec.json.decode(self.settings.read_bytes(), type=NodeSettings)
        except NOT_JSON as error:
            raise IdentityError(f"{self.settings}: {error}") from error

    def save_settings(self, settings: NodeSettings) -> None:
        replace_private(self.settings, msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n")

    def save_ca(self, pem: str) -> None:
        replace_private(self.ca, pem.encode())

    def save_certificate(self, pem: str) -> None:
        replace_private(self.certificate, pem.encode())
