"""Rules for GET and LIST: what is read was there at one moment between question and answer; a list is one state, its pages too."""

from __future__ import annotations

from collections.abc import Sequence

from tests.consistency.history import Expired, History, Listing, Read, Version
from tests.consistency.log import Log, Violation
from tests.consistency.windows import Windows


def check(log: Log, history: History, windows: Windows, found: list[Violation]) -> None:
    """Check every read, every list and every 410."""
    found += [Violation("reads", why) for read in history.reads if (why := _wrong_read(read, log, windows))]
    lists = [x for x in history.listings if x.pages]
    found += [Violation("lists", f"{x.scope}: {why}") for x in lists if (why := _wrong_list(x, log, windows))]
    refused = [*history.expired, *(x.expired for x in history.listings if x.expired is not None)]
    found += [Violation("expiry", f"{x.scope}: {why}") for x in refused if (why := _dishonest(x, history.held, log, windows))]


def _wrong_read(read: Read, log: Log, windows: Windows) -> str:
    low = read.not_older or windows.low(read.began)
    high = windows.high(read.ended)
    seen = f"at {read.version.revision}" if read.version is not None else "absent"
    if any(_is(v, read.version) for v in log.values(read.key, min(low, high), high)):
        return ""
    return f"{read.key} was read {seen}, which it was at no moment between revisions {low} and {high}"


def _is(held: Version | None, read: Version | None) -> bool:
    if held is None or read is None:
        return held is read
    return held.revision == read.revision


def _wrong_list(listing: Listing, log: Log, windows: Windows) -> str:
    first = listing.pages[0]
    revision = first.revision
    if any(p.revision != revision for p in listing.pages):
        return f"the pages are of revisions {[p.revision for p in listing.pages]}"
    if why := _wrong_revision(listing, windows):
        return why
    state = log.state(listing.scope, revision)
    read = [v for page in listing.pages for v in page.versions]
    wanted = state if listing.pages[-1].last else state[: len(read)]
    if [v.revision for v in read] != [v.revision for v in wanted] or not all(a.same(b) for a, b in zip(read, wanted, strict=True)):
        return f"at {revision} it is {_names(wanted)}, the list said {_names(read)}"
    return _wrong_remaining(listing, len(state))


def _wrong_revision(listing: Listing, windows: Windows) -> str:
    first = listing.pages[0]
    low, high = listing.not_older or windows.low(first.began), windows.high(first.ended)
    if listing.exact:
        return "" if first.revision == listing.exact else f"exactly {listing.exact} was asked for, {first.revision} was given"
    if first.revision < low:
        return f"it is of revision {first.revision}, {low} was known before"
    return f"it is of revision {first.revision}, {high} was the newest there can have been" if first.revision > high else ""


def _wrong_remaining(listing: Listing, total: int) -> str:
    given = 0
    for page in listing.pages:
        given += len(page.versions)
        if page.remaining is not None and not listing.scope.selective and page.remaining != total - given:
            return f"at {page.revision} {page.remaining} are said to remain after {given} of {total}"
    return ""


def _names(versions: Sequence[Version]) -> str:
    return "[" + ", ".join(f"{v.key.namespace}/{v.key.name}@{v.revision}" for v in versions) + "]"


def _dishonest(expired: Expired, held: int, log: Log, windows: Windows) -> str:
    """410 is for those who ask for more than is held."""
    newer = len(log.changes_between(expired.scope.resource, expired.revision, windows.high(expired.ended)))
    return "" if newer >= held else f"410 for {expired.revision}, with only {newer} newer changes of {held} that are held"
