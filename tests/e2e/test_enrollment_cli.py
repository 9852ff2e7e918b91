"""Joining, as people do it: real processes, stock kubectl, and the files that are left (T4, T5, F31, F32)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from skerry.node.connection import HubLink
from skerry.node.identity import StateFolder
from skerry.trust import Workshop
from tests.conftest import closed
from tests.e2e.edge import slowness
from tests.e2e.hub_process import HubProcess

pytestmark = pytest.mark.slow

SKERRY = [sys.executable, "-m", "skerry"]
KUBECTL = str(Path(sys.executable).parent / "kubectl")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    running = HubProcess(tmp_path_factory.mktemp("hub"))
    running.start()
    site = {"apiVersion": "skerry.dev/v1alpha1", "kind": "Site", "metadata": {"name": "dock-3"}}
    assert running.request("POST", "/apis/skerry.dev/v1alpha1/sites", site).status == 201
    yield running
    running.stop()


def kubectl(hub: HubProcess, *words: str) -> str:
    done = subprocess.run([KUBECTL, "--kubeconfig", str(hub.kubeconfig), *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def join(hub: HubProcess, node: str, *options: str, state: Path | None = None) -> subprocess.Popen[str]:
    where = ["--state", str(state or hub.folder / node), "--name", node]
    command = [*SKERRY, "node", "join", hub.url, *where, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def joined(hub: HubProcess, node: str, *options: str, state: Path | None = None) -> int:
    process = join(hub, node, *options, state=state)
    process.communicate(timeout=120)
    return process.returncode


def a_token(hub: HubProcess, *options: str) -> str:
    return str(json.loads(hub.skerry("hub", "token", "create", "-o", "json", *options))["token"])


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < end, "waited 90 s"
        time.sleep(0.1)


def enrollments(hub: HubProcess, node: str) -> list[dict[str, dict[str, str]]]:
    found = json.loads(kubectl(hub, "get", "enrollments", "-o", "json", f"--field-selector=spec.nodeName={node}"))
    return list(found["items"])


def test_a_token_is_good_for_one_node_and_its_files_are_private(hub: HubProcess) -> None:
    token = a_token(hub, "--site", "dock-3", "--label", "rack=r1")

    first = join(hub, "node-1", "--token", token, "-o", "json")
    told, _ = first.communicate(timeout=120)
    second = join(hub, "node-2", "--token", token)
    _, said = second.communicate(timeout=120)

    assert json.loads(told)["site"] == "dock-3"
    assert (first.returncode, second.returncode) == (0, 1)
    assert "used by another key" in said
    assert enrollments(hub, "node-2") == []
    for name in ("node.key", "node.crt", "hub-ca.crt", "node.json"):
        assert (hub.folder / "node-1" / name).stat().st_mode & 0o777 == 0o600, name


def test_a_token_of_another_hub_tells_a_stranger_nothing(hub: HubProcess) -> None:
    prefix, token_id, secret, _ = a_token(hub).split(".")
    foreign = ".".join((prefix, token_id, secret, hashlib.sha256(b"another hub").hexdigest()))

    tried = join(hub, "node-3", "--token", foreign)
    _, said = tried.communicate(timeout=120)

    assert tried.returncode == 1
    assert "is not the hub that the token is for" in said
    assert enrollments(hub, "node-3") == []


def test_a_person_approves_a_node_that_has_no_token(hub: HubProcess) -> None:
    waiting = join(hub, "node-4", "--ca-hash", hub.skerry("hub", "ca").strip(), "-o", "json")
    until(lambda: enrollments(hub, "node-4"))
    found = enrollments(hub, "node-4")
    assert "node-4" in kubectl(hub, "get", "enrollments")
    header = kubectl(hub, "get", "enrollments").splitlines()[0].split()

    patch = {"spec": {"decision": "Approved", "site": "dock-3", "labels": {"row": "7"}}}
    kubectl(hub, "patch", "enrollment", found[0]["metadata"]["name"], "--type", "merge", "-p", json.dumps(patch))
    told, _ = waiting.communicate(timeout=120)

    assert header == ["NAME", "NODE", "DECISION", "PHASE", "SITE", "AGE"]
    assert waiting.returncode == 0
    assert json.loads(told)["labels"] == {"row": "7"}


def test_what_makes_no_sense_is_refused_with_the_reason(hub: HubProcess) -> None:
    enrolled = enrollments(hub, "node-4")[0]["metadata"]["name"]
    tries = {
        ("patch", "enrollment", enrolled, "--type=merge", '-p={"spec":{"nodeName":"x"}}'): "cannot be changed",
        ("patch", "enrollment", enrolled, "--type=merge", '-p={"spec":{"site":"nowhere"}}'): "there is no such Site",
        ("patch", "enrollment", enrolled, "--type=merge", '-p={"spec":{"decision":"Pending"}}'): "cannot go back to Pending",
    }
    for words, reason in tries.items():
        done = subprocess.run(
            [KUBECTL, "--kubeconfig", str(hub.kubeconfig), *words], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 1
        assert reason in done.stderr


def test_a_replaced_machine_takes_the_name_and_the_old_key_is_shut_out(hub: HubProcess) -> None:
    old, new = hub.folder / "old", hub.folder / "new"
    assert joined(hub, "node-5", "--token", a_token(hub), state=old) == 0
    refused = join(hub, "node-5", "--token", a_token(hub), state=new)
    _, said = refused.communicate(timeout=120)

    assert joined(hub, "node-5", "--token", a_token(hub, "--node", "node-5"), state=new) == 0
    until(lambda: "Denied" in [e["spec"]["decision"] for e in enrollments(hub, "node-5")])

    assert "with another key" in said
    assert hub.request("GET", "/api/v1/nodes/node-5", credential=new).status == 404  # it may ask; the Node is not there yet
    assert hub.request("GET", "/api/v1/nodes/node-5", credential=old).status in (401, 403)
    assert sorted(e["spec"]["decision"] for e in enrollments(hub, "node-5")) == ["Approved", "Denied"]


def test_what_is_printed_beside_a_token_lets_its_node_in(hub: HubProcess, tmp_path: Path) -> None:
    made = [*SKERRY, "hub", "token", "create", "--node", "node-typed", "--kubeconfig", str(hub.kubeconfig)]
    printed = subprocess.run(made, capture_output=True, text=True, timeout=120, check=True).stderr.splitlines()[-1]
    skerry, *words, state = printed.split()

    done = subprocess.run([*SKERRY, *words, str(tmp_path / "state")], capture_output=True, text=True, timeout=120, check=False)

    assert (skerry, state) == ("skerry", "/var/lib/skerry")
    assert done.returncode == 0, done.stderr
    assert len(enrollments(hub, "node-typed")) == 1


async def test_a_denied_key_is_out_within_5_s_on_the_open_link_and_everywhere_else(hub: HubProcess) -> None:
    state = hub.folder / "node-6"
    assert await asyncio.to_thread(joined, hub, "node-6", "--token", a_token(hub)) == 0
    folder, workshop = StateFolder(state), Workshop()
    link = HubLink(folder, folder.load(), workshop)
    running = asyncio.create_task(link.run())
    await asyncio.wait_for(link.wait_connected(), 60)
    watch = await link.request("GET", "/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dnode-6")
    chunks = watch.chunks()
    name = (await asyncio.to_thread(enrollments, hub, "node-6"))[0]["metadata"]["name"]

    slow = await asyncio.to_thread(slowness)
    await asyncio.to_thread(kubectl, hub, "patch", "enrollment", name, "--type=merge", '-p={"spec":{"decision":"Denied"}}')
    async with asyncio.timeout(5 * slow):
        with pytest.raises(ConnectionError, match="denied"):
            [_ async for _ in chunks]
    over_http = await asyncio.to_thread(hub.request, "GET", "/api/v1/nodes/node-6", credential=state)
    again = await asyncio.to_thread(joined, hub, "node-6", "--token", a_token(hub))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(link.wait_connected(), 1.5)

    assert over_http.status in (401, 403)
    assert again == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await workshop.close()


def test_a_second_hub_on_the_same_folder_ends_with_a_clear_word(hub: HubProcess) -> None:
    before = (hub.folder / "hub" / "pki" / "ca.crt").read_bytes()
    command = [*SKERRY, "hub", "run", "--data", str(hub.folder / "hub"), "--listen", "127.0.0.1:0"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 1
    assert "another hub runs with" in done.stderr
    assert (hub.folder / "hub" / "pki" / "ca.crt").read_bytes() == before


def test_the_hub_listens_on_its_one_port_only(hub: HubProcess) -> None:
    sockets = psutil.Process(hub.pid).net_connections(kind="inet")

    assert [(c.laddr.ip, c.laddr.port) for c in sockets if c.status == psutil.CONN_LISTEN] == [("127.0.0.1", hub.port)]
    assert not [c for c in sockets if c.type == 2]  # no UDP either


def test_the_hub_keeps_its_secrets_to_itself(hub: HubProcess) -> None:
    private = [p for p in (hub.folder / "hub").rglob("*") if p.is_file()]

    assert [p for p in private if p.stat().st_mode & 0o077] == []
    assert {"ca.key", "ca.crt", "server.pem", "admin.pem"} <= {p.name for p in private}


def test_a_hub_that_was_killed_is_the_same_hub_and_its_nodes_come_back(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path)
    hub.start()
    assert joined(hub, "node-a", "--token", a_token(hub)) == 0
    ca = (tmp_path / "hub" / "pki" / "ca.crt").read_bytes()

    async def across_a_kill() -> int:
        folder, workshop = StateFolder(tmp_path / "node-a"), Workshop()
        link = HubLink(folder, folder.load(), workshop)
        running = asyncio.create_task(link.run())
        await asyncio.wait_for(link.wait_connected(), 60)
        await asyncio.to_thread(hub.stop, signal.SIGKILL)
        while link.connected:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(hub.start)
        await asyncio.wait_for(link.wait_connected(), 60)
        status = (await link.request("GET", "/api/v1/nodes/node-a")).status
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await workshop.close()
        await closed()
        return status

    assert asyncio.run(across_a_kill()) == 404  # answered, as this node: its Node object was never made
    assert (tmp_path / "hub" / "pki" / "ca.crt").read_bytes() == ca
    hub.stop()


def test_a_hub_killed_while_it_starts_for_the_first_time_starts_again(tmp_path: Path) -> None:
    for delay_s in (0.35, 0.5, 0.6, 0.7, 0.9):
        command = [*SKERRY, "hub", "run", "--data", str(tmp_path / "hub"), "--listen", "127.0.0.1:0"]
        begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ})
        time.sleep(delay_s)
        begun.kill()
        begun.wait(60)

    hub = HubProcess(tmp_path)
    hub.start()

    assert hub.request("GET", "/api/v1/namespaces/default").status == 200
    hub.stop()


def test_tls_1_2_and_plain_http_get_no_answer(hub: HubProcess) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    import socket

    with socket.create_connection(("127.0.0.1", hub.port), timeout=60) as raw, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(raw)
    with socket.create_connection(("127.0.0.1", hub.port), timeout=60) as raw:
        raw.sendall(b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = raw.recv(4096)
        assert b"HTTP/1.1" not in answer
