"""The command line. Each group lives in a module of its own and is imported only when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

import click

from skerry import __version__

# command -> module.attribute, and the line that `skerry --help` shows (so that help imports nothing heavy)
COMMANDS = {
    "hub": ("skerry.cli.hub:hub", "Run the hub; make tokens for nodes; sign in to the console."),
    "node": ("skerry.cli.node:node", "Join a node to a hub, and run it."),
    "events": ("skerry.cli.events:events", "Read the events that reached the hub."),
    "sim": ("skerry.cli.sim:sim", "Serve a DeviceProfile as a device that really speaks its protocol."),
}
# what a command may import that `pip install skerry` alone does not bring, and the extra that does
EXTRAS = {"aiohttp": "hub", "cryptography": "hub", "structlog": "hub", "uvloop": "hub", "yaml": "hub", "pymodbus": "modbus"}


class _Lazy(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; one whose packages are not installed says which extra has them."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            extra = EXTRAS.get(str(error.name).partition(".")[0])
            if extra is None:
                raise
            raise click.ClickException(f"{error.name} is not installed here: it comes with skerry[{extra}]") from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


_NAMES = {name: click.Command(name) for name in COMMANDS}  # what a mistyped command is compared with


@click.group(cls=_Lazy, commands=_NAMES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="skerry")
def main() -> None:
    """Computers and devices at the edge, managed through the Kubernetes API.

    A hub serves the API; nodes join it with one outgoing connection and keep working when it is gone.
    Use kubectl for everything else: `kubectl get nodes,devices,pods -A`.

    Try it:  make demo
    """
