"""What the command line says to somebody who types: help that is whole, errors that say what to do next."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from skerry.cli import main
from skerry.cli.asking import words
from skerry.node.agent import serve
from skerry.node.identity import IdentityError, StateFolder

PROFILE = Path(__file__).resolve().parents[3] / "demo" / "profiles" / "flow-meter.yaml"


def commands(group: click.Group, path: str = "skerry") -> Iterator[tuple[str, click.Command]]:
    """Yield every command with the words that name it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


ALL = dict(commands(main))


@pytest.mark.parametrize("name", ALL)
def test_a_list_of_commands_shows_each_line_whole(name: str) -> None:
    line = ALL[name].get_short_help_str(62)

    assert line
    assert not line.endswith("...")


@pytest.mark.parametrize("name", [n for n, c in ALL.items() if not isinstance(c, click.Group)])
def test_each_command_shows_what_to_type(name: str) -> None:
    done = CliRunner().invoke(main, [*name.split()[1:], "--help"])

    assert done.exit_code == 0
    assert "Try it:" in done.output


@pytest.mark.parametrize(("typed", "meant"), [("nod", "node"), ("hub tokn", "token"), ("events tial", "tail")])
def test_a_mistyped_command_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    done = CliRunner().invoke(main, typed.split())

    assert done.exit_code == 2
    assert f"Did you mean '{meant}'?" in done.output


@pytest.mark.parametrize(
    ("typed", "package", "extra"),
    [
        (["sim", str(PROFILE)], "yaml", "hub"),
        (["sim", str(PROFILE)], "pymodbus.server", "modbus"),
        (["hub", "run", "--data", "nowhere"], "aiohttp", "hub"),
    ],
)
def test_a_command_whose_packages_are_missing_names_the_extra(typed: list[str], package: str, extra: str) -> None:
    missing = f"import sys; sys.modules[{package!r}] = None; from skerry.cli import main; main({typed!r})"

    done = subprocess.run([sys.executable, "-c", missing], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert done.stderr == f"Error: {package} is not installed here: it comes with skerry[{extra}]\n"


def test_a_reset_removes_nothing_from_a_folder_that_is_no_nodes(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    done = CliRunner().invoke(main, ["node", "reset", "--state", str(tmp_path), "--yes"])

    assert done.exit_code == 1
    assert f"{tmp_path} is not the state of a node" in done.output
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


async def test_running_a_node_that_has_not_joined_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="join first, with `skerry node join`"):
        await serve(StateFolder(tmp_path / "none"))

    assert not (tmp_path / "none").exists()


def test_an_address_that_is_taken_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        done = CliRunner().invoke(main, ["sim", str(PROFILE), "--listen", place])

    assert done.exit_code == 1
    assert f"cannot listen on {place}" in done.output
    assert "end what listens there" in done.output


def test_a_kubeconfig_that_is_missing_is_named_without_numbers(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["hub", "login", "--kubeconfig", str(tmp_path / "none")])

    assert done.exit_code == 1
    assert done.output.startswith(f"Error: {tmp_path / 'none'}: no such file or directory; name the hub's admin.kubeconfig")


def test_an_error_without_a_file_keeps_its_own_words() -> None:
    assert words(OSError(errno.EACCES, "cannot listen on :6443: Permission denied")) == "cannot listen on :6443: Permission denied"
