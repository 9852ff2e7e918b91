"""The built pages, from inside the package. Only files that were there at the start are served; a path is never opened."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

from skerry.console.headers import SECURITY
from skerry.console.ports import Response

FOLDER = Path(__file__).parent / "assets"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".ico": "image/x-icon",
}
_COMPRESSED = frozenset({".html", ".js", ".css", ".svg"})
_FOREVER = "public, max-age=31536000, immutable"


class Assets:
    """The files below one folder, by their path from it."""

    def __init__(self, folder: Path = FOLDER) -> None:
        files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in _TYPES) if folder.is_dir() else []
        self._files = {p.relative_to(folder).as_posix(): p for p in files}
        self._zipped: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._files)

    def answer(self, name: str, headers: Mapping[str, str]) -> Response:
        """Return the file *name*; the page itself for "" and for the pages within it; 404 for other names."""
        if name not in self._files and "." not in name.rpartition("/")[2]:
            name = "index.html"
        path = self._files.get(name)
        if path is None:
            return Response(404, {**SECURITY, "Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}, b"not found\n")
        # Vite puts a hash of the content into the names below assets/.
        caching = _FOREVER if name.startswith("assets/") else "no-cache"
        found = {**SECURITY, "Content-Type": _TYPES[path.suffix], "Cache-Control": caching, "Vary": "Accept-Encoding"}
        if path.suffix in _COMPRESSED and "gzip" in headers.get("accept-encoding", ""):
            return Response(200, {**found, "Content-Encoding": "gzip"}, self._gzip(name, path))
        return Response(200, found, path.read_bytes())

    def _gzip(self, name: str, path: Path) -> bytes:
        if name not in self._zipped:
            self._zipped[name] = gzip.compress(path.read_bytes(), mtime=0)
        return self._zipped[name]
