"""What the server counts, as Prometheus reads it: requests by what they were about, how long they took, and what is there.

Counting costs a request two look-ups; text is made when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.paths import parse

BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_SERIES = 5_000
"""Different (method, resource, status); what comes then is counted as `other`."""
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Key = tuple[str, str, str, int]
Gauge = Callable[[], float]


class Metrics:
    """Counters of requests, and gauges that are read when somebody asks."""

    def __init__(self, known: Callable[[str, str, str], bool]) -> None:
        """*known* says whether (group, version, plural) is served: names that clients make up are not counted apart."""
        self._known = known
        self._requests: dict[Key, int] = {}
        self._took: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._gauges: dict[str, tuple[str, Gauge]] = {}

    def gauge(self, name: str, help_: str, read: Gauge) -> None:
        """Show what *read* returns as *name*."""
        self._gauges[name] = (help_, read)

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        target = parse(path) if path.startswith("/api") else None
        key = (method, target.plural, target.subresource, status) if target is not None else (method, "", "", status)
        found = self._requests.get(key)
        if found is None:
            if method not in _METHODS or len(self._requests) >= MAX_SERIES:
                key = ("other", "", "", status)
            elif target is not None and not self._known(target.group, target.version, target.plural):
                key = (method, "unknown", "", status)
            found = self._requests.get(key, 0)
        self._requests[key] = found + 1
        buckets = self._took.get(key[0])
        if buckets is None:
            buckets = self._took[key[0]] = [0] * (len(BUCKETS) + 1)
            self._seconds[key[0]] = 0.0
        buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[key[0]] += seconds

    async def answer(self, request: Request) -> Response:
        """/metrics"""
        return Response(200, {"Content-Type": CONTENT_TYPE}, "".join(f"{line}\n" for line in self._lines()).encode())

    def _lines(self) -> Iterator[str]:
        yield from _head("apiserver_request_total", "counter", "Requests that were answered.")
        for (method, resource, sub, status), number in sorted(self._requests.items()):
            labels = f'verb="{method}",resource="{_safe(resource)}",subresource="{_safe(sub)}",code="{status}"'
            yield f"apiserver_request_total{{{labels}}} {number}"
        yield from _head("apiserver_request_duration_seconds", "histogram", "How long it took until an answer, or a stream, began.")
        for method, buckets in sorted(self._took.items()):
            yield from _histogram("apiserver_request_duration_seconds", method, buckets, self._seconds[method])
        for name, (help_, read) in self._gauges.items():
            yield from _head(name, "gauge", help_)
            yield f"{name} {read():g}" if read() < 1e15 else f"{name} {read()}"


def _head(name: str, kind: str, help_: str) -> Iterable[str]:
    return (f"# HELP {name} {help_}", f"# TYPE {name} {kind}")


def _histogram(name: str, method: str, buckets: list[int], seconds: float) -> Iterator[str]:
    sums = list(accumulate(buckets))
    for bound, number in zip([*BUCKETS, "+Inf"], sums, strict=True):
        yield f'{name}_bucket{{verb="{method}",le="{bound}"}} {number}'
    yield f'{name}_sum{{verb="{method}"}} {seconds:.6f}'
    yield f'{name}_count{{verb="{method}"}} {sums[-1]}'


def _safe(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in text[:64])
