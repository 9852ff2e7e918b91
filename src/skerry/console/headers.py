"""The headers that keep a browser in bounds, and the one cookie. Pure."""

from __future__ import annotations

from collections.abc import Mapping

COOKIE = "__Host-skerry"
"""`__Host-`: the browser takes it only over TLS, for this host alone, whole path; the API never reads cookies."""

CSRF_HEADER = "x-skerry-csrf"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "img-src 'self' data:; "  # PatternFly has icons in its style sheets
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SECURITY: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def set_cookie(token: str, *, longest_s: float) -> str:
    """Return the `Set-Cookie` of a session."""
    return f"{COOKIE}={token}; Path=/; Max-Age={int(longest_s)}; Secure; HttpOnly; SameSite=Strict"


def clear_cookie() -> str:
    return f"{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict"


def cookie_of(headers: Mapping[str, str]) -> str:
    """Return the session's token, "" without one, or with more than one: then somebody else set the other."""
    found = [
        value for name, _, value in (part.strip().partition("=") for part in headers.get("cookie", "")[:8192].split(";")) if name == COOKIE
    ]
    return found[0] if len(found) == 1 else ""


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a page of ours sent this, as far as the browser says; a client that says nothing is no browser."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host", "")
