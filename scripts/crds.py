"""Write `deploy/crds/` from the kinds, or with --check say which file differs."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from skerry.model.kinds import all_definitions

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "crds"
HEADER = "# Generated from src/skerry/model/kinds by `make crds`; do not edit.\n"


def rendered() -> dict[str, str]:
    """Return file name -> text of every CustomResourceDefinition."""
    return {
        f"{d.resource.group}_{d.resource.plural}.yaml": HEADER + yaml.safe_dump(d.to_crd(), sort_keys=False, width=140)
        for d in all_definitions()
    }


def main() -> int:
    files = rendered()
    present = {p.name: p.read_text() for p in FOLDER.glob("*.yaml")}
    if "--check" in sys.argv[1:]:
        differing = sorted(n for n in files.keys() | present.keys() if files.get(n) != present.get(n))
        for name in differing:
            print(f"deploy/crds/{name} differs from the kinds: run `make crds`", file=sys.stderr)
        return 1 if differing else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in present.keys() - files.keys():
        (FOLDER / name).unlink()
    for name, text in files.items():
        (FOLDER / name).write_text(text)
    print(f"wrote {len(files)} files to {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
