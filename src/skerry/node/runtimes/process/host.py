"""What this host offers to sandboxes: its folders, and whether bubblewrap may make one at all."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from skerry.node.runtimes.process.sandbox import HOST_READABLE, HostLayout
from skerry.node.trees import remove_tree

TRY_TIMEOUT_S = 30.0
"""For one empty sandbox: 0.05 s here, more on a small board under load."""


def host_layout() -> HostLayout:
    """Read what this host's root looks like."""
    links, folders = {}, ["/usr"]
    for path in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        if Path(path).is_symlink():
            links[path] = str(Path(path).readlink())
        elif Path(path).is_dir():
            folders.append(path)
    return HostLayout(links, tuple(folders), tuple(p for p in HOST_READABLE if Path(p).exists()))


async def find_problem(bwrap: str) -> str:
    """Try an empty sandbox, as a user without rights; return why it cannot be had, "" when it can."""
    if not os.access(bwrap, os.X_OK):
        return f"{bwrap} is not there: install bubblewrap (apt-get install bubblewrap)"
    command = [bwrap, "--unshare-user", "--unshare-pid", "--disable-userns", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--proc", "/proc"]
    who: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    quiet = asyncio.subprocess.DEVNULL
    tried = await asyncio.create_subprocess_exec(
        *command, "/usr/bin/true", stdin=quiet, stdout=quiet, stderr=asyncio.subprocess.PIPE, cwd="/", env={}, **who
    )
    try:
        async with asyncio.timeout(TRY_TIMEOUT_S):
            _, said = await tried.communicate()
    except TimeoutError:
        tried.kill()
        await tried.wait()
        return f"bubblewrap made no sandbox within {TRY_TIMEOUT_S:.0f} s"
    if tried.returncode == 0:
        return ""
    why = said.decode(errors="replace").strip()[:500] or f"exit code {tried.returncode}"
    return f"bubblewrap cannot make a sandbox here ({why}): allow user namespaces (sysctl user.max_user_namespaces) to every user"


def forget_images(store: Path, used: set[str]) -> None:
    """Remove the unpacked images that no attempt was started from, and what was left half unpacked."""
    for folder in store.iterdir() if store.is_dir() else ():
        if f"sha256:{folder.name}" not in used:
            remove_tree(folder, ignore_errors=True)
