"""Removes folders. Python's module for it brings two libraries of compression along: it is loaded when there is something to remove."""

from __future__ import annotations

import os
from pathlib import Path


def remove_tree(path: Path, *, ignore_errors: bool = False) -> None:
    """Remove *path* and all below it, following no link; nothing is done when it is not there and errors are ignored."""
    if ignore_errors and not os.path.lexists(path):
        return
    from shutil import rmtree

    rmtree(path, ignore_errors=ignore_errors)
