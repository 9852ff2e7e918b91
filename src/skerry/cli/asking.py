"""What commands that ask a hub have in common: whose kubeconfig, what is printed, and errors as one line."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.model.reasons import why

if TYPE_CHECKING:
    from skerry.kube.kubeconfig import Cluster

OUTPUT = click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What is printed.")
KUBECONFIG = click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="KUBECONFIG",
    default=Path("~/.kube/config"),
    help="The kubeconfig of a hub's admin.  [default: $KUBECONFIG, ~/.kube/config]",
)


def words(error: Exception) -> str:
    """Return what went wrong, with the file, and what to do where that is known: `/root/x: permission denied`."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error) or type(error).__name__
    text = why(error) if error.filename is None else f"{error.filename}: {why(error)}"
    if error.errno == errno.EADDRINUSE:
        return f"{text}; end what listens there, or take another address or port"
    return text


def cluster_of(kubeconfig: Path) -> Cluster:
    from skerry.kube.kubeconfig import KubeconfigError, read_kubeconfig

    path = kubeconfig.expanduser()
    try:
        return read_kubeconfig(path)
    except (OSError, KubeconfigError) as error:
        raise click.ClickException(f"{words(error)}; name the hub's admin.kubeconfig with --kubeconfig or KUBECONFIG") from error


def call(run_: Any, work: Any) -> Any:
    """Run *work*, and turn what the hub answers into words."""
    from skerry.model.errors import ApiError

    try:
        return run_(work)
    except (ApiError, ConnectionError, ValueError) as error:
        raise click.ClickException(words(error)) from error


async def post(cluster: Cluster, path: str, *, method: str = "POST") -> dict[str, Any]:
    import msgspec

    from skerry.kube.aio import AioTransport
    from skerry.model.errors import ApiError
    from skerry.model.unreadable import NOT_JSON

    async with AioTransport(cluster) as transport:
        response = await transport.request(method, path)
        try:
            told: dict[str, Any] = msgspec.json.decode(await response.read(limit_bytes=65536), type=dict[str, Any])
        except NOT_JSON as error:
            raise ConnectionError(f"what answers at {cluster.server} is not a hub") from error
        finally:
            await response.close()
        if response.status >= 300:
            raise ApiError.from_status(told)
        return told


def print_json(told: dict[str, Any]) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())
