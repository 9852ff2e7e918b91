"""`skerry node`: join a node to a hub, and run it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli.asking import OUTPUT, print_json, words

if TYPE_CHECKING:
    from skerry.node.identity import NodeSettings
    from skerry.trust.joining import JoinToken

STATE = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/var/lib/skerry"),
    show_default=True,
    help="Folder of everything the node keeps.",
)


@click.group()
def node() -> None:
    """Join a node to a hub, and run it."""


@node.command()
@click.argument("hub", metavar="URL")
@click.option(
    "--token",
    default="",
    envvar="SKERRY_TOKEN",
    help="A token of this hub, or the environment's SKERRY_TOKEN. Without one a person has to approve the node.",
)
@click.option("--ca-hash", default="", metavar="SHA256", help="Hash of the hub's CA certificate, when there is no token.")
@click.option(
    "--ca", "ca_file", type=click.Path(path_type=Path, dir_okay=False), help="File with the hub's CA certificate, instead of a hash."
)
@STATE
@click.option("--name", default="", help="The node's name.  [default: this machine's host name]")
@click.option(
    "--address",
    default="",
    metavar="IP",
    help="The address that Pods and listeners of this node use.  [default: the one that leads to the hub]",
)
@click.option(
    "--mqtt-listen",
    default="",
    metavar="ADDRESS:PORT|off",
    help="Where MQTT devices connect; off: nowhere.  [default: port 1883 on the node's address]",
)
@click.option("--mqtt-tls-cert", default="", metavar="FILE", help="Certificate for MQTT over TLS; needed on all but loopback addresses.")
@click.option("--mqtt-tls-key", default="", metavar="FILE", help="Key of that certificate.")
@click.option(
    "--broker-listen",
    default="",
    metavar="ADDRESS:PORT|off",
    help="Where Brokers take events over HTTP; off: nowhere.  [default: a free port on 127.0.0.1]",
)
@click.option(
    "--allow-program",
    "programs",
    multiple=True,
    metavar="NAME=PATH",
    help="A program that Pods may run as image host.skerry.invalid/NAME; repeatable.",
)
@click.option(
    "--program-bind",
    "binds",
    multiple=True,
    metavar="NAME=PATH",
    help="What that program needs to see besides the system's folders, such as its virtual environment, read-only; repeatable.",
)
@click.option("--oci-layouts", default="", metavar="FOLDER", help="A folder of OCI image layouts that Pods may run by digest.")
@click.option(
    "--allow-host-path", "host_paths", multiple=True, metavar="FOLDER", help="A folder of this machine that Pods may mount; repeatable."
)
@click.option(
    "--allow-unenforced-limits", is_flag=True, help="Run Pods with resource limits also where this machine cannot hold them to these."
)
@click.option(
    "--wait", "wait_for", default="15m", show_default=True, metavar="DURATION", help="How long to wait for the hub and for approval."
)
@OUTPUT
def join(
    hub: str,
    token: str,
    ca_hash: str,
    ca_file: Path | None,
    state: Path,
    name: str,
    address: str,
    mqtt_listen: str,
    mqtt_tls_cert: str,
    mqtt_tls_key: str,
    broker_listen: str,
    programs: Sequence[str],
    binds: Sequence[str],
    oci_layouts: str,
    host_paths: Sequence[str],
    allow_unenforced_limits: bool,
    wait_for: str,
    output: str,
) -> None:
    """Make this machine a node of the hub at URL.

    The node makes its key, which never leaves STATE, and asks the hub for a certificate. The hub is known by the hash in the token
    before anything is said. If the command is interrupted, run it again: the same key may ask again.

    \b
    Try it:
      skerry node join https://hub.example.org:6443 --token skt1... --state /var/lib/skerry
      skerry node run --state /var/lib/skerry
    """
    import os

    from skerry.model.times import parse_duration
    from skerry.node.identity import NodeSettings
    from skerry.node.identity.hub_address import HubAddress
    from skerry.trust.joining import JoinToken

    try:
        settings = NodeSettings(
            name=name or os.uname().nodename.lower(),
            hub=str(HubAddress.parse(hub)),
            address=_address(address),
            mqtt_listen=_listen("--mqtt-listen", mqtt_listen),
            mqtt_certificate=str(Path(mqtt_tls_cert).absolute()) if mqtt_tls_cert else "",
            mqtt_key=str(Path(mqtt_tls_key).absolute()) if mqtt_tls_key else "",
            broker_listen=_listen("--broker-listen", broker_listen),
            programs=dict(_program(p) for p in programs),
            program_binds=_binds(binds, [_program(p)[0] for p in programs]),
            oci_layouts=str(Path(oci_layouts).absolute()) if oci_layouts else "",
            host_paths=[str(Path(p).absolute()) for p in host_paths],
            allow_unenforced_limits=allow_unenforced_limits,
        )
        parsed = JoinToken.parse(token) if token else None
        seconds = parse_duration(wait_for)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _join(settings, state.absolute(), parsed, ca_hash, ca_file, seconds, output)


def _join(
    settings: NodeSettings, state: Path, token: JoinToken | None, ca_hash: str, ca_file: Path | None, wait_s: float, output: str
) -> None:
    import asyncio

    from skerry.model.kinds.enrollment import node_name_error
    from skerry.node.identity import IdentityError
    from skerry.node.identity.joining import RefusedError
    from skerry.trust import TrustError, WorkshopError

    wrong = node_name_error(settings.name)
    if wrong:
        raise click.UsageError(f"{settings.name!r} cannot be a node's name: {wrong}; give another with --name")
    if token is None and not ca_hash and ca_file is None:
        raise click.UsageError("give a --token, or say how to know the hub: --ca-hash (printed by `skerry hub ca`) or --ca FILE")
    try:
        told = asyncio.run(_ask_to_join(settings, state, token, ca_hash, ca_file, wait_s))
    except (RefusedError, IdentityError, ConnectionError, TimeoutError, TrustError, WorkshopError, OSError) as error:
        raise click.ClickException(words(error)) from error
    if output == "json":
        print_json(told)
    else:
        place = f" at site {told['site']}" if told["site"] else ""
        click.echo(f"node {told['node']} has joined {told['hub']}{place}; run it with: skerry node run --state {state}")


async def _ask_to_join(
    settings: NodeSettings, state: Path, token: JoinToken | None, ca_hash: str, ca_file: Path | None, wait_s: float
) -> dict[str, Any]:
    from skerry.node.identity import IdentityError, StateFolder
    from skerry.node.identity.hub_address import HubAddress
    from skerry.node.identity.joining import fetch_ca, join
    from skerry.trust import Workshop

    folder = StateFolder(state)
    folder.prepare()
    lock = folder.lock()
    assert lock >= 0
    if folder.settings.exists() and folder.certificate.exists() and folder.load_settings().name != settings.name:
        raise IdentityError(f"{state} is the state of node {folder.load_settings().name}, not of {settings.name}: use another --state")
    expected = token.ca_hash if token else ca_hash.lower().removeprefix("sha256:")
    ca = ca_file.read_text() if ca_file else await fetch_ca(HubAddress.parse(settings.hub), expected)
    workshop = Workshop()
    try:
        answer = await join(folder, settings, workshop, ca=ca, token=token, wait_s=wait_s, say=lambda text: click.echo(text, err=True))
    finally:
        await workshop.close()
    return {"node": settings.name, "hub": settings.hub, "site": answer.site, "labels": answer.labels, "state": str(state)}


@node.command()
@STATE
def run(state: Path) -> None:
    """Run a node that has joined, until SIGTERM or Ctrl-C.

    It starts its Pods from what it remembers, with or without its hub.

    \b
    Try it:
      skerry node run --state /var/lib/skerry
    """
    from skerry.node.__main__ import become

    become(state.absolute())


@node.command()
@STATE
@click.option("--keep-identity", is_flag=True, help="Keep key, certificate and settings: the node stays joined.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(state: Path, keep_identity: bool, yes: bool) -> None:
    """End the node's Pods and remove its state. The node must not run.

    \b
    Try it:
      skerry node reset --state /var/lib/skerry
    """
    import asyncio

    from skerry.node.identity import IdentityError, StateFolder
    from skerry.node.reset import reset as reset_node

    if not yes:
        click.confirm(f"End all Pods of the node in {state} and remove its state?", abort=True)
    try:
        asyncio.run(reset_node(StateFolder(state.absolute()), keep_identity=keep_identity, say=click.echo))
    except (IdentityError, OSError) as error:
        raise click.ClickException(words(error)) from error


@node.command("accept-epoch", short_help="Believe a hub that was restored from a backup.")
@click.argument("epoch")
@STATE
def accept_epoch(epoch: str, state: Path) -> None:
    """Believe a hub that was restored from a backup: let it remove again. EPOCH stands in the Node's HubTrusted condition.

    \b
    Try it:
      skerry node accept-epoch 8f14e45f --state /var/lib/skerry
    """
    from skerry.trust import replace_private

    if not (state / "node.json").exists():
        raise click.ClickException(f"{state} is not the state of a node that has joined")
    replace_private(state / "accepted-epoch", epoch.strip().encode() + b"\n")
    click.echo(f"epoch {epoch.strip()} is accepted; the node looks again within a minute")


def _program(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not name or not equals or not path.startswith("/"):
        raise ValueError(f"--allow-program {text!r} is not NAME=PATH with an absolute path")
    return name, path


def _binds(given: Sequence[str], programs: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if name not in programs or not equals or not path.startswith("/"):
            raise ValueError(f"--program-bind {text!r} is not NAME=PATH with the name of an --allow-program and an absolute path")
        found.setdefault(name, []).append(path)
    return found


def _address(text: str) -> str:
    import ipaddress

    return str(ipaddress.ip_address(text)) if text else ""


def _listen(option: str, text: str) -> str:
    host, colon, port = text.rpartition(":")
    if text and text != "off" and not (host and colon and port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f"{option} {text!r} is neither ADDRESS:PORT nor off")
    return text
