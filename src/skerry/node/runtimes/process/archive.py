"""Unpacks a tar archive by our own rules: regular files and folders, nothing else, counted and capped.

What stays true: nothing is written outside the target; no link, device, socket or mode beyond rwx is ever made; a name is
made once; what is wrong with an archive is found before it is used, since callers unpack into a folder they throw away.
Headers read: ustar, with `path` and `size` of pax, and GNU long names. Source: POSIX.1-2017 pax; GNU tar manual.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

BLOCK = 512
CHUNK = 64 * 1024
MAX_NAME_BYTES = 4096
MAX_HEADER_BYTES = 64 * 1024
_WHITEOUT = ".wh."
_KINDS = {b"1": "hard link", b"2": "symbolic link", b"3": "device", b"4": "device", b"6": "pipe", b"S": "sparse file"}


class ArchiveError(Exception):
    """The archive is not one that we unpack; the message names the entry and the rule."""


class Caps(msgspec.Struct, frozen=True):
    """What one image may hold at most: a small board's disk and inodes are bounded."""

    entries: int = 100_000
    total_bytes: int = 4 * 2**30


class Budget:
    """What is left of the caps, over all layers of an image."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self.entries = 0
        self.bytes = 0

    def take(self, name: str, size: int) -> None:
        self.entries += 1
        self.bytes += size
        if self.entries > self._caps.entries:
            raise ArchiveError(f"more than {self._caps.entries} entries")
        if self.bytes > self._caps.total_bytes:
            raise ArchiveError(f"{name!r} takes it past {self._caps.total_bytes} bytes")


Read = Callable[[int], bytes]
"""Return exactly so many bytes; raises ArchiveError when the archive ends before."""


class _Entry(msgspec.Struct, frozen=True):
    name: str
    folder: bool
    executable: bool
    size: int


def unpack(read: Read, target: Path, budget: Budget) -> None:
    """Unpack one layer over what is in *target*; `.wh.NAME` takes NAME of an earlier layer away."""
    seen: set[str] = set()
    for entry in _entries(read):
        budget.take(entry.name, entry.size)
        parts = safe_parts(entry.name)
        if parts:
            _put(entry, parts, read, target, seen)
        elif not entry.folder:
            raise ArchiveError(f"{entry.name!r} is not a name for a file")
        _skip(read, -entry.size % BLOCK)


def _put(entry: _Entry, parts: tuple[str, ...], read: Read, target: Path, seen: set[str]) -> None:
    path, name = target.joinpath(*parts), "/".join(parts)
    if name in seen and not entry.folder:
        raise ArchiveError(f"{name!r} comes twice")
    seen.add(name)
    if parts[-1].startswith(_WHITEOUT):
        _skip(read, entry.size)
        _take_away(path)
        return
    for parent in reversed(path.relative_to(target).parents[:-1]):
        if not (target / parent).is_dir():
            _remove(target / parent)
            (target / parent).mkdir(mode=0o755)
    if entry.folder:
        if not path.is_dir():
            _remove(path)
            path.mkdir(mode=0o755)
        return
    _remove(path)
    with path.open("xb") as file:
        left = entry.size
        while left:
            block = read(min(CHUNK, left))
            file.write(block)
            left -= len(block)
    path.chmod(0o755 if entry.executable else 0o644)


def _take_away(marker: Path) -> None:
    name = marker.name.removeprefix(_WHITEOUT)
    if name == ".wh..opq":
        for child in list(marker.parent.iterdir()) if marker.parent.is_dir() else ():
            _remove(child)
    elif name and name not in (".", ".."):
        _remove(marker.with_name(name))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def safe_parts(name: str) -> tuple[str, ...]:
    """Return the parts of a relative name; raises ArchiveError for one that could lead elsewhere."""
    if name.startswith("/") or "\0" in name or "\\" in name or len(name.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES:
        raise ArchiveError(f"{name[:200]!r} is not a relative name of at most {MAX_NAME_BYTES} bytes")
    parts = tuple(p for p in name.split("/") if p not in ("", "."))
    if ".." in parts or any(len(p.encode("utf-8", "surrogateescape")) > 255 for p in parts):
        raise ArchiveError(f"{name[:200]!r} has a part '..' or one of more than 255 bytes")
    return parts


def _entries(read: Read) -> Iterator[_Entry]:
    """Yield the entries; the caller reads each one's data and padding before it asks for the next."""
    long_name, pax = "", dict[str, str]()
    while True:
        header = read(BLOCK)
        if header == b"\0" * BLOCK:
            return
        _check_sum(header)
        kind, size = header[156:157], _number(header[124:136])
        if kind in (b"L", b"x", b"g"):
            data = _long(read, size)
            if kind == b"L":
                long_name = _text(data.rstrip(b"\0"))
            elif kind == b"x":
                pax = _pax(data)
            continue
        if kind in _KINDS:
            raise ArchiveError(f"{_name(header)!r} is a {_KINDS[kind]}: only regular files and folders are unpacked")
        if kind not in (b"0", b"\0", b"5", b"7"):
            raise ArchiveError(f"{_name(header)!r} is of the unknown type {kind!r}")
        name, folder = pax.get("path") or long_name or _name(header), kind == b"5"
        yield _Entry(name, folder or name.endswith("/"), bool(_number(header[100:108]) & 0o111), 0 if folder else _size(pax, size))
        long_name, pax = "", {}


def _size(pax: dict[str, str], size: int) -> int:
    text = pax.get("size")
    if text is None:
        return size
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ArchiveError(f"a pax size of {text[:40]!r}")
    return int(text)


def _long(read: Read, size: int) -> bytes:
    if size > MAX_HEADER_BYTES:
        raise ArchiveError(f"a header of {size} bytes, the limit is {MAX_HEADER_BYTES}")
    data = read(size)
    _skip(read, -size % BLOCK)
    return data


def _pax(data: bytes) -> dict[str, str]:
    """Read `LENGTH KEY=VALUE\\n` records; links and sparse files are refused here too."""
    found: dict[str, str] = {}
    while data:
        digits, space, _ = data.partition(b" ")
        if not space or not digits.isdigit() or not len(digits) + 3 <= int(digits[:8]) <= len(data):
            raise ArchiveError("a pax header that cannot be read")
        record, data = data[len(digits) + 1 : int(digits)], data[int(digits) :]
        key, equals, value = record.rstrip(b"\n").partition(b"=")
        if not equals or key.startswith(b"GNU.sparse"):
            raise ArchiveError(f"a pax record {key[:40]!r} that we do not follow")
        found[_text(key)] = _text(value)
    return found


def _name(header: bytes) -> str:
    name = _text(header[:100].split(b"\0", 1)[0])
    prefix = _text(header[345:500].split(b"\0", 1)[0]) if header[257:262] == b"ustar" and header[263:265] == b"00" else ""
    return f"{prefix}/{name}" if prefix else name


def _number(field: bytes) -> int:
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:])
    text = field.strip(b" \0")
    if not text:
        return 0
    try:
        found = int(text, 8)
    except ValueError as error:
        raise ArchiveError(f"{text[:20]!r} is not a number in a header") from error
    if found < 0:
        raise ArchiveError(f"{text[:20]!r} is not a size")
    return found


def _check_sum(header: bytes) -> None:
    plain = header[:148] + b" " * 8 + header[156:]
    if _number(header[148:156]) != sum(plain):
        raise ArchiveError("a header whose checksum is wrong: this is not a tar archive, or it is damaged")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _skip(read: Read, size: int) -> None:
    while size > 0:
        size -= len(read(min(CHUNK, size)))
