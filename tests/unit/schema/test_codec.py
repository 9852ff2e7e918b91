"""Request bodies: what is read, what is refused, and that duplicates are found whatever the body looks like."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.apiserver.schema import decode_body
from skerry.apiserver.schema.codec import MAX_DEPTH, depth_exceeds, duplicate_keys
from skerry.model.errors import ApiError
from tests.unit.schema.pipeline import custom, kind

YAML = "application/yaml"


def _refusal(media: str, body: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        decode_body(media, body, kind("ConfigMap"))
    return caught.value


@pytest.mark.parametrize("media", ["", "application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
def test_json_is_what_no_content_type_means(media: str) -> None:
    obj, duplicates = decode_body(media, b'{"metadata":{"name":"a"}}', kind("ConfigMap"))

    assert obj == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    assert duplicates == []


def test_another_content_type_is_415_and_lists_what_is_read() -> None:
    error = _refusal("text/foo", b"x")

    assert error.code == 415
    assert error.message.endswith("application/json, application/yaml, application/vnd.kubernetes.protobuf")
    with pytest.raises(ApiError, match=r"application/json, application/yaml$"):
        decode_body("application/vnd.kubernetes.protobuf", b"", custom({"type": "object"}))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "unexpected end of JSON input (<empty>)"),
        (b'{"metadata":{"name":"x"', 'unexpected end of JSON input ({"metadata":{"name":"x")'),
        (b"[]", "cannot unmarshal array"),
        (b'"x"', "cannot unmarshal string"),
        (b'{"a": "\xff"}', "json parse error"),
        (b'{"a":' * 60_000, "json parse error"),
        (b"\x00", "json parse error"),
    ],
)
def test_json_that_is_no_object_is_400(body: bytes, words: str) -> None:
    error = _refusal("application/json", body)

    assert (error.code, error.reason) == (400, "BadRequest")
    assert error.message.startswith("the object provided is unrecognized (must be of type ConfigMap): ")
    assert words in error.message
    assert len(error.message) < 400


def test_null_is_an_object_without_anything() -> None:
    assert decode_body("", b"null", kind("ConfigMap"))[0] == {"apiVersion": "v1", "kind": "ConfigMap"}


def test_depth_is_limited() -> None:
    assert _refusal("", b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1)).message.endswith(f"deeper than {MAX_DEPTH} levels")
    decode_body("", b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH, kind("ConfigMap"))
    assert not depth_exceeds({"a": [1, {"b": 2}]}, 3)
    assert depth_exceeds({"a": [1, {"b": 2}]}, 2)


def test_another_kind_or_version_is_refused_in_kubernetes_words() -> None:
    assert _refusal("", b'{"kind":"Secret","apiVersion":"v1"}').message == (
        'Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion'
    )
    assert _refusal("", b'{"kind":"ConfigMap","apiVersion":"v2"}').message == (
        'ConfigMap in version "v2" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version "v2" '
        'in scheme "pkg/api/legacyscheme/scheme.go:30"'
    )


def test_a_custom_kind_must_say_what_it_is() -> None:
    schema = custom({"type": "object"})

    with pytest.raises(ApiError, match="Object 'Kind' is missing"):
        decode_body("", b'{"metadata":{"name":"q"}}', schema)
    with pytest.raises(ApiError, match=r"the API version in the data \(example.com/v2\) does not match the expected API version"):
        decode_body("", b'{"apiVersion":"example.com/v2","kind":"Wi"}', schema)
    with pytest.raises(ApiError, match="must be Wi") as caught:
        decode_body("", b'{"apiVersion":"example.com/v1","kind":"Wo"}', schema)
    assert caught.value.code == 422


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"a":1,"a":2}', ["a"]),
        (b'{"a": {"b": [1, {"c": 1, "c": 1}]}}', ["a.b[1].c"]),
        (b'{"a":{"x":1},"a":{"x":1}}', ["a"]),
        (b'{ "a" : "b\\":\\"c" , "d" : "{\\"a\\":1}" }', []),
        (b'{"a":"\\u003c","b":1.0}\n', []),
        (b'{"\\u0061":1,"a":2}', ["a"]),
    ],
)
def test_duplicate_keys_are_found_with_their_place(body: bytes, found: list[str]) -> None:
    assert duplicate_keys(body, msgspec.json.decode(body)) == found


class _Written(list[Any]):
    """Pairs that become one JSON map with duplicates."""


def _write(value: Any, style: int) -> str:
    if isinstance(value, _Written):
        colon, comma = (":", ",") if style == 0 else (" : ", " ,\n")
        return "{" + comma.join(f"{json.dumps(k, ensure_ascii=style == 2)}{colon}{_write(v, style)}" for k, v in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_write(v, style) for v in value) + "]"
    return json.dumps(value, ensure_ascii=style == 2)


_KEYS = st.sampled_from(["a", "b", 'q"', "c:", "ü"])
_TREES = st.recursive(
    st.integers(-3, 3) | st.text('ab":{}\\,ü', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(_KEYS, inner), max_size=4).map(_Written),
    max_leaves=12,
)


def _has_duplicates(value: Any) -> bool:
    if isinstance(value, _Written):
        return len({k for k, _ in value}) < len(value) or any(_has_duplicates(v) for _, v in value)
    return isinstance(value, list) and any(map(_has_duplicates, value))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_KEYS, _TREES), max_size=4).map(_Written), st.integers(0, 2))
def test_duplicates_are_found_exactly_when_there_are_some(tree: _Written, style: int) -> None:
    body = _write(tree, style).encode()

    assert bool(duplicate_keys(body, msgspec.json.decode(body))) is _has_duplicates(tree)


def test_yaml_means_what_kubernetes_takes_it_for() -> None:
    body = b'metadata: {name: x}\ndata:\n  a: yes\n  b: 010\n  c: 2024-01-01\n  d: "1"\n  e: 0x1F\n  f: ~\n  g: 1.5\n  1: one\n  h: 1_000\n'

    obj, duplicates = decode_body(YAML, body, kind("ConfigMap"))

    assert obj["data"] == {"a": True, "b": 8, "c": "2024-01-01", "d": "1", "e": 31, "f": None, "g": 1.5, "1": "one", "h": 1000}
    assert duplicates == []


def test_yaml_duplicates_merges_and_aliases() -> None:
    obj, duplicates = decode_body(YAML, b"base: &b {x: 1, z: [1]}\ndata: {<<: *b, x: 2}\nother: *b\ndata: {z: 1}\n", kind("ConfigMap"))

    assert duplicates == ["data"]
    assert obj["other"] == {"x": 1, "z": [1]}
    assert obj["other"] is not obj["base"]


_LAUGHS = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 10)) for n in range(98, 107)
)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (_LAUGHS, "more than 50000 values"),
        (b"a: !!python/object/apply:os.system [ls]", "tag tag:yaml.org,2002:python/object/apply:os.system is not supported"),
        (b"a: !x 1", "tag !x is not supported"),
        (b"a: &a [*a]", "unknown anchor 'a' referenced"),
        (b"a: *b", "unknown anchor 'b' referenced"),
        (b"a: 1\n---\nb: 2", "more than one document"),
        (b"metadata: [unclosed", "did not find expected ',' or ']'"),
        (b"[1]", "not a map"),
        (b"? {a: 1}\n: 1", "cannot be a key"),
        (b"a: [" * 200, "yaml: "),
        (b"\xff\xfe\x00", "yaml: "),
    ],
)
def test_yaml_that_is_hostile_or_broken_is_400(body: bytes, words: str) -> None:
    error = _refusal(YAML, body)

    assert error.code == 400
    assert words in error.message


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text("ab:-[]{}&*!# \n'\"?|>", max_size=40).map(str.encode))
def test_any_bytes_are_an_object_or_a_400(body: bytes) -> None:
    for media in ("application/json", YAML, "application/vnd.kubernetes.protobuf"):
        try:
            obj, _ = decode_body(media, body, kind("ConfigMap"))
        except ApiError as error:
            assert error.code == 400  # noqa: PT017 - both outcomes are right, no third is
        else:
            assert isinstance(obj, dict)
