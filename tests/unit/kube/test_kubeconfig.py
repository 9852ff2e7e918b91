"""A kubeconfig is read as kubectl would, and what we cannot do is refused by name."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from skerry.kube.kubeconfig import Cluster, KubeconfigError, read_kubeconfig


def write(path: Path, *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **more: Any) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
        **more,
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_certificates_come_from_data_or_from_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "u.crt").write_text("CERT")
    data = base64.b64encode(b"CA").decode()
    path = write(
        tmp_path / "config",
        cluster={"certificate-authority-data": data},
        user={"client-certificate": "u.crt", "client-key-data": base64.b64encode(b"KEY").decode()},
    )

    found = read_kubeconfig(path)

    assert found == Cluster("https://127.0.0.1:6443", ca_pem="CA", certificate_pem="CERT", key_pem="KEY", namespace="team")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"user": {"exec": {}}}, "'exec', which is not supported"),
        ({"cluster": {"server": "ftp://x"}}, "'ftp://x' is not an https:// or http:// address"),
        ({"cluster": {"certificate-authority-data": "%%"}}, "certificate-authority-data is not base64"),
        ({"current-context": ""}, "has no current-context"),
        ({"current-context": "there"}, "has no context named 'there'"),
        ({"users": []}, "has no user named 'u'"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "config", **changed)

    with pytest.raises(KubeconfigError, match=message):
        read_kubeconfig(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "something else than one mapping"),
        ("", "than one mapping"),
        ("a: 1\n---\nb: 2\n", "than one mapping"),
        ("{", "is not YAML"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config").write_text(text)

    with pytest.raises(KubeconfigError, match=message):
        read_kubeconfig(tmp_path / "config")


def test_a_bomb_of_merge_keys_is_refused_before_it_grows(tmp_path: Path) -> None:
    levels = [f"l{n}: &l{n}\n  <<: [{', '.join(f'*l{n - 1}' for _ in range(9))}]\n" for n in range(1, 12)]
    (tmp_path / "a").write_text("l0: &l0 {x: 1}\n" + "".join(levels))

    with pytest.raises(KubeconfigError, match="aliases"):
        read_kubeconfig(tmp_path / "a")
