"""Volumes: files that change together, and paths that lead nowhere else (inputs 32, 54)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skerry.model.objects import Object
from skerry.model.volumes import LOCAL_PATHS
from skerry.node.pods.contents import File, volume_files
from skerry.node.pods.env import ConfigError, Kind, NodeFacts
from skerry.node.pods.volumes import VolumeRoom, allowed_host_path, mounts_of, write_files
from skerry.node.runtimes.contract import RefusedError, RuntimeFailedError

NODE = NodeFacts("node-a", "10.0.0.7", {"cpu": "4", "memory": "2Gi"})
POD: Object = {
    "metadata": {"name": "pod-1", "namespace": "shop", "uid": "u-1", "labels": {"a": "b"}},
    "spec": {"containers": [{"name": "app"}]},
}
NOBODY = (-1, -1)


def lookup(kind: Kind, name: str) -> Object | None:
    stored: dict[str, Object] = {"settings": {"data": {"a": "1", "b": "2"}}, "keys": {"data": {"pin": "MTIzNA=="}}}
    return stored.get(name)


def files(**volume: Any) -> dict[str, bytes]:
    return {p: f.data for p, f in volume_files({"name": "v", **volume}, POD, NODE, lookup).items()}


def test_what_each_kind_of_configuration_holds() -> None:
    assert files(configMap={"name": "settings"}) == {"a": b"1", "b": b"2"}
    assert files(secret={"secretName": "keys"}) == {"pin": b"1234"}
    assert files(configMap={"name": "settings", "items": [{"key": "a", "path": "x/y"}]}) == {"x/y": b"1"}
    assert files(downwardAPI={"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}) == {"labels": b'a="b"'}
    sources = [{"configMap": {"name": "settings"}}, {"secret": {"name": "keys"}}]
    assert files(projected={"sources": sources}) == {"a": b"1", "b": b"2", "pin": b"1234"}


def test_what_is_missing_is_named_unless_it_is_optional() -> None:
    with pytest.raises(ConfigError, match='configmap "nowhere" not found'):
        files(configMap={"name": "nowhere"})
    with pytest.raises(ConfigError, match="non-existent key 'c'"):
        files(configMap={"name": "settings", "items": [{"key": "c", "path": "c"}]})
    assert files(configMap={"name": "nowhere", "optional": True}) == {}


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "", "..data", "a\0b", "./a"])
def test_a_path_inside_the_volume_cannot_lead_out(path: str) -> None:
    with pytest.raises(RefusedError, match="not a relative path"):
        files(configMap={"name": "settings", "items": [{"key": "a", "path": path}]})


def test_a_token_that_nobody_can_make_is_refused_by_name() -> None:
    with pytest.raises(RefusedError, match="clusterTrustBundle is not supported"):
        files(projected={"sources": [{"clusterTrustBundle": {"path": "ca"}}]})


def test_files_change_together_and_only_when_they_differ(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    assert write_files(volume, {"a": File(b"1"), "d/b": File(b"2", 0o400)}, NOBODY)
    assert not write_files(volume, {"a": File(b"1"), "d/b": File(b"2", 0o400)}, NOBODY)
    before = (volume / "..data").readlink()

    assert write_files(volume, {"a": File(b"new"), "c": File(b"3")}, NOBODY)

    assert (volume / "..data").readlink() != before
    assert (volume / "a").read_bytes() == b"new"
    assert sorted(p.name for p in volume.iterdir() if not p.name.startswith("..")) == ["a", "c"]
    assert len([p for p in volume.iterdir() if p.name.startswith("..") and not p.is_symlink()]) == 1


def test_modes_beyond_rwx_are_not_set(tmp_path: Path) -> None:
    write_files(tmp_path / "v", {"a": File(b"", 0o4755)}, NOBODY)

    assert (tmp_path / "v" / "a").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    "path", ["/", "/etc", "../x", "", "relative", "{allowed}/../other", "{allowed}2", "{allowed}/link", "/proc/self/root"]
)
def test_a_host_path_that_is_not_allowed_is_refused(tmp_path: Path, path: str) -> None:
    allowed = tmp_path / "allowed"
    for folder in ("allowed", "allowed2", "other"):
        (tmp_path / folder).mkdir()
    (allowed / "link").symlink_to(tmp_path / "other")

    with pytest.raises(RefusedError, match="is not allowed on this node"):
        allowed_host_path({"path": path.format(allowed=allowed)}, [str(allowed)])


def test_an_allowed_host_path_has_to_be_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert allowed_host_path({"path": str(tmp_path), "type": "Directory"}, [str(tmp_path)]) == tmp_path.resolve()
    assert allowed_host_path({"path": str(tmp_path / "made" / "now"), "type": "DirectoryOrCreate"}, [str(tmp_path)]).is_dir()
    with pytest.raises(RuntimeFailedError, match="not an existing directory"):
        allowed_host_path({"path": str(tmp_path / "file"), "type": "Directory"}, [str(tmp_path)])
    with pytest.raises(RefusedError, match="Socket"):
        allowed_host_path({"path": str(tmp_path), "type": "Socket"}, [str(tmp_path)])


def room(tmp_path: Path) -> VolumeRoom:
    return VolumeRoom(tmp_path / "pods", tmp_path / "ram")


def a_pod(*volumes: dict[str, Any]) -> Object:
    return {**POD, "spec": {"volumes": list(volumes), "containers": [{"name": "app"}]}}


def test_secrets_and_memory_rest_in_ram(tmp_path: Path) -> None:
    pod = a_pod(
        {"name": "s", "secret": {"secretName": "keys"}},
        {"name": "p", "projected": {"sources": [{"secret": {"name": "keys"}}]}},
        {"name": "m", "emptyDir": {"medium": "Memory"}},
        {"name": "c", "configMap": {"name": "settings"}},
        {"name": "e", "emptyDir": {}},
    )

    found = room(tmp_path).prepare(pod, (1, 1), NODE, lookup)

    assert {n for n, p in found.items() if p.is_relative_to(tmp_path / "ram")} == {"s", "p", "m"}
    assert {n for n, p in found.items() if p.is_relative_to(tmp_path / "pods")} == {"c", "e"}
    room(tmp_path).remove("u-1")
    assert room(tmp_path).leftovers() == []


@pytest.mark.parametrize("volume", [{"persistentVolumeClaim": {"claimName": "x"}}, {"nfs": {}}, {"csi": {"driver": "d"}}])
def test_a_volume_of_another_kind_is_refused_by_name(tmp_path: Path, volume: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match=next(iter(volume))):
        room(tmp_path).prepare(a_pod({"name": "v", **volume}), NOBODY, NODE, lookup)


@pytest.mark.parametrize(
    "mount",
    [
        {"mountPath": "relative"},
        {"mountPath": "/"},
        {"mountPath": "/a/../.."},
        {"mountPath": "/a", "subPath": "../x"},
        {"mountPath": "/a", "subPath": "/etc"},
        {"mountPath": "/a", "name": "other"},
    ],
)
def test_mounts_that_lead_out_are_refused(tmp_path: Path, mount: dict[str, Any]) -> None:
    pod = a_pod({"name": "v", "emptyDir": {}})

    with pytest.raises(RefusedError):
        mounts_of({"volumeMounts": [{"name": "v", **mount}]}, pod, {"v": tmp_path}, {})


def test_a_sub_path_is_made_in_an_empty_dir_and_resolved_in_a_config_volume(tmp_path: Path) -> None:
    pod = a_pod({"name": "e", "emptyDir": {}}, {"name": "c", "configMap": {"name": "settings"}})
    volumes = room(tmp_path).prepare(pod, (1, 1), NODE, lookup)
    wanted = [{"name": "e", "mountPath": "/e", "subPathExpr": "$(ME)/logs"}, {"name": "c", "mountPath": "/c", "subPath": "a"}]

    first, second = mounts_of({"volumeMounts": wanted}, pod, volumes, {"ME": "app-1"})

    assert (Path(first.source) / first.inside).is_dir()
    assert (first.inside, first.read_only) == ("app-1/logs", False)
    assert (Path(second.source).read_text(), second.inside, second.read_only) == ("1", "", True)


@pytest.mark.parametrize("kind", ["DirectoryOrCreate", "FileOrCreate"])
def test_a_host_path_is_made_without_following_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    shared, outside = tmp_path.resolve() / "shared", tmp_path / "outside"
    shared.mkdir()
    outside.mkdir()
    judged = os.path.realpath(shared / "x" / "made")
    (shared / "x").symlink_to(outside)
    monkeypatch.setattr(os.path, "realpath", lambda path: judged if str(path).endswith("made") else str(path))

    with pytest.raises(OSError, match=r"link|directory"):
        allowed_host_path({"path": str(shared / "x" / "made"), "type": kind}, [str(shared)])

    assert list(outside.iterdir()) == []


def test_a_host_path_is_opened_without_following_what_was_put_there_since(tmp_path: Path) -> None:
    """A folder that changed places with a link to / after it was judged gave a Pod the whole host (input 32)."""
    shared, pod = tmp_path.resolve() / "shared", a_pod({"name": "h", "hostPath": {"path": str(tmp_path / "shared" / "x")}})
    (shared / "x" / "below").mkdir(parents=True)
    volumes = VolumeRoom(tmp_path / "pods", None, [str(shared)]).prepare(pod, (1, 1), NODE, lookup)

    whole, part = mounts_of(
        {"volumeMounts": [{"name": "h", "mountPath": "/h"}, {"name": "h", "mountPath": "/p", "subPath": "below"}]}, pod, volumes, {}
    )

    assert (whole.source, whole.inside) == ("/", str(shared / "x").lstrip("/"))
    assert (part.source, part.inside) == ("/", str(shared / "x" / "below").lstrip("/"))


def test_a_claim_is_the_folder_that_the_hub_told_where_the_node_allows_it(tmp_path: Path) -> None:
    data = tmp_path.resolve() / "data"
    data.mkdir()
    pod = a_pod({"name": "v", "persistentVolumeClaim": {"claimName": "c"}})
    pod["metadata"] = {**pod["metadata"], "annotations": {LOCAL_PATHS: msgspec.json.encode({"c": str(data)}).decode()}}

    found = VolumeRoom(tmp_path / "pods", None, [str(data)]).prepare(pod, (1, 1), NODE, lookup)

    assert found == {"v": data}
    with pytest.raises(RefusedError, match="is not allowed on this node"):
        VolumeRoom(tmp_path / "pods", None, []).prepare(pod, (1, 1), NODE, lookup)
    pod["metadata"]["annotations"] = {LOCAL_PATHS: "[]"}
    with pytest.raises(RefusedError, match="persistentVolumeClaim 'c' is not bound to a local or hostPath volume"):
        VolumeRoom(tmp_path / "pods", None, [str(data)]).prepare(pod, (1, 1), NODE, lookup)
