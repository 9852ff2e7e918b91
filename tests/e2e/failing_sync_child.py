"""A store that writes until one of its fsyncs fails with EIO, and goes on asking: says on stdout what was asked, acknowledged, refused.

Arguments: the folder, and which sync fails: a number, 0 for each one of a folder, -1 for none (then it only says what it holds).

Lines: `opened`, `held NUMBER`, `asked NUMBER`, `acknowledged NUMBER`, `refused NUMBER`, and `fault` at the moment of the failure.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from skerry.apiserver.store import Index, Key, RingVault, Store
from skerry.apiserver.store import store as store_module
from skerry.durable import StoreError, checkpoints
from tests.e2e.failing_sync import fail_sync

AFTER_FAILURE = 30


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def write(store: Store, rng: random.Random, numbers: list[int]) -> None:
    refused = 0
    while refused < AFTER_FAILURE:
        number = numbers[0] = numbers[0] + 1
        say("asked", number)
        try:
            await store.create(Key("secrets", "n", f"s{number}"), lambda revision: b"x" * rng.choice((10, 5000)))
        except StoreError:
            say("refused", number)
            refused += 1
        else:
            say("acknowledged", number)


async def main() -> None:
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    checkpoints.CHECKPOINT_PAGES, store_module.GARBAGE_ROWS = 12, 5
    if number >= 0:
        fail_sync(number, lambda: say("fault"))
    store = await Store.open(
        folder / "hub.sqlite", index=lambda key, value: Index(), history=20, vault=RingVault.open(folder / "ring", made="")
    )
    say("opened")
    for record in store.list("secrets").records:
        say("held", record.key.name[1:])
    if number >= 0:
        rng, numbers = random.Random(number), [max([0, *(int(r.key.name[1:]) for r in store.list("secrets").records)])]
        await asyncio.gather(*[write(store, rng, numbers) for _ in range(4)])
        assert store.failed is not None
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
