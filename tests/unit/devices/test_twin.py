"""What a twin decides: what is written, what is settled, and when a device counts as in sync."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.drivers import Quality
from skerry.node.devices.twin import Ack, Reported, Settle, Twin, Write, accepted, adopt, failed, in_sync, plan, retry_after_s
from tests.unit.devices.profiles_given import typed

PROFILE = typed()
desires = st.dictionaries(
    st.sampled_from(["setpoint", "mode", "flow", "ghost"]),
    st.one_of(st.floats(-10, 100), st.sampled_from(["auto", "manual", "off"]), st.booleans(), st.integers(0, 100)),
    max_size=4,
)


def a_twin(desired: dict[str, Any], generation: int = 1, **reported: Any) -> Twin:
    return Twin("uid", generation, dict(desired), {n: Reported(v, 0.0) for n, v in reported.items()})


def carry_out(twin: Twin, *, obey: bool = True) -> list[Write]:
    """Do what the plan says, as an obedient device or one that refuses everything."""
    writes = []
    for step in plan(PROFILE, twin):
        if isinstance(step, Settle):
            twin.acks[step.name] = step.ack
        elif obey:
            writes.append(step)
            twin.acks[step.prop.name] = accepted(twin, step.prop.name, step.value, step.value)
            twin.reported[step.prop.name] = Reported(step.value, 0.0)
        else:
            twin.acks[step.prop.name] = Ack(twin.generation, "Rejected", step.value, message="no")
    return writes


@settings(deadline=None)
@given(desires, st.booleans())
def test_after_the_steps_there_is_nothing_left_to_do(desired: dict[str, Any], obey: bool) -> None:
    twin = a_twin(desired)

    carry_out(twin, obey=obey)

    assert plan(PROFILE, twin) == []
    assert set(twin.acks) == set(desired)


@settings(deadline=None)
@given(desires)
def test_in_sync_is_true_only_when_every_wish_was_accepted(desired: dict[str, Any]) -> None:
    twin = a_twin(desired)
    carry_out(twin)

    status, reason, _ = in_sync(PROFILE, twin, connected=True)

    allowed = all(a.code == "Accepted" for a in twin.acks.values())
    assert status is allowed
    assert reason == ("NothingDesired" if not desired else "AllAccepted" if allowed else "DesiredInvalid")


def test_a_value_that_the_device_holds_already_is_not_written() -> None:
    twin = a_twin({"setpoint": 42.0}, setpoint=42.0)

    assert carry_out(twin) == []
    assert twin.acks["setpoint"].code == "Accepted"


def test_a_new_wish_is_pending_until_it_is_acknowledged() -> None:
    twin = a_twin({"setpoint": 20.0}, setpoint=20.0)
    carry_out(twin)

    assert adopt(twin, generation=2, desired={"setpoint": 42.0})

    assert in_sync(PROFILE, twin, connected=True) == (False, "WritePending", "not acknowledged yet: setpoint")
    carry_out(twin)
    assert twin.acks["setpoint"] == Ack(2, "Accepted", 42.0, settled=42.0)


def test_a_generation_that_changes_nothing_keeps_the_acknowledgements() -> None:
    twin = a_twin({"setpoint": 20.0}, setpoint=20.0)
    carry_out(twin)

    adopt(twin, generation=5, desired={"setpoint": 20.0})

    assert plan(PROFILE, twin) == []
    assert in_sync(PROFILE, twin, connected=True)[0] is True


def test_a_wish_that_is_dropped_takes_its_acknowledgement_along() -> None:
    twin = a_twin({"setpoint": 20.0, "mode": "auto"})
    carry_out(twin)

    adopt(twin, generation=2, desired={"mode": "auto"})

    assert set(twin.acks) == {"mode"}


def test_true_is_not_1() -> None:
    twin = a_twin({"setpoint": 1.0}, setpoint=True)

    assert [type(s) for s in plan(PROFILE, twin)] == [Write]


def test_a_value_that_is_not_known_to_be_good_is_no_drift() -> None:
    twin = a_twin({"setpoint": 20.0}, setpoint=20.0)
    carry_out(twin)
    twin.reported["setpoint"] = Reported(7.0, 0.0, Quality.UNCERTAIN)
    assert plan(PROFILE, twin) == []

    twin.reported["setpoint"] = Reported(7.0, 0.0)

    assert [type(s) for s in plan(PROFILE, twin)] == [Write]


def test_what_the_device_rejected_is_tried_again_only_with_another_value() -> None:
    twin = a_twin({"setpoint": 20.0})
    carry_out(twin, obey=False)
    assert plan(PROFILE, twin) == []

    adopt(twin, generation=2, desired={"setpoint": 21.0})

    assert [type(s) for s in plan(PROFILE, twin)] == [Write]


def test_failures_wait_longer_each_time_up_to_a_minute() -> None:
    twin = a_twin({"setpoint": 20.0})
    waits = []
    for _ in range(8):
        twin.acks["setpoint"] = failed(twin, "setpoint", 20.0, "lost")
        waits.append(retry_after_s(twin.acks["setpoint"]))

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
