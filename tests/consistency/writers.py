"""Writers: they change objects at random, alone and against each other, and note what each request did."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from tests.consistency.clients import ANSWERS, APPLY, MERGE, Client, Trial, now
from tests.consistency.history import Key, Read, Version, Wanted, Write
from tests.consistency.subjects import COLORS, FINALIZER, GAUGES, KINDS, MODES, patch, path, whole
from tests.consistency.wire import Answer


class Writer(Client):
    """Changes objects at random: conditionally and not, whole and in part, alone and against the others."""

    def __init__(self, trial: Trial, rng: random.Random, name: str) -> None:
        super().__init__(trial, rng)
        self._name, self._count = name, 0

    async def run(self) -> None:
        while self.trial.take():
            key = self.rng.choice(self.trial.keys)
            if self.rng.random() < 0.15:
                await self.read(key)
            else:
                await self.write(self.chosen(key))

    def chosen(self, key: Key) -> Write:
        """Return the next write of *key*, from what was last seen of it."""
        known = self.trial.seen.get(key)
        if known is None and (key in self.trial.seen or self.rng.random() < 0.2):
            held = key.name.startswith("held")
            return self._of("create", key, finalizers=(FINALIZER,) if held else None, whole=True)
        pick = self.rng.random()
        if pick < 0.12:
            return self._of("delete", key, token=False, expected=self._sometimes(known, 0.3))
        if key.name.startswith("held") and pick < 0.35:
            return self._of("release", key, token=False)
        if key.resource == GAUGES and pick < 0.45:
            return self._of("status", key, expected=self._sometimes(known, 0.5))
        if pick < 0.65 and not key.name.startswith("held"):
            expected = known.revision if known is not None and key.resource == GAUGES else self._sometimes(known, 0.5)
            return self._of("put", key, expected=expected, whole=True)
        if pick < 0.72 and not key.name.startswith("held"):
            return self._of("apply", key, whole=True)
        return self._of("merge", key, expected=self._sometimes(known, 0.25))

    def _sometimes(self, known: Version | None, share: float) -> int:
        return known.revision if known is not None and self.rng.random() < share else 0

    def _of(
        self,
        verb: str,
        key: Key,
        *,
        expected: int = 0,
        token: bool = True,
        whole: bool = False,
        finalizers: tuple[str, ...] | None = None,
    ) -> Write:
        self._count += 1
        wanted = Wanted(finalizers=() if verb == "release" else finalizers)
        if token:
            wanted = replace(wanted, token=f"{self._name}-{self._count}")
        if whole or (verb == "merge" and self.rng.random() < 0.5):
            wanted = replace(wanted, color=self.rng.choice(COLORS), mode=self.rng.choice(MODES))
        return Write(verb, key, wanted, expected, 0.0)

    async def write(self, write: Write) -> None:
        await self.connection()
        write.began = now()
        self.trial.history.writes.append(write)
        answer = await self.ask(*_request(write))
        if answer is None:
            return
        write.ended = now()
        self._note(write, answer)

    def _note(self, write: Write, answer: Answer) -> None:
        """Take over what the answer says."""
        write.status, trial = answer.status, self.trial
        body = {} if answer.status in (200, 201) else answer.json()
        write.reason = body.get("reason", "")
        if answer.status == 404 and body.get("details", {}).get("name") == write.key.name:
            trial.seen[write.key] = None
        elif answer.status in (200, 201):
            self._took(write, answer)
        elif answer.status not in ANSWERS and not (answer.status == 422 and write.verb in ("create", "put", "merge", "apply")):
            write.status = 0
            trial.surprise(f"{write.verb} of {write.key} was answered {answer.status}: {answer.body[:300]!r}")
        if answer.status in (409, 422):
            trial.seen.pop(write.key, None)

    def _took(self, write: Write, answer: Answer) -> None:
        if write.verb == "delete" and b'"kind":"Status"' in answer.body[:200]:
            write.gone_uid = answer.json()["details"]["uid"]
            self.trial.seen[write.key] = None
            return
        write.version = self.trial.reader.version(write.key.resource, answer.body)
        self.trial.seen[write.key] = write.version
        self.trial.saw(write.version.revision)
        if write.verb == "release" and write.version.terminating:
            self.trial.seen[write.key] = None

    async def read(self, key: Key) -> None:
        await self.connection()
        not_older = self.trial.newest if self.rng.random() < 0.2 else 0
        began = now()
        answer = await self.ask("GET", path(*key) + (f"?resourceVersion={not_older}" if not_older else ""))
        if answer is None:
            return
        if answer.status not in (200, 404):
            self.trial.surprise(f"GET of {key} was answered {answer.status}: {answer.body[:300]!r}")
            return
        version = self.trial.reader.version(key.resource, answer.body) if answer.status == 200 else None
        self.trial.history.reads.append(Read(key, not_older, began, now(), version))
        self.trial.seen[key] = version


def _request(write: Write) -> tuple[str, str, Any, str]:
    key, json = write.key, "application/json"
    match write.verb:
        case "create":
            return "POST", path(key.resource, key.namespace), whole(key, write.wanted), json
        case "put":
            return "PUT", path(*key), whole(key, write.wanted, revision=write.expected), json
        case "delete":
            body = {"preconditions": {"resourceVersion": str(write.expected)}} if write.expected else None
            return "DELETE", path(*key), body, json
        case "status":
            return _status(write)
        case "apply":
            return "PATCH", f"{path(*key)}?fieldManager=trial&force=true", {**KINDS[key.resource], **whole(key, write.wanted)}, APPLY
        case _:
            return "PATCH", path(*key), patch(key, write.wanted, revision=write.expected), MERGE


def _status(write: Write) -> tuple[str, str, Any, str]:
    """A status written with a revision is a PUT, which also names a spec that must not come through."""
    key = write.key
    status = {"token": write.wanted.token}
    if not write.expected:
        return "PATCH", path(*key, "status"), {"status": status}, MERGE
    body = whole(key, Wanted("never-to-be-seen", COLORS[0], MODES[0]), revision=write.expected)
    return "PUT", path(*key, "status"), {**body, "status": status}, "application/json"
