"""What help texts and pages tell people to type is understood: every command and option of it exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from skerry.cli import main
from tests.unit.cli.test_words import ALL

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?:sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(skerry .+?)(?: (?:\||&|\d?>).*)?$", re.MULTILINE)
IN_TEXT = re.compile(r"`(skerry [a-z][^`]*)`")


def told() -> Iterator[tuple[str, str]]:
    """Yield where a command line stands, and the line."""
    for name, command in ALL.items():
        yield from ((f"{name} --help", line) for line in TYPED.findall(command.help or ""))
    for page in PAGES:
        text = page.read_text()
        for block in BLOCK.findall(text):
            yield from ((page.name, line) for line in TYPED.findall(block.replace("\\\n", " ")))
        yield from ((page.name, line) for line in IN_TEXT.findall(text))


def understood(line: str) -> None:
    """Parse a line as the command would; raises UsageError. That a file or a required option is not there is not looked at."""
    command: click.Command = main
    words = shlex.split(re.sub(r"\$\([^)]*\)", "X", line))[1:]
    while isinstance(command, click.Group) and words and (found := command.get_command(click.Context(command), words[0])):
        command, words = found, words[1:]
    assert words == [] or not isinstance(command, click.Group) or command.name == "backup", f"there is no command {words[0]!r}"
    try:
        command.make_context(command.name, words)
    except (click.exceptions.NoArgsIsHelpError, click.MissingParameter):
        return
    except click.UsageError as error:
        if not error.message.endswith(("does not exist.", "requires an argument.")):
            raise


@pytest.mark.parametrize(("where", "line"), sorted(set(told())))
def test_a_command_that_people_are_told_to_type_is_understood(where: str, line: str) -> None:
    understood(line)


def test_there_are_such_lines() -> None:
    assert len(set(told())) > 40
