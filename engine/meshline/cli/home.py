"""The folder of an embedded Meshline: one process at a time works in it, and it can be emptied."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meshline.cli.errors import HomeInUse
from meshline.cli.place import Runtime

__all__ = ["alone", "emptied"]


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Hold the folder: two apps in one would take each other's runs for theirs.

    Raises:
        HomeInUse: another process holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    lock = os.open(home / "dev.lock", os.O_RDWR | os.O_CREAT, 0o600)
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


def emptied(data: Path) -> None:
    """Remove an embedded PostgreSQL that nobody uses.

    Raises:
        HomeInUse: another process uses it.
    """
    if not data.exists():
        data.unlink(missing_ok=True)  # a link to a place that is gone
        return
    users = os.open(data / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    server = os.open(data / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for lock in (users, server):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        place = data.resolve()
        shutil.rmtree(place)
        if data.is_symlink():
            data.unlink()
    except BlockingIOError:
        raise HomeInUse(
            f"Another process reads {str(data)!r}: expected nobody there, because it is made anew. "
            "Let that command end (`meshline run watch`, `log tail -f` …), then try again."
        ) from None
    finally:
        os.close(users)
        os.close(server)
