"""What a server must know again after a restart, before anybody asks."""

from __future__ import annotations

from pathlib import Path

from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import MERGE, Asker
from tests.unit.apiserver.test_crds import CRDS, box, boxes, crd, until


async def test_custom_kinds_are_selected_by_their_fields_after_a_restart(tmp_path: Path) -> None:
    server = await ApiServer.open(tmp_path / "hub.sqlite")
    ask = Asker(server)
    await ask("POST", CRDS, crd())
    await until(ask, boxes(), 200)
    for name, colour in (("a", "red"), ("b", "blue")):
        assert (await ask("POST", boxes(), box(name, colour=colour)))[0] == 201
    await server.close()

    server = await ApiServer.open(tmp_path / "hub.sqlite")
    _, selected = await Asker(server)("GET", f"{boxes()}?fieldSelector=spec.colour=blue")

    assert [o["metadata"]["name"] for o in selected["items"]] == ["b"]
    await server.close()


async def test_objects_written_before_a_field_could_be_selected_are_found_by_it(tmp_path: Path) -> None:
    server = await ApiServer.open(tmp_path / "hub.sqlite")
    ask = Asker(server)
    plain = crd()
    fields = plain["spec"]["versions"][0].pop("selectableFields")
    await ask("POST", CRDS, plain)
    await until(ask, boxes(), 200)
    await ask("POST", boxes(), box("a", colour="blue"))

    body = {"spec": {"versions": [{**plain["spec"]["versions"][0], "selectableFields": fields}]}}
    status, _ = await ask("PATCH", f"{CRDS}/boxes.example.com", body, content_type=MERGE)
    selected = await until(ask, f"{boxes()}?fieldSelector=spec.colour=blue", 200)

    assert status == 200
    assert [o["metadata"]["name"] for o in selected["items"]] == ["a"]
    await server.close()
