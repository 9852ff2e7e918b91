"""The arithmetic of rollouts keeps its limits at every step, whatever the Pods do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from skerry.controllers.workloads.rolling import Limits, Size, limits, recreate, rescale, roll


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [(3, "25%", "25%", (1, 0)), (10, "25%", "25%", (3, 2)), (4, 0, 0, (0, 1)), (1, "25%", "25%", (1, 0)), (2, 0, 5, (0, 2))],
)
def test_percentages_round_in_favour_of_availability(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    found = limits(replicas, surge, unavailable)

    assert (found.surge, found.unavailable) == expected


def test_what_is_broken_goes_before_what_works() -> None:
    old = [Size("a", 2, 2, 2), Size("b", 2, 2, 0)]

    assert roll(Size("new", 1, 1, 1), old, Limits(4, 1, 1)) == {"b": 0}


def test_recreate_waits_for_the_last_old_pod() -> None:
    new, old = Size("new", 0, 0, 0), [Size("a", 3, 3, 3)]

    first = recreate(new, old, 3, old_pods_remain=True)
    waiting = recreate(new, [Size("a", 0, 1, 1)], 3, old_pods_remain=True)
    last = recreate(new, [Size("a", 0, 0, 0)], 3, old_pods_remain=False)

    assert (first, waiting, last) == ({"a": 0}, {}, {"new": 3})


def test_scaling_in_a_rollout_keeps_the_shares() -> None:
    sizes = [Size("new", 5, 5, 5), Size("old", 8, 8, 8)]

    assert rescale(sizes, Limits(15, 3, 2)) == {"new": 7, "old": 11}  # the example of the Kubernetes documentation
    assert rescale(sizes, Limits(20, 5, 2)) == {"new": 10, "old": 15}
    assert rescale(sizes, Limits(4, 1, 1)) == {"new": 2, "old": 3}
    assert rescale([Size("new", 3, 3, 3), Size("old", 8, 8, 8)], Limits(15, 3, 2), {"new": 13, "old": 13}) == {"new": 4, "old": 14}


@given(
    st.integers(0, 8),
    st.integers(0, 4),
    st.integers(0, 4),
    st.lists(st.integers(0, 5), max_size=3),
    st.randoms(use_true_random=False),
    st.integers(0, 2),
)
def test_a_rollout_ends_and_never_breaks_its_limits(
    replicas: int, surge: int, unavailable: int, old_sizes: list[int], random: object, broken: int
) -> None:
    limit = limits(replicas, surge, unavailable)
    while sum(old_sizes) > limit.most:
        old_sizes.pop()
    sizes = [Size(f"old{i}", n, n, max(0, n - broken)) for i, n in enumerate(old_sizes)] + [Size("new", 0, 0, 0)]
    for turn in range(200):
        available_before = sum(min(s.available, s.wanted) for s in sizes)
        changes = roll(sizes[-1], sizes[:-1], limit)
        sizes = [replace(s, wanted=changes.get(s.name, s.wanted)) for s in sizes]
        sizes = [replace(s, actual=s.wanted, available=min(s.available, s.wanted)) for s in sizes]
        available = sum(s.available for s in sizes)
        assert sum(s.wanted for s in sizes) <= max(limit.most, limit.replicas)
        assert available >= min(available_before, limit.fewest_available)
        new = sizes[-1]
        if not changes and new.available == new.wanted:
            break
        starting = new.wanted - new.available
        ready = random.randint(min(starting, turn % 3 // 2), starting)  # type: ignore[attr-defined]  # every third turn at least one
        sizes[-1] = replace(new, available=new.available + ready)

    assert [s.wanted for s in sizes] == [0] * len(old_sizes) + [replicas]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 12), st.integers(0, 3))
def test_rescaling_gives_out_exactly_what_there_is(wanted: list[int], replicas: int, surge: int) -> None:
    sizes = [Size(f"s{i}", n, n, n) for i, n in enumerate(wanted)]
    limit = limits(replicas, surge, 1)

    found = rescale(sizes, limit)

    after = [found.get(s.name, s.wanted) for s in sizes]
    active = sum(n > 0 for n in wanted)
    assert sum(after) == (0 if not active else limit.most if active > 1 else limit.replicas)
    assert all(n >= 0 for n in after)
