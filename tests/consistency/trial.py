"""One trial: a server, its kills, its clients, and the history that comes of it.

Every run prints its seed; SKERRY_SEED repeats what the clients choose (not when the machine does what).
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.consistency.clients import Client, Trial, all_scopes
from tests.consistency.history import History, Key, Scope, Wanted, Write
from tests.consistency.listers import Lister
from tests.consistency.stage import Stage
from tests.consistency.subjects import CONFIGMAPS, CRD, GAUGES, NAMESPACES, RESOURCES, path
from tests.consistency.watchers import Manner, Watcher
from tests.consistency.writers import Writer

SOURCE = Path(__file__).parents[2] / "src" / "skerry"
LOAD_S, PREPARE_S = 900.0, 60.0
NAMES = ("free-1", "free-2", "free-3", "held-1")


@dataclass(frozen=True)
class Plan:
    """How long and how hard. `held` is how many changes of a resource the server keeps, `kills` how often it dies."""

    seed: int
    operations: int
    kills: int
    held: int = 400
    writers: int = 8
    listers: int = 3
    fault: str = ""
    patience_s: float = 30.0
    failpoints: tuple[str, ...] = ()


def run(plan: Plan, folder: Path) -> History:
    """Carry out *plan* and return what the clients saw."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(plan, folder))


def run_all(plans: Sequence[Plan], folder: Path, *, together: int) -> list[History]:
    """Carry out many plans, some of them at a time, each with a server of its own; what goes wrong with one ends all."""
    turns = asyncio.Semaphore(together)

    async def one(number: int, plan: Plan) -> History:
        own = folder / str(number)
        own.mkdir()
        async with turns:
            return await _run(plan, own)

    async def everything() -> list[History]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(i, plan)) for i, plan in enumerate(plans)]
        return [task.result() for task in tasks]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(everything())


async def _run(plan: Plan, folder: Path) -> History:
    stage = Stage(folder, held=plan.held, fault=plan.fault)
    try:
        await stage.start()
        history = History(held=plan.held)
        keys = [Key(r, n, name) for r in RESOURCES for n in NAMESPACES for name in NAMES]
        trial = Trial(stage, history, keys, plan.operations)
        await _prepare(trial)
        await _load(plan, trial)
        return history
    finally:
        stage.kill()
        await stage.ended()


async def _prepare(trial: Trial) -> None:
    """Make the namespaces and the custom kind, and note where the history begins."""
    client = Client(trial, random.Random(0))
    for name in NAMESPACES:
        await client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    await client.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    async with asyncio.timeout(PREPARE_S):
        while (answer := await client.ask("GET", path(GAUGES))) is None or answer.status != 200:
            await asyncio.sleep(0.02)
    trial.history.base = trial.newest = int(answer.json()["metadata"]["resourceVersion"])
    client.close()


async def _load(plan: Plan, trial: Trial) -> None:
    rng = random.Random(plan.seed)
    watchers = [Watcher(trial, random.Random(rng.random()), manner) for manner in manners()]
    watching = [asyncio.create_task(w.run()) for w in watchers]
    lives = _lives(plan, trial, random.Random(rng.random()))
    busy = [Writer(trial, random.Random(rng.random()), f"w{i}") for i in range(plan.writers)]
    listing = [Lister(trial, random.Random(rng.random())) for _ in range(plan.listers)]
    try:
        async with asyncio.timeout(LOAD_S), asyncio.TaskGroup() as group:
            for work in (lives, *(c.run() for c in busy), *(c.run() for c in listing)):
                group.create_task(work)
        await _mark_the_end(trial)
        await _ask_for_the_past(trial)
        await _settled(trial, watchers, plan.patience_s)
    finally:
        trial.closing.set()
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        for client in [*busy, *listing, *watchers]:
            client.close()


def manners() -> list[Manner]:
    """Return how the watchers behave: two of each resource see all, so that the log has no gap; the others are as odd as clients are."""
    found = [Manner(Scope(r), bookmarks=b) for r in RESOURCES for b in (True, False)]
    found += [Manner(scope) for scope in all_scopes() if scope.selective or scope.namespace]
    found += [
        Manner(Scope(CONFIGMAPS), "initial", leaves_after=20),
        Manner(Scope(GAUGES, "trial-a"), "initial", leaves_after=10),
        Manner(Scope(GAUGES, "", (("color", "red"),)), "initial", leaves_after=10),
        Manner(Scope(CONFIGMAPS, "trial-b"), "unset", leaves_after=15),
        Manner(Scope(GAUGES, "", (("color", "blue"),)), "zero", leaves_after=15),
        Manner(Scope(CONFIGMAPS, "", (("color", "red"),)), leaves_after=5),
        Manner(Scope(GAUGES), leaves_after=8, late=30),
        Manner(Scope(CONFIGMAPS, "trial-a"), timeout_s=1),
        Manner(Scope(GAUGES, "trial-b"), pause_s=0.05),
        Manner(Scope(CONFIGMAPS), leaves_after=20, pause_s=0.4),
        Manner(Scope(CONFIGMAPS), leaves_after=40, late=1_000),
    ]
    return found


async def _lives(plan: Plan, trial: Trial, rng: random.Random) -> None:
    """Kill the server at random moments and at failpoints, and start it again; it is up at the end."""
    total, points = trial.left, list(plan.failpoints)
    for number in range(plan.kills):
        due = total - total * (number + 1) // (plan.kills + 1)
        while trial.left > due and trial.stage.process is not None and trial.stage.process.returncode is None:
            await asyncio.sleep(0.005)
        trial.stage.kill()
        await trial.stage.ended()
        trial.history.kills += 1
        failpoint = f"{rng.choice(points)}:{rng.randint(1, 60)}" if points and number + 1 < plan.kills and rng.random() < 0.7 else ""
        await trial.stage.start(failpoint)
        while not trial.stage.up.is_set():  # the point was reached before it was ready
            await trial.stage.ended()
            await trial.stage.start()


async def _mark_the_end(trial: Trial) -> None:
    """Write one last object to each namespace: what every watch has to get to."""
    client = Writer(trial, random.Random(0), "last")
    for resource in RESOURCES:
        for namespace in NAMESPACES:
            key = Key(resource, namespace, "the-end")
            write = Write("create", key, Wanted(f"last-{resource}-{namespace}", "red", "on"), 0, 0.0)
            await client.write(write)
            assert write.version is not None, f"the last write was answered {write.status}"
            trial.marks[resource, namespace] = write.version.revision
    client.close()


async def _ask_for_the_past(trial: Trial) -> None:
    """Watch each resource from the beginning of the trial: all of it comes, or 410 when more happened than is held."""
    for resource in RESOURCES:
        await Watcher(trial, random.Random(0), Manner(Scope(resource), timeout_s=1), since=trial.history.base).once()


async def _settled(trial: Trial, watchers: Sequence[Watcher], patience_s: float) -> None:
    """Wait until every watch has got to the end, and ask the checker to hold it against those that have not."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience_s
    while loop.time() < until and not all(_reached(trial, w) for w in watchers):
        await asyncio.sleep(0.02)
    for watcher in watchers:
        if watcher.session is not None:
            watcher.session.must_reach = _wanted(trial, watcher)


def _wanted(trial: Trial, watcher: Watcher) -> int:
    scope = watcher.manner.scope
    return max(mark for (r, n), mark in trial.marks.items() if r == scope.resource and scope.namespace in ("", n))


def _reached(trial: Trial, watcher: Watcher) -> bool:
    session = watcher.session
    if session is None or session.end not in ("closed", "timeout"):
        return False
    wanted = _wanted(trial, watcher)
    return max([session.after or 0, *(e.revision for e in session.events[-3:])]) >= wanted


def failpoints() -> tuple[str, ...]:
    """Return the points of the store at which a process can be killed, as the source names them."""
    files = [f for room in ("durable", "apiserver/store") for f in (SOURCE / room).glob("*.py")]
    return tuple(sorted({name for f in files for name in re.findall(r'failpoints\.reach\("([a-z_.]+)"', f.read_text())}))
