"""Named points at which a test may kill the process, as a power cut or the OOM killer would.

`SKERRY_FAILPOINT=durable.before_commit:3` kills at the third time the point is reached; without the variable a point does
nothing. The kill is SIGKILL: no handler, no flush, no `finally` runs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

VARIABLE = "SKERRY_FAILPOINT"

POINTS: Mapping[str, str] = {
    # Of every durable file, hub and node.
    "durable.file_created": "a database's name is there, and nothing in it",
    "durable.migration_begun": "the transaction of a migration is open",
    "durable.migration_made": "a migration's statements ran, uncommitted",
    "durable.migration_committed": "one migration is done, the next is not",
    "durable.before_commit": "a group of writes is in the transaction",
    "durable.after_commit": "the group is on the disk, nobody knows",
    "durable.before_acknowledge": "the writers are about to be told",
    "durable.before_checkpoint": "pages are about to move out of the write-ahead log",
    "durable.after_checkpoint": "pages have moved",
    "file.created": "a small file's successor is there, and empty",
    "file.written": "a small file's successor is written, not synced",
    "file.before_rename": "the successor is synced under its own name",
    "file.after_rename": "it has its name, which is not synced",
    "file.renamed": "it is there for good",
    # The API's store.
    "store.before_publish": "a commit is known to the loop, not to readers and watchers",
    "store.before_compaction": "superseded rows are about to go",
    "store.after_compaction": "superseded rows are gone, uncommitted",
    "store.rebuild_begun": "an older file is about to be copied into one with checksums and sealed values",
    "store.rebuild_copied": "some of its rows are copied",
    "scrub.done": "disk and memory were compared",
    # Rotating the keys of what is sealed.
    "rotation.key_saved": "the ring on the disk has the new key, nothing uses it",
    "rotation.key_noted": "the store says that rows under the new key may follow",
    "rotation.before_rewrite": "some rows are about to be sealed anew",
    "rotation.rows_rewritten": "some rows are sealed anew",
    "rotation.before_retire": "all rows are, the store still names the old key",
    "rotation.keys_retired": "the store no longer names the old key, the ring has it",
    "rotation.ring_trimmed": "the old key is gone",
    # Backup and restore.
    "backup.store_copied": "the snapshot of the store is made",
    "backup.events_copied": "the snapshot of the event log is made",
    "backup.copy_checked": "the snapshot is whole",
    "backup.file_made": "the backup's file is there under another name, and empty",
    "backup.file_written": "it is written",
    "backup.file_verified": "it was read back",
    "backup.done": "it has its name",
    "restore.folder_made": "the folder is there under another name, and empty",
    "restore.file_written": "some files are back",
    "restore.files_written": "all files are back, unchecked",
    "restore.checked": "they are whole, in the old epoch",
    "restore.epoch_begun": "they are in a new epoch",
    "restore.before_rename": "all is on the disk under the other name",
    "restore.renamed": "the folder has its name",
    # The hub's event log.
    "hublog.before_commit": "a batch and its mark are in the transaction",
    "hublog.after_commit": "a batch is on the disk, its node does not know",
    # A node's outbox, uploader and runtime.
    "outbox.before_settle": "an event is on the disk, whoever sent it does not know",
    "outbox.after_commit": "events are on the disk",
    "uploader.before_send": "a batch is about to leave",
    "uploader.before_acknowledge": "the hub has a batch, the outbox does not know",
    "runtime.after_intent": "it is written that a container shall start",
    "runtime.after_fork": "its process is there",
    "runtime.before_exit_record": "it ended, unrecorded",
    "runtime.after_exit_record": "its end is recorded",
}
"""Every point there is, and what is true at it."""


def parse(text: str) -> tuple[str, int]:
    """Return the point's name and the count of `name:N`; `name` alone means the first time. ValueError when N is not one."""
    name, colon, count = text.partition(":")
    if not name or (colon and not (count.isdecimal() and int(count) > 0)):
        raise ValueError(f"{VARIABLE}={text!r} is not NAME or NAME:COUNT with a count from 1")
    return name, int(count) if colon else 1


class _Armed:
    """The one point that kills, and how often it may still be reached before it does."""

    def __init__(self, text: str | None) -> None:
        self.name, self.left = parse(text) if text else ("", 0)


_armed = _Armed(os.environ.get(VARIABLE))


def reach(name: str) -> None:
    """Say that the point *name* was reached; the process may end here."""
    if name != _armed.name:
        return
    _armed.left -= 1
    if _armed.left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
