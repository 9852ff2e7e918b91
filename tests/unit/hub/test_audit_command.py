"""`skerry hub audit verify` and `skerry hub rotate-token-key`, as somebody types them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from click.testing import CliRunner

from skerry.apiserver.access.audit import AuditLog
from skerry.apiserver.access.audit.events import Entry
from skerry.apiserver.http.message import User
from skerry.cli.hub import hub
from skerry.trust import token_keys


def written(folder: Path) -> tuple[int, str]:
    log = AuditLog(folder / "audit", batch_s=0.0)
    for i in range(5):
        log.note(Entry(f"id-{i}", 1.0, 2.0, "create", "/api/v1/namespaces", "", User("bob"), None, "", "", None, 201))
    log.close(30)
    return log.head


def test_a_whole_log_is_said_to_be_and_its_end_is_printed(tmp_path: Path) -> None:
    number, digest = written(tmp_path)

    done = CliRunner().invoke(hub, ["audit", "verify", "--data", str(tmp_path), "--expect", f"{number}:{digest}"])

    assert done.exit_code == 0
    assert done.output.endswith(f"last {number}:{digest}\n")


def test_a_changed_line_is_named_and_the_exit_code_is_1(tmp_path: Path) -> None:
    written(tmp_path)
    (path,) = (tmp_path / "audit").glob("audit-*.jsonl")
    path.write_text(path.read_text().replace('"auditID":"id-2"', '"auditID":"id-9"'))

    done = CliRunner().invoke(hub, ["audit", "verify", "--data", str(tmp_path), "-o", "json"])

    told = json.loads(done.output)
    assert (done.exit_code, told["whole"]) == (1, False)
    assert told["problems"] == [f"{path.name}, line 3: number 3 was changed, or what was before it"]


def test_a_wrong_expectation_is_a_usage_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(hub, ["audit", "verify", "--data", str(tmp_path), "--expect", "five"])

    assert done.exit_code == 2
    assert "NUMBER:HASH" in done.output


def test_a_new_token_key_takes_over(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    token_keys.make(tmp_path / "pki" / token_keys.FILE, datetime(2026, 1, 1, tzinfo=UTC))

    done = CliRunner().invoke(hub, ["rotate-token-key", "--data", str(tmp_path), "-o", "json"])

    file = token_keys.read(tmp_path / "pki" / token_keys.FILE)
    assert json.loads(done.output) == {"kid": file.keys[0].kid}
    assert [bool(k.private) for k in file.keys] == [True, False]
