"""Small parts of the hub: settings, login codes, kubeconfig, keys on disk, log lines."""

from __future__ import annotations

import logging
import random
import resource
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp.http_exceptions import BadStatusLine
from cryptography import x509

from skerry.apiserver.access.tokens.keys import TokenKeys
from skerry.apiserver.http.message import User
from skerry.hub.kubeconfig import kubeconfig, write_kubeconfig
from skerry.hub.login_codes import LIFETIME_S, MAX_CODES, LoginCodes
from skerry.hub.logs import is_ours, printable
from skerry.hub.pki import MAX_NAMES, Pki, PkiError, is_due, issued_names, server_names
from skerry.hub.settings import parse_listen
from skerry.kube.kubeconfig import read_kubeconfig
from skerry.trust import authority, facts_of_pem
from skerry.trust.tls import client_context, hub_context, rehearse
from tests.unit.frontdoor.stage import InProcessWorkshop


def now() -> datetime:
    """Return the time of the test, not of its collection: certificates are issued at the clock's time."""
    return datetime.now(UTC)


ADMIN = User("skerry-admin", ("system:masters",))


@pytest.mark.parametrize(
    ("text", "means"),
    [("127.0.0.1:6443", ("127.0.0.1", 6443)), ("[::1]:0", ("::1", 0)), (":6443", ("0.0.0.0", 6443)), ("hub:1", ("hub", 1))],
)
def test_where_to_listen(text: str, means: tuple[str, int]) -> None:
    assert parse_listen(text) == means


@pytest.mark.parametrize("text", ["6443", "localhost", "a:b", "a:70000", "a:-1", "a:٣"])
def test_what_is_no_place_to_listen_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ADDRESS:PORT"):
        parse_listen(text)


def test_a_login_code_works_once() -> None:
    codes = LoginCodes()
    code = codes.make(ADMIN, 0.0)

    assert codes.redeem(code.upper(), 1.0) == ADMIN
    assert codes.redeem(code, 2.0) is None


def test_a_login_code_is_forgotten_after_its_time() -> None:
    codes = LoginCodes()
    code = codes.make(ADMIN, 0.0)

    assert codes.redeem(code, LIFETIME_S + 1) is None


def test_guesses_spend_no_code_and_lock_nobody_out() -> None:
    codes = LoginCodes()
    code = codes.make(ADMIN, 0.0)

    assert all(codes.redeem(f"aaaa-aaaa-{i:04}", 1.0) is None for i in range(5000))
    assert codes.redeem("a" * 65, 1.0) is None
    assert codes.redeem(code, 1.0) == ADMIN


def test_login_codes_are_bounded() -> None:
    codes = LoginCodes()
    first = codes.make(ADMIN, 0.0)
    for _ in range(MAX_CODES):
        codes.make(ADMIN, 1.0)

    assert codes.redeem(first, 2.0) is None


def test_a_login_code_has_no_letters_that_look_alike() -> None:
    made = {c for _ in range(50) for c in LoginCodes().make(ADMIN, 0.0)}

    assert made.isdisjoint("01iloIO")


def test_a_process_that_holds_keys_leaves_no_core_file_and_may_give_its_children_one() -> None:
    asks = "import resource, skerry.trust.files as f; f.leave_no_core(); print(*resource.getrlimit(resource.RLIMIT_CORE))"

    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["0", str(resource.getrlimit(resource.RLIMIT_CORE)[1])]


async def a_pki(folder: Path, *names: str) -> Pki:
    pki = Pki(folder / "pki")
    await pki.prepare(names or ("localhost",), InProcessWorkshop(), now())
    return pki


async def test_a_first_start_makes_everything_private(tmp_path: Path) -> None:
    pki = await a_pki(tmp_path)

    assert pki.folder.stat().st_mode & 0o777 == 0o700
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in pki.folder.iterdir()} == dict.fromkeys(
        ("ca.key", "ca.crt", "server.pem", "admin.pem", "token-keys.json"), "0o600"
    )
    assert facts_of_pem(pki.admin.read_text()).organizations == ("system:masters",)


async def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    pki = await a_pki(tmp_path)
    before = {p: p.read_bytes() for p in pki.folder.iterdir()}

    await a_pki(tmp_path)

    assert {p: p.read_bytes() for p in pki.folder.iterdir()} == before


async def test_a_new_name_gets_into_the_hubs_certificate_and_old_ones_stay(tmp_path: Path) -> None:
    await a_pki(tmp_path, "localhost", "old.example.org")
    pki = await a_pki(tmp_path, "localhost", "hub.example.org", "10.0.0.7")

    certificate = x509.load_pem_x509_certificate(pki.server.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert set(names.get_values_for_type(x509.DNSName)) == {"hub.example.org", "localhost", "old.example.org"}
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]
    assert set(issued_names(pki.server)) == {"hub.example.org", "localhost", "old.example.org", "10.0.0.7"}


async def test_addresses_of_long_ago_make_room_for_the_names_of_today(tmp_path: Path) -> None:
    for day in range(3):  # a machine that gets other addresses all the time
        today = ["localhost", *(f"2001:db8::{day}:{n}" for n in range(30))]
        pki = await a_pki(tmp_path, *today)

        assert set(today) <= set(issued_names(pki.server))
    assert len(issued_names(pki.server)) == MAX_NAMES
    before = pki.server.read_bytes()
    assert (await a_pki(tmp_path, *today)).server.read_bytes() == before


async def test_a_hub_of_more_names_than_a_certificate_has_starts(tmp_path: Path) -> None:
    pki = await a_pki(tmp_path, *(f"10.0.0.{n}" for n in range(MAX_NAMES)), "localhost")

    assert "localhost" not in issued_names(pki.server)


async def test_the_hubs_certificate_is_renewed_in_time_under_the_same_ca(tmp_path: Path) -> None:
    pki = await a_pki(tmp_path)
    ca = pki.ca.read_bytes()

    assert not await pki.renew_server([], InProcessWorkshop(), now() + timedelta(days=200))
    assert await pki.renew_server([], InProcessWorkshop(), now() + timedelta(days=250))
    assert pki.ca.read_bytes() == ca
    assert issued_names(pki.server) == ["localhost"]


async def test_a_hub_that_lost_its_key_does_not_make_another(tmp_path: Path) -> None:
    pki = await a_pki(tmp_path)
    (tmp_path / "hub.sqlite").write_bytes(b"")
    pki.ca_key.unlink()

    with pytest.raises(PkiError, match="from a backup"):
        await a_pki(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "server.pem", "admin.pem", "token-keys.json"])
async def test_a_bit_that_flips_in_a_key_or_certificate_is_named_or_mended_at_the_start(tmp_path: Path, name: str) -> None:
    """A hub with a damaged key started, and could then issue nothing, or was trusted by nobody (F13)."""
    pki = await a_pki(tmp_path)
    whole = {p: p.read_bytes() for p in pki.folder.iterdir()}
    file, chance = pki.folder / name, random.Random(11)
    for _ in range(12):
        for path, content in whole.items():
            path.write_bytes(content)
        damaged = bytearray(whole[file])
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        file.write_bytes(damaged)

        refused = await refusal_of(tmp_path)
        if refused:
            assert name in refused
            assert name in ("ca.key", "ca.crt", "token-keys.json")  # which are never made anew
            continue

        issued = authority.issue_node(pki.ca_key.read_text(), pki.ca_pem(), a_request(), "n1", now())
        assert facts_of_pem(issued).not_after > now()
        rehearse(hub_context(pki.ca, pki.server, ()), client_context(pki.ca_pem(), certificate=pki.admin))
        data = b"claims"
        keys = TokenKeys(pki.token_keys, lambda: 0.0)
        assert keys.verify(keys.active, data, keys.sign(data))


async def refusal_of(folder: Path) -> str:
    try:
        await a_pki(folder)
    except PkiError as error:
        return str(error)
    return ""


def a_request() -> str:
    return authority.make_request(authority.make_key(), "n1")


async def test_a_damaged_ca_stops_the_hub_and_a_damaged_server_certificate_is_made_anew(tmp_path: Path) -> None:
    pki = await a_pki(tmp_path)
    pki.server.write_text("damaged")
    await a_pki(tmp_path)
    assert not is_due(pki.server, now())

    pki.ca.write_text("damaged")
    with pytest.raises(PkiError, match="cannot be read"):
        await a_pki(tmp_path)


def test_a_hub_on_every_address_names_this_machine() -> None:
    names = server_names("0.0.0.0", ["hub.example.org"])

    assert names[0] == "hub.example.org"
    assert {"localhost", "127.0.0.1", "::1"} <= set(names)
    assert "0.0.0.0" not in names


async def test_the_kubeconfig_is_one_that_clients_read_and_is_private(tmp_path: Path) -> None:
    pki = await a_pki(tmp_path)
    path = tmp_path / "admin.kubeconfig"
    text = kubeconfig(url="https://127.0.0.1:6443", ca_pem=pki.ca_pem(), identity_pem=pki.admin.read_text())

    write_kubeconfig(path, text)
    before = path.stat().st_mtime_ns
    write_kubeconfig(path, text)
    cluster = read_kubeconfig(path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mtime_ns == before
    assert (cluster.server, cluster.ca_pem) == ("https://127.0.0.1:6443", pki.ca_pem())
    assert facts_of_pem(cluster.certificate_pem).common_name == "skerry-admin"
    assert "PRIVATE KEY" in cluster.key_pem


async def test_a_kubeconfig_that_others_can_read_is_made_private_again(tmp_path: Path) -> None:
    path = tmp_path / "admin.kubeconfig"
    path.write_text("x")
    path.chmod(0o644)

    write_kubeconfig(path, "x")

    assert path.stat().st_mode & 0o777 == 0o600


def test_control_characters_do_not_get_into_the_log() -> None:
    assert printable(None, "", {"event": "x", "node": "a\x1b[31m\nlevel=error", "n": 3, "ok": True, "none": None}) == {
        "event": "x",
        "node": "a\\x1b[31m\\x0alevel=error",
        "n": 3,
        "ok": True,
        "none": None,
    }


@pytest.mark.slow
def test_log_lines_are_events_with_facts_and_rich_stays_out_of_memory() -> None:
    program = (
        "import logging, sys; from skerry.hub.logs import configure; configure();"
        "logging.getLogger('skerry.x').warning('node offline', extra={'node': 'a b'}); assert 'rich.console' not in sys.modules"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)

    assert 'level=warning event="node offline" node="a b"' in done.stderr
    assert logging.getLogger("skerry.x").handlers == []


def test_what_is_no_http_is_not_logged() -> None:
    """Each bad request line of a stranger was two kilobytes of the hub's log."""

    def record(error: Exception) -> logging.LogRecord:
        return logging.LogRecord("aiohttp.server", logging.ERROR, "", 0, "Error handling request", (), (type(error), error, None))

    assert not is_ours(record(BadStatusLine("GET")))
    assert is_ours(record(RuntimeError("ours")))
