"""The embedded Kubernetes API server: store, schema, patch, registry, access, HTTP. `ApiServer` puts them together.

Names are imported when they are first used: much stands behind them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skerry.apiserver.http.message import ANONYMOUS, Request, Response, Upgrade, User, WebSocket
    from skerry.apiserver.http.routes import Access, Route
    from skerry.apiserver.http.shell import ApiHttp, TokenAuthenticator
    from skerry.apiserver.server import ApiServer

_HOMES = {
    "ANONYMOUS": "http.message",
    "Access": "http.routes",
    "ApiHttp": "http.shell",
    "ApiServer": "server",
    "Request": "http.message",
    "Response": "http.message",
    "Route": "http.routes",
    "TokenAuthenticator": "http.shell",
    "Upgrade": "http.message",
    "User": "http.message",
    "WebSocket": "http.message",
}

__all__ = [
    "ANONYMOUS",
    "Access",
    "ApiHttp",
    "ApiServer",
    "Request",
    "Response",
    "Route",
    "TokenAuthenticator",
    "Upgrade",
    "User",
    "WebSocket",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
