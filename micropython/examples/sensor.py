"""A soil sensor: moisture and temperature every `interval` seconds, which may be set from afar.

    micropython -X heapsize=64k sensor.py HOST PORT NAMESPACE/DEVICE PASSWORD
"""

import gc
import math
import sys
import time

sys.path.append(__file__.rsplit("/", 1)[0] + "/.." if "/" in __file__ else "..")
import skerry

interval = 2


def set_interval(value):
    global interval
    if not 1 <= value <= 3600:
        raise ValueError("interval must be between 1 and 3600 s")
    interval = value
    print("interval", value)


def main(host, port, name, password):
    device = skerry.Device(host, int(port), name, password)
    device.setting("interval", interval, on_desired=set_interval)
    began = time.ticks_ms()
    while True:
        t = time.ticks_diff(time.ticks_ms(), began) / 1000
        device.send({"moisture": round(40 + 20 * math.sin(t / 30), 1), "temperature": round(18 + 4 * math.sin(t / 60), 1)})
        device.run(interval)
        gc.collect()
        print("sent", device.sent, "waiting", device.waiting(), "dropped", device.dropped, "heap free", gc.mem_free())


main(*sys.argv[1:])
