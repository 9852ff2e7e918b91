"""The backup key: 32 random bytes in a file that the operator keeps apart from the hub and from the backups."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from pathlib import Path

from skerry.durable import sync_folder
from skerry.hub.backup.envelope import KEY_BYTES, BackupError

_PREFIX = "skerry-backup-key:"
_MAX_FILE_BYTES = 4096


def make_key_file(path: Path) -> bytes:
    """Make a new key in *path*, of mode 0600 and durable; BackupError when there is a file already."""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise BackupError(f"the key file {path} cannot be made ({error})") from error
    with os.fdopen(handle, "w") as file:
        file.write(_PREFIX + base64.b64encode(key).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)
    return key


def read_key_file(path: Path) -> bytes:
    """Return the key in *path*; BackupError when it is missing, empty, damaged, or readable by others."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MAX_FILE_BYTES).decode("ascii", errors="replace").strip()
    except OSError as error:
        raise BackupError(f"the key file {path} cannot be read ({error})") from error
    if stat.S_IMODE(mode) & 0o077:
        raise BackupError(f"the key file {path} may be read by others (mode {stat.S_IMODE(mode):o}): chmod 600 {path}")
    if not text:
        raise BackupError(f"the key file {path} is empty: a backup without a key would be open to everybody")
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES or not text.startswith(_PREFIX) or not any(key):
        raise BackupError(f"{path} is not a backup key: a line {_PREFIX} with {KEY_BYTES} bytes in base64 after it")
    return key
