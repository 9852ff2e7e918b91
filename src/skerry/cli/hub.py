"""`skerry hub`: run the hub, make tokens for nodes, sign in to the console."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli.asking import KUBECONFIG, OUTPUT, call, cluster_of, post, print_json, words
from skerry.cli.hub_audit import audit, rotate_token_key
from skerry.cli.hub_backup import backup, restore
from skerry.cli.hub_keys import keys
from skerry.cli.hub_scrub import scrub

if TYPE_CHECKING:
    from skerry.kube.kubeconfig import Cluster


@click.group()
def hub() -> None:
    """Run the hub; make tokens for nodes; sign in to the console."""


@hub.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of everything the hub keeps.")
@click.option("--listen", default="127.0.0.1:6443", show_default=True, metavar="ADDRESS:PORT", help="The one port; 0 takes a free one.")
@click.option("--name", "names", multiple=True, metavar="HOST", help="Host name or address under which nodes reach this hub; repeatable.")
@click.option("--node-grace", default="40s", show_default=True, metavar="DURATION", help="Silence after which a node is NotReady.")
@click.option("--audit-required", is_flag=True, help="Refuse writes while the audit log cannot be written.")
def run(data: Path, listen: str, names: Sequence[str], node_grace: str, audit_required: bool) -> None:
    """Run the hub until SIGTERM or Ctrl-C.

    The first start makes the hub's certificate authority and an admin kubeconfig, DATA/admin.kubeconfig.
    kubectl, nodes and the console all use the one port, over TLS 1.3.

    \b
    Try it:
      skerry hub run --data /var/lib/skerry-hub --listen 0.0.0.0:6443 --name hub.example.org
      export KUBECONFIG=/var/lib/skerry-hub/admin.kubeconfig
      kubectl get namespaces
    """
    from skerry.hub.settings import HubSettings, parse_listen
    from skerry.model.times import parse_duration

    try:
        host, port = parse_listen(listen)
        settings = HubSettings(
            data=data.absolute(),
            host=host,
            port=port,
            names=tuple(names),
            node_grace_s=parse_duration(node_grace),
            audit_required=audit_required,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    from skerry.hub import server
    from skerry.hub.pki import PkiError
    from skerry.trust import WorkshopError

    try:
        server.run(settings, lambda text: click.echo(text))
    except (server.HubError, PkiError, WorkshopError, OSError) as error:
        raise click.ClickException(words(error)) from error


@hub.group()
def token() -> None:
    """Tokens with which nodes join."""


@token.command()
@click.option("--site", default="", help="The Site that the node will belong to.")
@click.option("--node", default="", help="The only node name that may use the token; needed to replace a machine.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label for the node; repeatable.")
@click.option("--ttl", default="10m", show_default=True, metavar="DURATION", help="How long the token is good; at most 30d.")
@KUBECONFIG
@OUTPUT
def create(site: str, node: str, labels: Sequence[str], ttl: str, kubeconfig: Path, output: str) -> None:
    """Make a token that lets one node join, once.

    The token carries the hash of the hub's CA, so the node knows the hub before it says anything. The hub keeps only a hash of it.

    \b
    Try it:
      skerry hub token create --site dock-3 --node dock-3-gw --label rack=r1
    """
    import asyncio

    from skerry.hub.enrollment.tokens import MAX_TTL_S
    from skerry.model.times import parse_duration

    try:
        seconds = parse_duration(ttl)
        wanted = dict(_pair(label) for label in labels)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not 0 < seconds <= MAX_TTL_S:
        raise click.UsageError(f"--ttl {ttl}: a token is good for at most 30d")
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    cluster = cluster_of(kubeconfig)
    text = call(asyncio.run, _create_token(cluster, site=site, node=node, labels=wanted, expires=expires))
    told = {
        "token": text,
        "hub": cluster.server,
        "expires": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "node": node,
        "site": site,
        "labels": wanted,
    }
    if output == "json":
        print_json(told)
    else:
        click.echo(text)
        click.echo(f"good for one node until {told['expires']}; on the node:", err=True)
        named = f" --name {node}" if node else ""
        click.echo(f"  skerry node join {cluster.server} --token {text}{named} --state /var/lib/skerry", err=True)


@hub.command(short_help="Print a one-use code for the console.")
@KUBECONFIG
@OUTPUT
def login(kubeconfig: Path, output: str) -> None:
    """Print a one-use code that signs in to the console; it is good for five minutes.

    \b
    Try it:
      skerry hub login --kubeconfig /var/lib/skerry-hub/admin.kubeconfig
    """
    import asyncio

    cluster = cluster_of(kubeconfig)
    made: dict[str, Any] = call(asyncio.run, post(cluster, "/skerry/login-codes"))
    address = f"{cluster.server}{made['path']}"
    if output == "json":
        print_json({"code": made["code"], "console": address, "expiresInSeconds": made["expiresInSeconds"]})
    else:
        click.echo(f"open {address} and sign in with the code {made['code']} within {made['expiresInSeconds'] // 60} minutes")


@hub.command(short_help="Print the hash of the hub's CA.")
@KUBECONFIG
@OUTPUT
def ca(kubeconfig: Path, output: str) -> None:
    """Print the hash of the hub's CA, by which a node without a token knows its hub.

    
    Try it:
      skerry node join https://hub.example.org:6443 --ca-hash $(skerry hub ca)
    """
    from skerry.trust import pem_to_der
    from skerry.trust.joining import ca_hash

    cluster = cluster_of(kubeconfig)
    found = ca_hash(pem_to_der(cluster.ca_pem))
    if output == "json":
        print_json({"hub": cluster.server, "caHash": found})
    else:
        click.echo(found)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError(f"--label {text!r} is not KEY=VALUE")
    return key, value


async def _create_token(cluster: Cluster, *, site: str, node: str, labels: dict[str, str], expires: datetime) -> str:
    from skerry.hub.enrollment.tokens import new_token, to_secret
    from skerry.kube import HttpApi
    from skerry.kube.aio import AioTransport
    from skerry.model.errors import ApiError
    from skerry.model.resources import SECRETS, SITES
    from skerry.trust import pem_to_der
    from skerry.trust.joining import ca_hash

    made, record = new_token(ca_hash(pem_to_der(cluster.ca_pem)), expires=expires, node=node, site=site, labels=labels)
    async with AioTransport(cluster) as transport:
        api = HttpApi(transport)
        if site:
            try:
                await api.get(SITES, "", site)
            except ApiError as error:
                if error.code != 404:
                    raise
                raise ValueError(f"there is no Site {site!r}; make it first, or look with: kubectl get sites") from error
        await api.create(SECRETS, to_secret(record))
    return str(made)


for command in (keys, backup, restore, scrub, audit, rotate_token_key):
    hub.add_command(command)
