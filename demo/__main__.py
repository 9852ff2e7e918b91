"""`make demo` and `make demo-check`: a whole edge on one machine."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from demo.stage import NODES, Stage, StageError
from demo.tour import stop_on_signals, walk


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="walk the tour without a person, print a line a step, end, and fail if a step failed"
    )
    args = parser.parse_args()
    stop_on_signals()
    began = time.monotonic()
    stage = Stage.new(say)
    failed = 0
    try:
        say("bringing up a hub, two nodes at two sites, a Modbus meter, a MicroPython sensor and two apps ...")
        stage.up()
        say(f"all started after {time.monotonic() - began:.1f} s")
        if args.check:
            failed = walk(stage)
        else:
            invite(stage)
            signal.pause()
    except KeyboardInterrupt:
        say("\nending everything ...")
    except StageError as error:
        failed += 1
        print(f"FAIL {error}", file=sys.stderr)
    finally:
        left = stage.down()
    if left:
        failed += 1
        print("FAIL still running after the end:\n  " + "\n  ".join(left), file=sys.stderr)
    if args.check:
        print(
            f"{'FAILED' if failed else 'all steps passed'} in {time.monotonic() - began:.0f} s; nothing is left running"
            if not left
            else "FAILED"
        )
    return 1 if failed else 0


def invite(stage: Stage) -> None:
    """Print what runs where, and six commands worth typing."""
    login = stage.skerry("hub", "login").strip()
    ports = stage.ports
    print(
        f"""
  hub         {stage.hub_url}
  nodes       {NODES[0].name} at site {NODES[0].site} ({NODES[0].address}), {NODES[1].name} at site {NODES[1].site} ({NODES[1].address})
  apps        greeter on both nodes: http://{NODES[0].address}:{ports["greeter"]}/  http://{NODES[1].address}:{ports["greeter"]}/
              alarm-hook at {NODES[0].site}: called by the Trigger when the flow is above 100 m3/h
  devices     meter-1 (Modbus, 127.0.0.1:{ports["modbus"]}), sensor-1 (MicroPython with 64 kB of heap, MQTT)
  kubeconfig  {stage.kubeconfig}
  console     {stage.hub_url}/console/
              {login}

Six commands worth typing in another terminal:

  export KUBECONFIG={stage.kubeconfig} PATH=$PWD/.venv/bin:$PATH
  kubectl get nodes,devices,pods -o wide
  kubectl get devicetwin meter-1 -o yaml
  kubectl patch device meter-1 --type merge -p '{{"spec":{{"desired":{{"setpoint":42}}}}}}'
  kubectl wait device/meter-1 --for=condition=InSync
  kubectl logs -f deployment/greeter
  skerry events tail --follow
  kill -9 {stage.processes["hub"].pid}    # the hub: apps, devices and alarms go on without it

Ctrl-C ends everything.""",
        flush=True,
    )


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
