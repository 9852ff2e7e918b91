"""ServiceAccounts' tokens over HTTP: `serviceaccounts/NAME/token`, and the documents by which others check them."""

from __future__ import annotations

from skerry.apiserver.access.node_rule import Facts, refusal_of_token
from skerry.apiserver.access.tokens.claims import ISSUER
from skerry.apiserver.access.tokens.issue import TokenIssuer
from skerry.apiserver.access.tokens.jwt import ALGORITHM
from skerry.apiserver.access.tokens.keys import TokenKeys
from skerry.apiserver.http.answers import json_answer
from skerry.apiserver.http.bare import BareError
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.resources import Call, Resources, options_of
from skerry.apiserver.http.routes import Access, Route
from skerry.apiserver.registry.below import admit_below
from skerry.apiserver.registry.body import read_as
from skerry.apiserver.registry.encoding import dumps
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.schema import Catalogue
from skerry.model.errors import bad_request, forbidden
from skerry.model.objects import Object

JWKS_PATH, DISCOVERY_PATH = "/openid/v1/jwks", "/.well-known/openid-configuration"
_JWKS_TYPE = "application/jwk-set+json"


class TokenRequests:
    """The handler of `serviceaccounts/token`, ready to be added to `Resources`."""

    def __init__(self, registry: Registry, catalogue: Catalogue, issuer: TokenIssuer, facts: Facts) -> None:
        self._registry, self._catalogue, self._issuer, self._facts = registry, catalogue, issuer, facts

    def add_to(self, resources: Resources) -> None:
        resources.add("serviceaccounts", "token", self.create)

    async def create(self, call: Call) -> Response:
        """POST serviceaccounts/NAME/token: a token, which is written nowhere."""
        options = options_of(call, "CreateOptions")
        asked = read_as(self._catalogue.kind("authentication.k8s.io", "v1", "TokenRequest"), call.request, options)
        namespace, name = call.target.namespace, call.target.name
        meta = asked.get("metadata") or {}
        if meta.get("name", name) not in ("", name):
            raise bad_request(f"service account name in URL ({name}) does not match the name in the TokenRequest ({meta['name']})")
        if meta.get("namespace", namespace) not in ("", namespace):
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        self._judge_node(call, asked.get("spec") or {})
        await admit_below(self._registry, call.kind, namespace, name, asked, options, subresource="token", operation="CREATE")
        issued = self._issuer.issue(namespace, name, asked.get("spec") or {})
        answer: Object = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": self._registry.timestamp()},
            "spec": issued.spec,
            "status": {"token": "" if options.dry_run else issued.token, "expirationTimestamp": issued.expires},
        }
        return json_answer(dumps(answer), 201, options.warnings)

    def _judge_node(self, call: Call, spec: Object) -> None:
        node = call.request.user.node
        why = refusal_of_token(node, call.target.namespace, call.target.name, spec, self._facts) if node else ""
        if why:
            raise forbidden("serviceaccounts", "", call.target.name, why)


def openid_routes(keys: TokenKeys) -> list[Route]:
    """Return the routes of the OpenID discovery document and of the public keys."""

    async def jwks(request: Request) -> Response:
        _require(request, _JWKS_TYPE)
        return Response(200, {"Content-Type": _JWKS_TYPE, "Cache-Control": "public, max-age=3600"}, dumps(keys.jwks()))

    async def discovery(request: Request) -> Response:
        _require(request, "application/json")
        return Response(200, {"Content-Type": "application/json", "Cache-Control": "public, max-age=3600"}, dumps(_document()))

    return [Route(("GET",), JWKS_PATH, Access.PATH, jwks), Route(("GET",), DISCOVERY_PATH, Access.PATH, discovery)]


def _document() -> Object:
    return {
        "issuer": ISSUER,
        "jwks_uri": f"{ISSUER}{JWKS_PATH}",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
    }


def _require(request: Request, media: str) -> None:
    """Refuse who does not take what there is: these documents have one form each."""
    accepted = [part.split(";")[0].strip() for part in request.headers.get("accept", "*/*").split(",")]
    if not {media, "*/*", "application/*"} & set(accepted):
        raise BareError(406, "NotAcceptable", f"only the following media types are accepted: {media}")
