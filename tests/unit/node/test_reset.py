"""A node's state is removed so that a reset which did not come to its end can be made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.node.identity import IdentityError, NodeSettings, StateFolder
from skerry.node.reset import reset


async def test_a_reset_that_failed_half_way_can_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = StateFolder(tmp_path / "node")
    monkeypatch.setattr(StateFolder, "lock", lambda self: 0)  # it is held until the process ends
    folder.prepare()
    folder.save_settings(NodeSettings(name="n", hub="https://127.0.0.1:1"))
    for name in ("node.key", "node.crt", "hub-ca.crt"):
        (folder.path / name).write_text("x")
    for name in "abcdefgh":
        (folder.path / name).mkdir()

    last = [p for p in folder.path.iterdir() if p.is_dir()][-1]

    def busy(path: Path, **how: bool) -> None:
        if path == last:
            raise OSError(16, "Device or resource busy", str(path))
        path.rmdir()

    with monkeypatch.context() as patched:
        patched.setattr("skerry.node.reset.shutil.rmtree", busy)
        with pytest.raises(OSError, match="busy"):
            await reset(folder, keep_identity=False, say=lambda text: None)

    assert folder.key.exists()
    assert folder.settings.exists()
    await reset(folder, keep_identity=False, say=lambda text: None)

    assert list(folder.path.iterdir()) == []
    with pytest.raises(IdentityError, match="not the state of a node"):
        await reset(folder, keep_identity=False, say=lambda text: None)
