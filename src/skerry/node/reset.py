"""Ends everything of a node on this machine: its Pods, then its state. The hub is not asked; its Node object stays."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable

from skerry.node.identity import IdentityError, NodeSettings, StateFolder
from skerry.node.pods.volumes import memory_folder


async def reset(folder: StateFolder, *, keep_identity: bool, say: Callable[[str], None]) -> None:
    """End all Pods and remove the state; with *keep_identity* the node stays joined.

    IdentityError while the node runs, and for a folder that is no node's: it could be somebody's home.
    """
    from skerry.node.agent import process_runtime

    if not (folder.key.exists() or folder.settings.exists()):
        raise IdentityError(f"{folder.path} is not the state of a node: it has neither node.key nor node.json; nothing was removed")
    lock = folder.lock()
    assert lock >= 0
    try:
        settings = folder.load_settings()
    except FileNotFoundError:
        settings = NodeSettings(name="", hub="")
    runtime = process_runtime(folder, settings)
    await runtime.open()
    try:
        keys = {c.key for c in runtime.containers() if c.state == "running"}
        await asyncio.gather(*(runtime.stop(key, grace_s=5.0) for key in keys))
        say(f"ended {len(keys)} containers")
    finally:
        await runtime.close()
    runtime.forget_groups()
    ram = memory_folder(folder.path)
    if ram is not None:
        shutil.rmtree(ram, ignore_errors=True)
    identity = [folder.certificate, folder.ca, folder.settings, folder.key]
    kept = set(identity) if keep_identity else set()
    for entry in sorted(folder.path.iterdir(), key=lambda e: e in identity):  # last what says that the rest is a node's, to try again
        if entry not in kept and entry.name != "lock":
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    say(f"removed the state in {folder.path}")
