"""Fan-out of changes to 200 watches."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from bench.hub_process import CONFIGMAPS, a_hub, configmap, post
from bench.report import Report, Stopwatch

WATCHES, BURST, PACED = 200, 200, 100


def main(only: Sequence[str] = ()) -> list[Report]:
    report = Report(f"Watch: {WATCHES} watches of a collection")
    if only and not any(word in "burst paced watch" for word in only):
        return [report]
    with a_hub() as (hub, _):
        hub.load([post(CONFIGMAPS, configmap(i, 256)) for i in range(BURST)], 8)
        plan = {
            "host": "127.0.0.1",
            "port": hub.port,
            "watch": f"{CONFIGMAPS}?watch=true",
            "objects": f"{CONFIGMAPS}/c-",
            "watches": WATCHES,
            "burst": BURST,
            "paced": PACED,
            **{name: str(hub.folder / f"{name}.pem") for name in ("ca", "cert", "key")},
        }
        clock = Stopwatch(hub.pid)
        done = subprocess.run([sys.executable, "-m", "bench.watchers"], input=json.dumps(plan), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-800:])
        result, cpu = json.loads(done.stdout), clock.read()[1]
        delivered = WATCHES * (BURST + PACED)
        report.row("burst of 200 updates", result["events_per_s"], "events/s", 60_000, more_is_better=True, peer=19_300)
        report.row(
            "paced: p99 from the writer's answer",
            max(0.0, result["p99_ms"]),
            "ms",
            10,
            peer=17.5,
            note="0 where the event came before the answer",
        )
        report.row("hub CPU per delivered event", cpu / delivered * 1e6, "us", note=f"client {result['cpu_s'] / delivered * 1e6:.1f} us")
    return [report]
