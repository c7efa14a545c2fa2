"""The real commands, as a person types them, in a folder of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

__all__ = ["Dev", "Folder", "eventually"]

MESHLINE = Path(sys.executable).with_name("meshline")
READY_S = 120.0
ENDED_S = 60.0


def eventually(holds: Callable[[], Any], *, within_s: float = 30.0) -> Any:
    """Return what ``holds`` gives as soon as it is true."""
    give_up = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < give_up, f"not within {within_s} s"
        time.sleep(0.1)
    return found


@dataclass
class Dev:
    """A running ``meshline dev``; what it says goes to a file."""

    process: subprocess.Popen[bytes]
    words: Path

    def said(self) -> str:
        return self.words.read_text("utf-8")

    def wait_for(self, text: str, *, within_s: float = READY_S) -> None:
        def holds() -> bool:
            assert self.process.poll() is None, self.said()
            return text in self.said()

        eventually(holds, within_s=within_s)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(ENDED_S)


@dataclass
class Folder:
    """An empty folder with an environment that names no address."""

    path: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MESHLINE_")}
        return kept | self.variables

    def run(
        self, *words: str, code: int = 0, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Type a command and see that it ends as it should."""
        done = subprocess.run(
            [MESHLINE, *words],
            cwd=self.path,
            env=self.environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
        return done

    def data(self, *words: str, code: int = 0) -> Any:
        """Type a command and return its data."""
        return orjson.loads(self.run(*words, "--output", "json", code=code).stdout)

    @contextmanager
    def dev(self, app: str, *words: str) -> Iterator[Dev]:
        """Run ``meshline dev`` until it is ready; it is killed at the end if it still runs."""
        log = self.path / "dev.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [MESHLINE, "dev", app, *words],
                cwd=self.path,
                env=self.environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        dev = Dev(process, log)
        try:
            dev.wait_for("Ready in")
            yield dev
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
