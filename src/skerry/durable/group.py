"""One group of writes, one transaction, one fsync: the rules of what is kept when something goes wrong.

An item that raises takes back only what it did itself. When the transaction as a whole is lost, every item of the group
fails with the same error. `run_group` returns only after COMMIT, so an item without an error is on the disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import apsw
import msgspec

from skerry.durable import failpoints

T = TypeVar("T")
Work = Callable[[apsw.Connection], T]


class Result(msgspec.Struct, Generic[T], frozen=True):
    """What became of one write: `value` when it is on the disk, or `error` when it is not."""

    value: T | None = None
    error: Exception | None = None

    def get(self) -> T:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # without an error, it is the work's own value


class GroupLostError(Exception):
    """The transaction was not committed; `cause` says why. None of the group's items were kept."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def run_group(db: apsw.Connection, works: Sequence[Work[Any]]) -> list[Result[Any]]:
    """Run *works* in one transaction and commit it; a result each, in order, or GroupLostError."""
    try:
        db.execute("BEGIN IMMEDIATE")
        # A lone item needs no savepoint: rolling the whole back is the same.
        results = [_alone(db, works[0])] if len(works) == 1 else [_beside_others(db, work) for work in works]
        failpoints.reach("durable.before_commit")
        if db.in_transaction:
            db.execute("COMMIT")
        failpoints.reach("durable.after_commit")
    except apsw.Error as error:
        _roll_back(db)
        raise GroupLostError(error) from error
    return results


def _alone(db: apsw.Connection, work: Work[T]) -> Result[T]:
    try:
        value = work(db)
    except Exception as error:
        if _is_fatal(error):
            raise
        _roll_back(db)
        return Result(error=error)
    _require_transaction(db)
    return Result(value)


def _beside_others(db: apsw.Connection, work: Work[T]) -> Result[T]:
    db.execute("SAVEPOINT item")
    try:
        value = work(db)
    except Exception as error:
        if _is_fatal(error):
            raise
        _require_transaction(db)
        db.execute("ROLLBACK TO item; RELEASE item")
        return Result(error=error)
    _require_transaction(db)
    db.execute("RELEASE item")
    return Result(value)


def _is_fatal(error: Exception) -> bool:
    """Say whether *error* is about the file and not about what the item wanted."""
    return isinstance(error, FATAL_ERRORS)


def _require_transaction(db: apsw.Connection) -> None:
    """Some errors of SQLite, and a work that commits by itself, end the transaction under the other items."""
    if not db.in_transaction:
        raise apsw.AbortError("a write ended the transaction that it shares with others")


def _roll_back(db: apsw.Connection) -> None:
    """Leave the transaction; one that cannot be left makes the next BEGIN fail, which latches."""
    with contextlib.suppress(apsw.Error):
        if db.in_transaction:
            db.execute("ROLLBACK")


# After these the connection's idea of the file and the disk's may differ; FullError is the one that leaves them equal.
LATCHING_ERRORS = (
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.ProtocolError,
    apsw.InternalError,
    apsw.NoMemError,
    apsw.PermissionsError,
)
FATAL_ERRORS = (*LATCHING_ERRORS, apsw.FullError)
