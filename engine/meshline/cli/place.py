"""Where the log and the views are: what was typed, the environment, or what a folder remembers."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import orjson

from meshline.cli.embedded import EmbeddedPostgres
from meshline.cli.errors import CommandRefused, NoLogHere

__all__ = [
    "DEMO",
    "EMBEDDED",
    "HOME",
    "Given",
    "Place",
    "Runtime",
    "find_place",
    "is_postgres",
    "shown",
]

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
    def of(place: Place, app: str) -> Runtime:
        """What a process that works with these addresses leaves."""
        assert place.named_log is not None and place.named_views is not None
        return Runtime(place.named_log, place.named_views, app, os.getpid())

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
        new.touch(mode=0o600)
        new.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
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
        self._starting: threading.Thread | None = None
        self._failure: BaseException | None = None

    def begin(self) -> None:
        """Start the folder's PostgreSQL, if it is needed, while the caller does something else."""
        if self.is_embedded and self._starting is None:
            self._starting = threading.Thread(target=self._start)
            self._starting.start()

    @property
    def log(self) -> str:
        """The log's address.

        Raises:
            NoLogHere: nobody says where it is.
            EmbeddedUnavailable: it is in the folder's PostgreSQL, which can't be started.
        """
        if self.named_log is None:
            raise NoLogHere(
                f"There is no log here: expected --log, MESHLINE_LOG, or a folder {self.home!s} "
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
            f"{self.home!s} that `meshline dev` made. Say where `meshline projector` keeps them."
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
        self.begin()
        assert self._starting is not None
        self._starting.join()
        if self._failure is not None:
            raise self._failure
        assert self._postgres is not None
        return self._postgres.dsn

    def _start(self) -> None:
        postgres = EmbeddedPostgres(self.data)
        try:
            postgres.start()
        except BaseException as error:
            self._failure = error
        else:
            self._postgres = postgres

    def close(self) -> None:
        if self._starting is not None:
            self._starting.join()
        if self._postgres is not None:
            self._postgres.close()
            self._postgres = None


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line says, or else the environment; None where neither does."""

    log: str | None = None
    views: str | None = None
    home: Path | None = None
    log_origin: str = ""
    server: str | None = None
    key: str | None = None

    @staticmethod
    def read(
        log: str | None,
        views: str | None,
        home: Path | None,
        environment: Mapping[str, str],
        server: str | None = None,
    ) -> Given:
        """``server`` counts before all else; one in the environment, where no log is typed."""
        if server is None and log is None and views is None:
            server = environment.get("MESHLINE_SERVER") or None
        home_named = environment.get("MESHLINE_HOME")
        return Given(
            log=log or environment.get("MESHLINE_LOG") or None,
            views=views or environment.get("MESHLINE_VIEWS") or None,
            home=home or (Path(home_named) if home_named else None),
            log_origin="--log" if log else "MESHLINE_LOG",
            server=server,
            key=_key_in(environment) if server else None,
        )


def _key_in(environment: Mapping[str, str]) -> str | None:
    """Return the key for a server: of the environment, or of the file that it names."""
    path = environment.get("MESHLINE_KEY_FILE")
    if environment.get("MESHLINE_KEY") or not path:
        return environment.get("MESHLINE_KEY") or None
    try:
        return Path(path).read_text("utf-8").strip() or None
    except (OSError, UnicodeError) as error:
        raise CommandRefused(
            f"Cannot read the key in {path!r}: {error}. Expected a file with the key alone. "
            "Correct MESHLINE_KEY_FILE."
        ) from error


def find_place(given: Given) -> Place:
    """Return the addresses: what was given, and for the rest what the folder remembers.

    Where no folder is named, it is ``.meshline`` here, or the demo's if there is only that.
    """
    home = given.home or HOME
    if given.home is None and not is_used(HOME) and is_used(HOME / DEMO):
        home = HOME / DEMO
    runtime = Runtime.read(home)
    candidates = {
        given.log_origin: given.log,
        str(home / _RUNTIME): None if runtime is None else runtime.log,
        str(home / _POSTGRES): EMBEDDED if (home / _POSTGRES).exists() else None,
    }
    origin, log = next(((o, a) for o, a in candidates.items() if a), ("nowhere", None))
    views = given.views
    # What the folder remembers of views belongs to the log that it remembers, and to no other.
    if views is None and runtime is not None and log == runtime.log:
        views = runtime.views
    return Place(home, log, views, origin)


def is_used(home: Path) -> bool:
    return (home / _RUNTIME).exists() or (home / _POSTGRES).exists()


def is_postgres(address: str) -> bool:
    return address == EMBEDDED or urlsplit(address).scheme in ("postgresql", "postgres")


def shown(address: str) -> str:
    """Return the address for people: without its password, and without escapes."""
    parts = urlsplit(address)
    if parts.password is not None:
        host = parts.netloc.rpartition("@")[2]
        parts = parts._replace(netloc=f"{parts.username}:***@{host}")
    return unquote(parts.geturl())
