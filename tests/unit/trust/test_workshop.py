"""The worker process and what it writes."""

from __future__ import annotations

import asyncio
import io
import ssl
from pathlib import Path

import msgspec
import pytest

from skerry.trust import TrustError, Workshop, WorkshopError, create_private, facts_of_pem, replace_private
from skerry.trust.worker import answer, serve


def test_private_files_are_for_their_owner_and_never_overwritten(tmp_path: Path) -> None:
    create_private(tmp_path / "key", b"one")

    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "key", b"two")


def test_a_replaced_file_is_whole_also_after_an_interrupted_try(tmp_path: Path) -> None:
    (tmp_path / "crt.new").write_bytes(b"half of")
    replace_private(tmp_path / "crt", b"new")

    assert (tmp_path / "crt").read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["crt"]


def test_a_request_that_makes_no_sense_is_answered() -> None:
    sink = io.BytesIO()

    serve(io.BytesIO(b'nonsense\n{"task":"rm"}\n[1]\n'), sink)

    answers = [msgspec.json.decode(line) for line in sink.getvalue().splitlines()]
    assert len(answers) == 3
    assert all("error" in a for a in answers)


def test_a_node_key_is_made_once(tmp_path: Path) -> None:
    ask = msgspec.json.encode({"task": "make-node-key", "key_file": str(tmp_path / "node.key"), "name": "node-a"})

    first, second = answer(ask), answer(ask)

    assert first["key_hash"] == second["key_hash"]
    assert (tmp_path / "node.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
async def test_a_hub_gets_its_ca_and_certificates_from_the_worker(tmp_path: Path) -> None:
    workshop = Workshop()
    await workshop.make_ca(tmp_path)
    await workshop.issue_server(tmp_path, tmp_path / "server.pem", ["localhost"])
    request, key_hash = await workshop.make_node_key(tmp_path / "node.key", "node-a")

    certificate = await workshop.issue_node(tmp_path, request, "node-a")

    assert facts_of_pem(certificate).key_hash == key_hash
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "server.pem")
    with pytest.raises(WorkshopError, match="exists"):
        await workshop.make_ca(tmp_path)
    with pytest.raises(TrustError):
        await workshop.read_request("nonsense")
    await workshop.close()


@pytest.mark.slow
async def test_the_worker_ends_when_nobody_needs_it_and_starts_again() -> None:
    workshop = Workshop(idle_s=0.05)
    with pytest.raises(TrustError):
        await workshop.read_request("x")
    process = workshop._process
    assert process is not None

    await asyncio.wait_for(process.wait(), 60)

    with pytest.raises(TrustError):
        await workshop.read_request("x")
    await workshop.close()
