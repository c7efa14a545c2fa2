"""Where the log and the views are: what was typed, the environment, or what a folder remembers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from meshline.cli.embedded import EmbeddedPostgres
from meshline.cli.errors import CommandRefused, NoLogHere

__all__ = ["EMBEDDED", "HOME", "Place", "Runtime", "find_place", "shown"]

HOME = Path(".meshline")
"""The folder that remembers, and that holds the embedded PostgreSQL."""

DEMO = "demo"
EMBEDDED = "embedded"
"""The address of the log and of the views in the folder's own PostgreSQL."""

_RUNTIME = "runtime.json"
_POSTGRES = "postgres"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What ``meshline dev`` leaves in its folder for the other commands."""

    log: str
    views: str
    app: str | None = None
    process_id: int | None = None

    @staticmethod
    def read(home: Path) -> Runtime | None:
        try:
            content = orjson.loads((home / _RUNTIME).read_bytes())
            return Runtime(
                content["log"], content["views"], content.get("app"), content.get("process_id")
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CommandRefused(
                f"Cannot read {str(home / _RUNTIME)!r}: {error}. Expected what `meshline dev` "
                "wrote there. Remove the file, and start `meshline dev` again."
            ) from error

    def write(self, home: Path) -> None:
        """Whole or not at all, and for this user only: addresses may hold passwords."""
        home.mkdir(parents=True, exist_ok=True)
        new = home / f"{_RUNTIME}.{os.getpid()}"
        content = {
            "log": self.log, "views": self.views, "app": self.app, "process_id": self.process_id,
        }  # fmt: skip
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
        new.replace(home / _RUNTIME)


class Place:
    """The addresses that a command works with.

    ``log`` and ``views`` start or join the folder's PostgreSQL if that is where they are; it is
    left with ``close``. ``origin`` says who named the log, for people.
    """

    def __init__(self, home: Path, log: str | None, views: str | None, origin: str) -> None:
        self.home = home
        self.origin = origin
        self.named_log = log
        self.named_views = views
        self._postgres: EmbeddedPostgres | None = None

    @property
    def log(self) -> str:
        """The log's address.

        Raises:
            NoLogHere: nobody says where it is.
            EmbeddedUnavailable: it is in the folder's PostgreSQL, which can't be started.
        """
        if self.named_log is None:
            raise NoLogHere(
                f"There is no log here: expected --log, MESHLINE_LOG, or a folder {str(self.home)} "
                "that `meshline dev` made. Start one with `meshline dev APP`, or say where it is."
            )
        return self._address(self.named_log)

    @property
    def views(self) -> str:
        """The views' address; where only the log is named and that is PostgreSQL, the same."""
        if self.named_views is not None:
            return self._address(self.named_views)
        if self.named_log is not None and is_postgres(self.named_log):
            return self.log
        raise NoLogHere(
            "There are no views here: expected --views, MESHLINE_VIEWS, or a folder "
            f"{str(self.home)} that `meshline dev` made. Say where `meshline projector` keeps them."
        )

    @property
    def is_embedded(self) -> bool:
        return EMBEDDED in (self.named_log, self.named_views)

    @property
    def data(self) -> Path:
        """Where the folder's PostgreSQL is."""
        return self.home / _POSTGRES

    def _address(self, named: str) -> str:
        if named != EMBEDDED:
            return named
        if self._postgres is None:
            postgres = EmbeddedPostgres(self.data)
            postgres.start()
            self._postgres = postgres
        return self._postgres.dsn

    def close(self) -> None:
        if self._postgres is not None:
            self._postgres.close()
            self._postgres = None


def find_place(
    *,
    log: str | None = None,
    views: str | None = None,
    home: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Place:
    """Return the addresses: what was typed before the environment before what the folder says.

    Args:
        home: the folder; by default ``MESHLINE_HOME``, or ``.meshline`` here, or the demo's in it.
    """
    environment = os.environ if environment is None else environment
    if home is None:
        home = Path(environment.get("MESHLINE_HOME") or HOME)
        if not _is_used(home) and _is_used(home / DEMO):
            home = home / DEMO
    runtime = Runtime.read(home)
    candidates: dict[str, Any] = {
        "--log": log,
        "MESHLINE_LOG": environment.get("MESHLINE_LOG") or None,
        str(home / _RUNTIME): runtime and runtime.log,
        str(home / _POSTGRES): EMBEDDED if (home / _POSTGRES).exists() else None,
    }
    origin = next((name for name, address in candidates.items() if address), "nowhere")
    named_log = candidates.get(origin)
    named_views = views or environment.get("MESHLINE_VIEWS") or None
    # What the folder remembers of views belongs to the log that it remembers, and to no other.
    if named_views is None and runtime is not None and named_log == runtime.log:
        named_views = runtime.views
    return Place(home, named_log, named_views, origin)


def _is_used(home: Path) -> bool:
    return (home / _RUNTIME).exists() or (home / _POSTGRES).exists()


def is_postgres(address: str) -> bool:
    return address == EMBEDDED or urlsplit(address).scheme in ("postgresql", "postgres")


def shown(address: str) -> str:
    """Return the address without its password, for people."""
    parts = urlsplit(address)
    if parts.password is None:
        return address
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username}:***@{host}").geturl()
