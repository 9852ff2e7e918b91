"""Inputs 11 to 20: bodies that are no objects, or objects that are too much."""

# ruff: noqa: E501 - a row of a table is one line

from __future__ import annotations

import struct

import pytest

from tests.bad_input.asking import ADMIN, Case, Server, judge, request

CM = "/api/v1/namespaces/default/configmaps?dryRun=All"
STRICT = f"{CM}&fieldValidation=Strict"
ME = f"{CM.replace('?', '/kept?')}"
NAMED = b'{"metadata":{"name":"a"},'
YAML, PROTOBUF = "application/yaml", "application/vnd.kubernetes.protobuf"
DEEP = 100_000
MILLION = 1_000_000


def post(body: bytes, media: str = "application/json", path: str = CM) -> bytes:
    return request("POST", path, body, Content_Type=media)


def patch(body: bytes, media: str = "application/merge-patch+json") -> bytes:
    return request("PATCH", ME, body, Content_Type=media)


def laughs(levels: int) -> bytes:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]" for i in range(levels)]
    return "\n".join(lines).encode()


JSON = [
    Case(11, "lists-100k-deep", post(NAMED + b'"data":' + b"[" * DEEP + b"]" * DEEP + b"}"), (400, 413)),
    Case(11, "maps-60k-deep", post(NAMED + b'"data":' + b'{"a":' * 60_000 + b"1" + b"}" * 60_000 + b"}"), (400, 413)),
    Case(11, "lists-that-never-close", post(b"[" * DEEP), (400, 413)),
    Case(11, "a-patch-100k-deep", patch(b'{"data":' + b"[" * DEEP + b"]" * DEEP + b"}"), (400, 413)),
    Case(11, "just-too-deep", post(NAMED + b'"data":' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}"), (400,)),
    Case(11, "options-100k-deep", request("DELETE", ME, b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}"), (400, 413)),
    Case(12, "a-key-twice", post(b'{"metadata":{"name":"a"},"data":{"k":"1","k":"2"}}', path=STRICT), (400,), says='duplicate field'),
    Case(12, "metadata-twice", post(b'{"metadata":{"name":"a"},"metadata":{"name":"b"}}', path=STRICT), (400,)),
    Case(12, "a-key-twice-escaped", post(b'{"metadata":{"name":"a"},"data":{"k":"1","\\u006b":"2"}}', path=STRICT), (400,)),
    Case(12, "300k-keys-that-are-one", post(NAMED + b'"data":{' + b",".join([b'"a":"b"'] * 300_000) + b"}}"), (400, 413)),
    Case(13, "nan", post(NAMED + b'"data":NaN}'), (400,)),
    Case(13, "infinity", post(NAMED + b'"data":-Infinity}'), (400,)),
    Case(13, "1e999", post(NAMED + b'"data":{"a":1e999}}'), (400,)),
    Case(13, "5000-digits", post(NAMED + b'"immutable":' + b"9" * 5_000 + b"}"), (400,)),
    Case(13, "2-to-the-64-of-seconds", post(b'{"metadata":{"name":"a","deletionGracePeriodSeconds":18446744073709551616}}', path=STRICT), (400,)),
    Case(13, "minus-zero-replicas", post(b'{"metadata":{"name":"a","generation":-0.5}}', path=STRICT), (400,)),
    Case(13, "a-leading-zero", post(NAMED + b'"data":{"a":01}}'), (400,)),
    Case(13, "a-plus", post(NAMED + b'"data":{"a":+1}}'), (400,)),
    Case(14, "a-lone-surrogate", post(NAMED + b'"data":{"a":"\\ud800"}}'), (400,)),
    Case(14, "two-high-surrogates", post(NAMED + b'"data":{"a":"\\ud800\\ud800"}}'), (400,)),
    Case(14, "nul-in-a-name", post(b'{"metadata":{"name":"a\\u0000b"}}'), (422,)),
    Case(14, "a-raw-nul", post(b'{"metadata":{"name":"a\x00b"}}'), (400,)),
    Case(14, "overlong-utf-8", post(NAMED + b'"data":{"a":"\xc0\xaf"}}'), (400,)),
    Case(14, "latin-1", post(NAMED + b'"data":{"a":"\xe9"}}'), (400,)),
    Case(14, "utf-16", post(NAMED.decode().encode("utf-16")), (400,)),
    Case(14, "half-an-escape", post(NAMED + b'"data":{"a":"\\u12'), (400,)),
    Case(15, "a-million-empty-maps", post(NAMED + b'"data":[' + b"{}," * MILLION + b"{}]}"), (413,)),
    Case(15, "a-million-empty-lists", post(NAMED + b'"binaryData":[' + b"[]," * MILLION + b"[]]}"), (413,)),
    Case(15, "a-million-numbers", post(b"[" + b"1," * MILLION + b"1]"), (413,)),
    Case(15, "a-million-empty-maps-in-a-patch", patch(b'{"data":[' + b"{}," * MILLION + b"{}]}"), (413,)),
    Case(15, "a-million-empty-maps-as-options", request("DELETE", ME, b'{"x":[' + b"{}," * MILLION + b"{}]}"), (413,)),
    Case(15, "60k-labels", post(b'{"metadata":{"name":"a","labels":{' + b",".join(b'"l%d":"x y"' % i for i in range(60_000)) + b"}}}"), (422,)),
    Case(15, "60k-unknown-fields", post(NAMED + b",".join(b'"u%d":1' % i for i in range(60_000)) + b"}", path=STRICT), (400,)),
    Case(15, "a-body-of-4-mib", post(NAMED + b'"data":{"a":"' + b"x" * (4 << 20) + b'"}}'), (413,)),
    Case(15, "a-value-of-2-mib", post(NAMED + b'"data":{"a":"' + b"x" * (2 << 20) + b'"}}'), (422,)),
    Case(17, "nothing", post(b""), (400,)),
    Case(17, "a-list", post(b"[]"), (400,)),
    Case(17, "a-string", post(b'"x"'), (400,)),
    Case(17, "a-number", post(b"1"), (400,)),
    Case(17, "null", post(b"null"), (422, 400)),
    Case(17, "trailing-bytes", post(NAMED[:-1] + b"} x"), (400,)),
    Case(17, "two-objects", post((NAMED[:-1] + b"}") * 2), (400,)),
    Case(17, "a-byte-order-mark", post(b"\xef\xbb\xbf" + NAMED[:-1] + b"}"), (400,)),
    Case(17, "metadata-that-is-a-list", post(b'{"metadata":[]}'), (400,)),
    Case(17, "spec-that-is-a-string", request("POST", "/api/v1/namespaces/default/pods?dryRun=All", {"metadata": {"name": "a"}, "spec": "x"}), (400,)),
    Case(17, "half-of-it", post(NAMED), (400,)),
    Case(18, "unknown-and-strict", post(NAMED + b'"spec":{"x":1}}', path=STRICT), (400,), says='unknown field'),
    Case(18, "mis-cased-and-strict", post(b'{"Metadata":{"name":"a"},"metadata":{"name":"b"}}', path=STRICT), (400,), says="unknown field"),
    Case(18, "mis-cased-name", post(b'{"metadata":{"Name":"a"}}'), (422,)),
    Case(18, "a-validation-that-is-none", post(NAMED[:-1] + b"}", path=f"{CM}&fieldValidation=Maybe"), (422,)),
    Case(19, "proto", post(NAMED + b'"__proto__":{"polluted":true}}', path=STRICT), (400,)),
    Case(19, "constructor", post(NAMED + b'"constructor":{"prototype":{}}}', path=STRICT), (400,)),
    Case(19, "an-empty-key", post(NAMED + b'"data":{"":"x"}}'), (422,)),
    Case(19, "a-key-of-1-mb", post(NAMED + b'"data":{"' + b"k" * MILLION + b'":"x"}}'), (422,)),
    Case(19, "an-unknown-key-of-1-mb", post(NAMED + b'"' + b"k" * MILLION + b'":"x"}', path=STRICT), (400,)),
    Case(19, "a-label-of-1-mb", post(b'{"metadata":{"name":"a","labels":{"' + b"k" * MILLION + b'":"x"}}}'), (422,)),
    Case(19, "annotations-of-2-mb", post(b'{"metadata":{"name":"a","annotations":{"k":"' + b"x" * (2 << 20) + b'"}}}'), (422,)),
]  # fmt: skip
YAMLS = [
    Case(16, "laughs", post(laughs(9), YAML), (400,), says="values"),
    Case(16, "a-million-scalars", post(b"a: [" + b"x," * MILLION + b"x]", YAML), (400, 413)),
    Case(16, "150k-lines", post(b"".join(b"k%d: v\n" % i for i in range(150_000)), YAML), (400, 413)),
    Case(16, "150k-anchors", post(b"".join(b"k%d: &a%d x\n" % (i, i) for i in range(150_000)), YAML), (400, 413)),
    Case(16, "flow-lists-without-end", post(b"[" * MILLION, YAML), (400,)),
    Case(16, "block-lists-without-end", post(b"- " * MILLION, YAML), (400,)),
    Case(16, "a-million-question-marks", post(b"? " * MILLION, YAML), (400,)),
    Case(16, "a-scalar-of-2-mib", post(b"metadata: {name: a}\ndata:\n  a: " + b"x" * (2 << 20), YAML), (422,)),
    Case(16, "a-python-object", post(b'!!python/object/apply:os.system ["true"]', YAML), (400,)),
    Case(16, "a-python-name", post(b"metadata: {name: !!python/name:os.system x}", YAML), (400,)),
    Case(16, "a-document-in-itself", post(b"a: &a [*a]", YAML), (400,)),
    Case(16, "a-merge-of-a-scalar", post(b"metadata: {<<: x, name: a}", YAML), (400,)),
    Case(16, "merges-of-merges", post(b"a: &a {k: v}\n" + b"".join(b"%s: &%s {<<: [%s]}\n" % (b"b%d" % i, b"b%d" % i, b",".join([b"*a"] * 90)) for i in range(900)), YAML), (400, 413)),
    Case(16, "no-as-a-name", post(b"metadata: {name: no}", YAML), (400,), says="cannot unmarshal bool"),
    Case(16, "octal-as-a-name", post(b"metadata: {name: 012}", YAML), (400,)),
    Case(16, "a-bool-as-data", post(b"metadata: {name: a}\ndata: {a: yes}", YAML), (400,)),
    Case(16, "two-documents", post(b"metadata: {name: a}\n---\nmetadata: {name: b}", YAML), (400,)),
    Case(16, "a-tab", post(b"metadata:\n\tname: a", YAML), (400,)),
    Case(16, "bytes", post(bytes(range(256)), YAML), (400,)),
    Case(16, "a-key-that-is-a-list", post(b"[a]: b", YAML), (400,)),
    Case(16, "a-key-twice-and-strict", post(b"metadata: {name: a}\ndata: {a: b, a: c}", YAML, STRICT), (400,)),
]  # fmt: skip


def unknown(raw: bytes, kind: bytes = b"ConfigMap", version: bytes = b"v1") -> bytes:
    """Return a protobuf envelope around *raw*."""
    meta = b"\x0a" + bytes([len(version)]) + version + b"\x12" + bytes([len(kind)]) + kind
    return b"k8s\0" + b"\x0a" + bytes([len(meta)]) + meta + b"\x12" + varint(len(raw)) + raw


def varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


PROTOBUFS = [
    Case(20, "no-magic", post(b"\x0a\x00", PROTOBUF), (400,)),
    Case(20, "magic-alone", post(b"k8s\0", PROTOBUF), (400, 422)),
    Case(20, "a-length-beyond-the-end", post(unknown(b"\x0a\xff\x7fab"), PROTOBUF), (400,)),
    Case(20, "a-length-of-2-to-the-63", post(unknown(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), PROTOBUF), (400,)),
    Case(20, "a-varint-without-end", post(unknown(b"\x0a" + b"\xff" * 100), PROTOBUF), (400,)),
    Case(20, "a-million-unknown-fields", post(unknown(b"\xfa\x3e\x00" * 900_000), PROTOBUF), (400, 413, 422)),
    Case(20, "a-million-empty-labels", post(unknown(b"\x0a" + varint(1_800_000) + b"\x5a\x00" * 900_000), PROTOBUF), (400, 413, 422)),
    Case(20, "groups-within-groups", post(unknown(b"\x0b" * 100_000), PROTOBUF), (400,)),
    Case(20, "a-wrong-wire-type", post(unknown(b"\x08\x01"), PROTOBUF), (400,)),
    Case(20, "text-that-is-not-utf-8", post(unknown(b"\x0a\x04\x0a\x02\xff\xfe"), PROTOBUF), (400,)),
    Case(20, "another-kind", post(unknown(b"", b"Secret"), PROTOBUF), (400,)),
    Case(20, "a-kind-that-is-none", post(unknown(b"", b"Nonsense"), PROTOBUF), (400,)),
    Case(20, "a-name-that-is-a-map-100-deep", post(unknown(b"\x0a" + varint(300) + b"\x0a\xff" * 150), PROTOBUF), (400,)),
    Case(20, "cbor", post(b"\xd9\xd9\xf7\xa1", "application/cbor"), (415,)),
    Case(20, "cbor-that-lies", post(b"\xd9\xd9\xf7\xbb" + struct.pack(">Q", 1 << 63), "application/cbor"), (415,)),
    Case(20, "another-media-type", post(b"x", "text/html"), (415,)),
    Case(20, "a-media-type-of-16-kb", post(b"{}", "a/" + "b" * 12_000), (415,)),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", [*JSON, *YAMLS, *PROTOBUFS], ids=str)
def test_a_body_that_is_no_object_is_refused(hostile: Server, case: Case) -> None:
    assert case.user == ADMIN

    judge(hostile, case)
