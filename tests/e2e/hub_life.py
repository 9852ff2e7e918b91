"""A hub's durable parts in a process of their own, all at work at once until it is killed; says on stdout what was acknowledged.

Lines: `ready REVISION EPOCH`, `held NAME TEXT` for each object, `mark N` of the event log; then `asked REVISION TYPE NAME TEXT` before a
write and `acknowledged REVISION` after it, `stored N` after a batch of events, `backed-up NAME` after a backup.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from datetime import UTC, datetime
from pathlib import Path

from skerry.apiserver.store import Index, Key, RingVault, Store
from skerry.apiserver.store import store as store_module
from skerry.durable import checkpoints
from skerry.events.log import HubLog
from skerry.hub.backup import back_up, make_key_file, read_key_file, restore
from skerry.hub.data_folder import EVENTS, KEY_RING, PKI, STORE, remember_store, require_store, take
from tests.e2e.store_child import say, write_for_ever

CLIENTS = 6
RESOURCES = ("pods", "secrets")
MADE = "2026-11-23T00:00:00Z"
KEPT_BACKUPS = 2


def in_full(key: Key) -> str:
    return f"{key.resource}/{key.name}"


async def log_for_ever(log: HubLog) -> None:
    mark = await log.mark("n", "s")
    while True:
        event = {"id": str(mark + 1), "source": "/n", "type": "t", "specversion": "1.0"}
        mark = await log.store("n", "s", json.dumps({"seq": mark + 1, "event": event}).encode() + b"\n")
        say("stored", mark)
        await asyncio.sleep(0.002)


async def maintain_for_ever(store: Store, folder: Path, rng: random.Random) -> None:
    key = read_key_file(folder / "key")
    assert store.rotation is not None
    await store.rotation.resume()
    while True:
        report = await store.scrub.run()
        assert not report.findings, report.findings
        await store.rotation.rotate(MADE)
        name = f"backup-{rng.randrange(10**9)}"
        now = datetime.now(UTC)
        await asyncio.to_thread(back_up, folder / "hub", folder / name, key, now=now, say=lambda text: None)
        say("backed-up", name)
        for old in sorted(folder.glob("backup-*"), key=lambda p: p.stat().st_mtime)[:-KEPT_BACKUPS]:
            old.unlink()


async def live(folder: Path, rng: random.Random) -> None:
    data = folder / "hub"
    lock = take(data)
    require_store(data)
    (data / PKI).mkdir(exist_ok=True)
    vault = RingVault.open(data / PKI / KEY_RING, made=MADE)
    store = await Store.open(data / STORE, index=lambda key, value: Index(), history=100, vault=vault)
    remember_store(data, store.identity)
    log = await HubLog.open(data / EVENTS)
    for resource in RESOURCES:
        for record in store.list(resource).records:
            say("held", in_full(record.key), record.value.decode())
    say("mark", await log.mark("n", "s"))
    say("ready", store.revision, store.epoch)
    await asyncio.gather(
        *[
            write_for_ever(store, random.Random(rng.random()), resources=RESOURCES, names=20, sizes=(5, 300, 3000), title=in_full)
            for _ in range(CLIENTS)
        ],
        log_for_ever(log),
        maintain_for_ever(store, folder, rng),
    )
    lock.release()


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    checkpoints.CHECKPOINT_PAGES, store_module.GARBAGE_ROWS = 30, 20  # everything happens often
    key = read_key_file(folder / "key") if (folder / "key").exists() else make_key_file(folder / "key")
    if len(sys.argv) > 3:
        restore(folder / sys.argv[3], folder / "hub", key, now=datetime.now(UTC), say=lambda text: None)
    asyncio.run(live(folder, random.Random(seed)))


if __name__ == "__main__":
    main()
