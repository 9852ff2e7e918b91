"""The short-lived process that touches keys: `python -m skerry.trust.worker`, one JSON request and answer a line.

It ends with its input. Requests name files where a key is involved, so no private key travels through a pipe.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from skerry.trust.der import TrustError
from skerry.trust.files import create_private, leave_no_core, replace_private
from skerry.trust.wire import MAX_LINE

Task = Callable[[Mapping[str, Any]], dict[str, Any]]


def _make_node_key(ask: Mapping[str, Any]) -> dict[str, Any]:
    """Make the key file unless it is there, and a request with it. A key is never made twice: it is who we are."""
    from skerry.trust import authority

    path = Path(ask["key_file"])
    if not path.exists():
        create_private(path, authority.make_key().encode())
    request = authority.make_request(path.read_text(), ask["name"])
    return {"request": request, "key_hash": authority.request_key_hash(request)}


def _make_ca(ask: Mapping[str, Any]) -> dict[str, Any]:
    from skerry.trust import authority

    key, certificate = authority.make_ca(_now(ask))
    # The certificate is written first: a power cut between the two leaves no key behind, and the next start makes both.
    replace_private(Path(ask["certificate_file"]), certificate.encode())
    create_private(Path(ask["key_file"]), key.encode())
    return {"certificate": certificate}


def _issue_server(ask: Mapping[str, Any]) -> dict[str, Any]:
    from skerry.trust import authority

    key, certificate = authority.issue_server(*_ca(ask), ask["names"], _now(ask))
    # One file holds both, so that a power cut cannot leave a key beside another key's certificate. PEM readers skip the first line.
    replace_private(Path(ask["file"]), f"names: {' '.join(ask['names'])}\n{key}{certificate}".encode())
    return {"certificate": certificate}


def _issue_admin(ask: Mapping[str, Any]) -> dict[str, Any]:
    from skerry.trust import authority

    key, certificate = authority.issue_client(*_ca(ask), ask["user"], ask["group"], _now(ask))
    replace_private(Path(ask["file"]), (key + certificate).encode())
    return {"certificate": certificate}


def _read_request(ask: Mapping[str, Any]) -> dict[str, Any]:
    from skerry.trust import authority

    return {"key_hash": authority.request_key_hash(ask["request"])}


def _issue_node(ask: Mapping[str, Any]) -> dict[str, Any]:
    from skerry.trust import authority

    return {"certificate": authority.issue_node(*_ca(ask), ask["request"], ask["node"], _now(ask))}


def _issue_requested(ask: Mapping[str, Any]) -> dict[str, Any]:
    from skerry.trust import authority

    return {"certificate": authority.issue_requested(*_ca(ask), ask["request"], timedelta(seconds=ask["lifetime_s"]), _now(ask))}


def _make_token_keys(ask: Mapping[str, Any]) -> dict[str, Any]:
    from skerry.trust import token_keys

    token_keys.make(Path(ask["file"]), _now(ask))
    return {}


TASKS: Mapping[str, Task] = {
    "make-node-key": _make_node_key,
    "make-ca": _make_ca,
    "issue-server": _issue_server,
    "issue-admin": _issue_admin,
    "read-request": _read_request,
    "issue-node": _issue_node,
    "issue-requested": _issue_requested,
    "make-token-keys": _make_token_keys,
}


def _ca(ask: Mapping[str, Any]) -> tuple[str, str]:
    folder = Path(ask["ca_folder"])
    return (folder / "ca.key").read_text(), (folder / "ca.crt").read_text()


def _now(ask: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(ask["now"], UTC)


def answer(line: bytes) -> dict[str, Any]:
    """Carry out one request; what is wrong with it becomes `{"error": ...}`."""
    try:
        ask = msgspec.json.decode(line, type=dict[str, Any])
        return TASKS[ask["task"]](ask)
    except TrustError as error:
        return {"error": str(error), "refused": True}
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        return {"error": f"not a request that this worker knows: {error!r}"}
    except Exception as error:  # a damaged certificate can be wrong in ways that no library lists
        return {"error": f"{type(error).__name__}: {error}"}


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer line by line until the input ends."""
    while line := source.readline(MAX_LINE):
        sink.write(msgspec.json.encode(answer(line)) + b"\n")
        sink.flush()


if __name__ == "__main__":
    leave_no_core()
    serve(sys.stdin.buffer, sys.stdout.buffer)
