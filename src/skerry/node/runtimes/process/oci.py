"""Images by digest from a local folder of OCI image layouts: verified, unpacked once, kept under the digest.

What stays true: every byte that is used was hashed on its way, from the digest in the Pod down to each layer, compressed
and not; nothing under the final name was not verified. Source: OCI image-spec 1.1 (layout, manifest, config, layer).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from skerry.model.unreadable import NOT_JSON
from skerry.node.host import ARCHITECTURES
from skerry.node.runtimes.contract import Image, ImageError
from skerry.node.runtimes.process.archive import CHUNK, ArchiveError, Budget, Caps, unpack

MAX_DOCUMENT_BYTES = 4 * 2**20
MAX_LAYERS = 128
MAX_LAYOUTS = 1000
_REFERENCE = re.compile(r"([a-z0-9][a-z0-9._/:-]{0,254}?)(?::[A-Za-z0-9_.-]{1,128})?@sha256:([0-9a-f]{64})")
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_FOLDERS = ("proc", "dev", "tmp")


def open_image(reference: str, layouts: Path, store: Path) -> Image:
    """Return the unpacked image, unpacking it if need be; raises ImageError. Blocks: call it in a thread."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        message = f"{reference!r} does not name an image by digest: give NAME@sha256:DIGEST of an image in the layouts of {layouts}"
        raise ImageError("InvalidImageName", message)
    digest = match[2]
    folder = store / digest
    try:
        if not (folder / "config").exists():
            _bring(digest, reference, layouts, folder)
        return _image(reference, digest, folder)
    except (ArchiveError, OSError, *NOT_JSON, KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
        raise ImageError("ErrImagePull", f"image {reference}: {error}") from error


def _image(reference: str, digest: str, folder: Path) -> Image:
    config: dict[str, Any] = msgspec.json.decode((folder / "config").read_bytes()).get("config") or {}
    env = dict(e.partition("=")[::2] for e in config.get("Env") or ())
    entries = tuple(sorted(p.name for p in (folder / "root").iterdir() if p.name not in _FOLDERS))
    return Image(
        reference=reference,
        digest=f"sha256:{digest}",
        entrypoint=tuple(config.get("Entrypoint") or ()),
        arguments=tuple(config.get("Cmd") or ()),
        env=env,
        workdir=config.get("WorkingDir") or "/",
        root=str(folder / "root"),
        binds=entries,
    )


def _bring(digest: str, reference: str, layouts: Path, folder: Path) -> None:
    """Verify and unpack into a folder of its own, which gets its name last."""
    layout = _find(digest, layouts)
    if layout is None:
        raise ImageError("ErrImagePull", f"no layout in {layouts} has {reference}: copy the image's OCI layout there")
    manifest = _manifest(layout, digest)
    config_bytes = _document(layout, manifest["config"])
    config = msgspec.json.decode(config_bytes)
    diff_ids, layers = config["rootfs"]["diff_ids"], manifest["layers"]
    if len(layers) != len(diff_ids) or len(layers) > MAX_LAYERS:
        raise ArchiveError(f"{len(layers)} layers and {len(diff_ids)} diff_ids; they must be equally many, at most {MAX_LAYERS}")
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "root").mkdir(parents=True)
    for made in (folder.parent, fresh, fresh / "root"):
        made.chmod(0o755)
    try:
        budget = Budget(Caps())
        for layer, diff_id in zip(layers, diff_ids, strict=True):
            _unpack_layer(layout, layer, diff_id, fresh / "root", budget)
        (fresh / "config").write_bytes(config_bytes)
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _find(digest: str, layouts: Path) -> Path | None:
    candidates = [layouts, *sorted(layouts.iterdir())[:MAX_LAYOUTS]] if layouts.is_dir() else []
    return next((c for c in candidates if (c / "oci-layout").is_file() and (c / "blobs" / "sha256" / digest).is_file()), None)


def _manifest(layout: Path, digest: str) -> dict[str, Any]:
    """Return the manifest; of an index, the one for this machine."""
    doc: dict[str, Any] = msgspec.json.decode(_document(layout, {"digest": f"sha256:{digest}"}))
    if doc.get("mediaType") in _INDEXES or "manifests" in doc:
        machine = ARCHITECTURES.get(os.uname().machine, os.uname().machine)
        fits = [m for m in doc["manifests"] if (m.get("platform") or {}).get("architecture") == machine]
        if not fits:
            raise ArchiveError(f"it has no variant for {machine}")
        doc = msgspec.json.decode(_document(layout, fits[0]))
    if "layers" not in doc or "config" not in doc:
        raise ArchiveError("its manifest has no layers and config: not an OCI image manifest")
    return doc


def _blob(layout: Path, descriptor: dict[str, Any]) -> tuple[Path, str]:
    name = str(descriptor["digest"])
    kind, _, value = name.partition(":")
    if kind != "sha256" or not re.fullmatch("[0-9a-f]{64}", value):
        raise ArchiveError(f"digest {name!r} is not sha256")
    return layout / "blobs" / "sha256" / value, value


def _document(layout: Path, descriptor: dict[str, Any]) -> bytes:
    path, digest = _blob(layout, descriptor)
    with path.open("rb") as file:
        data = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise ArchiveError(f"{path.name} is longer than {MAX_DOCUMENT_BYTES} bytes")
    if hashlib.sha256(data).hexdigest() != digest:
        raise ArchiveError(f"blob {digest} does not hold what its digest says")
    return data


def _unpack_layer(layout: Path, descriptor: dict[str, Any], diff_id: str, target: Path, budget: Budget) -> None:
    path, digest = _blob(layout, descriptor)
    media = str(descriptor.get("mediaType") or "")
    if media.endswith("zstd"):
        raise ArchiveError(f"layer {digest} is compressed with zstd, which is not supported: use gzip")
    with path.open("rb") as file:
        stream = _Stream(file, packed=media.endswith("gzip"))
        unpack(stream.read, target, budget)
        stream.drain()
    if stream.packed_hash.hexdigest() != digest:
        raise ArchiveError(f"layer {digest} does not hold what its digest says")
    if f"sha256:{stream.plain_hash.hexdigest()}" != diff_id:
        raise ArchiveError(f"layer {digest} does not unpack to its diff_id {diff_id}")


class _Stream:
    """A layer's bytes, hashed packed and plain as they pass."""

    def __init__(self, file: Any, *, packed: bool) -> None:
        self.packed_hash, self.plain_hash = hashlib.sha256(), hashlib.sha256()
        self._plain = self._unzipped(file) if packed else self._as_it_is(file)
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            block = next(self._plain, None)
            if block is None:
                raise ArchiveError("it ends in the middle of an entry")
            self._rest += block
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def drain(self) -> None:
        """Read to the end, so that the hashes are of the whole; what follows the archive must be zeros."""
        while True:
            if self._rest.strip(b"\0"):
                raise ArchiveError("something follows the end of the archive")
            block = next(self._plain, None)
            if block is None:
                return
            self._rest = block

    def _as_it_is(self, file: Any) -> Iterator[bytes]:
        while block := file.read(CHUNK):
            self.packed_hash.update(block)
            self.plain_hash.update(block)
            yield block

    def _unzipped(self, file: Any) -> Iterator[bytes]:
        unzip = zlib.decompressobj(wbits=31)
        while block := file.read(CHUNK):
            self.packed_hash.update(block)
            while block:
                plain = unzip.decompress(block, CHUNK)
                block = unzip.unconsumed_tail
                if unzip.eof and unzip.unused_data:
                    raise ArchiveError("something follows the end of the compressed data")
                self.plain_hash.update(plain)
                if plain:
                    yield plain
        while plain := unzip.decompress(unzip.unconsumed_tail, CHUNK):
            self.plain_hash.update(plain)
            yield plain
        if not unzip.eof:
            raise ArchiveError("the compressed data is cut off")
