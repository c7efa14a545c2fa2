"""The guides do what they say: their files are written, their commands typed, in their order.

In a guide's ``python`` block, a first line such as ``# orders.py`` names the file that it is (or
goes on with); each ``sh`` line is typed in one shell. ``# exit 3`` says how a line ends. What
starts a process is left running until the end. ``text`` blocks are for the eye only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.test_documents import BLOCK
from tests.services.postgres import namespace
from tests.tidy.source import REPOSITORY

GUIDES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    if "reference/" not in path.as_posix()
    and path.name not in ("test-a-workflow.md", "simulate-faults.md")
)
ON_KAFKA = "kafka://localhost:9092"
ON_POSTGRES = "postgresql://localhost/meshline"

NAMED = re.compile(r"# (\w+\.py)\n")
EXITS = re.compile(r"(.*?)\s+# exit (\d)")
STARTS = re.compile(r"meshline (dev|worker|projector|serve)\b")
NOT_HERE = re.compile(r"(make|git) ")

SHELL = """
set -uo pipefail
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
start() {
  "$@" >>running.log 2>&1 &
  process=$!
  for _ in $(seq 300); do
    kill -0 $process || { cat running.log; exit 99; }
    tail -n +$((seen + 1)) running.log | grep -qE '^(Ready|Projector)' && break
    sleep 0.2
  done
  seen=$(wc -l < running.log)
}
ends() {
  local wanted=$1; shift
  "$@"
  local code=$?
  [ $code -eq $wanted ] || { echo "LINE $line: exit $code, expected $wanted: $*"; exit 98; }
}
touch running.log
seen=0
"""


def marks(guide: str) -> list[pytest.MarkDecorator]:
    found = [pytest.mark.postgres, pytest.mark.slow]
    on_kafka = ON_KAFKA in (REPOSITORY / guide).read_text("utf-8")
    return [*found, pytest.mark.kafka] if on_kafka else found


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's folder: nobody but its owner can enter that, and root's server isn't root.
    path = Path(tempfile.mkdtemp(prefix="meshline-guide-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def script(text: str) -> tuple[str, dict[str, str]]:
    """Return the shell script of a guide, and the files that it is about."""
    lines = [SHELL]
    files: dict[str, str] = {}
    for match in BLOCK.finditer(text):
        language, content = match[1], match[2]
        named = NAMED.match(content)
        if language == "python" and named:
            before = files.get(named[1], "")
            files[named[1]] = before + content[len(named[0]) :]
        elif language == "sh":
            lines += typed(content, text.count("\n", 0, match.start(2)) + 1)
    return "\n".join(lines) + "\n", files


def typed(content: str, first_line: int) -> list[str]:
    """Return a block's lines as they are typed, each with how it must end."""
    lines: list[str] = []
    in_document = False
    for number, line in enumerate(content.splitlines(), first_line):
        if in_document:
            lines.append(line)
            in_document = line != "END"
        elif "<<'END'" in line:
            lines.append(line)
            in_document = True
        elif STARTS.match(line):
            lines.append(f"line={number}; start {line}")
        elif not NOT_HERE.match(line):
            exits = EXITS.fullmatch(line)
            command, code = (exits[1], exits[2]) if exits else (line, "0")
            lines.append(f"line={number}; {command}\nends {code} test_code $?")
    return lines


@pytest.mark.parametrize(
    "guide", [pytest.param(guide, marks=marks(guide), id=guide) for guide in GUIDES]
)
def test_a_guide_does_what_it_says(
    guide: str, folder: Path, postgres_dsn: str, request: pytest.FixtureRequest
) -> None:
    text = (REPOSITORY / guide).read_text("utf-8")
    if guide == "README.md":
        text = text.replace("```python\n", "```python\n# leads.py\n", 1)
    if ON_KAFKA in text:
        text = text.replace("localhost:9092", request.getfixturevalue("kafka_servers"))
        text = text.replace("/production\n", f"/{folder.name}\n")
        text = text.replace("bank.payments", f"{folder.name}.payments")
    commands, files = script(text.replace(ON_POSTGRES, f'"{namespace(postgres_dsn)}"'))
    for name, content in files.items():
        (folder / name).write_text(content, "utf-8")

    done = subprocess.run(
        ["bash", "-c", "test_code() { return $1; }\n" + commands],
        cwd=folder,
        env=environment(postgres_dsn),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )

    running = (folder / "running.log").read_text("utf-8")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n--\n{running}"


def environment(postgres_dsn: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESHLINE_")}
    return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.mark.parametrize("guide", GUIDES)
def test_links_of_a_guide_lead_somewhere(guide: str) -> None:
    path = REPOSITORY / guide
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text("utf-8"))

    broken = [link for link in links if "://" not in link and not (path.parent / link).exists()]

    assert broken == []


@pytest.mark.parametrize("guide", GUIDES)
def test_the_json_in_a_guide_is_json(guide: str) -> None:
    for match in BLOCK.finditer((REPOSITORY / guide).read_text("utf-8")):
        if match[1] == "json":
            json.loads(match[2])


def test_a_line_that_ends_otherwise_fails_a_guide() -> None:
    commands, _ = script("```sh\ntrue\nfalse  # exit 1\nfalse\n```\n")

    done = subprocess.run(
        ["bash", "-c", 'test_code() { return $1; }\n' + commands],
        capture_output=True, text=True, check=False, cwd=tempfile.gettempdir(),
    )  # fmt: skip

    assert done.returncode == 98
    assert "LINE 4: exit 1, expected 0" in done.stdout
