"""Which programs of the host a Pod may run: the ones that the node's own configuration names, and no other.

`host.skerry.invalid/NAME` is such a program. The domain can never exist, so no registry can ever serve it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from skerry.node.runtimes.contract import Image, ImageError

HOST = "host.skerry.invalid"
_ALWAYS_SHOWN = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/")


class Program(msgspec.Struct, frozen=True):
    """An executable of the host and what else it needs to see, read-only, at the same path (a virtual environment)."""

    path: str
    binds: tuple[str, ...] = ()


def program_name(reference: str) -> str | None:
    """Return NAME of `host.skerry.invalid/NAME`, or None for any other image."""
    host, slash, name = reference.partition("/")
    return name if slash and host == HOST else None


def program_image(reference: str, programs: Mapping[str, Program]) -> Image:
    """Return the program as an image; raises ImageError naming what is allowed here."""
    name = program_name(reference) or ""
    if not name or any(c in name for c in ":@/"):
        raise ImageError("InvalidImageName", f"{reference!r} is not {HOST}/PROGRAM: a program has no tag and no digest")
    program = programs.get(name)
    if program is None:
        allowed = ", ".join(sorted(programs)) or "none"
        message = (
            f"program {name!r} is not allowed on this node (allowed: {allowed}): add it to programs in the node's node.json "
            f"and start the node again, or join with --allow-program {name}=/path/to/it"
        )
        raise ImageError("ImageNotAllowed", message)
    if not os.access(program.path, os.X_OK):
        raise ImageError("ErrImagePull", f"program {name!r} is {program.path} in the node's configuration, which is not an executable file")
    return Image(
        reference=reference,
        digest=f"{reference}@{program.path}",
        entrypoint=(program.path,),
        binds=_binds(program),
        fixed_entrypoint=True,
    )


def _binds(program: Program) -> tuple[str, ...]:
    """Return what must be shown besides the host's own folders: the binds, and the executable with what it links to."""
    found = list(program.binds)
    for path in (program.path, str(Path(program.path).resolve())):
        shown = path.startswith(_ALWAYS_SHOWN) or any(path == b or path.startswith(b.rstrip("/") + "/") for b in found)
        if not shown:
            found.append(path)
    return tuple(found)


def parse_program(text: str) -> tuple[str, str]:
    """Read `NAME=/path`; raises ValueError naming the text."""
    name, equal, path = text.partition("=")
    if not equal or not name or any(c in name for c in ":@/") or not path.startswith("/"):
        raise ValueError(f"{text!r} is not NAME=/absolute/path")
    return name, path
