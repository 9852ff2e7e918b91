"""What `make demo` tells its visitor: what runs where, how to sign in, six commands worth typing, and what ended since."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from demo.stage import BIN, NODES, Stage


def invitation(stage: Stage) -> str:
    """Return what runs where, and six commands worth typing."""
    login = stage.skerry("hub", "login").strip()
    ports = stage.ports
    setpoint = """device meter-1 --type merge -p '{"spec":{"desired":{"setpoint":42}}}'"""
    return f"""
  hub         {stage.hub_url}
  nodes       {NODES[0].name} at site {NODES[0].site} ({NODES[0].address}), {NODES[1].name} at site {NODES[1].site} ({NODES[1].address})
  apps        greeter on both nodes: http://{NODES[0].address}:{ports["greeter"]}/  http://{NODES[1].address}:{ports["greeter"]}/
              alarm-hook at {NODES[0].site}: called by the Trigger when the flow is above 100 m3/h; it writes to
              {stage.alarm_file}
  devices     meter-1 (Modbus, 127.0.0.1:{ports["modbus"]}), sensor-1 (MicroPython with 64 kB of heap, MQTT)
  kubeconfig  {stage.kubeconfig}
  console     {stage.hub_url}/console/
              {login}
              (your browser does not know the hub's own CA: let it go on; `skerry hub login` prints another code)

In another terminal, first:

  export KUBECONFIG={stage.kubeconfig} PATH={BIN}:$PATH

Six commands worth typing there:

  kubectl get nodes,devices,pods -o wide
  kubectl get devicetwin meter-1 -o yaml
  kubectl patch {setpoint} && kubectl wait device/meter-1 --for=condition=InSync
  kubectl logs -f deployment/greeter
  skerry events tail --follow
  kill -9 {stage.processes["hub"].pid}    # the hub: apps, devices and alarms go on without it; Enter here starts it again

Ctrl-C ends everything."""


@dataclass
class Host:
    """Stays while the visitor looks around; says when a part has ended, and starts it again when they press Enter."""

    stage: Stage
    say: Callable[[str], None]
    keyboard: int | None = 0
    """The file descriptor that Enter comes from; None once it is closed."""
    told: set[str] = field(default_factory=set)

    def stay(self) -> None:
        """Return only by an interrupt."""
        while True:
            ended = set(self.stage.ended())
            for name in sorted(ended - self.told):
                self.say(f"{name} has ended ({how(self.stage.processes[name].returncode)}): press Enter here to start it again")
            self.told = ended
            if self.entered(within_s=0.5):
                self.start_again(ended)

    def start_again(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            self.stage.start_again(name)
            self.say(f"{name} runs again, as process {self.stage.processes[name].pid}")

    def entered(self, *, within_s: float) -> bool:
        """Wait at most *within_s* seconds for a line of the keyboard; a demo in the background does not touch its terminal."""
        if self.keyboard is None or (os.isatty(self.keyboard) and os.tcgetpgrp(self.keyboard) != os.getpgrp()):
            time.sleep(within_s)
            return False
        readable, _, _ = select.select([self.keyboard], [], [], within_s)
        if readable and not os.read(self.keyboard, 4096):
            self.keyboard = None
        return bool(readable) and self.keyboard is not None


def how(returncode: int) -> str:
    """Return how a process ended, in words."""
    return f"killed by {signal.Signals(-returncode).name}" if returncode < 0 else f"exit code {returncode}"
