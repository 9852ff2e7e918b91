"""Protobuf bodies: what stock kubectl sends, and everything else that bytes can be."""

from __future__ import annotations

import base64
import copy
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.apiserver.schema.facts import FACTS
from skerry.apiserver.schema.protobuf import MAGIC, decode, go_duration
from skerry.model.errors import ApiError
from tests.unit.schema.pipeline import catalogue

BODIES: list[dict[str, Any]] = msgspec.json.decode((Path(__file__).parent / "kubectl_bodies.json").read_bytes())
"""Bodies that kubectl 1.37 sent, and what it says they mean (`--dry-run=client -o json`)."""


@pytest.mark.parametrize("sent", BODIES, ids=[b["name"] for b in BODIES])
def test_a_body_of_kubectl_means_what_kubectl_says(sent: dict[str, Any]) -> None:
    found = decode(base64.b64decode(sent["protobuf"]))
    said = copy.deepcopy(sent["json"])
    group, _, version = said["apiVersion"].rpartition("/")
    schema = catalogue().kind(group, version, said["kind"])
    for obj in (found, said):
        schema.prune_unknown(obj)
        obj["metadata"].pop("namespace", None)

    assert found == said


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + field(1, field(1, api_version.encode()) + field(2, kind.encode())) + field(2, raw)


def test_zeros_go_unless_go_has_a_pointer_for_them() -> None:
    spec = field(1, 0) + field(5, 0) + field(7, 0)  # replicas (pointer), minReadySeconds, paused

    assert decode(envelope("apps/v1", "Deployment", field(2, spec)))["spec"] == {"replicas": 0}


def test_special_types_take_their_json_form() -> None:
    time, micro = field(1, 1767607202) + field(2, 5000), field(1, 1767607202) + field(2, 7000)
    lease = field(1, field(8, time)) + field(2, field(4, micro))
    port = field(1, 1) + field(3, b"web")
    service = field(2, field(1, field(3, 80) + field(4, port)))
    quota = field(2, field(1, field(1, b"cpu") + field(2, field(1, b"500m"))))

    assert decode(envelope("coordination.k8s.io/v1", "Lease", lease)) == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"creationTimestamp": "2026-01-05T10:00:02Z"},
        "spec": {"renewTime": "2026-01-05T10:00:02.000007Z"},
    }
    assert decode(envelope("v1", "Service", service))["spec"] == {"ports": [{"port": 80, "targetPort": "web"}]}
    assert decode(envelope("v1", "ResourceQuota", quota))["spec"] == {"hard": {"cpu": "500m"}}
    assert decode(envelope("v1", "Secret", field(2, field(1, b"k") + field(2, b"\x00\x01"))))["data"] == {"k": "AAE="}


def test_delete_options_are_known_in_every_group() -> None:
    assert decode(envelope("apps/v1", "DeleteOptions", field(1, 0) + field(4, b"Foreground"))) == {
        "apiVersion": "apps/v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Foreground",
    }


def test_a_crd_in_protobuf_has_its_json_names() -> None:
    props = field(5, b"object") + field(38, 1) + field(31, field(2, field(5, b"string")) + field(1, 1))
    version = field(1, b"v1") + field(4, field(1, props))

    found = decode(envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", field(2, field(7, version))))

    schema = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["type"] == "object"
    assert schema["x-kubernetes-preserve-unknown-fields"] is True


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "expected prefix"),
        (b"k8s\x00", "no kind"),
        (envelope("v1", "Nope", b""), 'no kind "Nope" is registered for version "v1"'),
        (envelope("../v1", "Pod", b""), "no kind"),
        (envelope("v1", "ConfigMap", b"\x0a\xff\xff\xff\xff\x0f"), "longer than the message"),
        (envelope("v1", "ConfigMap", b"\xff" * 12), "varint"),
        (envelope("v1", "ConfigMap", field(2, field(1, b"k") + field(2, b"\xff"))), "utf-8"),
        (envelope("v1", "ConfigMap", varint(1 << 3 | 5) + struct.pack("<f", 1)), "wire type"),
        (envelope("v1", "ConfigMap", varint(1 << 3 | 3)), "wire type 3"),
        (MAGIC + field(3, b"gzip") + field(1, field(1, b"v1") + field(2, b"ConfigMap")), "content encoding"),
    ],
)
def test_bytes_that_are_no_object_are_400(body: bytes, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        decode(body)

    assert caught.value.code == 400
    assert words in caught.value.message


def test_nesting_is_limited() -> None:
    fields = FACTS.message("k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps") or []
    number = next(f.number for f in fields if f.name == "not")
    schema = b""
    for _ in range(200):
        schema = field(number, schema)
    version = field(1, b"v1") + field(4, field(1, schema))

    with pytest.raises(ApiError, match="nested deeper than"):
        decode(envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", field(2, field(7, version))))


def test_a_body_cut_anywhere_is_an_object_or_a_400() -> None:
    whole = base64.b64decode(next(b for b in BODIES if b["name"] == "deployment")["protobuf"])
    for end in range(len(whole)):
        try:
            decode(whole[:end])
        except ApiError as error:
            assert error.code == 400  # noqa: PT017 - both outcomes are right, no third is


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80), st.sampled_from(["Pod", "ConfigMap", "Event"]))
def test_random_fields_are_an_object_or_a_400(raw: bytes, kind: str) -> None:
    try:
        found = decode(envelope("v1", kind, raw))
    except ApiError as error:
        assert error.code == 400  # noqa: PT017
    else:
        msgspec.json.encode(found)


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1500, "1.5µs"),
        (250_000_000, "250ms"),
        (90 * 10**9, "1m30s"),
        (3600 * 10**9, "1h0m0s"),
        (-1500_000_000, "-1.5s"),
    ],
)
def test_durations_are_written_as_go_does(nanos: int, text: str) -> None:
    assert go_duration(nanos) == text
