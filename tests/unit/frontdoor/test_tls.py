"""Who gets through the handshake, and what a node takes for its hub (T5, T6, F23, F26; bad input 10)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from skerry.hub.frontdoor import Roster, user_by_certificate
from skerry.hub.frontdoor.door import PROTOCOLS
from skerry.hub.frontdoor.strangers import network_of
from skerry.link import ALPN, CLOSED_UNHEARD
from skerry.link.control import EXPIRED
from skerry.node.connection import HubLink
from skerry.node.connection.backoff import retry_delay_s
from skerry.node.connection.hub_link import renewal_due
from skerry.node.connection.refusals import Refusal, refusal_of
from skerry.node.identity import NodeSettings, StateFolder
from skerry.trust import facts_of_pem, pem_to_der
from skerry.trust.authority import issue_client, issue_node, issue_server, make_ca, make_key, make_request
from skerry.trust.tls import client_context, hub_context
from tests.unit.frontdoor.stage import InProcessWorkshop, a_context, a_stage, an_enrollment, settle, the_ca

NOW = datetime.now(UTC)


async def _shake_hands(port: int, context: ssl.SSLContext, *, name: str = "localhost") -> bytes:
    """Connect, say GET, and return what comes until the end; raises what the handshake raises."""
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return await reader.read()
        finally:
            writer.transport.abort()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
            await asyncio.sleep(0.01)  # asyncio closes the socket in a later turn


def _client(folder: Path, identity: tuple[str, str] | None = None) -> ssl.SSLContext:
    """Return a client's settings; *identity* is key and certificate."""
    if identity is None:
        return client_context(the_ca()[1])
    (folder / "client.key").write_text(identity[0])
    (folder / "client.crt").write_text(identity[1])
    return client_context(the_ca()[1], certificate=folder / "client.crt", key=folder / "client.key")


async def test_tls_1_2_is_refused(tmp_path: Path) -> None:
    context = _client(tmp_path)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2

    async with a_stage(tmp_path) as stage:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await _shake_hands(stage.port, context)


async def test_without_a_certificate_http_is_let_through(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        assert await _shake_hands(stage.port, _client(tmp_path)) == b"hello"


def _good() -> tuple[str, str]:
    return issue_client(*the_ca(), "admin", "system:masters", NOW)


def _expired() -> tuple[str, str]:
    long_ago = NOW - timedelta(days=365 * 6)
    return issue_client(*the_ca(), "system:node:node-a", "system:nodes", long_ago)


def _foreign() -> tuple[str, str]:
    return issue_client(*make_ca(NOW), "admin", "system:masters", NOW)


def _self_signed() -> tuple[str, str]:
    leaf = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert(common_name="admin", organization_name="system:masters")
    return leaf.private_key_pem.bytes().decode(), leaf.cert_chain_pems[0].bytes().decode()


def _for_servers() -> tuple[str, str]:
    return issue_server(*the_ca(), ["localhost"], NOW)


@pytest.mark.parametrize("identity", [_foreign, _self_signed, _for_servers])
async def test_a_certificate_that_is_not_good_ends_the_connection(tmp_path: Path, identity: Callable[[], tuple[str, str]]) -> None:
    async with a_stage(tmp_path) as stage:
        try:
            answer = await _shake_hands(stage.port, _client(tmp_path, identity()))
        except (ssl.SSLError, ConnectionError):
            answer = b""

        assert answer == b""
        assert await _shake_hands(stage.port, _client(tmp_path, _good())) == b"hello"


async def test_a_node_whose_certificate_has_run_out_is_told_so(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        key, certificate = _expired()
        folder = stage.a_node("node-a")
        folder.key.write_text(key)
        folder.save_certificate(certificate)
        stage.door.roster.put(an_enrollment("node-a", facts_of_pem(certificate).key_hash))
        context = client_context(the_ca()[1], certificate=folder.certificate, key=folder.key, protocols=[ALPN])

        assert EXPIRED.encode() in await _shake_hands(stage.port, context)


async def test_a_hub_whose_clock_is_behind_keeps_its_nodes(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        folder = stage.a_node("node-a")
        request = make_request(folder.key.read_text(), "node-a")
        folder.save_certificate(issue_node(*the_ca(), request, "node-a", NOW + timedelta(days=1)))

        async with stage.a_link(folder) as link:
            await asyncio.wait_for(link.wait_connected(), 60)


@pytest.mark.parametrize(("days", "user"), [(-365 * 6, None), (0, "admin"), (1, "admin")])
def test_over_http_a_certificate_names_its_user_until_it_has_run_out(days: int, user: str | None) -> None:
    certificate = issue_client(*the_ca(), "admin", "system:masters", NOW + timedelta(days=days))[1]

    found = user_by_certificate(Roster(), _Shown(pem_to_der(certificate)))

    assert (found.name if found else None) == user


class _Shown:
    """The TLS side of a connection that shows the admin's certificate."""

    def __init__(self, der: bytes) -> None:
        self._der = der

    def getpeercert(self, binary_form: bool = False) -> Any:
        subject = ((("organizationName", "system:masters"),), (("commonName", "admin"),))
        return self._der if binary_form else {"subject": subject}


async def test_a_client_refuses_the_hub_of_another_ca_and_one_with_another_name(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"self-signed|unable to get"):
            await _shake_hands(stage.port, client_context(make_ca(NOW)[1]))
        with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)hostname mismatch"):
            await _shake_hands(stage.port, _client(tmp_path), name="hub.example.org")


# What a node takes for its hub.


async def _never_connects(link: HubLink, within_s: float = 0.5) -> bool:
    try:
        await asyncio.wait_for(link.wait_connected(), within_s)
    except TimeoutError:
        return True
    return False


@asynccontextmanager
async def _impostor(folder: Path, context: ssl.SSLContext | None, say: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answer every connection with *say*, and keep what was received."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(say)
        try:
            received.append(await asyncio.wait_for(reader.read(65536), 0.3))
        except (TimeoutError, OSError):
            received.append(b"")
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], received
    finally:
        server.close()
        await server.wait_closed()
        await settle()


def _folder_for(stage_folder: Path, port: int, host: str = "localhost") -> StateFolder:
    folder = StateFolder(stage_folder / "node")
    folder.prepare()
    folder.key.write_text(make_key())
    folder.save_certificate(issue_node(*the_ca(), make_request(folder.key.read_text(), "x"), "node-a", NOW))
    folder.save_ca(the_ca()[1])
    folder.save_settings(NodeSettings(name="node-a", hub=f"https://{host}:{port}"))
    return folder


PORTAL = b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/login\r\nContent-Length: 20\r\n\r\n<html>log in</html>\r\n"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"


def _no_tls(folder: Path) -> None:
    return None


def _right_ca_no_link(folder: Path) -> ssl.SSLContext:
    context = a_context(folder)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _right_ca_wrong_name(folder: Path) -> ssl.SSLContext:
    return a_context(folder, names=("hub.example.org",))


def _other_ca(folder: Path) -> ssl.SSLContext:
    return a_context(folder, ca=make_ca(NOW))


def _claims_the_link(folder: Path) -> ssl.SSLContext:
    return a_context(folder)


@pytest.mark.parametrize("context", [_no_tls, _right_ca_no_link, _right_ca_wrong_name, _other_ca, _claims_the_link])
@pytest.mark.parametrize("say", [PORTAL, PAGE, b"", b"\x00\xff" * 500])
async def test_whatever_is_not_our_hub_counts_as_offline(
    tmp_path: Path, context: Callable[[Path], ssl.SSLContext | None], say: bytes
) -> None:
    async with _impostor(tmp_path, context(tmp_path), say) as (port, received):
        folder = _folder_for(tmp_path, port)
        link = HubLink(folder, folder.load(), InProcessWorkshop())
        task = asyncio.ensure_future(link.run())

        offline = await _never_connects(link, 0.15)
        alive = not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert offline
        assert alive
        assert not any(b"api/v1" in r for r in received)


async def test_an_expired_hub_certificate_does_not_cut_a_node_off(tmp_path: Path) -> None:
    """Nodes have wrong clocks, and have pinned the CA (T6)."""
    key, certificate = issue_server(*the_ca(), ["localhost"], NOW - timedelta(days=800))
    (tmp_path / "old.pem").write_text(key + certificate)
    (tmp_path / "ca.crt").write_text(the_ca()[1])

    context = hub_context(tmp_path / "ca.crt", tmp_path / "old.pem", PROTOCOLS)

    async with a_stage(tmp_path, context=context) as stage, stage.a_link(stage.a_node()) as link:
        await asyncio.wait_for(link.wait_connected(), 60)


async def test_a_node_certificate_of_another_ca_does_not_connect(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        folder = stage.a_node("node-a", ca=make_ca(NOW))
        async with stage.a_link(folder) as link:
            assert await _never_connects(link)


async def test_a_link_without_any_certificate_is_sent_away(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        context = client_context(the_ca()[1], protocols=[ALPN])

        answer = await _shake_hands(stage.port, context)

    assert b"no approved enrollment" in answer


async def test_a_key_that_nobody_approved_is_sent_away(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage, stage.a_link(stage.a_node(enrolled=False)) as link:
        assert await _never_connects(link)


async def test_more_connections_than_the_limit_are_refused(tmp_path: Path) -> None:
    async with a_stage(tmp_path, max_connections=0) as stage:
        try:
            answer = await _shake_hands(stage.port, _client(tmp_path))
        except (ssl.SSLError, ConnectionError):
            answer = b""

        assert answer == b""


class _Echo(asyncio.Protocol):
    """Says nothing until it was spoken to."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(data)
        self.transport.close()


async def test_strangers_who_say_nothing_crowd_out_each_other_only(tmp_path: Path) -> None:
    """4,096 connections that nobody had to prove anything for kept admins and nodes out (T17, input 1)."""
    async with a_stage(tmp_path, max_strangers=4, http=_Echo) as stage:
        silent = [
            await asyncio.open_connection("127.0.0.1", stage.port, ssl=_client(tmp_path), server_hostname="localhost") for _ in range(9)
        ]

        assert (await _shake_hands(stage.port, _client(tmp_path))).startswith(b"GET /")
        assert (await _shake_hands(stage.port, _client(tmp_path, _good()))).startswith(b"GET /")
        async with asyncio.timeout(60):
            assert [await reader.read() for reader, _ in silent[:5]] == [b""] * 5  # the oldest were closed
        for _, writer in silent:
            writer.transport.abort()


async def test_who_takes_every_place_and_speaks_crowds_out_himself_only(tmp_path: Path) -> None:
    """1,024 connections of one address that each had said a word kept everybody out of the console, and nodes from joining (T17)."""
    async with a_stage(tmp_path, max_strangers=4, http=_Deaf) as stage:
        tls = _client(tmp_path)
        crowd = [await _hello(stage.port, tls, "127.0.0.9") for _ in range(4)]

        honest = [await _hello(stage.port, tls, f"127.0.0.{n}") for n in (1, 2)]
        crowd += [await _hello(stage.port, tls, "127.0.0.9") for _ in range(4)]

        async with asyncio.timeout(30):
            assert [await reader.read() for reader, _ in crowd[:6]] == [b""] * 6  # the crowd's own oldest were closed
        assert not any(reader.at_eof() for reader, _ in honest)
        for _, writer in (*crowd, *honest):
            writer.transport.abort()


class _Deaf(asyncio.Protocol):
    """Answers, and keeps the connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(b"heard")


async def _hello(port: int, tls: ssl.SSLContext, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="localhost", local_addr=(address, 0))
    writer.write(b"hello")
    await writer.drain()
    assert await reader.readexactly(5) == b"heard"
    return reader, writer


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_who_counts_as_one(address: str, network: str) -> None:
    assert network_of(address) == network


async def test_handshakes_that_are_never_done_crowd_out_each_other_only(tmp_path: Path) -> None:
    async with a_stage(tmp_path, max_handshakes=4) as stage:
        begun = [await asyncio.open_connection("127.0.0.1", stage.port) for _ in range(9)]

        assert await _shake_hands(stage.port, _client(tmp_path)) == b"hello"
        async with asyncio.timeout(60):
            assert [await reader.read() for reader, _ in begun[:5]] == [b""] * 5
        for _, writer in begun:
            writer.transport.abort()


# Pure: what an end of a connection means, and when to try again.


@pytest.mark.parametrize(
    ("reason", "means"),
    [
        ("the connection was lost: [SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired", Refusal.CERTIFICATE),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2580)", Refusal.CERTIFICATE),
        ("the peer closed the link: the certificate has expired", Refusal.CERTIFICATE),
        ("the peer closed the link: the key was denied", Refusal.KEY),
        ("the peer closed the link: the key has no approved enrollment", Refusal.UNKNOWN),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch", None),
        (CLOSED_UNHEARD, Refusal.CERTIFICATE),
        ("the peer closed the connection", None),
        ("nothing was heard of the peer for 25 s", None),
    ],
)
def test_the_end_of_a_connection_tells_what_to_do(reason: str, means: Refusal | None) -> None:
    assert refusal_of(reason) is means


def test_retries_keep_in_proportion_to_the_outage() -> None:
    assert retry_delay_s(0, refused=False, jitter=1) == pytest.approx(0.2)
    assert retry_delay_s(20, refused=False, jitter=1) == pytest.approx(1.0)  # its events flow again within 2 s after 20 s
    assert retry_delay_s(1e6, refused=False, jitter=1) == 30.0
    assert retry_delay_s(0, refused=True, jitter=0) == 1.0


def test_nodes_that_lost_their_hub_together_come_back_spread_out() -> None:
    delays = [retry_delay_s(60, refused=False, jitter=i / 100) for i in range(101)]

    assert min(delays) == pytest.approx(1.5)
    assert max(delays) == pytest.approx(3.0)


def test_a_certificate_is_renewed_after_two_thirds_of_its_life() -> None:
    begins, ends = NOW, NOW + timedelta(days=300)

    assert not renewal_due(begins, ends, NOW + timedelta(days=199))
    assert renewal_due(begins, ends, NOW + timedelta(days=201))
    assert renewal_due(begins, ends, NOW + timedelta(days=5000))
    assert not renewal_due(begins, ends, datetime(1970, 1, 1, tzinfo=UTC))  # a dead clock is no reason
