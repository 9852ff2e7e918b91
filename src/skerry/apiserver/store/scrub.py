"""Compares the disk with memory, a little at a time: a bit that flipped is found while the hub can still say so.

Memory is what is served, so nothing that a scrub finds was ever served. Every page's checksum is looked at, free pages too, and every
live object's row is compared with the object. The work is done in the reader's thread, in pieces of a millisecond or so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import apsw
import msgspec

from skerry.apiserver.store.keyring import KeyRingError
from skerry.apiserver.store.records import Record
from skerry.apiserver.store.vault import Vault
from skerry.durable import StoreError, Writer, damaged_pages, failpoints, is_damage

log = logging.getLogger(__name__)

PAGES_AT_ONCE = 64
ROWS_AT_ONCE = 128
MAX_FINDINGS = 20


class Report(msgspec.Struct):
    """What a scrub looked at, and what it found: at most `MAX_FINDINGS` lines; none is a healthy file."""

    pages: int = 0
    objects: int = 0
    findings: list[str] = msgspec.field(default_factory=list)
    more: int = 0

    def add(self, text: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(text)
        else:
            self.more += 1


class Scrub:
    """Scrubs one open store; *live* gives every object that is served now, *is_live* says whether a record still is."""

    def __init__(
        self, writer: Writer, vault: Vault, *, live: Callable[[], Iterable[Record]], is_live: Callable[[Record], bool], vfs: str | None
    ) -> None:
        self._writer = writer
        self._vault = vault
        self._live = live
        self._is_live = is_live
        self._vfs = vfs
        self.files = [writer.path]
        """Whose pages are looked at: the store's, and what is added."""
        self._turn = asyncio.Lock()
        self.last: Report | None = None

    async def run(self, *, pause_s: float = 0.0) -> Report:
        """Look at everything once, resting *pause_s* after each piece; the report is kept as `last`."""
        async with self._turn:
            report = Report()
            for path in self.files:
                await self._pages(path, report, pause_s)
            await self._objects(report, pause_s)
            failpoints.reach("scrub.done")
            self.last = report
        if report.findings:
            facts = {"path": str(self._writer.path), "findings": report.findings, "more": report.more}
            log.error("the store is damaged on the disk; what is served is not: make no backup of it, restore one", extra=facts)
        return report

    async def _pages(self, path: Path, report: Report, pause_s: float) -> None:
        first, total = 1, 1
        while first <= total:
            at = first
            bad, total = await self._writer.read(
                lambda db, at=at: damaged_pages(path, first=at, count=PAGES_AT_ONCE, vfs_name=self._vfs)  # type: ignore[misc]
            )
            for number in bad:
                report.add(f"{path.name}, page {number} of {total}: its checksum is wrong")
            first += PAGES_AT_ONCE
            await asyncio.sleep(pause_s)
        report.pages += total

    async def _objects(self, report: Report, pause_s: float) -> None:
        records = iter(list(self._live()))
        while batch := list(islice(records, ROWS_AT_ONCE)):
            for record, fault in await self._compared(batch):
                if self._is_live(record):  # its row may go as soon as it is replaced
                    report.add(f"{record.key} at revision {record.revision}: {fault}")
            report.objects += len(batch)
            await asyncio.sleep(pause_s)

    async def _compared(self, batch: Sequence[Record]) -> list[tuple[Record, str]]:
        try:
            return await self._writer.read(lambda db: _differing(db, batch, self._vault))
        except StoreError:
            raise
        except apsw.Error as error:
            if not is_damage(error):
                raise
        found: list[tuple[Record, str]] = []
        for record in batch:  # one of them lies in a damaged page: find out which
            try:
                found += await self._writer.read(lambda db, record=record: _differing(db, [record], self._vault))  # type: ignore[misc]
            except apsw.Error as error:
                if not is_damage(error):
                    raise
                found.append((record, f"its row cannot be read ({error})"))
        return found


def _differing(db: apsw.Connection, batch: Sequence[Record], vault: Vault) -> list[tuple[Record, str]]:
    """Return the records of *batch* whose rows are not what they should be, and why."""
    db.release_memory()  # its cached pages: the disk is what is asked
    wanted = msgspec.json.encode([record.revision for record in batch]).decode()
    query = "SELECT revision, resource, namespace, name, value FROM revisions WHERE revision IN (SELECT value FROM json_each(?))"
    rows = {row[0]: row[1:] for row in db.execute(query, (wanted,))}
    faults = ((record, _fault(record, rows.get(record.revision), vault)) for record in batch)
    return [(record, fault) for record, fault in faults if fault]


def _fault(record: Record, row: tuple[str, str, str, bytes] | None, vault: Vault) -> str:
    if row is None:
        return "its row is gone"
    key = record.key
    if row[:3] != (key.resource, key.namespace, key.name):
        return "its row is another object's"
    try:
        same = vault.unseal(key, row[3]) == record.value
    except KeyRingError as error:
        return str(error)
    return "" if same else "its row holds another value"
