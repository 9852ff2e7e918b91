"""What a node is installed with, and nothing else: development tools beside it would change what its libraries load.

msgspec, for one, loads typing_extensions (0.5 MiB) wherever some tool has brought it.
"""

from __future__ import annotations

import sysconfig
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

EXTRAS = ("node", "modbus")


def node_python(folder: Path) -> str:
    """Make an environment of `skerry[node,modbus]` in *folder* from what is installed here; return its interpreter."""
    venv.create(folder, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    for found in _with_dependencies("skerry", EXTRAS, {}):
        for name in {file.parts[0] for file in found.files or () if file.parts[0] != ".."} - {"__pycache__"}:
            (packages / name).symlink_to(Path(str(found.locate_file(name))))
    return str(folder / "bin" / "python")


def _with_dependencies(name: str, extras: tuple[str, ...], seen: dict[str, Distribution]) -> Iterator[Distribution]:
    """Yield a distribution and all that it needs."""
    if name in seen:
        return
    found = seen[name] = distribution(name)
    yield found
    for requirement in map(Requirement, found.requires or ()):
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield from _with_dependencies(requirement.name.lower(), tuple(requirement.extras), seen)
