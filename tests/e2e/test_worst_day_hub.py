"""A hub that is another, knows nothing, or was put back to older files (F14, F33): the node ends nothing, and says why."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator

import pytest

from tests.e2e.edge import a_pod, config, until
from tests.e2e.worst_day import WorstEdge, a_worst_edge, needs_bubblewrap

pytestmark = [pytest.mark.slow, needs_bubblewrap]


@pytest.fixture
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorstEdge]:
    """A node that runs `old-0` and `old-1`."""
    with a_worst_edge(tmp_path_factory.mktemp("edge")) as found:
        found.start_node()
        found.apply(config(), a_pod(found, "old-0"), a_pod(found, "old-1"))
        until(lambda: found.ready(2), "two Pods")
        yield found


def names(edge: WorstEdge) -> set[str]:
    return {p["metadata"]["name"] for p in edge.pods()}


def write(edge: WorstEdge, count: int, what: str) -> None:
    edge.apply(*({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{what}-{i}"}} for i in range(count)))


def test_a_hub_put_back_to_older_files_ends_no_pod_of_the_lost_time(edge: WorstEdge) -> None:
    data, copy = edge.folder / "hub", edge.folder / "hub.copy"
    edge.kill("hub", signal.SIGTERM)
    shutil.copytree(data, copy)
    edge.start_hub()
    edge.apply(a_pod(edge, "lost"))
    write(edge, 10, "lost")
    until(lambda: edge.ready(3), "the third Pod")
    before = edge.processes()
    edge.kill("hub")
    shutil.rmtree(data)
    copy.rename(data)

    edge.start_hub()
    until(lambda: "the hub went back" in edge.log("node"), "the node to notice")
    write(edge, 40, "again")  # the same revisions come a second time, and then higher ones
    edge.apply(a_pod(edge, "new"))
    until(lambda: edge.starts("new") == 1, "a new Pod: what the hub wants is still done")
    edge.kill("node")
    edge.start_node()
    until(lambda: edge.ready(3), "the node to have told of its Pods")
    time.sleep(2)  # whatever it would end, it would end now

    assert names(edge) == {"old-0", "old-1", "new"}
    assert before.items() <= edge.processes().items()
    until(lambda: edge.node_status("HubTrusted").get("status") == "False", "the condition")
    message = edge.node_status("HubTrusted")["message"]
    epoch = message.split("accept-epoch ")[1].strip("`")
    edge.kill("node")
    edge.skerry("node", "accept-epoch", epoch, "--state", str(edge.state))
    edge.start_node()
    until(lambda: len(edge.processes()) == 2 * 3, "the lost Pod to end, now that a person said so")
    assert edge.starts("old-0") == 1


def test_an_empty_hub_with_the_same_keys_takes_nothing_and_gives_nothing(edge: WorstEdge) -> None:
    data, aside = edge.folder / "hub", edge.folder / "hub.aside"
    before = edge.processes()
    edge.kill("hub")
    data.rename(aside)
    shutil.copytree(aside, data, ignore=shutil.ignore_patterns("*.sqlite*", "lock", "store"))  # as whoever removes both would
    edge.forget_log("node")

    edge.start_hub()
    edge.kill("node")
    edge.start_node()
    time.sleep(4)

    assert edge.processes() == before
    edge.kill("hub")
    shutil.rmtree(data)
    aside.rename(data)
    edge.forget_log("node")
    edge.start_hub()
    edge.connected()
    until(lambda: edge.ready(2), "its own hub to have it again")
    assert edge.processes() == before
    assert set(edge.witnesses().values()) == {1}


def test_a_hub_of_strangers_at_the_same_address_counts_as_offline(edge: WorstEdge) -> None:
    """Other keys: it never gets past the handshake, and is told nothing."""
    data, aside = edge.folder / "hub", edge.folder / "hub.aside"
    before = edge.processes()
    edge.kill("hub")
    data.rename(aside)
    edge.forget_log("node")

    edge.start_hub()
    edge.kill("node")
    edge.start_node()
    until(lambda: "hub offline" in edge.log("node"), "the node to say so")
    time.sleep(2)

    assert edge.kubectl("get", "nodes", "-o", "name") == ""
    assert "hub connected" not in edge.log("node")
    assert edge.processes() == before
    edge.kill("hub")
    shutil.rmtree(data)
    aside.rename(data)
    edge.start_hub()
    edge.connected()
    until(lambda: edge.ready(2), "its own hub to have it again")
    assert set(edge.witnesses().values()) == {1}
