"""ServiceAccounts' tokens and bootstrap tokens: what they say, whom they name, and when they end."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from skerry.apiserver.access.tokens.jwt import TokenError, decode
from skerry.apiserver.access.tokens.keys import TokenKeys
from skerry.apiserver.server import ApiServer
from skerry.trust import token_keys
from tests.unit.apiserver.asking import Asker, node_user, pod
from tests.unit.apiserver.keys import put_keys

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
SECRETS = "/api/v1/namespaces/default/secrets"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ISSUER = "https://kubernetes.default.svc.cluster.local"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(tmp_path: Path, clock: Clock) -> AsyncIterator[ApiServer]:
    server = await ApiServer.open(tmp_path / "hub.sqlite", token_keys=put_keys(tmp_path), now=clock)
    yield server
    await server.close()


async def _token(ask: Asker, **spec: Any) -> str:
    await ask("POST", ACCOUNTS, {"metadata": {"name": "bob"}})
    status, answer = await ask("POST", f"{ACCOUNTS}/bob/token", {"spec": spec})
    assert status == 201, answer
    return str(answer["status"]["token"])


def _claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return found


async def test_the_claims_are_those_of_kubernetes(server: ApiServer, ask: Asker, clock: Clock) -> None:
    token = await _token(ask, expirationSeconds=700)
    account = (await ask("GET", f"{ACCOUNTS}/bob"))[1]

    claims = _claims(token)

    now = int(clock.now.timestamp())
    assert claims.pop("jti")
    assert claims == {
        "iss": ISSUER,
        "aud": [ISSUER],
        "sub": "system:serviceaccount:default:bob",
        "iat": now,
        "nbf": now,
        "exp": now + 700,
        "kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "bob", "uid": account["metadata"]["uid"]}},
    }


async def test_another_library_checks_a_token_by_the_published_keys(server: ApiServer, ask: Asker) -> None:
    token = await _token(ask)
    keys = KeySet.import_key_set((await ask("GET", "/openid/v1/jwks"))[1])

    found = jwt.decode(token, keys, algorithms=["RS256"])

    assert found.claims["sub"] == "system:serviceaccount:default:bob"


async def test_a_token_names_its_account_and_groups(server: ApiServer, ask: Asker) -> None:
    token = await _token(ask)

    user = server.tokens.authenticator.user_of(token)

    assert user is not None
    assert user.name == "system:serviceaccount:default:bob"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated")
    assert user.extra == {"authentication.kubernetes.io/credential-id": (f"JTI={_claims(token)['jti']}",)}


async def test_a_token_ends_with_its_time_and_a_minute(server: ApiServer, ask: Asker, clock: Clock) -> None:
    token = await _token(ask, expirationSeconds=600)
    known = server.tokens.authenticator

    clock.now += timedelta(seconds=659)
    assert known.user_of(token) is not None

    clock.now += timedelta(seconds=2)
    assert known.user_of(token) is None


async def test_a_token_ends_with_its_account_and_is_not_good_for_the_next_of_that_name(server: ApiServer, ask: Asker) -> None:
    token = await _token(ask)
    assert server.tokens.authenticator.user_of(token) is not None

    await ask("DELETE", f"{ACCOUNTS}/bob")
    assert server.tokens.authenticator.user_of(token) is None

    await ask("POST", ACCOUNTS, {"metadata": {"name": "bob"}})
    assert server.tokens.authenticator.user_of(token) is None


@pytest.mark.parametrize("kind", ["Pod", "Secret", "Node"])
async def test_a_bound_token_ends_with_what_it_is_bound_to(server: ApiServer, ask: Asker, kind: str) -> None:
    path = {"Pod": "/api/v1/namespaces/default/pods", "Secret": SECRETS, "Node": "/api/v1/nodes"}[kind]
    await ask("POST", ACCOUNTS, {"metadata": {"name": "bob"}})
    made = {"Pod": pod("it", serviceAccountName="bob"), "Secret": {"metadata": {"name": "it"}}, "Node": {"metadata": {"name": "it"}}}[kind]
    status, bound = await ask("POST", path, made)
    assert status == 201, bound
    token = await _token(ask, boundObjectRef={"apiVersion": "v1", "kind": kind, "name": "it", "uid": bound["metadata"]["uid"]})
    assert _claims(token)["kubernetes.io"][kind.lower()] == {"name": "it", "uid": bound["metadata"]["uid"]}
    assert server.tokens.authenticator.user_of(token) is not None

    await ask("DELETE", f"{path}/it")

    assert server.tokens.authenticator.user_of(token) is None


async def test_a_pods_token_tells_its_pod_and_node(server: ApiServer, ask: Asker) -> None:
    await ask("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    await ask("POST", ACCOUNTS, {"metadata": {"name": "bob"}})
    await ask("POST", "/api/v1/namespaces/default/pods", pod("it", node="n1", serviceAccountName="bob"))

    user = server.tokens.authenticator.user_of(await _token(ask, boundObjectRef={"apiVersion": "v1", "kind": "Pod", "name": "it"}))

    assert user is not None
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("it",)
    assert user.extra["authentication.kubernetes.io/node-name"] == ("n1",)


@pytest.mark.parametrize(
    ("spec", "code", "why"),
    [
        ({"expirationSeconds": 599}, 422, "may not specify a duration less than 10 minutes"),
        ({"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}}, 400, "cannot bind token to object of type"),
        ({"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "x"}}, 404, 'secrets "x" not found'),
        ({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "other"}}, 400, "different serviceaccount name"),
        ({"boundObjectRef": {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "wrong"}}, 409, "does not match the UID in record"),
    ],
)
async def test_what_cannot_be_asked_for_is_said(ask: Asker, spec: dict[str, Any], code: int, why: str) -> None:
    await ask("POST", ACCOUNTS, {"metadata": {"name": "bob"}})
    await ask("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    await ask("POST", "/api/v1/namespaces/default/pods", pod("other"))

    status, answer = await ask("POST", f"{ACCOUNTS}/bob/token", {"spec": spec})

    assert status == code
    assert why in answer["message"]


async def test_a_token_for_another_audience_is_not_good_for_this_api(server: ApiServer, ask: Asker) -> None:
    token = await _token(ask, audiences=["vault"])

    assert server.tokens.authenticator.user_of(token) is None
    review = (await ask("POST", REVIEWS, {"spec": {"token": token, "audiences": ["vault", "x"]}}))[1]
    assert (review["status"]["authenticated"], review["status"]["audiences"]) == (True, ["vault"])
    other = (await ask("POST", REVIEWS, {"spec": {"token": token, "audiences": ["x"]}}))[1]
    assert other["status"] == {"user": {}, "error": "invalid bearer token"}


@pytest.mark.parametrize(
    ("node", "bound", "audiences", "code"),
    [
        ("n1", {"kind": "Pod", "name": "it"}, [], 201),
        ("n2", {"kind": "Pod", "name": "it"}, [], 403),
        ("n1", {"kind": "Pod", "name": "it", "uid": "wrong"}, [], 403),
        ("n1", {"kind": "Pod", "name": "it", "uid": ""}, [], 403),
        ("n1", {"kind": "Node", "name": "n1"}, [], 403),
        ("n1", {}, [], 403),
        ("n1", {"kind": "Pod", "name": "it"}, ["vault"], 403),
    ],
)
async def test_a_node_gets_tokens_of_its_own_pods_only(ask: Asker, node: str, bound: Any, audiences: list[str], code: int) -> None:
    for name in ("n1", "n2"):
        await ask("POST", "/api/v1/nodes", {"metadata": {"name": name}})
    await ask("POST", ACCOUNTS, {"metadata": {"name": "bob"}})
    made = (await ask("POST", "/api/v1/namespaces/default/pods", pod("it", node="n1", serviceAccountName="bob")))[1]
    reference = {"apiVersion": "v1", "uid": made["metadata"]["uid"], **bound} if bound else None

    status, answer = await ask.as_user(node_user(node))(
        "POST", f"{ACCOUNTS}/bob/token", {"spec": {"boundObjectRef": reference, "audiences": audiences}}
    )

    assert status == code, answer


async def test_a_pods_token_is_worth_nothing_once_its_node_is_denied(tmp_path: Path) -> None:
    trusted = {"n1"}
    server = await ApiServer.open(tmp_path / "hub.sqlite", token_keys=put_keys(tmp_path), trusts=trusted.__contains__)
    ask = Asker(server)
    await ask("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    await ask("POST", ACCOUNTS, {"metadata": {"name": "bob"}})
    await ask("POST", "/api/v1/namespaces/default/pods", pod("it", node="n1", serviceAccountName="bob"))
    bound = await _token(ask, boundObjectRef={"apiVersion": "v1", "kind": "Pod", "name": "it"})
    free = await _token(ask)
    assert server.tokens.authenticator.user_of(bound) is not None

    trusted.clear()

    assert server.tokens.authenticator.user_of(bound) is None
    assert server.tokens.authenticator.user_of(free) is not None
    await server.close()


async def test_a_pods_token_ends_with_its_nodes_denial_also_when_it_was_made_without_the_node(tmp_path: Path) -> None:
    trusted = {"n1"}
    server = await ApiServer.open(tmp_path / "hub.sqlite", token_keys=put_keys(tmp_path), trusts=trusted.__contains__)
    ask = Asker(server)
    await ask("POST", ACCOUNTS, {"metadata": {"name": "bob"}})
    await ask("POST", "/api/v1/namespaces/default/pods", pod("it", node="n1", serviceAccountName="bob"))
    bound = await _token(ask, boundObjectRef={"apiVersion": "v1", "kind": "Pod", "name": "it"})
    assert "node" not in _claims(bound)["kubernetes.io"]
    assert server.tokens.authenticator.user_of(bound) is not None

    trusted.clear()

    assert server.tokens.authenticator.user_of(bound) is None
    await server.close()


def _forged(token: str) -> list[str]:
    head, body, signature = token.split(".")

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    kid = json.loads(base64.urlsafe_b64decode(head + "=="))["kid"]
    other = {**_claims(token), "sub": "system:serviceaccount:kube-system:default"}
    return [
        f"{head}.{part(other)}.{signature}",
        f"{part({'alg': 'none', 'kid': kid})}.{body}.",
        f"{part({'alg': 'HS256', 'kid': kid})}.{body}.{signature}",
        f"{part({'alg': 'RS256', 'kid': 'another'})}.{body}.{signature}",
        f"{part({'alg': 'RS256', 'kid': kid, 'crit': ['exp']})}.{body}.{signature}",
        f"{head}.{body}.{signature}=",
        f"{head}.{body}.{signature[:-4]}",
        f"{head}.{body}",
        f"{token}.{signature}",
        "ey" + "x" * 40_000 + "..",
        "eyé.x.y",
    ]


async def test_a_forged_token_is_nobodys(server: ApiServer, ask: Asker) -> None:
    token = await _token(ask)

    assert [server.tokens.authenticator.user_of(t) for t in _forged(token)] == [None] * 11


def test_tokens_of_before_a_rotation_stay_good_and_the_new_key_signs(tmp_path: Path) -> None:
    path = put_keys(tmp_path)
    keys = TokenKeys(path, iter(range(0, 1000, 10)).__next__)
    from skerry.apiserver.access.tokens.jwt import encode

    before = encode({"a": 1}, keys.active, keys.sign)
    kid = token_keys.rotate(path, datetime(2026, 2, 1, tzinfo=UTC))
    after = encode({"a": 2}, keys.active, keys.sign)

    assert keys.active == kid
    assert keys.jwks()["keys"][0]["kid"] == kid
    assert [decode(t, keys) for t in (before, after)] == [{"a": 1}, {"a": 2}]
    assert "PRIVATE" in path.read_text()
    assert path.read_text().count("BEGIN PRIVATE") == 1
    with pytest.raises(TokenError):
        decode(before[:-6] + "AAAAAA", keys)


async def test_a_key_that_is_forgotten_takes_its_tokens_with_it(
    server: ApiServer, ask: Asker, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token whose signature had been seen once stayed good until the hub's end."""
    monkeypatch.setattr("skerry.apiserver.access.tokens.keys.LOOK_EVERY_S", 0.0)
    stolen = await _token(ask)
    assert server.tokens.authenticator.user_of(stolen) is not None

    token_keys.rotate(tmp_path / token_keys.FILE, clock.now)
    assert server.tokens.authenticator.user_of(stolen) is not None
    token_keys.rotate(tmp_path / token_keys.FILE, clock.now, forget=True)

    assert server.tokens.authenticator.user_of(stolen) is None
    again = (await ask("POST", f"{ACCOUNTS}/bob/token", {"spec": {}}))[1]["status"]["token"]
    assert server.tokens.authenticator.user_of(again) is not None


async def test_a_secret_of_the_type_gets_a_token_and_goes_with_its_account(server: ApiServer, ask: Asker) -> None:
    await ask("POST", ACCOUNTS, {"metadata": {"name": "bob"}})
    meta = {"name": "old", "annotations": {"kubernetes.io/service-account.name": "bob"}}
    await ask("POST", SECRETS, {"metadata": meta, "type": "kubernetes.io/service-account-token"})
    while not (await ask("GET", f"{SECRETS}/old"))[1].get("data"):
        await server.registry.next_commit(30)
    data = (await ask("GET", f"{SECRETS}/old"))[1]["data"]
    token = base64.b64decode(data["token"]).decode()

    user = server.tokens.authenticator.user_of(token)

    assert user is not None
    assert user.name == "system:serviceaccount:default:bob"
    await ask("DELETE", f"{ACCOUNTS}/bob")
    assert server.tokens.authenticator.user_of(token) is None
    while (await ask("GET", f"{SECRETS}/old"))[0] != 404:
        await server.registry.next_commit(30)


def _bootstrap(**data: str) -> dict[str, Any]:
    found = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true", **data}
    return {"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "stringData": found}


@pytest.mark.parametrize(
    ("data", "groups"),
    [
        ({}, ("system:bootstrappers", "system:authenticated")),
        ({"auth-extra-groups": "system:bootstrappers:a"}, ("system:bootstrappers", "system:bootstrappers:a", "system:authenticated")),
        ({"auth-extra-groups": "system:masters"}, None),
        ({"auth-extra-groups": "system:nodes"}, None),
        ({"usage-bootstrap-authentication": "false"}, None),
        ({"expiration": "2026-11-23T11:59:59Z"}, None),
        ({"expiration": "soon"}, None),
        ({"expiration": "2026-11-23T12:00:01Z"}, ("system:bootstrappers", "system:authenticated")),
        ({"token-secret": "another890abcdef"}, None),
    ],
)
async def test_a_bootstrap_token_is_what_its_secret_says(server: ApiServer, ask: Asker, data: dict[str, str], groups: Any) -> None:
    status, answer = await ask("POST", "/api/v1/namespaces/kube-system/secrets", _bootstrap(**data))
    assert status == 201, answer

    user = server.tokens.authenticator.user_of("abcdef.0123456789abcdef")

    assert (user.groups if user else None) == groups
    assert user is None or (user.name, user.node) == ("system:bootstrap:abcdef", "")
