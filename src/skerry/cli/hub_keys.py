"""`skerry hub keys`: the keys that seal Secrets on the hub's disk."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli.asking import KUBECONFIG, OUTPUT, call, cluster_of, post, print_json

if TYPE_CHECKING:
    from skerry.kube.kubeconfig import Cluster

PATH = "/skerry/keys"
_LOOK_EVERY_S = 0.2


@click.group()
def keys() -> None:
    """The keys that seal Secrets on the hub's disk."""


@keys.command("list", short_help="Say which keys there are.")
@KUBECONFIG
@OUTPUT
def list_(kubeconfig: Path, output: str) -> None:
    """Say which keys there are, and how many rows each of them sealed.

    \b
    Try it:
      skerry hub keys list
    """
    _tell(call(asyncio.run, post(cluster_of(kubeconfig), PATH, method="GET")), output)


@keys.command(short_help="Seal every Secret anew with a new key.")
@KUBECONFIG
@OUTPUT
def rotate(kubeconfig: Path, output: str) -> None:
    """Make a new key, seal every Secret anew with it, and drop the old one.

    The hub goes on working meanwhile. A rotation that was cut short goes on when the hub starts again.

    \b
    Try it:
      skerry hub keys rotate
    """
    _tell(call(asyncio.run, _rotate(cluster_of(kubeconfig))), output)


async def _rotate(cluster: Cluster) -> dict[str, Any]:
    told = await post(cluster, PATH)
    while told["rotating"]:
        await asyncio.sleep(_LOOK_EVERY_S)
        told = await post(cluster, PATH, method="GET")
    if told["failure"]:
        raise ValueError(f"the rotation stopped: {told['failure']}")
    return told


def _tell(told: dict[str, Any], output: str) -> None:
    if output == "json":
        print_json(told)
        return
    for key in told["keys"]:
        use = "seals what is written" if key["primary"] else "opens what it sealed"
        click.echo(f"{key['id']}  made {key['made']}  {use}  {key['rows']} rows")
    if told["rotating"]:
        click.echo("a rotation is under way")
