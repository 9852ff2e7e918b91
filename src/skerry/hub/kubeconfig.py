"""Writes the admin's kubeconfig: everything embedded, so that one file can be carried elsewhere."""

from __future__ import annotations

import base64
from pathlib import Path

from skerry.trust import replace_private


def kubeconfig(*, url: str, ca_pem: str, identity_pem: str) -> str:
    """Return the YAML; *identity_pem* holds the key and the certificate."""
    key, certificate = _block(identity_pem, "PRIVATE KEY"), _block(identity_pem, "CERTIFICATE")
    return f"""apiVersion: v1
kind: Config
current-context: skerry
clusters:
- name: skerry
  cluster:
    server: {url}
    certificate-authority-data: {_data(ca_pem)}
users:
- name: skerry-admin
  user:
    client-certificate-data: {_data(certificate)}
    client-key-data: {_data(key)}
contexts:
- name: skerry
  context:
    cluster: skerry
    user: skerry-admin
"""


def write_kubeconfig(path: Path, text: str) -> None:
    """Write it for its owner only; an unchanged file is left alone, so that nothing wears out."""
    try:
        if path.read_text() == text and path.stat().st_mode & 0o077 == 0:
            return
    except OSError:
        pass
    replace_private(path, text.encode())


def _block(pem: str, label: str) -> str:
    head, tail = f"-----BEGIN {label}-----", f"-----END {label}-----"
    return f"{head}{pem.partition(head)[2].partition(tail)[0]}{tail}\n"


def _data(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()
