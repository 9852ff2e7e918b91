"""A Pod's volumes on the node's disk: made before its containers start, kept up to date while they run.

What stays true: nothing a Pod names leads out of its own folder, but a hostPath that the node's configuration allows;
files of a ConfigMap or Secret change together, as Kubernetes has it (a link `..data` moves); Secrets rest in RAM.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from skerry.model.names import dns_label_error
from skerry.model.objects import Object, annotations_of, uid_of
from skerry.model.unreadable import NOT_JSON
from skerry.model.volumes import LOCAL_PATHS
from skerry.node.pods.contents import CONFIG_VOLUMES, Files, check_relative, volume_files
from skerry.node.pods.env import Lookup, NodeFacts, expand
from skerry.node.pods.tokens import TokenSource, no_tokens
from skerry.node.runtimes.contract import Mount, RefusedError, RuntimeFailedError
from skerry.node.trees import remove_tree

_DATA = "..data"
_MEMORY_FOLDERS = ("/run/skerry", "/dev/shm")  # noqa: S108  # each checked to be RAM and ours
ON_THE_HOST = ("hostPath", "persistentVolumeClaim")
_HOST_PATH_TYPES = {"": "any", "Directory": "directory", "DirectoryOrCreate": "directory", "File": "file", "FileOrCreate": "file"}


class VolumeRoom(msgspec.Struct, frozen=True):
    """Where volumes are. `pods` is the runtime's folder; `memory` a folder in RAM, or None where there is none."""

    pods: Path
    memory: Path | None
    host_paths: Sequence[str] = ()

    def folder(self, pod_uid: str, name: str, *, in_memory: bool) -> Path:
        base = self.memory if in_memory and self.memory is not None else self.pods
        return base / pod_uid / "volumes" / name

    def prepare(
        self, pod: Object, owner: tuple[int, int], node: NodeFacts, lookup: Lookup, token: TokenSource = no_tokens
    ) -> dict[str, Path]:
        """Make or refresh every volume; return where each is. Raises RuntimeFailedError naming the volume."""
        found = {}
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            try:
                found[volume["name"]] = self._one(volume, pod, owner, (node, lookup, token))
            except OSError as error:
                raise RuntimeFailedError("FailedMount", f"volume {volume['name']!r}: {error.strerror or error}") from error
        return found

    def _one(self, volume: Mapping[str, Any], pod: Object, owner: tuple[int, int], known: tuple[NodeFacts, Lookup, TokenSource]) -> Path:
        name = volume["name"]
        wrong = dns_label_error(name)
        if wrong:
            raise RefusedError("CreateContainerConfigError", f"volume {name!r}: {wrong}")
        if volume.get("hostPath"):
            return allowed_host_path(volume["hostPath"], self.host_paths)
        if volume.get("persistentVolumeClaim"):
            path = local_path(volume["persistentVolumeClaim"]["claimName"], pod)
            return allowed_host_path({"path": path, "type": "Directory"}, self.host_paths)
        if any(volume.get(k) for k in CONFIG_VOLUMES):
            folder = self.folder(uid_of(pod), name, in_memory=_is_secret(volume))
            write_files(folder, volume_files(volume, pod, *known), owner)
            return folder
        if "emptyDir" in volume:
            folder = self.folder(uid_of(pod), name, in_memory=(volume["emptyDir"] or {}).get("medium") == "Memory")
            _make_empty(folder, owner)
            return folder
        kind = next((k for k in volume if k != "name"), "of no kind")
        raise RefusedError("FailedMount", f"volume {name!r}: {kind} is not supported by the process runtime")

    def remove(self, pod_uid: str) -> None:
        """Remove what is left in RAM; the rest goes with the Pod's folder."""
        if self.memory is not None:
            remove_tree(self.memory / pod_uid, ignore_errors=True)

    def leftovers(self) -> list[str]:
        """Return the Pods that have something in RAM."""
        if self.memory is None or not self.memory.is_dir():
            return []
        return sorted(p.name for p in self.memory.iterdir() if not p.name.startswith("."))  # a UID begins with no dot


def _is_secret(volume: Mapping[str, Any]) -> bool:
    sources = (volume.get("projected") or {}).get("sources") or ()
    return bool(volume.get("secret")) or any(s.get("secret") or s.get("serviceAccountToken") for s in sources)


def mounts_of(container: Mapping[str, Any], pod: Object, volumes: Mapping[str, Path], env: Mapping[str, str]) -> tuple[Mount, ...]:
    """Return the container's mounts; raises RefusedError for a path that leads out of its volume."""
    kinds = {v["name"]: v for v in (pod.get("spec") or {}).get("volumes") or ()}
    found = []
    for mount in container.get("volumeMounts") or ():
        name, target = mount["name"], mount["mountPath"]
        if name not in volumes:
            raise RefusedError("CreateContainerConfigError", f"volumeMounts: there is no volume {name!r}")
        if not target.startswith("/") or ".." in target.split("/") or os.path.normpath(target) == "/":
            raise RefusedError("CreateContainerConfigError", f"mountPath {target!r} is not an absolute path below /")
        inside = expand(mount.get("subPathExpr") or "", env) or mount.get("subPath") or ""
        source = volumes[name]
        config = any(kinds[name].get(k) for k in CONFIG_VOLUMES)
        if inside:
            check_relative(inside, f"subPath of volume {name!r}")
            if config:  # our own links lead to the file as it is now; later changes do not reach it, as in Kubernetes
                source, inside = (source / inside).resolve(), ""
            elif "emptyDir" in kinds[name] and not (source / inside).exists():
                _make_inside(source, inside)
        if any(kinds[name].get(k) for k in ON_THE_HOST):  # judged a moment ago; a link may have been put in its place since
            source, inside = Path("/"), "/".join(p for p in (str(source).lstrip("/"), inside) if p)
        read_only = bool(mount.get("readOnly")) or config or _is_read_only(kinds[name])
        found.append(Mount(str(source), os.path.normpath(target), read_only=read_only, inside=inside))
    return tuple(found)


def local_path(claim: str, pod: Object) -> str:
    """Return where the claim's volume is on this node, as the hub told with the Pod; raises RefusedError when it did not."""
    try:
        told = msgspec.json.decode(annotations_of(pod).get(LOCAL_PATHS) or "{}")
    except NOT_JSON:
        told = {}
    path = told.get(claim) if isinstance(told, dict) else None
    if not isinstance(path, str) or not path:
        raise RefusedError(
            "FailedMount", f"persistentVolumeClaim {claim!r} is not bound to a local or hostPath volume, the only ones supported"
        )
    return path


def _is_read_only(volume: Mapping[str, Any]) -> bool:
    return bool((volume.get("persistentVolumeClaim") or {}).get("readOnly"))


def _make_inside(folder: Path, inside: str) -> None:
    """Make the folders of a subPath that is not there yet, following no link."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    owner = folder.stat()
    try:
        for part in inside.split("/"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o777, dir_fd=fd)
                os.chown(part, owner.st_uid, owner.st_gid, dir_fd=fd, follow_symlinks=False)
            nearer = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = nearer
    finally:
        os.close(fd)


def allowed_host_path(spec: Mapping[str, Any], allowed: Sequence[str]) -> Path:
    """Return the real folder of a hostPath; raises RefusedError unless the node's configuration allows it."""
    path, kind = str(spec.get("path") or ""), _HOST_PATH_TYPES.get(spec.get("type") or "")
    if kind is None:
        raise RefusedError("FailedMount", f"hostPath type {spec.get('type')!r} is not one of {', '.join(k for k in _HOST_PATH_TYPES if k)}")
    real = os.path.realpath(path) if path.startswith("/") and "\0" not in path else ""
    roots = [os.path.realpath(a) for a in allowed]
    if ".." in path.split("/") or not any(real == r or real.startswith(r.rstrip("/") + "/") for r in roots):
        listed = ", ".join(allowed) or "none"
        message = (
            f"hostPath {path!r} is not allowed on this node (allowed: {listed}): add it to hostPaths in the node's node.json "
            f"and start the node again, or join with --allow-host-path {path}"
        )
        raise RefusedError("HostPathNotAllowed", message)
    if str(spec.get("type") or "").endswith("OrCreate") and not Path(real).exists():
        _make_below_root(Path(real), file=kind == "file")
    if (kind == "directory" and not Path(real).is_dir()) or (kind == "file" and not Path(real).is_file()) or not Path(real).exists():
        raise RuntimeFailedError("FailedMount", f"hostPath {path!r} is not an existing {'file or directory' if kind == 'any' else kind}")
    return Path(real)


def _make_below_root(path: Path, *, file: bool) -> None:
    """Make a folder with those above it, or an empty file, following no link: others may write there, and we may be root."""
    folders = path.parent.parts[1:] if file else path.parts[1:]
    fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in folders:
            if not file:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=fd)
            nearer = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = nearer
        if file:
            os.close(os.open(path.name, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=fd))
    finally:
        os.close(fd)


def _make_empty(folder: Path, owner: tuple[int, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(folder, *owner)
    folder.chmod(0o777)


def write_files(folder: Path, files: Files, owner: tuple[int, int]) -> bool:
    """Make *folder* hold exactly *files*, all changing at once; return whether anything changed."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    if _held(folder) == {p: (f.data, f.mode) for p, f in files.items()}:
        return False
    digest = hashlib.sha256(repr(sorted((p, f.mode, f.data) for p, f in files.items())).encode()).hexdigest()[:16]
    fresh = folder / f"..{digest}"
    remove_tree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o755)
    for path, file in files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(mode=0o600)
        target.write_bytes(file.data)
        if os.geteuid() == 0:
            os.chown(target, *owner)
        target.chmod(file.mode & 0o777)
    old = _current(folder)
    _link(folder / _DATA, fresh.name)
    for top in {p.split("/")[0] for p in files}:
        if not (folder / top).is_symlink():
            _link(folder / top, f"{_DATA}/{top}")
    for entry in list(folder.iterdir()):
        if not entry.name.startswith("..") and not entry.exists():
            entry.unlink()
    if old is not None and old != fresh.name:
        remove_tree(folder / old, ignore_errors=True)
    return True


def _link(path: Path, target: str) -> None:
    fresh = path.with_name(f"..{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(path)


def _current(folder: Path) -> str | None:
    try:
        return str((folder / _DATA).readlink())
    except OSError:
        return None


def _held(folder: Path) -> dict[str, tuple[bytes, int]] | None:
    """Return what the folder holds now, None when it was never written whole."""
    current = _current(folder)
    if current is None:
        return None
    base = folder / current
    try:
        return {str(p.relative_to(base)): (p.read_bytes(), p.stat().st_mode & 0o777) for p in base.rglob("*") if p.is_file()}
    except OSError:
        return None


def memory_folder(state: Path) -> Path | None:
    """Return a folder in RAM for the node with this state folder, None where the host has none."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return None
    in_ram = [m for m, kind in mounts if kind == "tmpfs"]
    tag = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:12]
    for base in _MEMORY_FOLDERS:
        if not any(base == m or base.startswith(m.rstrip("/") + "/") for m in in_ram):
            continue
        folder = Path(base) / f"skerry-{os.geteuid()}-{tag}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            seen = folder.lstat()
        except OSError:
            continue
        if seen.st_uid == os.geteuid() and not folder.is_symlink():
            return folder
    return None
