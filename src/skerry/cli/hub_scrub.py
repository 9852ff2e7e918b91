"""`skerry hub scrub`: let a running hub compare its disk with its memory."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from skerry.cli.asking import KUBECONFIG, OUTPUT, call, cluster_of, post, print_json


@click.command(short_help="Compare the hub's disk with its memory.")
@KUBECONFIG
@OUTPUT
def scrub(kubeconfig: Path, output: str) -> None:
    """Compare the hub's disk with its memory, page by page and object by object; exits with 1 when something is damaged.

    What a hub serves comes from its memory, so nothing that is found here was served. The hub does this by itself once a day.

    \b
    Try it:
      skerry hub scrub
    """
    import asyncio

    told = call(asyncio.run, post(cluster_of(kubeconfig), "/skerry/scrub"))
    if output == "json":
        print_json(told)
    else:
        click.echo(f"{told['pages']} pages and {told['objects']} objects looked at: {'damage' if told['findings'] else 'all is well'}")
        for finding in told["findings"]:
            click.echo(f"  {finding}")
        if told["more"]:
            click.echo(f"  and {told['more']} more")
    if told["findings"]:
        sys.exit(1)
