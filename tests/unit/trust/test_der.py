"""The certificate reader, checked against cryptography."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.trust import TrustError, facts_of, facts_of_pem, key_hash, pem_to_der
from skerry.trust.authority import BACKDATED, issue_client, issue_node, issue_server, make_ca, make_key, make_request

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
CA = make_ca(NOW)


def spki_hash(pem: str) -> str:
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def test_facts_of_a_client_certificate() -> None:
    _, pem = issue_client(*CA, "admin", "system:masters", NOW)

    facts = facts_of_pem(pem)

    assert (facts.common_name, facts.organizations, facts.key_hash) == ("admin", ("system:masters",), spki_hash(pem))
    assert facts.not_before == NOW - BACKDATED


@pytest.mark.parametrize("made", [CA[1], issue_server(*CA, ["localhost", "127.0.0.1"], NOW)[1]])
def test_dates_and_key_agree_with_the_library(made: str) -> None:
    certificate = x509.load_pem_x509_certificate(made.encode())

    facts = facts_of_pem(made)

    assert (facts.not_before, facts.not_after) == (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    assert facts.key_hash == spki_hash(made)


def test_a_date_after_2049_is_read() -> None:
    _, pem = make_ca(NOW + timedelta(days=365 * 10))

    assert facts_of_pem(pem).not_after.year == 2055


def test_a_foreign_rsa_certificate_is_read() -> None:
    leaf = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("example.org", key_type=trustme.KeyType.RSA)
    pem = leaf.cert_chain_pems[0].bytes().decode()

    assert key_hash(pem_to_der(pem)) == spki_hash(pem)


def test_the_node_name_is_in_the_subject_and_the_request_is_not() -> None:
    request = make_request(make_key(), "system:admin")

    facts = facts_of_pem(issue_node(*CA, request, "node-a", NOW))

    assert (facts.common_name, facts.organizations) == ("system:node:node-a", ("system:nodes",))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_certificate_is_facts_or_a_trust_error(data: st.DataObject) -> None:
    raw = bytearray(pem_to_der(CA[1]))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))

    try:
        facts_of(bytes(raw[:cut]))
    except TrustError:
        return


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nAAAA", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----"])
def test_what_is_no_pem_is_a_trust_error(text: str) -> None:
    with pytest.raises(TrustError):
        facts_of_pem(text)
