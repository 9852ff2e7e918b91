"""Simulated devices: deterministic values, orders, and the command line's refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.cli.sim import sim
from skerry.model.profiles import Property, value_error
from skerry.sim import ControlError, Signal, SignalError, SimulatedDevice, parse_signal
from skerry.sim.signals import default_signal
from tests.unit.devices.profiles_given import typed

PROFILE = """
kind: DeviceProfile
metadata: {name: base}
spec: {protocol: modbus, properties: {flow: {type: number, range: [0, 120], binding: {modbus: {input: 3, as: float32}}}}}
---
kind: DeviceProfile
metadata: {name: meter}
spec: {extends: [base]}
"""


@settings(deadline=None)
@given(st.floats(0, 1e6), st.sampled_from(["sine", "ramp"]), st.integers(-100, 100), st.integers(0, 100), st.floats(0.01, 1000))
def test_a_signal_stays_between_its_ends_and_is_the_same_each_time(t: float, shape: Any, low: int, width: int, period: float) -> None:
    signal = Signal(shape, low, low + width, period)

    assert low - 1e-6 <= signal.at(t) <= low + width + 1e-6  # type: ignore[operator]
    assert signal.at(t) == signal.at(t)


def test_a_counter_counts_whole_periods() -> None:
    signal = parse_signal("counter:low=5,period=2", Property("n", "integer"))

    assert [signal.at(t) for t in (0, 1.9, 2, 4, 100)] == [5, 5, 6, 7, 55]


@pytest.mark.parametrize("text", ["square", "sine:low=x", "sine:depth=3", "sine:period=0", "sine:low=inf", "constant"])
def test_what_is_no_signal_is_named(text: str) -> None:
    with pytest.raises(SignalError, match=f"x={text}"):
        parse_signal(text, Property("x", "number"))


@pytest.mark.parametrize(
    "prop",
    [
        Property("a", "number", range=(3, 9)),
        Property("b", "integer", range=(3, 9), access="readWrite"),
        Property("c", "integer"),
        Property("d", "boolean"),
        Property("e", "enum", values=("x", "y")),
        Property("f", "string"),
    ],
)
def test_by_default_every_property_has_a_value_that_its_profile_allows(prop: Property) -> None:
    for t in (0, 1.5, 7, 1e5):
        value = default_signal(prop).at(t)
        assert value_error(prop, round(value) if prop.type == "integer" and isinstance(value, float) else value) is None


def test_a_device_follows_orders_and_says_what_it_cannot_do() -> None:
    device = SimulatedDevice(typed())
    for line in ("set flow=500", "slow 2.5", "signal flow=ramp:low=0,high=1"):
        assert device.order(line) == line
    assert device.fault.delay_s == 2.5

    for line, why in (
        ("dance", "is no order"),
        ("set flow", "is not NAME=VALUE"),
        ("set x=1", "the profile has"),
        ("set flow=much", "is not a number"),
        ("slow -1", "between 0"),
    ):
        with pytest.raises(ControlError, match=why):
            device.order(line)


def test_from_outside_only_what_the_profile_allows_can_be_written() -> None:
    device = SimulatedDevice(typed())

    assert device.write("setpoint", 42.0) is None
    assert device.value("setpoint", 1e3) == 42.0
    assert device.write("setpoint", 81.0) == "setpoint=81.0 must be between 0 and 80 m3/h"
    assert device.write("flow", 1.0) == "flow cannot be written"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["{missing}"], "cannot read"),
        (["{profile}", "--name", "other"], "holds no DeviceProfile other"),
        (["{profile}", "--set", "x=1"], "no property 'x'; the profile has flow"),
        (["{profile}", "--protocol", "mqtt"], "needs --connect HOST:PORT and --device"),
        (["{profile}", "--protocol", "mqtt", "--connect", "127.0.0.1:1", "--device", "a/b"], "needs a password"),
        (["{profile}", "--listen", "nowhere"], "'nowhere' is not HOST:PORT"),
        (["{profile}", "--fault", "slow 99999"], "between 0 and 3600 seconds"),
    ],
)
def test_the_command_says_what_it_cannot_do(tmp_path: Path, args: list[str], words: str) -> None:
    profile = tmp_path / "meter.yaml"
    profile.write_text(PROFILE)

    done = CliRunner().invoke(sim, [a.format(profile=profile, missing=tmp_path / "missing.yaml") for a in args])

    assert done.exit_code != 0
    assert words in " ".join(done.output.split())
