"""The answers that every handler gives: JSON, text, and errors as a Kubernetes `Status`, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from skerry.apiserver.http.bare import BareError
from skerry.apiserver.http.message import Headers, Response
from skerry.apiserver.registry.encoding import dumps
from skerry.model.errors import ApiError

JSON_HEADERS: Headers = MappingProxyType({"Content-Type": "application/json", "Cache-Control": "no-cache, private"})
TEXT_HEADERS: Headers = MappingProxyType({"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"})


def json_answer(body: bytes, status: int = 200, warnings: Sequence[str] = ()) -> Response:
    """Return JSON bytes; each warning becomes a 299 header, which kubectl prints."""
    if not warnings:
        return Response(status, JSON_HEADERS, body)
    return Response(status, warning_headers(warnings), body)


def warning_headers(warnings: Sequence[str]) -> Headers:
    """Return the headers of a JSON answer with warnings."""
    return {**JSON_HEADERS, "Warning": _warning_lines(warnings)} if warnings else JSON_HEADERS


def _warning_lines(warnings: Sequence[str]) -> tuple[str, ...]:
    """Return a header's values, a line each; what was said twice (of two objects, by a second try) is told once."""
    return tuple(f'299 - "{_escaped(w)}"' for w in list(dict.fromkeys(warnings))[:20])


def _escaped(text: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text[:512])
    return printable.replace("\\", "\\\\").replace('"', '\\"')


def text_answer(text: str, status: int = 200) -> Response:
    return Response(status, TEXT_HEADERS, text.encode())


def error_answer(error: ApiError) -> Response:
    """Return the error as its `Status`.

    An error without a reason is a client's mistake that Kubernetes calls a 500: here it is what it is, a 400.
    """
    if error.code == 500 and not error.reason:
        error = ApiError(400, "BadRequest", error.message, details=error.details)
    status: dict[str, Any] = error.to_status()
    if isinstance(error, BareError) or (error.code == 422 and not error.details):
        status["details"] = {}
    headers = JSON_HEADERS
    retry = error.details.get("retryAfterSeconds") if error.details else None
    if retry and error.code == 429:
        # Only here: with this header kubectl tries again silently for a minute, where somebody wants to know that a node is away.
        headers = {**JSON_HEADERS, "Retry-After": str(retry)}
    if error.warnings:
        headers = {**headers, "Warning": _warning_lines(error.warnings)}
    token = getattr(error, "list_token", "")
    if token:
        status["metadata"] = {"continue": token}
    return Response(error.code, headers, dumps(status))


def no_such_resource() -> ApiError:
    return BareError(404, "NotFound", "the server could not find the requested resource")


def no_such_method() -> ApiError:
    return BareError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def page_not_found() -> Response:
    return text_answer("404 page not found\n", 404)
