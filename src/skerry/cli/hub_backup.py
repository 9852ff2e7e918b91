"""`skerry hub backup` and `skerry hub restore`: on the hub's own machine, with its folder."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skerry.cli.asking import OUTPUT, print_json

if TYPE_CHECKING:
    from skerry.hub.backup import Manifest

T = TypeVar("T")
FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
DATA = click.option("--data", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of everything the hub keeps.")
KEY_FILE = click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The backup key; keep it apart from the hub and from the backups.",
)


class _Backup(click.Group):
    """`skerry hub backup FILE` makes one; `skerry hub backup inspect FILE` reads one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["create", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Backup, short_help="Back up a hub, also while it runs.")
def backup() -> None:
    """Make a backup of a hub, also while it runs: skerry hub backup FILE; or look into one."""


@backup.command("create")
@FILE
@DATA
@KEY_FILE
@click.option("--events/--no-events", default=True, show_default=True, help="Whether the log of events is in it.")
@OUTPUT
def create(file: Path, data: Path, key_file: Path, events: bool, output: str) -> None:
    """Write a backup of the hub in --data to FILE, and read it back.

    It holds every object, the hub's keys and certificates and the log of events, sealed under the key in --key-file. A key file that is
    missing is made, and said: without it the backup cannot be opened by anybody.

    \b
    Try it:
      skerry hub backup /mnt/backup/hub-monday --data /var/lib/skerry-hub --key-file /root/hub-backup.key
    """
    from skerry.hub.backup import BackupError, back_up, make_key_file, read_key_file
    from skerry.trust.files import leave_no_core

    leave_no_core()

    if key_file.absolute().is_relative_to(data.absolute()):
        raise click.UsageError(f"--key-file {key_file} lies in the hub's own folder: keep it apart, so that it is not lost with the hub")
    if key_file.exists():
        key = _try(read_key_file, key_file)
    else:
        key = _try(make_key_file, key_file)
        click.echo(f"made a new backup key, {key_file}: keep a copy of it away from this machine, no backup opens without it", err=True)
    try:
        made = back_up(data.absolute(), file.absolute(), key, now=datetime.now(UTC), say=_say, events=events)
    except BackupError as error:
        raise click.ClickException(str(error)) from error
    _tell(made, output, f"{file}: {file.stat().st_size} bytes, verified")


@backup.command("inspect", short_help="Verify a backup, and say what is in it.")
@FILE
@KEY_FILE
@OUTPUT
def inspect_(file: Path, key_file: Path, output: str) -> None:
    """Read the whole of FILE, compare every digest, and say what is in it; writes nothing.

    \b
    Try it:
      skerry hub backup inspect /mnt/backup/hub-monday --key-file /root/hub-backup.key
    """
    from skerry.hub.backup import inspect, read_key_file

    key = _try(read_key_file, key_file)
    _tell(_try(lambda path: inspect(path, key), file), output, f"{file}: whole")


@click.command()
@FILE
@DATA
@KEY_FILE
@OUTPUT
def restore(file: Path, data: Path, key_file: Path, output: str) -> None:
    """Put the backup FILE into the empty folder --data.

    Everything is verified before the folder gets its name. The restored hub begins a new epoch, above every revision that was ever given
    out: clients list again, and nodes that have seen later times keep what they run until a person accepts the epoch.

    \b
    Try it:
      skerry hub restore /mnt/backup/hub-monday --data /var/lib/skerry-hub --key-file /root/hub-backup.key
    """
    from skerry.hub.backup import BackupError, read_key_file
    from skerry.hub.backup import restore as put_back
    from skerry.trust.files import leave_no_core

    leave_no_core()

    key = _try(read_key_file, key_file)
    try:
        manifest, epoch = put_back(file, data.absolute(), key, now=datetime.now(UTC), say=_say)
    except BackupError as error:
        raise click.ClickException(str(error)) from error
    _say(f"what was denied, revoked or deleted after {manifest.made} is let in again: look at kubectl get enrollments")
    _tell(manifest, output, f"{data}: restored, in the new epoch {epoch}", epoch=epoch)


def _try(work: Callable[[Path], T], path: Path) -> T:
    from skerry.hub.backup import BackupError

    try:
        return work(path)
    except BackupError as error:
        raise click.ClickException(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error


def _say(text: str) -> None:
    click.echo(text, err=True)


def _tell(manifest: Manifest, output: str, line: str, **more: Any) -> None:
    import msgspec

    if output == "json":
        print_json({**msgspec.to_builtins(manifest), **more})
        return
    click.echo(line)
    click.echo(f"made {manifest.made} by skerry {manifest.skerry}, of the store {manifest.identity} at revision {manifest.revision}")
    click.echo(f"{sum(manifest.objects.values())} objects of {len(manifest.objects)} resources, {len(manifest.files)} files")
    if manifest.audit:
        click.echo(f"the last line of its audit log was {manifest.audit}")
