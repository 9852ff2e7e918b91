"""Backup and restore of a whole hub: one file, sealed under a key that the operator keeps elsewhere."""

from skerry.hub.backup.envelope import BackupError
from skerry.hub.backup.key import make_key_file, read_key_file
from skerry.hub.backup.make import back_up
from skerry.hub.backup.manifest import Manifest
from skerry.hub.backup.restore import inspect, restore

__all__ = ["BackupError", "Manifest", "back_up", "inspect", "make_key_file", "read_key_file", "restore"]
