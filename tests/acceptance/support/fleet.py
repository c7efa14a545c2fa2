"""Processes that a test starts, kills, stops and starts again; each writes to a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.kafka.broker import bound_to_this_process

from tests.acceptance.support.reference import REPOSITORY

__all__ = ["Fleet", "Member"]

END_S = 60.0
READY_S = 120.0


class Member:
    """One process, and those that were started in its place."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self.command = command
        self.output = folder / f"{name}.log"
        self.environment: dict[str, str] = {}
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert not self.is_running, f"{self.name} runs already"
        self.starts += 1
        with self.output.open("ab") as output:
            output.write(b"--- start %d\n" % self.starts)
            output.flush()
            self._process = subprocess.Popen(
                [*bound_to_this_process(), *self.command],
                cwd=REPOSITORY,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None, f"{self.name} was never started"
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def end(self) -> int:
        """SIGTERM; return the exit code. Fails if it takes too long."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(END_S)

    def said(self) -> str:
        return self.output.read_text("utf-8", "replace")

    def wait_ready(self) -> None:
        """Wait until it is up, for the present start."""
        give_up = time.monotonic() + READY_S
        while "ready\n" not in self._said_since_start():
            if not self.is_running or time.monotonic() > give_up:
                raise AssertionError(f"{self.name} did not come up:\n{self.said()[-3000:]}")
            time.sleep(0.02)

    def _said_since_start(self) -> str:
        return self.said().rpartition(f"--- start {self.starts}\n")[2]


class Fleet:
    """All processes of one test; whatever still runs at the end is killed, each by its id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.members: dict[str, Member] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for member in self.members.values():
            member.kill()

    def add(self, name: str, module: str, *arguments: str) -> Member:
        """A process of a module beside this one; not yet started."""
        return self.add_module(name, f"tests.acceptance.support.{module}", *arguments)

    def add_module(self, name: str, module: str, *arguments: str) -> Member:
        """A process of any module; not yet started."""
        command = [sys.executable, "-m", module, *arguments]
        member = self.members[name] = Member(name, command, self._folder)
        return member

    def command(self, name: str, *arguments: str) -> Member:
        """A process of the command line: ``meshline`` with these arguments; not yet started."""
        command = [sys.executable, "-m", "meshline.cli.main", *arguments]
        member = self.members[name] = Member(name, command, self._folder)
        return member

    def worker(self, name: str, log: str, app: Path | str, *more: str) -> Member:
        return self.add(
            name, "worker_process", "--log", log, "--app", str(app), "--name", name, *more
        )

    def projector(self, name: str, log: str, views: str) -> Member:
        return self.add(name, "projector_process", "--log", log, "--views", views)
