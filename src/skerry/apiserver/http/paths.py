"""What a resource path names. A path is split once, here; nothing later looks at its text.

`/api/v1/...` is the core group, `/apis/<group>/<version>/...` every other one. Source: Kubernetes API concepts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

MAX_REMEMBERED = 512
"""Longer paths are split anew each time: what strangers send must not fill the memory. Characters."""


class Target(NamedTuple):
    """A collection (`name` is ""), an object, or a subresource of one; `rest` is what follows a subresource."""

    group: str
    version: str
    plural: str
    namespace: str
    name: str
    subresource: str
    rest: str = ""


def normalise(raw: str) -> str | None:
    """Return the path decoded once; None when it is not one that a handler may see.

    Refused: dot segments, empty segments, encoded slashes, NUL and other control characters. So two spellings never
    reach authorisation as two paths.
    """
    if "%" not in raw and "//" not in raw and "/." not in raw:
        return raw if raw.isprintable() and raw.startswith("/") else None
    lowered = raw.lower()
    if "%2f" in lowered or "%00" in lowered or "//" in raw:
        return None
    try:
        path = unquote(raw, errors="strict")
    except UnicodeDecodeError:
        return None
    if not path.isprintable() or not path.startswith("/"):
        return None
    return None if any(part in (".", "..") for part in path.split("/")) else path


def parse(path: str) -> Target | None:
    """Return what a path names, or None when it is no resource's path. Short paths are remembered."""
    return _remembered(path) if len(path) <= MAX_REMEMBERED else _parse(path)


def _parse(path: str) -> Target | None:
    if path.endswith("/"):  # means the same as without; what is handed on keeps it
        found = None if path.endswith("//") else _parse(path[:-1])
        return found._replace(rest=f"{found.rest}/") if found is not None and found.rest else found
    parts = path.split("/")
    if path.startswith("/api/"):
        group, version, rest = "", parts[2], parts[3:]
    elif path.startswith("/apis/") and len(parts) > 3:
        group, version, rest = parts[2], parts[3], parts[4:]
    else:
        return None
    if not rest:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (group == "" and rest[2] in _OF_NAMESPACE and len(rest) == 3):
        namespace, rest = rest[1], rest[2:]
    plural = rest[0]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    return Target(group, version, plural, namespace, name, subresource, "/".join(rest[3:]))


_OF_NAMESPACE = ("status", "finalize")
_remembered = lru_cache(maxsize=4096)(_parse)
