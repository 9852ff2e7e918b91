"""Where mounts go in an image whose own folders are read-only: through its links, and into folders that it does not have.

A folder of the image that lacks the place of a mount is shown as a fresh one with all that it holds, so that the place can be made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import msgspec

MAX_LINKS = 40
MAX_ENTRIES = 1024
"""A folder with more is not rebuilt: the mount fails, and says where."""


_MADE_ANEW = ("dev", "proc", "tmp")
"""Folders that no sandbox takes from its image."""


class Places(msgspec.Struct, frozen=True):
    """`moved` is where a target really is; `rebuilt` are folders to make anew, with the links (target) and entries ("") in them."""

    moved: Mapping[str, str]
    rebuilt: Mapping[str, Mapping[str, str]]


NOWHERE = Places({}, {})


def places(root: str, targets: Iterable[str]) -> Places:
    """Look into the unpacked image at *root* for where *targets* lead."""
    moved, rebuilt = {}, {}
    for target in targets:
        real = _resolve(root, target)
        if real != target:
            moved[target] = real
        ancestor = _existing(root, real)
        if ancestor not in (real, "/") and real.split("/")[1] not in _MADE_ANEW:
            entries = _entries(Path(root + ancestor))
            if entries is not None:
                rebuilt[ancestor] = entries
    return Places(moved, dict(sorted(rebuilt.items(), key=lambda item: item[0].count("/"))))


def _resolve(root: str, target: str) -> str:
    """Follow the image's own links on the way to *target*; none of them leads out of the image."""
    left, found, links = [p for p in PurePosixPath(target).parts if p != "/"], "", 0
    while left:
        part = left.pop(0)
        if part == "..":
            found = found.rpartition("/")[0]
            continue
        path = f"{found}/{part}"
        if Path(root + path).is_symlink() and links < MAX_LINKS:
            links += 1
            link = os.readlink(root + path)  # noqa: PTH115 - as text
            found = "" if link.startswith("/") else found
            left = [p for p in PurePosixPath(link).parts if p != "/"] + left
        else:
            found = path
    return found or "/"


def _existing(root: str, path: str) -> str:
    """Return the nearest of *path* and the folders above it that the image has."""
    while path not in ("", "/") and not os.path.lexists(root + path):
        path = path.rpartition("/")[0]
    return path or "/"


def _entries(folder: Path) -> dict[str, str] | None:
    try:
        found = {e.name: os.readlink(e) if e.is_symlink() else "" for e in os.scandir(folder)}  # noqa: PTH115
    except OSError:
        return None
    return found if len(found) <= MAX_ENTRIES else None
