"""A hub that was restored from a backup: it gives out no revision twice, and its nodes end nothing until a person says so (F33)."""

from __future__ import annotations

import json
import shutil
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


def revision(edge: WorstEdge) -> int:
    return int(json.loads(edge.kubectl("get", "--raw", "/api/v1/namespaces"))["metadata"]["resourceVersion"])


def test_a_restored_hub_is_above_all_that_was_given_out_and_its_node_ends_no_pod_of_the_lost_time(edge: WorstEdge) -> None:
    data, backup, key = edge.folder / "hub", edge.folder / "backup", edge.folder / "backup.key"
    edge.skerry("hub", "backup", str(backup), "--data", str(data), "--key-file", str(key))
    edge.apply(a_pod(edge, "lost"))
    until(lambda: edge.ready(3), "the third Pod")
    newest, before = revision(edge), edge.processes()
    edge.kill("hub")
    shutil.rmtree(data)

    edge.skerry("hub", "restore", str(backup), "--data", str(data), "--key-file", str(key))
    edge.start_hub()
    until(lambda: edge.node_status("HubTrusted").get("status") == "False", "the node to notice")
    edge.apply(a_pod(edge, "new"))
    until(lambda: edge.starts("new") == 1, "a new Pod: what the hub wants is still done")
    time.sleep(2)  # whatever the node would end, it would end now

    assert revision(edge) > newest
    assert before.items() <= edge.processes().items()
    epoch = edge.node_status("HubTrusted")["message"].split("accept-epoch ")[1].strip("`")
    edge.kill("node")
    edge.skerry("node", "accept-epoch", epoch, "--state", str(edge.state))
    edge.start_node()
    until(lambda: len(edge.processes()) == 2 * 3, "the lost Pod to end, now that a person said so")
    assert {p["metadata"]["name"] for p in edge.pods()} == {"old-0", "old-1", "new"}
    assert edge.starts("old-0") == 1
