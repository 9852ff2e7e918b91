"""Paths: one spelling reaches authorisation, or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.apiserver.http.paths import Target, normalise, parse


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/pods", Target("", "v1", "pods", "", "", "")),
        ("/api/v1/namespaces", Target("", "v1", "namespaces", "", "", "")),
        ("/api/v1/namespaces/a", Target("", "v1", "namespaces", "", "a", "")),
        ("/api/v1/namespaces/a/status", Target("", "v1", "namespaces", "", "a", "status")),
        ("/api/v1/namespaces/a/finalize", Target("", "v1", "namespaces", "", "a", "finalize")),
        ("/api/v1/namespaces/a/pods", Target("", "v1", "pods", "a", "", "")),
        ("/api/v1/namespaces/a/pods/p", Target("", "v1", "pods", "a", "p", "")),
        ("/api/v1/namespaces/a/pods/p/log", Target("", "v1", "pods", "a", "p", "log")),
        ("/apis/apps/v1/namespaces/a/deployments/d/scale", Target("apps", "v1", "deployments", "a", "d", "scale")),
        ("/api/v1/namespaces/a/pods/p/proxy/x/y", Target("", "v1", "pods", "a", "p", "proxy", "x/y")),
        ("/api/v1/namespaces/a/pods/p/proxy/x/", Target("", "v1", "pods", "a", "p", "proxy", "x/")),
        ("/api/v1/pods/", Target("", "v1", "pods", "", "", "")),
        ("/api/v1/namespaces/a/pods/p/", Target("", "v1", "pods", "a", "p", "")),
    ],
)
def test_a_path_names_its_target(path: str, target: Target) -> None:
    assert parse(path) == target


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/version", "/", "/api/v1/", "/api/v1/pods//"])
def test_what_names_no_resource_is_none(path: str) -> None:
    assert parse(path) is None


@pytest.mark.parametrize(
    "raw",
    [
        "/api/v1/namespaces/a%2Fb/pods",
        "/api/v1/../../x",
        "/api/v1/namespaces/./pods",
        "/api//v1/pods",
        "/api/v1/pods/%00",
        "/api/v1/pods/\x07",
        "/api/v1/pods/%ff",
        "/api/v1/%2e%2e/secrets",
        "relative",
    ],
)
def test_a_path_with_two_readings_is_refused(raw: str) -> None:
    assert normalise(raw) is None


def test_an_encoded_name_is_decoded_once() -> None:
    assert normalise("/apis/x/v1/clusterroles/system%3Abasic-user") == "/apis/x/v1/clusterroles/system:basic-user"
    assert normalise("/x/%2541") == "/x/%41"


@given(st.text(max_size=80))
def test_a_normal_path_has_no_dots_and_no_control_characters(raw: str) -> None:
    clean = normalise("/" + raw)

    if clean is not None:
        assert clean.startswith("/")
        assert clean.isprintable()
        assert not {".", ".."} & set(clean.split("/"))
