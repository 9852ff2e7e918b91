"""CertificateSigningRequests at a hub: what is signed, what is refused, what is cleared away."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skerry.hub.certificates.plan import Drop, Fail, Sign, Wait, plan
from skerry.hub.server import Hub
from skerry.hub.settings import HubSettings
from skerry.model.objects import Object, dig
from skerry.trust import TrustError, authority

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CLIENT = "kubernetes.io/kube-apiserver-client"


def a_request(name: str, *groups: str, key: Any = None) -> tuple[str, Any]:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, name), *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, g) for g in groups)]
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject)).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode(), key


def a_csr(*types: str, signer: str = CLIENT, usages: tuple[str, ...] = ("client auth",), age_s: float = 0, **status: Any) -> Object:
    made = (NOW - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [{"type": t, "status": "True", "lastUpdateTime": made} for t in types]
    return {
        "metadata": {"name": "c", "creationTimestamp": made},
        "spec": {"signerName": signer, "usages": list(usages)},
        "status": {"conditions": conditions, **status},
    }


@pytest.mark.parametrize(
    ("csr", "step"),
    [
        (a_csr(), Wait),
        (a_csr("Approved"), Sign),
        (a_csr("Approved", signer="example.com/own"), Wait),
        (a_csr("Approved", usages=("server auth",)), Fail),
        (a_csr("Approved", usages=("client auth", "cert sign")), Fail),
        (a_csr("Approved", signer="kubernetes.io/kube-apiserver-client-kubelet"), Fail),
        (a_csr(signer="kubernetes.io/kubelet-serving"), Fail),
        (a_csr("Denied"), Wait),
        (a_csr("Denied", age_s=3601), Drop),
        (a_csr("Failed", "Approved", age_s=3601), Drop),
        (a_csr("Approved", age_s=3601, certificate="x"), Drop),
        (a_csr(age_s=86401), Drop),
    ],
)
def test_what_becomes_of_a_request(csr: Object, step: type) -> None:
    assert isinstance(plan(csr, NOW), step)


def test_a_certificate_has_the_names_that_were_asked_for_and_only_the_clients_purpose() -> None:
    ca_key, ca = authority.make_ca(NOW - timedelta(days=1))
    request, key = a_request("eve", "dev", key=rsa.generate_private_key(65537, 2048))

    made = x509.load_pem_x509_certificate(authority.issue_requested(ca_key, ca, request, timedelta(seconds=600), NOW).encode())

    assert made.subject.rfc4514_string() == "CN=eve,O=dev"
    assert (made.not_valid_before_utc, made.not_valid_after_utc) == (NOW - timedelta(minutes=5), NOW + timedelta(seconds=600))
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert made.public_key() == key.public_key()


@pytest.mark.parametrize(
    "request_pem",
    [
        a_request("eve", "system:masters")[0],
        a_request("eve", "dev", "System:Nodes")[0],
        a_request("system:node:n1", "system:nodes")[0],
        a_request("system:node:n1")[0],
        a_request("system:serviceaccount:kube-system:default")[0],
        a_request("eve", key=rsa.generate_private_key(65537, 1024))[0],
        a_request(" ")[0],
        a_request("eve", " system:masters")[0],
        a_request("eve", "system:masters\t")[0],
        a_request("eve", "system\u200b:masters")[0],
        a_request("eve\r\nX-Remote-Group: system:masters")[0],
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    ],
)
def test_names_of_the_cluster_and_weak_keys_are_refused(request_pem: str) -> None:
    ca_key, ca = authority.make_ca(NOW - timedelta(days=1))

    with pytest.raises(TrustError):
        authority.issue_requested(ca_key, ca, request_pem, timedelta(days=1), NOW)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    hub = await Hub.start(HubSettings(data=tmp_path / "hub", port=0))
    yield hub
    await hub.stop()


async def _kubectl(config: Path, *words: str, stdin: str = "") -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *("kubectl", "--kubeconfig", str(config), *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate(stdin.encode())
    return process.returncode or 0, out.decode()


def _object(name: str, request: str, signer: str = CLIENT) -> str:
    spec = {
        "request": base64.b64encode(request.encode()).decode(),
        "signerName": signer,
        "usages": ["client auth"],
        "expirationSeconds": 3600,
    }
    return json.dumps(
        {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name}, "spec": spec}
    )


async def _until(hub: Hub, name: str, condition: str) -> Object:
    async with asyncio.timeout(60):
        while True:
            _, text = await _kubectl(hub.kubeconfig, "get", "csr", name, "-o", "json")
            found: Object = json.loads(text)
            if dig(found, "status", "certificate") or any(c["type"] == condition for c in dig(found, "status", "conditions", default=())):
                return found
            await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
async def test_kubectl_approves_and_the_certificate_lets_its_owner_in(hub: Hub, tmp_path: Path) -> None:
    request, key = a_request("eve", "dev")
    assert await _kubectl(hub.kubeconfig, "create", "-f", "-", stdin=_object("eve", request)) == (
        0,
        "certificatesigningrequest.certificates.k8s.io/eve created\n",
    )

    assert (await _kubectl(hub.kubeconfig, "certificate", "approve", "eve"))[0] == 0
    csr = await _until(hub, "eve", "Failed")

    assert (csr["spec"]["username"], csr["spec"]["groups"]) == ("skerry-admin", ["system:masters", "system:authenticated"])
    pem = base64.b64decode(csr["status"]["certificate"])
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "eve.pem").write_bytes(pem + private)
    await _kubectl(hub.kubeconfig, "config", "view", "--raw")
    config = json.loads((await _kubectl(hub.kubeconfig, "config", "view", "--raw", "-o", "json"))[1])
    config["users"][0]["user"] = {"client-certificate": str(tmp_path / "eve.pem"), "client-key": str(tmp_path / "eve.pem")}
    (tmp_path / "eve.kubeconfig").write_text(json.dumps(config))
    _, who = await _kubectl(tmp_path / "eve.kubeconfig", "auth", "whoami")
    assert "eve" in who
    assert "dev system:authenticated" in who


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
async def test_no_request_becomes_a_node_or_a_master(hub: Hub) -> None:
    cases = {
        "node": _object("node", a_request("system:node:n1", "system:nodes")[0], "kubernetes.io/kube-apiserver-client-kubelet"),
        "serving": _object("serving", a_request("system:node:n1", "system:nodes")[0], "kubernetes.io/kubelet-serving"),
        "sly": _object("sly", a_request("system:node:n1", "system:nodes")[0]),
        "master": _object("master", a_request("eve", "system:masters")[0]),
    }
    for name, csr in cases.items():
        assert (await _kubectl(hub.kubeconfig, "create", "-f", "-", stdin=csr))[0] == 0
        await _kubectl(hub.kubeconfig, "certificate", "approve", name)

        found = await _until(hub, name, "Failed")

        assert "certificate" not in found["status"], name
