"""The demo's tour: each step does one thing a user would, and says what was seen.

What a step claims about a device or an app is read past skerry: the Modbus register by a Modbus client in a process of
its own, the webhook's file by `cat`, the app over its own port.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from demo.stage import NODES, Stage, StageError

WAIT = "--timeout=60s"
"""A slow machine is no fault of the demo's."""
SETPOINT = 4
"""The holding register, as demo/profiles/flow-meter.yaml binds it."""


class StepError(Exception):
    """A step saw something else than it should."""


@dataclass(frozen=True)
class Step:
    title: str
    walk: Callable[[Stage], str]


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise StepError(otherwise)


def until(what: str, look: Callable[[], Any], *, timeout_s: float = 90) -> Any:
    """Return the first truthy answer of *look*."""
    end = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise StepError(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(0.2)


# ---------------------------------------------------------------- seen past skerry


def read_register(stage: Stage, *, table: str, address: int, count: int = 1) -> list[int]:
    """Read the meter with a Modbus client in a separate process."""
    program = (
        "import sys, pymodbus.client as c\n"
        "m = c.ModbusTcpClient('127.0.0.1', port=int(sys.argv[1])); m.connect()\n"
        "read = m.read_holding_registers if sys.argv[2] == 'holding' else m.read_input_registers\n"
        "print(*read(int(sys.argv[3]), count=int(sys.argv[4]), device_id=1).registers); m.close()\n"
    )
    args = [sys.executable, "-c", program, str(stage.ports["modbus"]), table, str(address), str(count)]
    done = subprocess.run(args, capture_output=True, text=True, timeout=60, check=False)
    expect(done.returncode == 0, f"the Modbus client could not read: {done.stderr.strip()[-300:]}")
    return [int(word) for word in done.stdout.split()]


def ask_app(stage: Stage, address: str) -> str:
    with urllib.request.urlopen(f"http://{address}:{stage.ports['greeter']}/", timeout=60) as answer:
        return str(answer.read().decode().strip())


def alarms(stage: Stage) -> list[dict[str, Any]]:
    done = subprocess.run(["cat", str(stage.alarm_file)], capture_output=True, text=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def events(stage: Stage, source: str) -> list[dict[str, Any]]:
    """Return what a consumer of the hub's event log sees of one device."""
    lines = stage.skerry("events", "tail", "--after", "0", "--source", source, "-o", "json").splitlines()
    return [json.loads(line) for line in lines]


def app_pids(stage: Stage) -> set[str]:
    lines = [
        json.loads(line)
        for line in stage.kubectl(
            "get", "pods", "-l", "app=greeter", "-o", "jsonpath={range .items[*]}{.status.containerStatuses[0]}{'\\n'}{end}"
        ).stdout.splitlines()
    ]
    return {str(line.get("containerID")) for line in lines}


# ---------------------------------------------------------------- the steps


def nodes_ready(stage: Stage) -> str:
    stage.kubectl("wait", "node", *(p.name for p in NODES), "--for=condition=Ready", WAIT)
    sites = stage.kubectl(
        "get", "nodes", "-o", "jsonpath={range .items[*]}{.metadata.name}={.metadata.labels.skerry\\.dev/site} {end}"
    ).stdout
    expect(all(f"{p.name}={p.site}" in sites for p in NODES), f"nodes and sites are {sites}")
    return sites.strip()


def app_everywhere(stage: Stage) -> str:
    stage.kubectl("rollout", "status", "deployment/greeter", WAIT)
    answers = [ask_app(stage, p.address) for p in NODES]
    expect(answers == [f"hello from {p.name}" for p in NODES], f"the apps said {answers}")
    return "; ".join(answers)


def devices_connected(stage: Stage) -> str:
    stage.kubectl("wait", "devices", "meter-1", "sensor-1", "--for=condition=Connected", WAIT)
    return " | ".join(" ".join(line.split()) for line in stage.kubectl("get", "devices").stdout.splitlines()[1:])


def live_value(stage: Stage) -> str:
    def values() -> Any:
        twin = json.loads(stage.kubectl("get", "devicetwin", "meter-1", "-o", "json").stdout)
        found = (twin.get("status") or {}).get("properties") or {}
        return found if "value" in found.get("flow", {}) else None

    flow = until("a live flow", values)["flow"]
    expect(0 <= flow["value"] <= 120, f"the flow is {flow}")
    return f"flow {flow['value']:.1f} m3/h, quality {flow.get('quality')}"


def write_setpoint(stage: Stage) -> str:
    stage.kubectl("wait", "device/meter-1", "--for=condition=InSync", WAIT)
    before = read_register(stage, table="holding", address=SETPOINT)[0]
    stage.kubectl("patch", "device", "meter-1", "--type", "merge", "-p", '{"spec":{"desired":{"setpoint":42}}}')
    stage.kubectl("wait", "device/meter-1", "--for=condition=InSync", WAIT)
    after = read_register(stage, table="holding", address=SETPOINT)[0]
    expect(before != 42 and after == 42, f"the register held {before}, then {after}")
    return f"the meter's register went from {before} to {after}"


def refuse_out_of_range(stage: Stage) -> str:
    done = stage.kubectl("patch", "device", "meter-1", "--type", "merge", "-p", '{"spec":{"desired":{"setpoint":999}}}', check=False)
    said = done.stderr.strip()
    expect(done.returncode != 0 and all(word in said for word in ("setpoint", "999", "80")), f"kubectl said: {said or done.stdout}")
    return said.splitlines()[-1]


def sensor_in_sync(stage: Stage) -> str:
    stage.kubectl("patch", "device", "sensor-1", "--type", "merge", "-p", '{"spec":{"desired":{"interval":1}}}')
    stage.kubectl("wait", "device/sensor-1", "--for=condition=InSync", WAIT)
    until("the sensor to say so itself", lambda: "interval 1" in stage.log_of("sensor").read_text())
    return "the board took interval 1 s and said so"


def alarm_delivered(stage: Stage) -> str:
    first = until("an alarm in the webhook's file", lambda: alarms(stage))[0]
    expect(first["attributes"].get("subject") == "flow-above-limit", f"the webhook got {first}")
    return f"{first['attributes']['source']} -> {json.dumps(first['data'])}"


def logs_and_exec(stage: Stage) -> str:
    pod = stage.kubectl("get", "pods", "-l", "app=greeter", "-o", "name").stdout.split()[0]
    logs = until("a line of the log", lambda: stage.kubectl("logs", pod, "--tail=1").stdout.strip())
    said = stage.kubectl("exec", pod, "--", "/usr/bin/env").stdout
    expect("NODE=" in said, f"exec printed {said[:200]}")
    return f"logs: {logs!r}; exec sees NODE={said.split('NODE=')[1].splitlines()[0]}"


def hub_killed(stage: Stage) -> str:
    source = "/nodes/dock-3-gw/devices/default/meter-1"
    pids = app_pids(stage)
    stage.kill("hub")
    time.sleep(3)
    expect([ask_app(stage, p.address) for p in NODES] == [f"hello from {p.name}" for p in NODES], "an app stopped with the hub")
    stage.start_hub()
    stage.kubectl("wait", "node", *(p.name for p in NODES), "--for=condition=Ready", WAIT)
    expect(app_pids(stage) == pids, "the apps were started again")
    back = time.monotonic()
    newest = until("events of the outage", lambda: events(stage, source))
    numbers = [e["event"]["sequence"] for e in newest]
    gaps = sum(1 for a, b in itertools.pairwise(numbers) if int(b) != int(a) + 1)
    expect(gaps == 0, f"the meter's events have {gaps} gaps: {numbers}")
    return f"{len(numbers)} events of the meter, in order and without a gap, {time.monotonic() - back:.1f} s after the hub's return"


def node_killed(stage: Stage) -> str:
    place = NODES[0]
    pids = app_pids(stage)
    stage.kill(place.name)
    expect(ask_app(stage, place.address) == f"hello from {place.name}", "the app ended with its node's software")
    stage.kubectl("wait", f"node/{place.name}", "--for=condition=Ready=Unknown", WAIT)
    stage.start_node(place)
    stage.kubectl("wait", f"node/{place.name}", "--for=condition=Ready", WAIT)
    expect(app_pids(stage) == pids, "the Pods were replaced or started again")
    return f"{place.name} turned NotReady and came back; its Pods were adopted as they ran"


STEPS = (
    Step("two nodes are Ready, each at its site", nodes_ready),
    Step("one Deployment runs on both nodes", app_everywhere),
    Step("a Modbus meter and a MicroPython sensor are Connected", devices_connected),
    Step("the meter's live value, read at its node", live_value),
    Step("kubectl patch setpoint=42 reaches the meter", write_setpoint),
    Step("a setpoint out of range is refused at once", refuse_out_of_range),
    Step("the MicroPython sensor takes a desired value", sensor_in_sync),
    Step("flow above limit: Broker and Trigger on the node call the webhook", alarm_delivered),
    Step("kubectl logs and exec through the node's one connection", logs_and_exec),
    Step("the hub is killed: apps and devices go on, nothing is lost", hub_killed),
    Step("a node's software is killed: its Pods go on and are adopted", node_killed),
)


def walk(stage: Stage) -> int:
    """Walk every step, printing a line each; return how many failed."""
    failed = 0
    for number, step in enumerate(STEPS, 1):
        began = time.monotonic()
        try:
            seen = step.walk(stage)
            mark = "ok  "
        except (StepError, StageError, OSError, subprocess.TimeoutExpired, ValueError, KeyError, IndexError) as error:
            seen, mark = f"{type(error).__name__}: {error}", "FAIL"
            failed += 1
        print(f"{mark} {number:2}. {step.title} ({time.monotonic() - began:.1f} s)\n         {seen}", flush=True)
    return failed
