"""Judge a history: per-key linearizability, atomic lists, and what a watch promises. Pure, in nearly linear time."""

from __future__ import annotations

from collections import Counter

from tests.consistency import log, reads, watches, writes
from tests.consistency.history import History
from tests.consistency.log import Violation
from tests.consistency.windows import Windows

__all__ = ["Violation", "check", "told"]


def check(history: History) -> list[Violation]:
    """Return every broken promise, none for a history that a correct server can have given."""
    found = [Violation("answers", text) for text in history.surprises]
    order = log.build(history, found)
    traced = writes.Traced(order, history, found)
    windows = Windows(order, history, traced.removals())
    writes.check(order, history, windows, traced, found)
    reads.check(order, history, windows, found)
    watches.check(order, history, windows, found)
    return found


def told(history: History) -> str:
    """Return in a few words what was in a history: a run that saw nothing proves nothing."""
    verbs = Counter(f"{w.verb} {w.status or 'lost'}" for w in history.writes)
    ends = Counter(s.end for s in history.sessions)
    events = sum(len(s.events) for s in history.sessions)
    return (
        f"{history.operations} operations ({', '.join(f'{n} {v}' for v, n in sorted(verbs.items()))}; {len(history.reads)} reads, "
        f"{len(history.listings)} lists), {len(history.sessions)} watches with {events} events (ended: {dict(ends)}), "
        f"{len(history.expired) + sum(1 for x in history.listings if x.expired)} times 410, {history.kills} kills"
    )
