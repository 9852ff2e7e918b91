"""What is generated is what stands in the repository."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def test_the_crds_are_those_of_the_kinds() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "crds.py"), "--check"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_architecture_page_lists_the_layers_that_are_held() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    packages = sorted(p.name for p in (ROOT / "src" / "skerry").iterdir() if (p / "__init__.py").exists())

    assert [p for p in packages if p not in page] == []


def test_no_page_links_to_a_file_that_is_not_there() -> None:
    links = [(page, target) for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] for target in LINK.findall(page.read_text())]

    assert [f"{page.relative_to(ROOT)} -> {target}" for page, target in links if not (page.parent / target).exists()] == []
