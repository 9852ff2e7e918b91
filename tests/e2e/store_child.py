"""A process that writes to a store until it is killed, and says on stdout what was acknowledged.

Lines: `ready REVISION EPOCH`, then `asked REVISION TYPE NAME TEXT` before a write and `acknowledged REVISION` after it.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from skerry.apiserver.store import Index, Key, RefusedError, Store
from skerry.apiserver.store import store as store_module
from skerry.durable import checkpoints

HISTORY = 200
CLIENTS = 8


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def encoder(kind: str, title: str, text: str) -> Callable[[int], bytes]:
    def encode(revision: int) -> bytes:
        say("asked", revision, kind, title, text)
        return text.encode()

    return encode


def by_name(key: Key) -> str:
    return key.name


async def write_for_ever(
    store: Store,
    rng: random.Random,
    *,
    resources: Sequence[str] = ("pods",),
    names: int = 40,
    sizes: Sequence[int] = (5, 500, 5000),
    title: Callable[[Key], str] = by_name,
) -> None:
    """Make, change and remove objects; each is asked for and acknowledged under its *title*."""
    while True:
        key, text = Key(rng.choice(resources), "n", f"p{rng.randrange(names)}"), rng.randbytes(rng.choice(sizes)).hex()
        found = store.get(key)
        try:
            if found is None:
                record = await store.create(key, encoder("ADDED", title(key), text))
            elif rng.random() < 0.2:
                record = await store.delete(key, encoder("DELETED", title(key), text), expected=found.revision)
            else:
                record = await store.update(key, encoder("MODIFIED", title(key), text), expected=found.revision)
        except RefusedError:
            await asyncio.sleep(0)
            continue
        say("acknowledged", record.revision)


async def main() -> None:
    path, seed = Path(sys.argv[1]), int(sys.argv[2])
    checkpoints.CHECKPOINT_PAGES, store_module.GARBAGE_ROWS = 30, 20  # everything happens often
    store = await Store.open(path, index=lambda key, value: Index(), history=HISTORY)
    say("ready", store.revision, store.epoch)
    await asyncio.gather(*[write_for_ever(store, random.Random(seed + n)) for n in range(CLIENTS)])


if __name__ == "__main__":
    asyncio.run(main())
