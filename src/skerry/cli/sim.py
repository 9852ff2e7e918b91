"""`skerry sim`: a DeviceProfile as a device that really speaks its protocol, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli.asking import words
from skerry.model.objects import Object, metadata
from skerry.model.profiles import ProfileError, load_profile

if TYPE_CHECKING:
    from skerry.sim import SimulatedDevice

LIMIT_BYTES = 1 << 20


@click.command(short_help="Serve a DeviceProfile as a real device.")
@click.argument("profile", metavar="PROFILE")
@click.option("--name", default="", help="Which DeviceProfile of the file; the last one when not set.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Take PROFILE as [NAMESPACE/]NAME from this cluster, not from a file.")
@click.option("--protocol", type=click.Choice(["modbus", "mqtt"]), help="What to speak; the profile's own protocol when not set.")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:0",
    show_default=True,
    help="Where a Modbus server listens; port 0 takes a free one.",
)
@click.option("--unit", type=click.IntRange(1, 247), default=1, show_default=True, help="The Modbus unit.")
@click.option("--connect", metavar="HOST:PORT", help="The node's MQTT listener that an MQTT device connects to.")
@click.option("--device", metavar="NAMESPACE/NAME", help="Which Device it is, as MQTT user.")
@click.option(
    "--password-file", type=click.Path(path_type=Path), help="A file with the MQTT password; else the environment's SKERRY_SIM_PASSWORD."
)
@click.option(
    "--every", type=click.FloatRange(0.0, 3600), default=1.0, show_default=True, help="Seconds between two MQTT telemetry messages."
)
@click.option("--count", type=click.IntRange(1), help="Stop after so many acknowledged MQTT telemetry messages.")
@click.option("--set", "sets", metavar="NAME=VALUE", multiple=True, help="Hold a property at a value.")
@click.option(
    "--signal",
    "signals",
    metavar="NAME=SHAPE",
    multiple=True,
    help="Have a property follow sine, ramp or counter, such as flow=sine:low=0,high=110,period=20.",
)
@click.option("--fault", "fault", metavar="FAULT", help="Begin with a fault: silent, garble or 'slow SECONDS'.")
def sim(
    profile: str,
    name: str,
    kubeconfig: Path | None,
    protocol: str | None,
    sets: tuple[str, ...],
    signals: tuple[str, ...],
    fault: str | None,
    **how: Any,
) -> None:
    """Serve the DeviceProfile PROFILE as a device that really speaks its protocol.

    It prints where it listens, then follows orders on standard input: silent, slow SECONDS, garble, none,
    set NAME=VALUE, signal NAME=SHAPE.

    \b
    Try it:
      skerry sim meter.yaml --listen 127.0.0.1:5020 --set setpoint=20
      skerry sim sensor.yaml --connect 127.0.0.3:1883 --device default/sensor-1
    """
    from skerry.sim import ControlError, SignalError, SimulatedDevice

    obj, find = _from_cluster(kubeconfig, profile) if kubeconfig else _from_file(Path(profile), name)
    if protocol:
        obj = {**obj, "spec": {**(obj.get("spec") or {}), "protocol": protocol}}
    try:
        device = SimulatedDevice(load_profile(obj, find))
        for order in [*(f"set {s}" for s in sets), *(f"signal {s}" for s in signals), *([fault] if fault else [])]:
            device.order(order)
    except (ProfileError, ControlError, SignalError) as error:
        raise click.ClickException(str(error)) from error
    serve = _modbus if device.profile.protocol == "modbus" else _mqtt
    if device.profile.protocol not in ("modbus", "mqtt"):
        raise click.ClickException(f"protocol {device.profile.protocol!r} is not simulated; modbus and mqtt are")
    asyncio.run(serve(device, how))


async def _modbus(device: SimulatedDevice, how: dict[str, Any]) -> None:
    from skerry.sim.modbus import ModbusServer

    host, port = _host_port(how["listen"], "--listen")
    server = ModbusServer(device, unit=how["unit"])
    try:
        await server.open(host, port)
    except (OSError, RuntimeError) as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {words(error)}") from error
    click.echo(f"{device.profile.name}: Modbus unit {how['unit']} on {host}:{server.port}")
    await _until_told(device)
    await server.close()


async def _mqtt(device: SimulatedDevice, how: dict[str, Any]) -> None:
    from skerry.sim.mqtt import Connection, MqttDevice

    if not how["connect"] or not how["device"]:
        raise click.UsageError("an MQTT device needs --connect HOST:PORT and --device NAMESPACE/NAME")
    host, port = _host_port(how["connect"], "--connect")
    connection = Connection(host, port, how["device"], _password(how["password_file"]))
    speaker = MqttDevice(device, connection, every_s=how["every"], count=how["count"] or 0, told=click.echo)
    click.echo(f"{device.profile.name}: MQTT device {how['device']} to {host}:{port}")
    await _until_told(device, speaker.run)
    click.echo(f"acknowledged {speaker.acknowledged}")


async def _until_told(device: SimulatedDevice, work: Callable[[], Awaitable[None]] | None = None) -> None:
    """Follow orders until a signal ends it, or until *work* is done."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, ended.set)
    threading.Thread(target=_orders, args=(device, loop), daemon=True).start()
    waiting: list[asyncio.Future[Any]] = [asyncio.ensure_future(ended.wait())]
    if work is not None:
        waiting.append(asyncio.ensure_future(work()))
    done, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for task in done:
        task.result()


def _orders(device: SimulatedDevice, loop: asyncio.AbstractEventLoop) -> None:
    """Read standard input in a thread of its own, since it may be a file, a pipe, a terminal or nothing."""
    for line in sys.stdin:
        if line.strip():
            loop.call_soon_threadsafe(_follow, device, line)


def _follow(device: SimulatedDevice, line: str) -> None:
    from skerry.sim import ControlError, SignalError

    try:
        click.echo(f"ok: {device.order(line)}")
    except (ControlError, SignalError) as error:
        click.echo(f"error: {error}")


def _password(path: Path | None) -> str:
    """A password is never an argument: those can be seen by every user of the machine."""
    found = path.read_text().strip() if path else os.environ.get("SKERRY_SIM_PASSWORD", "")
    if not found:
        raise click.UsageError("an MQTT device needs a password: --password-file FILE, or SKERRY_SIM_PASSWORD in the environment")
    return found


def _host_port(text: str, option: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535 or not host:
        raise click.BadParameter(f"{text!r} is not HOST:PORT", param_hint=option)
    return host.strip("[]"), int(port)


def _from_file(path: Path, name: str) -> tuple[Object, Callable[[str], Object | None]]:
    """Return the profile and what finds its bases: the file's other documents."""
    from skerry.kube.yaml_file import YamlFileError, read_documents

    try:
        documents = read_documents(path, limit_bytes=LIMIT_BYTES)
    except OSError as error:
        raise click.ClickException(f"cannot read {words(error)}") from error
    except YamlFileError as error:
        raise click.ClickException(str(error)) from error
    profiles = {metadata(d).get("name"): d for d in documents if isinstance(d, dict) and d.get("kind") == "DeviceProfile"}
    if not profiles or (name and name not in profiles):
        raise click.ClickException(f"{path} holds no DeviceProfile{' ' + name if name else ''}")
    return profiles[name] if name else list(profiles.values())[-1], profiles.get


def _from_cluster(kubeconfig: Path, reference: str) -> tuple[Object, Callable[[str], Object | None]]:
    """Return the profile, and what finds its bases among the profiles of its namespace."""
    from skerry.kube.kubeconfig import KubeconfigError, read_kubeconfig

    try:
        cluster = read_kubeconfig(kubeconfig)
    except (KubeconfigError, OSError) as error:
        raise click.ClickException(words(error)) from error
    namespace, _, name = reference.rpartition("/")
    found = asyncio.run(_profiles(cluster, namespace or cluster.namespace))
    if name not in found:
        raise click.ClickException(f"no DeviceProfile {name} in namespace {namespace or cluster.namespace}")
    return found[name], found.get


async def _profiles(cluster: Any, namespace: str) -> dict[str, Object]:
    from skerry.kube.aio import AioTransport
    from skerry.kube.http import HttpApi
    from skerry.model.errors import ApiError
    from skerry.model.resources import DEVICEPROFILES

    try:
        async with AioTransport(cluster) as transport:
            listed = await HttpApi(transport).list(DEVICEPROFILES, namespace)
    except (ApiError, ConnectionError, OSError) as error:
        raise click.ClickException(f"cannot list DeviceProfiles: {error}") from error
    return {metadata(o)["name"]: o for o in listed.items}
