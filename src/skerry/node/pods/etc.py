"""The small files of /etc that a Pod gets: it uses the node's network, so it sees the node's names, and its own aliases."""

from __future__ import annotations

from pathlib import Path

from skerry.model.objects import Object, dig, name_of

MAX_HOSTS_BYTES = 1 << 20
_NO_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def etc_files(pod: Object, *, hosts: Path = Path("/etc/hosts")) -> dict[str, str]:
    """Return `/etc/hosts` (the node's, with `spec.hostAliases`) and `/etc/hostname`."""
    try:
        text = hosts.read_bytes()[:MAX_HOSTS_BYTES].decode(errors="replace")
    except OSError:
        text = _NO_HOSTS
    lines = [f"{a['ip']}\t{' '.join(a.get('hostnames') or ())}\n" for a in dig(pod, "spec", "hostAliases", default=())]
    if lines:
        text = text.rstrip("\n") + "\n\n# Entries added by HostAliases.\n" + "".join(lines)
    return {"/etc/hosts": text, "/etc/hostname": f"{hostname_of(pod)}\n"}


def hostname_of(pod: Object) -> str:
    """Return the Pod's host name: at most 63 characters, as Kubernetes cuts it."""
    return str(dig(pod, "spec", "hostname") or name_of(pod).name)[:63].rstrip("-.")
