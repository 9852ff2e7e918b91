"""Images by digest: what is verified, and which archives are refused (inputs 45 to 49, 53)."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.node.runtimes.contract import ImageError
from skerry.node.runtimes.process.archive import ArchiveError, Budget, Caps, unpack
from skerry.node.runtimes.process.host import forget_images
from skerry.node.runtimes.process.oci import open_image


def a_tar(
    *entries: tuple[str, bytes | None], change: Callable[[tarfile.TarInfo], None] | None = None, form: int = tarfile.PAX_FORMAT
) -> bytes:
    """Return a tar of files, and of folders where the content is None."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=form) as tar:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode = (tarfile.DIRTYPE, 0o755) if data is None else (tarfile.REGTYPE, 0o755)
            info.size = len(data or b"")
            if change is not None:
                change(info)
            tar.addfile(info, io.BytesIO(data or b""))
    return raw.getvalue()


class Layout:
    """An OCI image layout as a tool would write it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs" / "sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    def image(self, *layers: bytes, packed: bool = True, **config: Any) -> str:
        kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if packed else "")
        descriptors = [{"mediaType": kind, **self.blob(gzip.compress(x, mtime=0) if packed else x)} for x in layers]
        ids = ["sha256:" + hashlib.sha256(x).hexdigest() for x in layers]
        body = {"architecture": "amd64", "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": ids}}
        manifest = {"schemaVersion": 2, "config": self.blob(json.dumps(body).encode()), "layers": descriptors}
        return "example.org/app@" + str(self.blob(json.dumps(manifest).encode())["digest"])


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layouts" / "app")


def opened(layout: Layout, reference: str) -> Any:
    return open_image(reference, layout.folder.parent, layout.folder.parent.parent / "images")


@pytest.mark.parametrize("packed", [True, False])
def test_an_image_is_unpacked_layer_over_layer(layout: Layout, packed: bool) -> None:
    first = a_tar(("bin", None), ("bin/app", b"one"), ("etc/old", b"x"), ("keep", b"k"))
    second = a_tar(("bin/app", b"two"), ("etc/.wh.old", b""))

    image = opened(
        layout, layout.image(first, second, packed=packed, Entrypoint=["/bin/app"], Cmd=["-v"], Env=["A=b=c"], WorkingDir="/etc")
    )

    root = Path(image.root)
    assert ((root / "bin" / "app").read_text(), (root / "keep").read_text()) == ("two", "k")
    assert not (root / "etc" / "old").exists()
    assert (image.entrypoint, image.arguments, image.env, image.workdir) == (("/bin/app",), ("-v",), {"A": "b=c"}, "/etc")
    assert image.binds == ("bin", "etc", "keep")


def test_without_a_digest_nothing_is_looked_for(layout: Layout) -> None:
    with pytest.raises(ImageError, match="NAME@sha256:DIGEST") as caught:
        opened(layout, "example.org/app:latest")
    assert caught.value.reason == "InvalidImageName"


def test_images_that_nothing_runs_from_are_forgotten(layout: Layout) -> None:
    kept, other = (opened(layout, layout.image(a_tar((name, b"x")))) for name in ("kept", "other"))

    forget_images(layout.folder.parent.parent / "images", {kept.digest})

    assert Path(kept.root).exists()
    assert not Path(other.root).exists()


def test_an_image_that_is_not_there_says_where_to_put_it(layout: Layout) -> None:
    with pytest.raises(ImageError, match="copy the image's OCI layout there"):
        opened(layout, "example.org/app@sha256:" + "0" * 64)


def test_a_changed_byte_anywhere_is_found(layout: Layout) -> None:
    reference = layout.image(a_tar(("app", b"hello")))
    for blob in sorted((layout.folder / "blobs" / "sha256").iterdir()):
        good = blob.read_bytes()
        blob.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(ImageError):
            opened(layout, reference)
        blob.write_bytes(good)

    assert Path(opened(layout, reference).root, "app").read_text() == "hello"


@pytest.mark.parametrize("document", [b"[]", b"[" * 100_000, b'{"layers":[],"config":', b'{"layers":[],"config":[]}', b'"\xff"'])
def test_what_is_no_manifest_is_said_to_be_none(layout: Layout, document: bytes) -> None:
    with pytest.raises(ImageError, match=r"image example\.org/app@sha256:"):
        opened(layout, f"example.org/app@{layout.blob(document)['digest']}")


def test_what_was_refused_leaves_nothing(layout: Layout) -> None:
    reference = layout.image(a_tar(("app", b"x"), ("../out", b"y")))

    with pytest.raises(ImageError):
        opened(layout, reference)

    assert list((layout.folder.parent.parent / "images").iterdir()) == []
    assert not (layout.folder.parent.parent / "out").exists()


def _as(kind: bytes) -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, "/etc/passwd"

    return change


def into(data: bytes, folder: Path, caps: Caps | None = None) -> None:
    stream = io.BytesIO(data)

    def read(size: int) -> bytes:
        found = stream.read(size)
        if len(found) < size:
            raise ArchiveError("cut")
        return found

    unpack(read, folder, Budget(caps or Caps()))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused_by_name(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"'odd' is a .*only regular files and folders"):
        into(a_tar(("odd", b""), change=_as(kind)), tmp_path)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a/../x", "a\\..\\x", "x" * 300, "a/" * 3000 + "x", ".."])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_names_that_could_lead_elsewhere_are_refused(tmp_path: Path, name: str, form: int) -> None:
    with pytest.raises(ArchiveError):
        into(a_tar((name, b"x"), form=form), tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_no_mode_beyond_rwx_is_made(tmp_path: Path) -> None:
    def setuid(info: tarfile.TarInfo) -> None:
        info.mode = 0o6777

    into(a_tar(("app", b"x"), change=setuid), tmp_path)

    assert (tmp_path / "app").stat().st_mode & 0o7777 == 0o755


def test_a_name_twice_in_one_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="comes twice"):
        into(a_tar(("app", b"a"), ("./app", b"b")), tmp_path)


def test_the_caps_hold(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="more than 3 entries"):
        into(a_tar(*((f"f{i}", b"") for i in range(4))), tmp_path, Caps(entries=3))
    with pytest.raises(ArchiveError, match="past 10 bytes"):
        into(a_tar(("big", b"x" * 11)), tmp_path, Caps(total_bytes=10))


def test_a_zip_bomb_is_stopped_by_its_size(layout: Layout) -> None:
    bomb = a_tar(("zeros", b"\0" * (1 << 20)))

    stream = gzip.compress(bomb, mtime=0)

    assert len(stream) < len(bomb) / 100
    with pytest.raises(ArchiveError, match="past 1000 bytes"):
        into(bomb, layout.folder, Caps(total_bytes=1000))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_is_changed_it_is_unpacked_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    good = bytearray(a_tar(("bin", None), ("bin/app", b"x" * 700), ("n" * 120, b"long")))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("fuzz")

    with contextlib.suppress(ArchiveError):
        into(bytes(good[: data.draw(st.integers(0, len(good)))]), folder)

    assert not any(p.is_symlink() for p in folder.rglob("*"))
