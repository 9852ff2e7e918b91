"""Every command of the tutorials and how-to pages is run, in order, and what it prints is compared with what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from demo.stage import free_ports

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs" / "tutorial").glob("*.md"), *(ROOT / "docs" / "how-to").glob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORTS = ("6443", "5020", "9080")


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the page's blocks as (commands, output expected after them)."""
    found: list[tuple[str, str]] = []
    for kind, text in BLOCK.findall(page):
        if kind == "sh":
            found.append((text, ""))
        elif kind == "":
            found[-1] = (found[-1][0], text)
    return found


def pattern(line: str) -> re.Pattern[str]:
    """Return what a line of the page must match: `...` stands for anything, runs of blanks are alike."""
    parts = [r"\s+".join(re.escape(word) for word in part.split()) for part in line.split("...")]
    return re.compile(r"\s*" + r".*".join(r"\s*" + part + r"\s*" if part else "" for part in parts) + r".*")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_command_of_a_tutorial_does_what_the_page_says(page: Path) -> None:
    text = page.read_text()
    for port, free in free_ports(PORTS).items():
        text = text.replace(port, str(free))
    steps = blocks(text)
    script = (
        "set -m\ntrap 'kill -9 $(jobs -p) 2> /dev/null || true' EXIT\n"
        + "\n".join(f"echo '@@@{i}'\n{commands}" for i, (commands, _) in enumerate(steps))
        + "\necho '@@@done'\n"
    )

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env={**os.environ, "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    seen = re.split(r"^@@@(?:\d+|done)\n", done.stdout, flags=re.MULTILINE)[1:]
    assert done.returncode == 0, f"block {len(seen) - 1} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    for (commands, expected), printed in zip(steps, seen, strict=False):
        lines = printed.splitlines()
        for wanted in expected.splitlines():
            matcher = pattern(wanted)
            assert any(matcher.fullmatch(line) for line in lines), f"{commands}\nshould print: {wanted}\nprinted:\n{printed}"
