"""What a hub is told when it starts."""

from __future__ import annotations

from pathlib import Path

import msgspec


class HubSettings(msgspec.Struct, frozen=True):
    """One hub process."""

    data: Path
    """Folder of everything it keeps: `hub.sqlite`, `events.sqlite`, `pki/`, `admin.kubeconfig`."""
    host: str = "127.0.0.1"
    port: int = 6443
    """The one port; 0 takes a free one."""
    names: tuple[str, ...] = ()
    """Host names and addresses under which nodes and people reach it; its certificate carries them."""
    audit_required: bool = False
    """Whether a write that could not be logged is refused; else it is carried out, and the lines that are lost are counted."""
    node_grace_s: float = 40.0
    """Seconds of a node's silence until it is NotReady: four missed Leases, as in Kubernetes."""


def parse_listen(text: str) -> tuple[str, int]:
    """Read `address:port`, `[ipv6]:port` or `:port`; raises ValueError that says what it should look like."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not ADDRESS:PORT, such as 0.0.0.0:6443 or [::]:6443")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - ":6443" asks for every address
