"""The topology of compose.yaml as plain processes: Kafka, PostgreSQL, two workers, a projector.

``make stack`` runs it in the foreground until Ctrl-C. What dies is started again, as Compose would.
Log and views are kept in a folder, so that all runs go on at the next start.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from deploy.kafka.broker import (  # noqa: E402  found by the line above
    BrokerUnavailable,
    KafkaBroker,
    bound_to_this_process,
    free_port,
    missing_tools,
)

from meshline.cli.embedded import EmbeddedPostgres, EmbeddedUnavailable  # noqa: E402

END_S = 15.0
RESTART_S = 1.0
POLL_S = 0.2


class Part:
    """One process of the topology; what it says appears with its name before each line."""

    def __init__(self, name: str, arguments: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self._command = [
            *bound_to_this_process(),
            *(sys.executable, "-m", "meshline.cli.main"),
            *arguments,
        ]
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        # In a session of its own: Ctrl-C is for the stack, which then stops its parts in order.
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=self._show, args=(self._process,), daemon=True).start()

    def _show(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            say(f"{self.name:<10} {line.rstrip()}")

    @property
    def process_id(self) -> int:
        return 0 if self._process is None else self._process.pid

    @property
    def exit_code(self) -> int | None:
        assert self._process is not None, "start() first"
        return self._process.poll()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def wait(self, deadline: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run(app: str, home: Path, port: int) -> None:
    """Start everything, keep it up, and stop it in order at SIGTERM or Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # By port: the broker's data knows its port.
    broker = KafkaBroker(home / f"kafka-{port}", port=port)
    postgres = EmbeddedPostgres(home / "postgres")
    parts: list[Part] = []
    try:
        say("Starting Kafka and PostgreSQL …")
        broker.start()
        views = postgres.start()
        log = f"kafka://{broker.address}/stack"
        environment = os.environ | {
            "MESHLINE_LOG": log, "MESHLINE_VIEWS": views, "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        create = [sys.executable, "-m", "meshline.cli.main", "log", "create"]
        subprocess.run(create, env=environment, check=True, stdout=subprocess.DEVNULL)
        parts = [
            Part("worker-1", ["worker", app, "--name", "worker-1"], environment),
            Part("worker-2", ["worker", app, "--name", "worker-2"], environment),
            Part("projector", ["projector"], environment),
        ]
        for part in parts:
            part.start()
        print(f"export MESHLINE_LOG='{log}'\nexport MESHLINE_VIEWS='{views}'", flush=True)
        say(f"The stack is up; its data is in {home}. Ctrl-C stops it. In another terminal, type")
        say("the two lines above, and then for example: meshline log info")
        keep_up(parts, stop)
    finally:
        say("Stopping: steps under way may finish.")
        for part in parts:
            part.stop()
        deadline = time.monotonic() + END_S
        for part in parts:
            part.wait(deadline)
        postgres.close()
        broker.stop()


def keep_up(parts: list[Part], stop: threading.Event) -> None:
    """Start again what ends, until ``stop``."""
    while not stop.wait(POLL_S):
        for part in parts:
            code = part.exit_code
            if code is not None:
                say(f"{part.name:<10} ended with {code}, and is started again")
                if stop.wait(RESTART_S):
                    return
                part.start()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("app", nargs="?", default="examples/lead_intake.py")
    parser.add_argument("--home", type=Path, default=REPOSITORY / ".meshline" / "stack")
    parser.add_argument("--port", type=int, default=9092, help="of the broker; 0 takes a free one")
    given = parser.parse_args()
    if (missing := missing_tools()) is not None:
        say(f"No stack: {missing}")
        return 1
    try:
        run(given.app, given.home, given.port or free_port())
    except (BrokerUnavailable, EmbeddedUnavailable) as error:
        say(f"No stack: {error}")
        return 1
    except subprocess.CalledProcessError as error:
        say(f"No stack: the log could not be made ({error}).")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
