"""The folder of an embedded Meshline: one process at a time works in it, and it can be emptied."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meshline.cli.errors import CommandRefused, HomeInUse
from meshline.cli.place import Runtime

__all__ = ["alone", "emptied"]


_LOCKS = ("users.lock", "server.lock")
"""Of the embedded PostgreSQL: who uses it, and the server itself."""


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Hold the folder: two apps in one would take each other's runs for theirs.

    Raises:
        HomeInUse: another process holds it.
        CommandRefused: nobody can write there.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(home / "dev.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CommandRefused(
            f"Cannot keep anything in {str(home)!r}: {error.strerror}. Expected a folder that you "
            "may write to. Go to another one, or name it with --home."
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            runtime = Runtime.read(home)
            raise HomeInUse(
                f"Another `meshline dev` or `demo` works in {str(home)!r} (process "
                f"{runtime.process_id if runtime else 'unknown'}): expected a folder for each. "
                "Stop that one, or give this one another with --home."
            ) from None
        yield
    finally:
        os.close(lock)


@contextmanager
def emptied(data: Path) -> Iterator[None]:
    """Put an embedded PostgreSQL that nobody uses out of the way, and remove it meanwhile.

    Raises:
        HomeInUse: another process uses it.
    """
    old = _put_away(data)
    removing = threading.Thread(target=shutil.rmtree, args=(old, True)) if old else None
    if removing is not None:
        removing.start()
    try:
        yield
    finally:
        if removing is not None:
            removing.join()


def _put_away(data: Path) -> Path | None:
    place = data.resolve()
    if not place.exists():
        data.unlink(missing_ok=True)  # a link to a place that is gone
        return None
    locks = [os.open(place / name, os.O_RDWR | os.O_CREAT, 0o600) for name in _LOCKS]
    try:
        for lock in locks:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        old = place.with_name(f"{place.name}.old-{os.getpid()}")
        place.rename(old)
        if data.is_symlink():
            data.unlink()
        return old
    except BlockingIOError:
        raise HomeInUse(
            f"Another process reads {str(data)!r}: expected nobody there, because it is made anew. "
            "Let that command end (`meshline run watch`, `log tail -f` …), then try again."
        ) from None
    finally:
        for lock in locks:
            os.close(lock)
