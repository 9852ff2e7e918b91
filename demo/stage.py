"""Brings up a whole edge from separate processes, as a user would by hand, and ends all of it again.

Everything goes through the `skerry` command and kubectl; the stage knows nothing of skerry's inside. All state lies in
one folder that is removed at the end; ports are free ones, chosen at the start.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
SKERRY = [sys.executable, "-m", "skerry"]
RUNS = ("skerry hub run", "skerry node run", "skerry.node ")
"""What the command line of a hub or a node holds."""

OF_STAGE = "SKERRY_DEMO"
"""The variable in which every process of a stage has the stage's folder."""

PREFIX = "skerry-demo-"


class StageError(Exception):
    """Something did not come up; the message says what, and where its log lies."""


@dataclass(frozen=True)
class NodePlace:
    """One node of the demo."""

    name: str
    site: str
    address: str


NODES = (NodePlace("dock-3-gw", "dock-3", "127.0.0.2"), NodePlace("pump-house-gw", "pump-house", "127.0.0.3"))


@dataclass
class Stage:
    """A hub, two nodes at two sites, a Modbus meter, a MicroPython sensor and two apps."""

    folder: Path
    say: Callable[[str], None]
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    commands: dict[str, tuple[list[str], dict[str, str]]] = field(default_factory=dict)
    password: str = field(default_factory=lambda: secrets.token_hex(12))
    lock: int = -1

    @classmethod
    def new(cls, say: Callable[[str], None]) -> Stage:
        stage = cls(Path(tempfile.mkdtemp(prefix=PREFIX)), say)
        stage.lock = held(stage.folder / "lock")
        stage.folder.chmod(0o711)  # a Pod's own user must reach the folder of the alarms, and nothing else here
        stage.ports = free_ports(["hub", "modbus", "greeter", "webhook", "mqtt-dock-3-gw", "mqtt-pump-house-gw"])
        return stage

    @classmethod
    def abandoned(cls, say: Callable[[str], None]) -> list[Stage]:
        """Return what is left of this user's stages that were killed before they could end."""
        folders = Path(tempfile.gettempdir()).glob(f"{PREFIX}*/lock")
        return [cls(lock.parent, say) for lock in folders if is_free(lock)]

    # ------------------------------------------------------------ what there is

    @property
    def hub_url(self) -> str:
        return f"https://127.0.0.1:{self.ports['hub']}"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "hub" / "admin.kubeconfig"

    @property
    def alarm_file(self) -> Path:
        return self.folder / "alarms" / "alarms.jsonl"

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True, timeout_s: float = 90) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder), "TZ": "UTC"}
        done = subprocess.run(
            [str(BIN / "kubectl"), *args], input=stdin, capture_output=True, text=True, env=environment, timeout=timeout_s, check=False
        )
        if check and done.returncode:
            raise StageError(f"kubectl {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    def skerry(self, *args: str) -> str:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run([*SKERRY, *args], capture_output=True, text=True, env=environment, timeout=90, check=False)
        if done.returncode:
            raise StageError(f"skerry {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    # ------------------------------------------------------------ up

    def up(self) -> None:
        (self.folder / "alarms").mkdir()
        (self.folder / "alarms").chmod(0o777)
        self.start_hub()
        self.apply("10-sites.yaml")
        for place in NODES:
            self.join(place)
            self.start_node(place)
        self.start_meter()
        self.kubectl("apply", "-f", str(HERE / "profiles"))
        self.apply("20-devices.yaml", "40-events.yaml")
        for app, file in (("greeter", "greeter.py"), ("alarm-hook", "webhook.py")):
            self.kubectl("create", "configmap", app, f"--from-file={HERE / 'apps' / file}")
        self.apply("30-apps.yaml")
        self.start_sensor()
        for place in NODES:
            self.wait_registered(place)

    def wait_registered(self, place: NodePlace) -> None:
        def there() -> bool:
            return self.kubectl("get", "node", place.name, check=False).returncode == 0

        self.wait(f"node {place.name} to register", there, of=place.name)

    def start_hub(self) -> None:
        listen = f"127.0.0.1:{self.ports['hub']}"
        self.start("hub", [*SKERRY, "hub", "run", "--data", str(self.folder / "hub"), "--listen", listen, "--node-grace", "15s"])
        self.wait(
            "the hub", lambda: self.kubeconfig.exists() and self.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok", of="hub"
        )

    def join(self, place: NodePlace) -> None:
        made = json.loads(self.skerry("hub", "token", "create", "--site", place.site, "--node", place.name, "-o", "json"))
        state = self.folder / place.name
        python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
        self.skerry(
            *("node", "join", self.hub_url, "--token", made["token"], "--state", str(state)),
            *("--name", place.name, "--address", place.address),
            *("--mqtt-listen", f"{place.address}:{self.ports['mqtt-' + place.name]}"),
            *("--allow-program", f"python={python}", "--allow-host-path", str(self.folder / "alarms"), "--allow-unenforced-limits"),
        )

    def start_node(self, place: NodePlace) -> None:
        self.start(place.name, [*SKERRY, "node", "run", "--state", str(self.folder / place.name)])

    def start_meter(self) -> None:
        listen = f"127.0.0.1:{self.ports['modbus']}"
        profile = HERE / "profiles" / "flow-meter.yaml"
        self.start("meter", [*SKERRY, "sim", str(profile), "--protocol", "modbus", "--listen", listen, "--set", "setpoint=20"])
        self.wait("the meter to listen", lambda: listen in self.log_of("meter").read_text(), of="meter")

    def start_sensor(self) -> None:
        address, port = NODES[1].address, self.ports["mqtt-pump-house-gw"]
        program = HERE.parent / "micropython" / "examples" / "sensor.py"
        command = [str(BIN / "micropython"), "-X", "heapsize=64k", str(program), address, str(port), "default/sensor-1", self.password]
        self.start("sensor", command, environment={"MICROPYPATH": str(HERE.parent / "micropython")})

    def apply(self, *names: str) -> None:
        for name in names:
            text = Template((HERE / "manifests" / name).read_text()).substitute(
                MODBUS_PORT=self.ports["modbus"],
                GREETER_PORT=self.ports["greeter"],
                WEBHOOK_PORT=self.ports["webhook"],
                SENSOR_PASSWORD=self.password,
                ALARM_FOLDER=self.folder / "alarms",
            )
            self.kubectl("apply", "-f", "-", stdin=text)

    # ------------------------------------------------------------ processes

    def start(self, name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        self.commands[name] = (list(command), environment or {})
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, OF_STAGE: str(self.folder), **(environment or {})},
                start_new_session=True,
            )

    def kill(self, name: str, sign: int = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        process.send_signal(sign)
        process.wait(timeout=20)

    def ended(self) -> list[str]:
        """Return the names of the processes that have ended without being asked to."""
        return [name for name, process in self.processes.items() if process.poll() is not None]

    def start_again(self, name: str) -> None:
        """Start a process that has ended as it was started before."""
        command, environment = self.commands[name]
        self.start(name, command, environment)

    def log_of(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def wait(self, what: str, holds: Callable[[], bool], *, of: str = "", timeout_s: float = 90) -> None:
        """Wait until *holds*; raises StageError with the end of the log of *of*."""
        end = time.monotonic() + timeout_s
        while not holds():
            if of and self.processes[of].poll() is not None:
                raise StageError(f"{of} ended with {self.processes[of].returncode}:\n{tail(self.log_of(of))}")
            if time.monotonic() > end:
                raise StageError(f"waited {timeout_s:.0f} s for {what}" + (f":\n{tail(self.log_of(of))}" if of else ""))
            time.sleep(0.1)

    def down(self) -> list[str]:
        """End everything; returns the command lines of what still ran after that (none, if all is well)."""
        for name in ("sensor", "meter", *(p.name for p in NODES), "hub"):
            if name in self.processes:
                self.processes[name].terminate()
        for name, process in self.processes.items():
            end(process, name, self.say)
        self.processes.clear()
        self.end_strays()
        pods = [pod.name for place in NODES for pod in (self.folder / place.name / "pods").glob("*")]
        for place in NODES:  # Pods outlive the node's software on purpose, so ending a demo takes this step
            if (self.folder / place.name).exists():
                reset = [*SKERRY, "node", "reset", "--state", str(self.folder / place.name), "--yes"]
                subprocess.run(reset, capture_output=True, timeout=60, check=False)
        marks = (str(self.folder), *(f"skerry:{uid}" for uid in pods))
        given_s = time.monotonic() + 10  # a process that was killed is there until the kernel has taken it apart
        while (left := [line for _, line in self.leftovers(*marks)]) and time.monotonic() < given_s:
            time.sleep(0.05)
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1
        return left

    def end_strays(self, timeout_s: float = 10) -> None:
        """End what runs with this stage's folder beside its own children: a hub that a visitor started again, or all of a killed stage."""
        deadline = time.monotonic() + timeout_s
        while strays := [pid for pid, line in self.leftovers(str(self.folder)) if any(mark in line for mark in (OF_STAGE, *RUNS))]:
            for pid in strays:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
            if time.monotonic() > deadline + timeout_s:
                return
            time.sleep(0.2)

    def leftovers(self, *marks: str) -> list[tuple[int, str]]:
        """Return pid and command line of processes that carry one of the marks: the stage's folder, a Pod's UID.

        A process that the stage started itself is known by its environment, too, and has OF_STAGE behind its command line.
        """
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if f"{OF_STAGE}={self.folder}".encode() in path.with_name("environ").read_bytes().split(b"\0"):
                    line += f" {OF_STAGE}={self.folder}"
            except OSError:
                continue
            if int(path.parent.name) != os.getpid() and any(mark in line for mark in marks):
                found.append((int(path.parent.name), line.strip()))
        return found


def held(lock: Path) -> int:
    """Make a lock that is held until this process ends, however it ends; return its handle."""
    new = lock.with_suffix(".new")
    handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    new.rename(lock)
    return handle


def is_free(lock: Path) -> bool:
    """Say whether the lock is this user's, and whoever made it has ended; one that goes meanwhile is nobody's.

    Anybody can make folders and links in a folder of temporary files: what they lead to is not a stage to be ended.
    """
    try:
        folder = lock.parent.lstat()
        if not stat.S_ISDIR(folder.st_mode) or folder.st_uid != os.geteuid():
            return False
        with open(lock, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return os.fstat(file.fileno()).st_uid == os.geteuid()
    except OSError:
        return False


def end(process: subprocess.Popen[bytes], name: str, say: Callable[[str], None], *, grace_s: float = 10) -> None:
    """Wait for a process that was asked to end, and kill it after *grace_s*."""
    try:
        process.wait(timeout=grace_s)
    except subprocess.TimeoutExpired:
        say(f"{name} did not end within {grace_s:.0f} s: killed")
        process.kill()
        process.wait()


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """Return a free TCP port for each name, all different, on every loopback address.

    They lie below those that the system gives to connections, so that nobody gets one while its process is not there.
    """
    found: dict[str, int] = {}
    for port in secrets.SystemRandom().sample(range(15_000, 32_000), 2_000):
        if len(found) == len(names):
            return found
        with contextlib.suppress(OSError), socket.socket() as tried:
            tried.bind(("0.0.0.0", port))
            found[names[len(found)]] = port
    raise StageError(f"found no {len(names)} free ports between 15000 and 32000")


def tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "(no log)"
