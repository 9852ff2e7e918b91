"""The API server alone, on port 0 with a throw-away CA, for tests."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import trustme

from skerry.apiserver.http.shell import CertificateUser, TokenAuthenticator
from skerry.apiserver.server import ApiServer
from skerry.trust import create_private, token_keys


class Running(msgspec.Struct, frozen=True):
    """A server that answers: `kubeconfig` is an admin's, `ca` signs whatever else a test wants to be."""

    server: ApiServer
    port: int
    kubeconfig: Path
    ca: trustme.CA

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@asynccontextmanager
async def running(
    folder: Path, *, tokens: TokenAuthenticator | None = None, certificate: CertificateUser | None = None
) -> AsyncIterator[Running]:
    """Run an API server whose state is in *folder*."""
    keys = folder / token_keys.FILE
    if not keys.exists():
        create_private(keys, _token_keys())
    server = await ApiServer.open(folder / "hub.sqlite", tokens=tokens, certificate=certificate, token_keys=keys)
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    listener = await asyncio.get_running_loop().create_server(server.http.protocol_factory, "127.0.0.1", 0, ssl=_context(ca))
    port = listener.sockets[0].getsockname()[1]
    try:
        yield Running(server, port, _kubeconfig(folder, ca, port), ca)
    finally:
        listener.close()
        await server.close()


@cache
def _token_keys() -> bytes:
    """Return one file of keys for all servers of a process: an RSA key takes its time."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / token_keys.FILE
        token_keys.make(path, datetime.now(UTC))
        return path.read_bytes()


def _context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def _kubeconfig(folder: Path, ca: trustme.CA, port: int) -> Path:
    leaf = ca.issue_cert(common_name="admin", organization_name="system:masters")
    files = {"ca.pem": ca.cert_pem, "admin.pem": leaf.cert_chain_pems[0], "admin.key": leaf.private_key_pem}
    for name, blob in files.items():
        blob.write_to_path(str(folder / name))
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(folder / "ca.pem")}}],
        "users": [{"name": "admin", "user": {"client-certificate": str(folder / "admin.pem"), "client-key": str(folder / "admin.key")}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path
