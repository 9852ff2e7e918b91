"""Which sandbox a container gets: the arguments of bubblewrap, as a pure function of what is to run.

What must stay true: no value reaches a shell; no namespace but the network is shared; every capability is dropped; the
root is read-only; environment and paths travel in a file and not on a command line that others can read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from skerry.node.runtimes.contract import ContainerSpec, Mount, RefusedError
from skerry.node.runtimes.process.places import NOWHERE, Places

HOST_READABLE = (
    "/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/mime.types",
    "/etc/nsswitch.conf", "/etc/protocols", "/etc/resolv.conf", "/etc/services", "/etc/ssl/certs", "/etc/ssl/openssl.cnf",
)  # fmt: skip
"""Of /etc a program of the host sees these, and nothing that names users or holds keys."""

TMP_BYTES = 64 * 2**20
"""The private temporary folder is memory: more of it belongs into an emptyDir."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Argument = str | dict[str, Any]
"""A literal argument of bubblewrap, or a bind that the shim opens and places."""


class HostLayout(msgspec.Struct, frozen=True):
    """What the host's root looks like: `links` (`/bin` -> `usr/bin`), `folders` to show, `files` of /etc that exist."""

    links: Mapping[str, str]
    folders: tuple[str, ...]
    files: tuple[str, ...]


def bwrap_arguments(spec: ContainerSpec, *, host: HostLayout, uid: int, gid: int, where: Places = NOWHERE) -> list[Argument]:
    """Return the arguments for *spec*; (uid, gid) is who the container's processes are inside."""
    _refuse_nul(spec)
    found: list[Argument] = ["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
    found += ["--disable-userns", "--cap-drop", "ALL", "--new-session", "--hostname", spec.hostname]
    found += ["--uid", str(uid), "--gid", str(gid), "--clearenv"]
    for name, value in spec.env.items():
        found += ["--setenv", name, value]
    found += [*_image_root(spec), *_rebuilt(spec, where)] if spec.image.root else _host_root(host)
    found += ["--proc", "/proc", "--dev", "/dev", "--size", str(TMP_BYTES), "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108  # a fresh one, inside
    if not spec.image.root:
        found += [_bind(Mount(path, path)) for path in (*host.files, *spec.image.binds)]
    mounts = [replace(m, target=where.moved.get(m.target, m.target)) for m in spec.mounts]
    found += [_bind(mount) for mount in sorted(mounts, key=lambda m: m.target.count("/"))]
    for folder in where.rebuilt:
        found += ["--remount-ro", folder]
    return [*found, "--remount-ro", "/", "--chdir", spec.workdir]


def _image_root(spec: ContainerSpec) -> list[Argument]:
    """Show the image's folders one by one, so that the root itself can hold the places of mounts."""
    return [_bind(Mount(f"{spec.image.root}/{name}", f"/{name}")) for name in spec.image.binds]


def _rebuilt(spec: ContainerSpec, where: Places) -> list[Argument]:
    """Show a folder that lacks the place of a mount as a new one with the same entries."""
    found: list[Argument] = []
    for folder, entries in where.rebuilt.items():
        found += ["--tmpfs", folder]
        for name, link in entries.items():
            path = f"{folder}/{name}"
            found += ["--symlink", link, path] if link else [_bind(Mount(f"{spec.image.root}{path}", path))]
    return found


def _host_root(host: HostLayout) -> list[Argument]:
    found: list[Argument] = [_bind(Mount(folder, folder)) for folder in host.folders]
    for link, target in host.links.items():
        found += ["--symlink", target, link]
    return found


def _bind(mount: Mount) -> Argument:
    return {"source": mount.source, "inside": mount.inside, "target": mount.target, "read_only": mount.read_only}


def _refuse_nul(spec: ContainerSpec) -> None:
    """A NUL would end an argument early and smuggle in the next one."""
    texts: Iterable[tuple[str, str]] = (
        *((f"argument {i}", a) for i, a in enumerate(spec.argv)),
        *(("an environment variable's name", k) for k in spec.env),
        *((f"environment variable {k}", v) for k, v in spec.env.items()),
        *((f"mount {m.target!r}", m.source + m.target + m.inside) for m in spec.mounts),
        ("the working directory", spec.workdir),
        ("the host name", spec.hostname),
    )
    for what, text in texts:
        if "\0" in text:
            raise RefusedError("InvalidContainer", f"{what} of container {spec.key.name} contains a NUL byte")
    for name in spec.env:
        if not name or "=" in name:
            raise RefusedError("InvalidContainer", f"{name!r} cannot be the name of an environment variable")
