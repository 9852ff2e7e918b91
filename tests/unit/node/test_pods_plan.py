"""The plan of one Pod: examples in Kubernetes' words, and the properties that hold for every one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from skerry.node.pods.plan import ContainerSeen, Finish, Plan, Remove, Seen, Start, Step, Stop, initialized, outcome, plan
from skerry.node.pods.shape import ContainerShape, PodShape, Policy
from skerry.node.runtimes.contract import Container, ContainerKey


def attempt(name: str, number: int = 0, *, code: int | None = None) -> Container:
    state = "running" if code is None else "exited"
    return Container(ContainerKey("uid", name), number, f"{name}-{number}", state, 0.0, "", "", exit_code=code or 0)  # type: ignore[arg-type]


def seen(*attempts: Container, **more: object) -> ContainerSeen:
    return replace(ContainerSeen(attempts, started=True, ready=True), **more)


def a_pod(
    policy: Policy = "Always", *, init: tuple[str, ...] = (), main: tuple[str, ...] = ("app",), sidecars: tuple[str, ...] = ()
) -> PodShape:
    inits = (*(ContainerShape(n, sidecar=True) for n in sidecars), *(ContainerShape(n) for n in init))
    return PodShape(policy, inits, tuple(ContainerShape(n) for n in main))


def steps(
    shape: PodShape, state: Seen, *, ending: bool = False, over: bool = False, finished: bool = False, now: float = 0.0
) -> list[Step]:
    return list(plan(shape, state, ending=ending, over=over, finished=finished, grace_s=5.0, now=now).steps)


def test_all_containers_of_a_new_pod_start() -> None:
    assert steps(a_pod(main=("a", "b")), {}) == [Start("a", 0), Start("b", 0)]


def test_init_containers_run_one_after_the_other() -> None:
    pod = a_pod(init=("one", "two"))

    assert steps(pod, {}) == [Start("one", 0)]
    assert steps(pod, {"one": seen(attempt("one"))}) == []
    assert steps(pod, {"one": seen(attempt("one", code=0))}) == [Start("two", 0)]
    assert steps(pod, {"one": seen(attempt("one", code=0)), "two": seen(attempt("two", code=0))}) == [Start("app", 0)]


def test_a_failed_init_container_is_tried_again_unless_never() -> None:
    failed = {"one": seen(attempt("one", code=1))}

    assert steps(a_pod(init=("one",)), failed) == [Start("one", 1)]
    assert steps(a_pod("Never", init=("one",)), failed) == []
    assert outcome(a_pod("Never", init=("one",)), failed) == "Failed"


def test_a_sidecar_runs_before_the_rest_and_ends_after_it() -> None:
    pod = a_pod("Never", sidecars=("proxy",))
    both = {"proxy": seen(attempt("proxy")), "app": seen(attempt("app"))}

    assert steps(pod, {}) == [Start("proxy", 0)]
    assert steps(pod, {"proxy": seen(attempt("proxy"), started=False)}) == []
    assert steps(pod, {"proxy": seen(attempt("proxy"))}) == [Start("app", 0)]
    assert steps(pod, both, ending=True) == [Stop("app", 5.0, "")]
    assert steps(pod, {**both, "app": seen(attempt("app", code=0))}) == [Stop("proxy", 5.0, "")]


def test_who_is_restarted_follows_from_the_policy() -> None:
    for code, policy, again in (
        (0, "Always", True),
        (1, "Always", True),
        (0, "OnFailure", False),
        (1, "OnFailure", True),
        (1, "Never", False),
    ):
        found = steps(a_pod(policy), {"app": seen(attempt("app", code=code))})  # type: ignore[arg-type]

        assert found == ([Start("app", 1)] if again else []), (code, policy)


def test_a_container_in_back_off_waits_and_the_plan_says_until_when() -> None:
    state = {"app": seen(attempt("app", code=1), retry_at=40.0)}

    assert plan(a_pod(), state, ending=False, over=False, finished=False, grace_s=5, now=39.0) == Plan((), 40.0)
    assert steps(a_pod(), state, now=40.0) == [Start("app", 1)]


def test_an_unhealthy_container_is_stopped_once() -> None:
    sick = seen(attempt("app"), unhealthy="liveness probe failed: 500")

    assert steps(a_pod(), {"app": sick}) == [Stop("app", 30.0, "liveness probe failed: 500")]
    assert steps(a_pod(), {"app": replace(sick, stopping=True)}) == []


def test_an_ending_pod_stops_and_then_finishes_and_never_starts() -> None:
    pod = a_pod(main=("a", "b"))

    assert steps(pod, {"a": seen(attempt("a"))}, ending=True) == [Stop("a", 5.0, "")]
    assert steps(pod, {"a": seen(attempt("a", code=143))}, ending=True) == [Finish()]
    assert steps(pod, {"a": seen(attempt("a", code=143))}, ending=True, finished=True) == []


def test_a_pod_that_is_over_never_starts_again() -> None:
    assert steps(a_pod("OnFailure"), {"app": seen(attempt("app", code=1))}, over=True) == []


def test_only_the_last_two_attempts_are_kept() -> None:
    state = {"app": seen(*(attempt("app", n, code=1) for n in range(3)), attempt("app", 3))}

    assert steps(a_pod(), state) == [Remove("app", 0), Remove("app", 1)]


NAMES = ("i1", "i2", "s1", "a", "b")
CODES = st.one_of(st.none(), st.sampled_from([0, 1]))


@st.composite
def states(draw: st.DrawFn) -> dict[str, ContainerSeen]:
    found = {}
    for name in draw(st.sets(st.sampled_from(NAMES))):
        older = [attempt(name, n, code=draw(st.sampled_from([0, 1]))) for n in range(draw(st.integers(0, 3)))]
        found[name] = ContainerSeen(
            (*older, attempt(name, len(older), code=draw(CODES))),
            retry_at=draw(st.sampled_from([0.0, 50.0])),
            started=draw(st.booleans()),
            ready=draw(st.booleans()),
            unhealthy=draw(st.sampled_from(["", "sick"])),
            stopping=draw(st.booleans()),
        )
    return found


PODS = st.builds(
    a_pod,
    st.sampled_from(["Always", "OnFailure", "Never"]),
    init=st.sampled_from([(), ("i1",), ("i1", "i2")]),
    main=st.sampled_from([("a",), ("a", "b")]),
    sidecars=st.sampled_from([(), ("s1",)]),
)


def carry_out(state: dict[str, ContainerSeen], step: Step) -> None:
    """The model of the world: what is there after a step."""
    match step:
        case Start(name, number):
            before = state.get(name, ContainerSeen())
            assert not before.running, "two attempts at once"
            assert number == (before.latest.attempt + 1 if before.latest else 0)
            state[name] = ContainerSeen((*before.attempts, attempt(name, number)))
        case Stop(name):
            assert state[name].running
            state[name] = replace(state[name], stopping=True)
        case Remove(name, number):
            assert state[name].latest is not None
            assert state[name].latest.attempt != number  # type: ignore[union-attr]
            state[name] = replace(state[name], attempts=tuple(a for a in state[name].attempts if a.attempt != number))
        case Finish():
            assert not any(s.running for s in state.values())


@given(PODS, states(), st.booleans(), st.booleans(), st.booleans())
def test_planning_again_after_the_steps_gives_none(
    shape: PodShape, state: dict[str, ContainerSeen], ending: bool, over: bool, finished: bool
) -> None:
    state = {n: s for n, s in state.items() if n in shape.names()}
    first = steps(shape, state, ending=ending, over=over, finished=finished, now=10.0)
    for step in first:
        carry_out(state, step)

    again = steps(shape, state, ending=ending, over=over, finished=finished or Finish() in first, now=10.0)

    assert [s for s in again if not isinstance(s, Remove)] == []


@given(PODS, states(), st.booleans(), st.booleans())
def test_nothing_is_stopped_without_a_reason(shape: PodShape, state: dict[str, ContainerSeen], over: bool, finished: bool) -> None:
    state = {n: s for n, s in state.items() if n in shape.names()}

    stopped = {s.name for s in steps(shape, state, over=over, finished=finished) if isinstance(s, Stop)}

    if not over and outcome(shape, state) is None:
        assert all(state[n].unhealthy for n in stopped)


@given(PODS, states(), st.booleans())
def test_no_main_container_starts_for_the_first_time_before_the_init_containers_are_done(
    shape: PodShape, state: dict[str, ContainerSeen], ending: bool
) -> None:
    state = {n: s for n, s in state.items() if n in shape.names()}
    begun = any(c.name in state for c in shape.main)

    started = {s.name for s in steps(shape, state, ending=ending, now=100.0) if isinstance(s, Start)}

    if not initialized(shape, state) and not begun:
        assert not started & {c.name for c in shape.main}
    if ending:
        assert not started
