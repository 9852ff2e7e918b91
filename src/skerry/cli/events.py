"""`skerry events`: read the events that reached the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from skerry.cli.asking import cluster_of, words

if TYPE_CHECKING:
    from skerry.kube.kubeconfig import Cluster


@click.group()
def events() -> None:
    """Read the events that reached the hub."""


@events.command(short_help="Print events of nodes and devices.")
@click.option("--after", type=click.IntRange(0), default=None, metavar="N", help="Only what came after the hub's sequence N.")
@click.option("--tail", type=click.IntRange(0, 1000), default=None, metavar="COUNT", help="Only the last COUNT.  [default: 20]")
@click.option("-f", "--follow", is_flag=True, help="Go on with new ones until Ctrl-C, also after the hub was away.")
@click.option("--node", default="", help="Only events of this node.")
@click.option("--source", default="", help="Only events of this source, such as /nodes/gw-1/devices/default/meter-1.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="KUBECONFIG",
    default=Path("~/.kube/config"),
    help="Where the hub is and who asks.  [default: $KUBECONFIG, ~/.kube/config]",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="A line each, or JSON lines.")
def tail(after: int | None, tail: int | None, follow: bool, node: str, source: str, kubeconfig: Path, output: str) -> None:
    """Print events of nodes and devices: the hub's sequence, node, time, type, source, subject, data.

    Each event is there once, and those of one device in their order.

    \b
    Try it:
      skerry events tail --follow
      skerry events tail --after 0 -o json | jq .event.data
    """
    import asyncio
    import contextlib

    from skerry.model.errors import ApiError

    if after is not None and tail is not None:
        raise click.UsageError("--after and --tail exclude each other")
    if after is None and tail is None:
        tail = 20
    cluster = cluster_of(kubeconfig)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_tail(cluster, after=after, tail=tail, follow=follow, node=node, source=source, json=output == "json"))
    except BrokenPipeError:
        raise  # whoever read this has enough, such as `| head`: click ends quietly
    except (ApiError, ConnectionError) as error:
        raise click.ClickException(words(error)) from error


async def _tail(cluster: Cluster, *, after: int | None, tail: int | None, follow: bool, node: str, source: str, json: bool) -> None:
    import msgspec

    from skerry.events import reading
    from skerry.kube.aio import AioTransport

    async with AioTransport(cluster) as transport:
        if follow:
            entries = reading.follow(transport, after=after, tail=tail, node=node, source=source)
        else:
            entries = reading.pages(transport, after=after, tail=tail, node=node, source=source)
        async for entry in entries:
            click.echo(msgspec.json.encode(entry).decode() if json else reading.describe(entry))
