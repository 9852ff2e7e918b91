"""Reads a kubeconfig: where a cluster is, how it is recognised, and who we are there. Hub and command line only.

Certificates may be files (relative to the kubeconfig) or base64 data. What we cannot do (exec plugins, auth providers)
is refused by name.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

LIMIT_BYTES = 2**20
_UNSUPPORTED = ("exec", "auth-provider", "username")


class KubeconfigError(ValueError):
    """The file cannot be used; the message names the file, the entry and what to do."""


class Cluster(msgspec.Struct, frozen=True):
    """One context of a kubeconfig, with every file already read; PEM texts are "" when absent."""

    server: str
    ca_pem: str = ""
    certificate_pem: str = ""
    key_pem: str = ""
    token: str = ""
    server_name: str = ""
    insecure: bool = False
    namespace: str = "default"


def read_kubeconfig(path: Path, *, context: str = "") -> Cluster:
    """Return what *context* (the current one by default) says; raises KubeconfigError or OSError."""
    from skerry.kube.yaml_file import YamlFileError, read_documents

    try:
        documents = read_documents(path, limit_bytes=LIMIT_BYTES)
    except YamlFileError as error:
        raise KubeconfigError(str(error)) from error
    document = documents[0] if len(documents) == 1 else None
    if not isinstance(document, dict):
        raise KubeconfigError(f"{path} is not a kubeconfig: it holds something else than one mapping")
    return _resolve(document, path, context)


def _resolve(document: Mapping[str, Any], path: Path, wanted: str) -> Cluster:
    name = wanted or str(document.get("current-context") or "")
    if not name:
        raise KubeconfigError(f"{path} has no current-context; name a context")
    context = _entry(document, "context", name, path)
    cluster = _entry(document, "cluster", str(context.get("cluster") or ""), path)
    user = _entry(document, "user", str(context.get("user") or ""), path)
    for field in _UNSUPPORTED:
        if field in user:
            raise KubeconfigError(
                f"{path}: users entry {context.get('user')!r} has {field!r}, which is not supported; use a certificate or token"
            )
    server = str(cluster.get("server") or "")
    if not server.startswith(("https://", "http://")):
        raise KubeconfigError(f"{path}: clusters entry {context.get('cluster')!r}: server {server!r} is not an https:// or http:// address")
    token = str(user.get("token") or "")
    if not token and user.get("tokenFile"):
        token = (path.parent / str(user["tokenFile"])).read_text().strip()
    return Cluster(
        server=server.rstrip("/"),
        ca_pem=_pem(cluster, "certificate-authority", path),
        certificate_pem=_pem(user, "client-certificate", path),
        key_pem=_pem(user, "client-key", path),
        token=token,
        server_name=str(cluster.get("tls-server-name") or ""),
        insecure=cluster.get("insecure-skip-tls-verify") is True,
        namespace=str(context.get("namespace") or "default"),
    )


def _entry(document: Mapping[str, Any], kind: str, name: str, path: Path) -> Mapping[str, Any]:
    entries = document.get(f"{kind}s")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(kind), dict):
            found: Mapping[str, Any] = entry[kind]
            return found
    raise KubeconfigError(f"{path} has no {kind} named {name!r}")


def _pem(entry: Mapping[str, Any], field: str, path: Path) -> str:
    """Return the PEM of `<field>-data`, or of the file that `<field>` names."""
    data = entry.get(f"{field}-data")
    if data:
        try:
            return base64.b64decode(str(data), validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise KubeconfigError(f"{path}: {field}-data is not base64 of a PEM text") from error
    file = entry.get(field)
    return (path.parent / str(file)).read_text() if file else ""
