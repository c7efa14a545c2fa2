"""`make stack`: the topology of the compose file as plain processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.support.reference import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.postgres]

UP_S = 180.0
END_S = 90.0
FORM = (
    '{"form_id": "F-1", "email": "ada@example.org", "name": "Ada", "company": "Blue Lake Mills", '
    '"country": "SE"}'
)


class Stack:
    """A stack that runs, and the command line beside it."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output
        self._environment: dict[str, str] = {}

    def said(self) -> str:
        return self._output.read_text("utf-8", "replace")

    def wait_for(self, what: str, limit_s: float, seen: Callable[[str], bool]) -> None:
        give_up = time.monotonic() + limit_s
        while not seen(self.said()):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < give_up, f"no {what} within {limit_s:g} s:\n{self.said()}"
            time.sleep(0.1)

    def wait_up(self) -> None:
        self.wait_for("keepers", UP_S, lambda said: len(re.findall("Ready: holds", said)) == 2)
        exports = re.findall(r"^export (\w+)='(.+)'$", self.said(), re.MULTILINE)
        self._environment = os.environ | dict(exports)

    def meshline(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "meshline.cli.main", *arguments],
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout

    def process_ids(self, word: str) -> list[int]:
        """The children of the stack with this word in their command lines."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if parent == self.process.pid and word in words:
                found.append(int(folder.name))
        return found


@contextmanager
def started(home: Path, output: Path) -> Iterator[Stack]:
    command = [sys.executable, "deploy/stack.py", "--home", str(home), "--port", "0"]
    with output.open("wb") as file:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=file, stderr=file)
    try:
        yield Stack(process, output)
    finally:
        # Its parts end with it, but the database only if it is told so.
        process.terminate()
        try:
            process.wait(END_S)
        finally:
            process.kill()
            process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="it looks for the parts in /proc")
def test_it_comes_up_runs_a_workflow_survives_a_kill_and_ends_in_order(tmp_path: Path) -> None:
    with started(tmp_path / "stack", tmp_path / "output.log") as stack:
        stack.wait_up()

        stack.meshline("publish", "web.forms", FORM, "--id", "F-1")
        stack.meshline("run", "watch", "web.forms/F-1", "--timeout", "30s")
        shown = stack.meshline("run", "show", "web.forms/F-1", "--output", "json")
        assert '"succeeded"' in shown

        [projector] = stack.process_ids("projector")
        victim, _ = stack.process_ids("worker")
        os.kill(victim, signal.SIGKILL)
        stack.wait_for("restart", UP_S, lambda said: said.count("Ready: holds") >= 3)
        assert len(stack.process_ids("worker")) == 2
        stack.meshline("publish", "web.forms", FORM.replace("F-1", "F-2"), "--id", "F-2")
        stack.meshline("run", "watch", "web.forms/F-2", "--timeout", "30s")

        stack.process.send_signal(signal.SIGINT)
        assert stack.process.wait(END_S) == 0, stack.said()
        assert "Traceback" not in stack.said()
        assert not Path(f"/proc/{projector}").exists()
