"""The API server put together: store, kinds, access, routes and HTTP. Whoever runs it owns the listener."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from skerry import __version__
from skerry.apiserver.access.aggregation import Aggregation
from skerry.apiserver.access.audit import Auditor
from skerry.apiserver.access.authorise import Access as Authorisation
from skerry.apiserver.access.csr import CertificateRequests
from skerry.apiserver.access.escalation import refusal_of_role
from skerry.apiserver.access.params import PolicyParams
from skerry.apiserver.access.rbac import RESOURCES, Rbac
from skerry.apiserver.access.store_facts import StoreFacts
from skerry.apiserver.aggregation import APISERVICES, Aggregator, admit_service
from skerry.apiserver.bootstrap import SERVER, bootstrap
from skerry.apiserver.http.answers import json_answer
from skerry.apiserver.http.discovery import Discovery
from skerry.apiserver.http.dispatch import Dispatcher
from skerry.apiserver.http.health import Check, Health
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.metrics import Metrics
from skerry.apiserver.http.openapi import OpenApiRoutes
from skerry.apiserver.http.openapi_documents import Documents
from skerry.apiserver.http.openapi_v2 import OpenApiV2
from skerry.apiserver.http.operations import Operation, operations
from skerry.apiserver.http.pod_proxy import PodProxy
from skerry.apiserver.http.pod_streams import PodStreams
from skerry.apiserver.http.render import Renderer
from skerry.apiserver.http.resources import Resources
from skerry.apiserver.http.reviews import Reviews
from skerry.apiserver.http.routes import Access, Route, RouteTable
from skerry.apiserver.http.shell import ApiHttp, CertificateUser, TokenAuthenticator
from skerry.apiserver.http.subresources import Subresources
from skerry.apiserver.http.twins import Twins, twin_kind
from skerry.apiserver.judges import Judges
from skerry.apiserver.local import LocalApi
from skerry.apiserver.quota import Ledger, LimitRanger, QuotaStatus
from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.admit import admit_definitions, standard_chain
from skerry.apiserver.registry.builtins import serve_builtins
from skerry.apiserver.registry.crds import CustomKinds
from skerry.apiserver.registry.encoding import decode, dumps
from skerry.apiserver.registry.index import Indexer
from skerry.apiserver.registry.kinds import Kinds
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.streams import SwitchedStreams
from skerry.apiserver.schema import Catalogue
from skerry.apiserver.services import Addresses, complete_services
from skerry.apiserver.store import Change, Key, Store, Vault
from skerry.apiserver.token_service import TokenService
from skerry.model.kinds import all_definitions


def version_document() -> dict[str, str]:
    """Return what /version says: the Kubernetes release whose API this is, with our own version behind the plus."""
    return {
        "major": "1",
        "minor": "32",
        "gitVersion": f"v1.32.0+skerry{__version__}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2026-11-23T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }


class ApiServer:
    """An embedded Kubernetes API; make one with `open`."""

    def __init__(
        self,
        store: Store,
        indexer: Indexer,
        *,
        routes: Iterable[Route] = (),
        tokens: TokenAuthenticator | None = None,
        certificate: CertificateUser | None = None,
        token_keys: Path | None = None,
        auditor: Auditor | None = None,
        trusts: Callable[[str], bool] | None = None,
        front_proxy: Path | None = None,
        now: Callable[[], datetime],
    ) -> None:
        self.store = store
        self._certificate = certificate
        self.catalogue = Catalogue()
        self.kinds = Kinds()
        serve_builtins(self.kinds, self.catalogue)
        self.chain = standard_chain()
        admit_definitions(self.chain, all_definitions())
        self.addresses = Addresses(store)
        self.addresses.add_to(self.chain)
        LimitRanger(store).add_to(self.chain)
        self.ledger = Ledger(store)
        self.chain.last(self.ledger.judge)
        self.registry = Registry(store, self.kinds, self.chain, now=now)
        self._indexer = indexer
        self.custom = CustomKinds(self.registry, self.catalogue, self._select_by)
        self._tasks: list[asyncio.Task[None]] = []
        self.rbac = Rbac()
        self.access = Authorisation(self.rbac, StoreFacts(store))
        self._judges = Judges(self.registry, self.access)
        self.chain.everywhere(self._judge_nodes)
        for key in RESOURCES:
            self.chain.validating(key, ("CREATE", "UPDATE"), self._judge_roles)
        CertificateRequests(self.access).add_to(self.chain)
        PolicyParams(self.access).add_to(self.chain)
        self.streams = SwitchedStreams()
        self.auditor = auditor or Auditor()
        self.tokens = TokenService(self.registry, self.catalogue, token_keys, tokens, trusts)
        self.aggregator = Aggregator(self.registry, front_proxy)
        self.chain.validating(APISERVICES, ("CREATE", "UPDATE"), admit_service)
        self.resources = self._resources()
        self.metrics = Metrics(lambda group, version, plural: self.kinds.find(group, version, plural) is not None)
        self.routes = RouteTable([*self._own_routes(), *self.tokens.routes(), *routes])

    def _resources(self) -> Resources:
        renderer = Renderer(self.registry)
        resources = Resources(self.registry, self.access, renderer)
        resources.others = self.aggregator
        self.kinds.add(twin_kind(self.catalogue))
        Subresources(self.registry, self.catalogue).add_to(resources)
        Reviews(self.registry, self.access, self.tokens.authenticator).add_to(resources)
        self.tokens.add_to(resources)
        PodStreams(self.registry, self.streams).add_to(resources)
        PodProxy(self.registry, self.streams).add_to(resources)
        Twins(self.registry, self.streams, renderer).add_to(resources)
        return resources

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        routes: Iterable[Route] = (),
        tokens: TokenAuthenticator | None = None,
        certificate: CertificateUser | None = None,
        token_keys: Path | None = None,
        vault: Vault | None = None,
        auditor: Auditor | None = None,
        trusts: Callable[[str], bool] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> ApiServer:
        """Open the store at *path*, its Secrets sealed by *vault*, and make the server ready to answer."""
        indexer = Indexer()
        store = await Store.open(path, index=indexer, vault=vault)
        front_proxy = path.parent / "front-proxy"
        server = cls(
            store,
            indexer,
            routes=routes,
            tokens=tokens,
            certificate=certificate,
            token_keys=token_keys,
            auditor=auditor,
            trusts=trusts,
            front_proxy=front_proxy,
            now=now,
        )
        await server.start()
        return server

    async def start(self) -> None:
        """Make what every cluster has, and begin to answer."""
        self._follow([Change("ADDED", r, None) for key in RESOURCES for r in self.store.list(key).records])
        self.store.subscribe(self._follow)
        gathering = Aggregation(self.rbac, LocalApi(self.registry))
        self.store.subscribe(gathering.follow)
        self.custom.load()
        self.store.subscribe(self.custom.follow)
        self.aggregator.load()
        self.store.subscribe(self.aggregator.follow)
        self._judges.load()
        await bootstrap(self.registry)
        await complete_services(self.registry, self.addresses, SERVER)
        await self.custom.settle_all()
        self._tasks.append(asyncio.create_task(self.custom.run(), name="custom kinds"))
        self._tasks.append(asyncio.create_task(self.aggregator.run(), name="API services"))
        self._tasks.append(asyncio.create_task(QuotaStatus(self.registry, self.ledger, SERVER).run(), name="quota status"))
        self._tasks.append(asyncio.create_task(self.tokens.run(), name="tokens"))
        self._tasks.append(asyncio.create_task(gathering.run(), name="roles that gather others"))
        self.dispatcher = Dispatcher(
            self.routes, self.resources, self.access, identity=self._identity, auditor=self.auditor, metrics=self.metrics
        )
        self.http = ApiHttp(
            self.dispatcher.handle, tokens=self.tokens.authenticator, certificate=self._certificate, unknown=self.auditor.note_unknown
        )
        self._measure()

    def _select_by(self, key: str, paths: tuple[str, ...]) -> None:
        """Index a custom kind by *paths*, also what was stored, or loaded, before they were known."""
        if self._indexer.select_by(key, paths):
            self.store.reindex(key)

    def _judge_nodes(self, asked: Admission) -> None:
        """Refuse what a node may not write; for everybody else this costs one look."""
        user = asked.options.user
        if user.node:
            self.access.require_write(user, asked.kind.key, asked.new, asked.old, what=asked.kind.resource.plural, name=asked.name)

    def _judge_roles(self, asked: Admission) -> None:
        """Refuse a role or a binding that gives more than its writer has."""
        if asked.new is None or asked.options.internal:
            return
        refusal = refusal_of_role(self.access, asked.options.user, asked.kind.key, asked.new, asked.old)
        if refusal is not None:
            raise refusal

    def _follow(self, changes: list[Change]) -> None:
        """Keep what is answered from memory in step with the store."""
        for change in changes:
            key = change.record.key
            if key.resource in RESOURCES:
                gone = change.type == "DELETED"
                self.rbac.put(key.resource, key.namespace, key.name, None if gone else decode(change.record.value))

    def _identity(self) -> Mapping[str, str]:
        system = self.store.get(Key("namespaces", "", "kube-system"))
        assert system is not None, "bootstrap made kube-system"
        return {"Skerry-Cluster": decode(system.value)["metadata"]["uid"], "Skerry-Epoch": self.store.epoch}

    def _own_routes(self) -> list[Route]:
        health = []
        for name in ("healthz", "livez", "readyz"):
            checks = Health(name, {"ping": lambda: "", **({"store": self._store_trouble} if name == "readyz" else {})}, self._told(name))
            health.append(Route(("GET",), f"/{name}", Access.PUBLIC, checks.all))
            health.append(Route(("GET",), f"/{name}/*", Access.PATH, checks.one))
        discovery, documents = Discovery(self.kinds, self.aggregator), Documents(self.registry)
        openapi = OpenApiRoutes(documents, self.aggregator)
        return [
            *health,
            Route(("GET",), "/api", Access.PATH, discovery.core),
            Route(("GET", "POST"), "/apis", Access.PATH, discovery.groups),  # Kubernetes minds no method here
            Route(("GET",), "/api/*", Access.PATH, discovery.below),
            Route(("GET",), "/apis/*", Access.PATH, discovery.below),
            Route(("GET",), "/openapi/v2", Access.PATH, OpenApiV2(documents).answer),
            Route(("GET",), "/openapi/v3", Access.PATH, openapi.index),
            Route(("GET",), "/openapi/v3/*", Access.PATH, openapi.document),
            Route(("GET",), "/version", Access.PATH, self._version),
            Route(("GET",), "/metrics", Access.PATH, self.metrics.answer),
            Route(("GET",), "/", Access.PATH, self._paths),
        ]

    async def _version(self, request: Request) -> Response:
        return json_answer(dumps(version_document()))

    async def _paths(self, request: Request) -> Response:
        return json_answer(dumps({"paths": sorted({r.pattern for r in self.routes if not r.pattern.endswith("/*")})}))

    def _store_trouble(self) -> str:
        """Not ready once the store takes no writes: then only a restart helps."""
        failed = self.store.failed
        return "" if failed is None else str(failed)

    def _told(self, name: str) -> dict[str, Check]:
        """Return what is told of and decides nothing."""
        return {"audit": lambda: str(self.auditor.trouble or "")} if name == "readyz" else {}

    def _measure(self) -> None:
        store, http = self.store, self.http
        self.metrics.gauge("skerry_store_revision", "The newest revision of the store.", lambda: store.revision)
        self.metrics.gauge("apiserver_current_inflight_requests", "Requests that are being answered.", lambda: http.in_flight.total)
        self.metrics.gauge("skerry_open_streams", "Watches and logs that are open over HTTP.", lambda: len(http.streams))

    def operations(self) -> list[Operation]:
        """Return everything that can be asked: every route, and every verb of every kind."""
        return list(operations(self.kinds, self.routes))

    async def close(self) -> None:
        """End connections and watches, let the store go."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.http.close()
        await self.aggregator.close()
        await self._judges.close()
        self.registry.beside.close()
        await self.store.close()
