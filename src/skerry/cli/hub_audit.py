"""`skerry hub audit`: is the audit log whole? And the key that signs tokens, whose change belongs to the same drawer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from skerry.cli.asking import OUTPUT, print_json, words

DATA = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False, exists=True), required=True, help="Folder of everything the hub keeps."
)


@click.group()
def audit() -> None:
    """The audit log: who did what."""


@audit.command(short_help="Check that the log is whole.")
@DATA
@click.option("--expect", default="", metavar="NUMBER:HASH", help="A line that was noted elsewhere, and must still be there.")
@OUTPUT
def verify(data: Path, expect: str, output: str) -> None:
    """Check that no line was changed, cut off, moved or removed; exits with 1 when one was.

    The hub may run meanwhile. Who can write the folder can also write a whole new log: note NUMBER:HASH elsewhere now and
    then (it is what this command prints, and skerry hub backup inspect), and give it with --expect.

    \b
    Try it:
      skerry hub audit verify --data /var/lib/skerry-hub
    """
    from skerry.apiserver.access.audit import verify as check

    number, colon, digest = expect.partition(":")
    if expect and not (colon and number.isascii() and number.isdigit() and digest):
        raise click.UsageError(f"--expect {expect!r} is not NUMBER:HASH")
    found = check(data / "audit", expect=(int(number), digest) if expect else None)
    if output == "json":
        told = {"whole": found.whole, "files": found.files, "lines": found.lines, "first": found.first, "last": found.last}
        print_json({**told, "hash": found.hash, "problems": found.problems})
    elif found.whole:
        click.echo(f"whole: {found.lines} lines in {found.files} files, {found.first} to {found.last}; last {found.last}:{found.hash}")
    else:
        for problem in found.problems:
            click.echo(problem)
    if not found.whole:
        raise SystemExit(1)


@click.command("rotate-token-key", short_help="Sign ServiceAccount tokens with a new key.")
@DATA
@click.option("--forget-old", is_flag=True, help="Refuse every token that is out: when an old key may be in somebody's hands.")
@OUTPUT
def rotate_token_key(data: Path, forget_old: bool, output: str) -> None:
    """Let a new key sign the tokens of ServiceAccounts; tokens that are out stay good until they end.

    A running hub takes the new key within seconds. With --forget-old Pods get new tokens when their nodes renew them, within an hour or
    when they start anew, and Secrets of type kubernetes.io/service-account-token have to be made anew.

    \b
    Try it:
      skerry hub rotate-token-key --data /var/lib/skerry-hub
    """
    from skerry.trust import token_keys

    try:
        kid = token_keys.rotate(data / "pki" / token_keys.FILE, datetime.now(UTC), forget=forget_old)
    except (OSError, ValueError) as error:
        raise click.ClickException(words(error)) from error
    if output == "json":
        print_json({"kid": kid})
    else:
        click.echo(f"key {kid} signs from now on")
