"""The audit log's chain: what is written verifies, and nothing can be cut, changed, moved or removed without being found."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skerry.apiserver.access.audit import AuditLog, verify
from skerry.apiserver.access.audit import log as audit_log
from skerry.apiserver.access.audit.events import Entry
from skerry.apiserver.access.audit.files import files_in
from skerry.apiserver.http.message import User
from skerry.apiserver.http.paths import parse

BOB = User("bob", ("system:authenticated",))


def an_entry(number: int = 0, query: str = "") -> Entry:
    path = f"/api/v1/namespaces/default/configmaps/c{number}"
    return Entry(f"id-{number}", 1.0, 2.0, "update", path, query, BOB, None, "192.0.2.1", "kubectl", parse(path), 200)


def written(folder: Path, count: int, **options: Any) -> AuditLog:
    log = AuditLog(folder, batch_s=0.0, **options)
    for i in range(count):
        log.note(an_entry(i))
    log.close(30)
    return log


def lines(folder: Path) -> list[bytes]:
    return [line for path in files_in(folder) for line in path.read_bytes().splitlines(keepends=True)]


def put(folder: Path, found: list[bytes]) -> None:
    (path,) = files_in(folder)
    path.write_bytes(b"".join(found))


def test_a_line_is_an_event_of_kubernetes_with_its_number_and_chain(tmp_path: Path) -> None:
    log = written(tmp_path, 1)

    event = json.loads(lines(tmp_path)[0])

    assert event.pop("chain") == log.head[1]
    assert event == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "id-0",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/default/configmaps/c0",
        "verb": "update",
        "user": {"username": "bob", "groups": ["system:authenticated"]},
        "sourceIPs": ["192.0.2.1"],
        "userAgent": "kubectl",
        "objectRef": {"resource": "configmaps", "namespace": "default", "name": "c0", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": "1970-01-01T00:00:01.000000Z",
        "stageTimestamp": "1970-01-01T00:00:02.000000Z",
        "annotations": {"authorization.k8s.io/decision": "allow", "audit.skerry.dev/sequence": "1"},
    }


@pytest.mark.parametrize("query", ["command=mysql&command=-phush", "comm%61nd=hush", "container=c&command=hush"])
def test_the_words_of_a_command_are_left_out(tmp_path: Path, query: str) -> None:
    log = AuditLog(tmp_path, batch_s=0.0)
    log.note(an_entry(query=query))
    log.close(30)

    assert b"hush" not in lines(tmp_path)[0]


@pytest.mark.parametrize("letter", ["\\", "\x01"])
def test_a_name_of_any_length_makes_no_line_that_cannot_be_read(tmp_path: Path, letter: str) -> None:
    path = "/api/v1/namespaces/default/configmaps/" + letter * 60_000
    extra = {letter * 200: (letter * 60_000,)}
    anybody = User(letter * 60_000, (letter * 60_000,) * 100, letter * 60_000, extra)
    log = AuditLog(tmp_path, batch_s=0.0)
    log.note(an_entry(1))
    log.note(an_entry(2)._replace(path=path, query=letter * 60_000, agent=letter * 60_000, target=parse(path), status=403))
    log.note(an_entry(3)._replace(path=path, target=parse(path), user=anybody, acts_as=anybody))
    log.note(an_entry(4))
    log.close(30)

    assert verify(tmp_path).whole
    assert [json.loads(line)["annotations"].get("audit.skerry.dev/cut") for line in lines(tmp_path)] == [None, "true", "true", None]


def test_the_chain_goes_on_over_restarts_and_files_and_old_files_go(tmp_path: Path) -> None:
    for _ in range(6):
        written(tmp_path, 20, max_file_bytes=4000, max_files=3)

    verdict = verify(tmp_path)

    assert verdict.problems == []
    assert (verdict.files, verdict.last) == (3, 120)
    assert verdict.first > 1


def _cut_end(found: list[bytes]) -> list[bytes]:
    return found[:-1]


def _cut_middle(found: list[bytes]) -> list[bytes]:
    return found[:4] + found[5:]


def _cut_begin(found: list[bytes]) -> list[bytes]:
    return found[1:]


def _change(found: list[bytes]) -> list[bytes]:
    return [*found[:3], found[3].replace(b"bob", b"eve"), *found[4:]]


def _swap(found: list[bytes]) -> list[bytes]:
    return [found[0], found[2], found[1], *found[3:]]


def _repeat(found: list[bytes]) -> list[bytes]:
    return [*found, found[-1]]


def _nonsense(found: list[bytes]) -> list[bytes]:
    return [*found[:2], b"hello\n", *found[2:]]


def _deep(found: list[bytes]) -> list[bytes]:
    return [*found[:2], b'{"annotations":' * 20_000 + b"\n", *found[2:]]


def _empty(found: list[bytes]) -> list[bytes]:
    return []


@pytest.mark.parametrize("harm", [_cut_end, _cut_middle, _cut_begin, _change, _swap, _repeat, _nonsense, _deep, _empty])
def test_every_harm_is_found(tmp_path: Path, harm: Callable[[list[bytes]], list[bytes]]) -> None:
    written(tmp_path, 10)
    assert verify(tmp_path).whole

    put(tmp_path, harm(lines(tmp_path)))

    assert not verify(tmp_path).whole
    written(tmp_path, 3)  # and it stays found when the hub goes on
    assert not verify(tmp_path).whole or harm is _repeat


def test_any_changed_byte_is_found(tmp_path: Path) -> None:
    written(tmp_path, 5)
    whole = b"".join(lines(tmp_path))
    randomness = random.Random(7)

    for _ in range(200):
        at = randomness.randrange(len(whole) - 1)
        changed = bytearray(whole)
        changed[at] ^= 1 << randomness.randrange(7)
        put(tmp_path, [bytes(changed)])
        assert not verify(tmp_path).whole, f"byte {at}"


def test_a_missing_head_and_a_missing_file_are_found(tmp_path: Path) -> None:
    written(tmp_path / "a", 10)
    (tmp_path / "a" / "head.json").unlink()
    assert not verify(tmp_path / "a").whole
    written(tmp_path / "a", 1)
    assert not verify(tmp_path / "a").whole

    for _ in range(3):
        written(tmp_path / "c", 5, max_file_bytes=1000)
    files_in(tmp_path / "c")[1].unlink()
    assert not verify(tmp_path / "c").whole


def test_a_log_that_was_rewritten_whole_is_found_by_a_hash_noted_elsewhere(tmp_path: Path) -> None:
    noted = written(tmp_path / "true", 10).head
    written(tmp_path / "forged", 12)

    assert verify(tmp_path / "true", expect=noted).whole
    assert verify(tmp_path / "forged").whole
    assert not verify(tmp_path / "forged", expect=(noted[0], "0" * 64)).whole


def test_a_crash_in_the_middle_of_a_batch_costs_only_what_was_not_promised(tmp_path: Path) -> None:
    written(tmp_path, 10)
    whole = lines(tmp_path)
    for torn in (b'{"kind":"Ev', b"\0" * 300 + b"\n", whole[3]):
        put(tmp_path, [*whole, torn])

        log = written(tmp_path, 2)

        verdict = verify(tmp_path)
        assert (verdict.problems, verdict.last) == ([], log.head[0])
        whole = lines(tmp_path)


def test_a_full_disk_is_said_and_what_waited_is_written_once_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = itertools.count()
    real = audit_log._write_whole

    def write(fd: int, data: bytes) -> None:
        real(fd, data[:100])
        if next(failing) < 2:
            raise OSError(28, "No space left on device")
        real(fd, data[100:])

    monkeypatch.setattr(audit_log, "_write_whole", write)
    monkeypatch.setattr(audit_log, "RETRY_S", 0.05)
    monkeypatch.setattr(audit_log, "MAX_WAITING", 5)
    log = AuditLog(tmp_path, batch_s=0.0)
    log.note(an_entry())
    end = time.monotonic() + 30
    while not log.trouble and time.monotonic() < end:
        time.sleep(0.001)
    assert "No space left on device" in log.trouble or log.head[0] == 1
    for i in range(10):
        log.note(an_entry(i))
    while log.head[0] < 1 and time.monotonic() < end:
        time.sleep(0.001)
    log.close(30)

    verdict = verify(tmp_path)
    assert verdict.problems == []
    assert log.trouble == ""
    assert sum(b"were dropped" in line for line in lines(tmp_path)) == (1 if log.dropped else 0)


def test_what_somebody_else_puts_into_the_folder_is_no_part_of_the_log(tmp_path: Path) -> None:
    """A copy beside the files ended every start of the hub."""
    written(tmp_path, 3)
    (tmp_path / "audit-copy.jsonl").write_bytes(b"copied\n")
    (tmp_path / "audit-000000000998.jsonl").mkdir()

    written(tmp_path, 2)

    assert verify(tmp_path).whole
    assert len(lines(tmp_path)) == 5
