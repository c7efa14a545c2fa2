"""Journeys at the command line, on the embedded default: what the README promises."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from meshline.cli.embedded import EmbeddedPostgres
from tests.acceptance.support.commands import MESHLINE, Folder, eventually
from tests.tidy.source import REPOSITORY

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

ORDERS = """
from pydantic import BaseModel, Field

from meshline.workflow import Approval, Retry, Workflow


class Ordered(BaseModel):
    number: int
    amount: int = Field(gt=0)


class Shipped(BaseModel):
    parcel: str


order = Workflow(
    "order", version=1, trigger=Ordered, source="shop", owner="team:sales",
    exceptions="queue:sales", outcome=Shipped, due="2d",
)


@order.approval("big", when=lambda trigger: trigger.amount > 1000, by="role:boss", due="4h")
class Big(BaseModel):
    discount: int = Field(ge=0, le=40)


@order.step(retry=Retry(attempts=1), timeout="5s")
async def ship(trigger: Ordered, big: Approval | None) -> Shipped:
    if trigger.number == 13:
        raise RuntimeError("no parcel for 13")
    return Shipped(parcel=f"P-{trigger.number}")
"""

PARCELS = """
from typing import NamedTuple

from meshline.events.facts import StepSucceeded
from meshline.projections.projection import Projection, by_run


class Parcel(NamedTuple):
    run_id: str
    is_small: bool


projection = Projection("parcels", version=1)
table = projection.table("parcels", Parcel, key=["run_id"], keys=by_run)


@table.on(StepSucceeded)
def shipped(row, event):
    number = int(event.event.data.result["parcel"].removeprefix("P-"))
    return Parcel(event.event.subject, number < 3)
"""


@pytest.fixture
def folder() -> Iterator[Folder]:
    # Not pytest's folder: nobody but its owner can enter that, and root's server isn't root.
    path = Path(tempfile.mkdtemp(prefix="meshline-cli-"))
    path.chmod(0o755)
    (path / "orders.py").write_text(ORDERS, "utf-8")
    yield Folder(path)
    for data in (".meshline/postgres", ".meshline/demo/postgres"):
        if (path / data).exists():
            # A server whose users were killed runs on until the last one leaves.
            with EmbeddedPostgres(path / data):
                pass
    shutil.rmtree(path, ignore_errors=True)


def publish(folder: Folder, *orders: tuple[int, int], code: int = 0) -> list[dict[str, Any]]:
    lines = "\n".join(f'{{"number": {n}, "amount": {amount}}}' for n, amount in orders)
    words = ("publish", "shop", "--id-field", "number", "--output", "jsonl")
    done = folder.run(*words, stdin=lines, code=code)
    return [orjson.loads(line) for line in done.stdout.splitlines()]


def state(folder: Folder, run_id: str) -> str:
    return str(folder.data("run", "show", run_id)["state"])


def reaches(folder: Folder, run_id: str, wanted: str) -> None:
    eventually(lambda: state(folder, run_id) == wanted)


def test_from_a_published_trigger_to_a_finished_owned_explained_run(folder: Folder) -> None:
    with folder.dev("orders.py") as dev:
        answer = publish(folder, (1, 5_000))[0]
        run_id = answer["run_id"]
        assert answer["status"] == "accepted"
        reaches(folder, run_id, "waiting")

        page = folder.run("run", "show", run_id[:8]).stdout
        for text in ("approval big", "whose: role:boss", "team:sales", "queue:sales", "Shipped"):
            assert text in page
        assert publish(folder, (1, 5_000))[0]["status"] == "repeated"
        assert publish(folder, (2, -1), code=3)[0]["code"] == "invalid"

        folder.run("approval", "approve", run_id[:8], "--form", '{"discount": 50}', code=3)
        folder.run(
            "approval", "approve", run_id[:8], "--form", '{"discount": 10}', "--as", "user:ada"
        )
        reaches(folder, run_id, "succeeded")
        story = folder.run("run", "history", run_id[:8]).stdout

        assert "(by user:ada)" in story
        assert "P-1" in story
        assert "was refused" in story
        assert dev.end() == 0


def test_an_exception_is_seen_by_its_cause_and_skipped(folder: Folder) -> None:
    with folder.dev("orders.py"):
        run_id = publish(folder, (13, 10))[0]["run_id"]
        reaches(folder, run_id, "held")

        group = folder.data("exception", "groups")[0]
        assert (group["open"], group["routes"]) == (1, ["queue:sales"])
        assert folder.data("owner", "list")[0]["owner"] == "queue:sales"
        folder.run("exception", "resolve", "--cause", group["cause"], code=3)
        folder.run("exception", "assign", "user:ada", "--cause", group["cause"])
        exception = folder.data("exception", "list")[0]
        eventually(lambda: folder.data("exception", "list")[0]["owner"] == "user:ada")
        value = '{"parcel": "by hand"}'
        folder.run(
            "exception", "skip", exception["exception_id"], "--value", value, "--reason", "I did it"
        )

        reaches(folder, run_id, "succeeded")
        assert folder.data("run", "show", run_id)["outcome"] == {"parcel": "by hand"}


def test_runs_are_paused_resumed_cancelled_and_given_away(folder: Folder) -> None:
    with folder.dev("orders.py"):
        run_id = publish(folder, (1, 5_000))[0]["run_id"]
        reaches(folder, run_id, "waiting")

        folder.run("run", "resume", run_id, code=3)
        folder.run("run", "pause", run_id, "--reason", "holiday")
        reaches(folder, run_id, "paused")
        folder.run("run", "resume", run_id)
        reaches(folder, run_id, "waiting")
        folder.run("owner", "assign", run_id, "team:apac")
        eventually(lambda: folder.data("run", "show", run_id)["owner"] == "team:apac")
        folder.run("run", "cancel", run_id, "--reason", "no longer wanted")

        watched = folder.run("run", "watch", run_id, "--timeout", "20s").stdout
        assert "no longer wanted" in watched
        folder.run("run", "show", "ffffffff", code=4)


def test_a_refused_trigger_is_mended_and_sent_again(folder: Folder) -> None:
    with folder.dev("orders.py"):
        publish(folder, (7, -1), code=3)
        rejected = eventually(lambda: folder.data("trigger", "list", "--status", "rejected"))[0]
        position = f"{rejected['partition']}:{rejected['log_offset']}"

        assert "/amount" in folder.run("trigger", "show", position).stdout
        folder.run("trigger", "resubmit", position, code=3)
        folder.run("trigger", "resubmit", position, "--set", "amount=5")

        eventually(lambda: folder.data("trigger", "show", "7")["status"] == "accepted")
        folder.run("trigger", "resubmit", "7", code=2)


def test_runs_go_on_after_kill_9(folder: Folder) -> None:
    with folder.dev("orders.py") as dev:
        run_id = publish(folder, (1, 5_000))[0]["run_id"]
        reaches(folder, run_id, "waiting")
        dev.end(signal.SIGKILL)

    # Nobody runs now: what is in the log is there to be read, and requests are kept.
    assert state(folder, run_id) == "waiting"
    words = ("approval", "approve", run_id, "big", "--form", '{"discount": 1}', "--wait", "500ms")
    folder.run(*words, code=6)
    unanswered = folder.data("verify", "orders.py", "--log-only", "--patience", "0s", code=1)
    assert [each["code"] for each in unanswered] == ["request_unanswered"]

    with folder.dev("orders.py"):
        reaches(folder, run_id, "succeeded")
        assert folder.data("verify", "orders.py") == []


def test_changed_code_is_loaded_and_broken_code_is_told(folder: Folder) -> None:
    app = folder.path / "orders.py"
    with folder.dev("orders.py") as dev:
        waiting = publish(folder, (1, 5_000))[0]["run_id"]
        reaches(folder, waiting, "waiting")

        app.write_text(ORDERS.replace("P-", "Q-"), "utf-8")
        dev.wait_for("Reloaded after a change of orders.py")
        app.write_text("def broken(:\n", "utf-8")
        dev.wait_for("Not reloaded, the old code goes on: ML4101")

        folder.run("approval", "approve", waiting, "--form", '{"discount": 1}')
        reaches(folder, waiting, "succeeded")
        assert folder.data("run", "show", waiting)["outcome"] == {"parcel": "Q-1"}


def test_changed_code_of_a_view_is_loaded_with_no_build_of_two_codes(folder: Folder) -> None:
    views = folder.path / "parcels.py"
    views.write_text(PARCELS, "utf-8")
    folder.variables["MESHLINE_PROJECTIONS"] = "parcels"
    with folder.dev("orders.py") as dev:
        publish(folder, (1, 5), (2, 5))

        views.write_text(PARCELS.replace("< 3", "< 2"), "utf-8")
        dev.wait_for("Reloaded after a change of parcels.py")
        dev.wait_for("ML5008 The code of the view parcels has changed")
        folder.run("view", "rebuild", "parcels")
        folder.run("view", "swap", "parcels")
        publish(folder, (3, 5))
        folder.run("view", "verify", "parcels")

        views.write_text("def broken(:\n", "utf-8")
        dev.wait_for("Not reloaded, the old code goes on: ML5001")
        views.write_text(PARCELS.replace("bool\n", "bool\n    note: str = ''\n", 1), "utf-8")
        dev.wait_for("ML5002 The tables of parcels version 1 are not those")
    with folder.dev("orders.py"):
        assert {view["name"] for view in folder.data("view", "list")} > {"parcels", "runs"}


def test_sigterm_lets_a_step_finish_and_then_ends(folder: Folder) -> None:
    pause = "    import asyncio\n    await asyncio.sleep(2)\n    if trigger.number"
    slow = ORDERS.replace("    if trigger.number", pause)
    (folder.path / "orders.py").write_text(slow, "utf-8")
    with folder.dev("orders.py") as dev:
        run_id = publish(folder, (1, 5))[0]["run_id"]

        assert dev.end() == 0

    story = folder.run("run", "history", run_id).stdout
    assert story.count("ship began") == 1
    assert "ship succeeded" in story


def test_a_reader_that_has_had_enough_is_no_failure(folder: Folder) -> None:
    text = f"set -o pipefail; {MESHLINE} check orders.py | head -0; echo $?"

    done = subprocess.run(
        ["bash", "-c", text], cwd=folder.path, capture_output=True, text=True, check=True
    )

    assert done.stdout == "0\n"
    assert "Broken" not in done.stderr


@pytest.fixture
def heard_ctrl_c() -> Iterator[None]:
    """What was started in the background ignores SIGINT, and so would its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_ctrl_c")
def test_ctrl_c_has_an_exit_code_of_its_own(folder: Folder) -> None:
    with folder.dev("orders.py"):
        publish(folder, (1, 5_000))
        with subprocess.Popen(
            [MESHLINE, "run", "watch", "shop/1"],
            cwd=folder.path,
            env=folder.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as watching:
            try:
                assert watching.stdout is not None
                assert b"sent the trigger" in watching.stdout.readline()
                watching.send_signal(signal.SIGINT)

                _, words = watching.communicate(timeout=90)
            finally:
                watching.kill()
        assert (watching.returncode, words) == (130, b"")


def test_one_folder_is_for_one_dev(folder: Folder) -> None:
    with folder.dev("orders.py"):
        done = folder.run("dev", "orders.py", code=1)

    assert "ML3005" in done.stderr


def test_worker_and_projector_run_as_processes_of_their_own(folder: Folder) -> None:
    with EmbeddedPostgres(folder.path / "server") as server:
        folder.variables["MESHLINE_LOG"] = server.dsn
        folder.run("log", "create", "--partitions", "4")
        parts = [
            subprocess.Popen(
                [MESHLINE, *words],
                cwd=folder.path,
                env=folder.environment,
                stderr=subprocess.DEVNULL,
            )
            for words in (["worker", "orders.py"], ["worker", "orders.py"], ["projector"])
        ]
        try:
            answers = publish(folder, *((number, 5) for number in range(100, 130)))
            assert {answer["status"] for answer in answers} == {"accepted"}
            eventually(
                lambda: len(folder.data("run", "list", "--state", "succeeded")) == len(answers)
            )
            doctor = folder.data("doctor")
            assert {finding["status"] for finding in doctor} <= {"ok", "warning"}
        finally:
            for part in parts:
                part.terminate()
            assert [part.wait(20) for part in parts] == [0, 0, 0]


def test_a_log_is_copied_with_its_history(folder: Folder) -> None:
    with folder.dev("orders.py") as dev:
        run_id = publish(folder, (1, 5))[0]["run_id"]
        reaches(folder, run_id, "succeeded")
        dev.end()

    with EmbeddedPostgres(folder.path / "server") as server:
        folder.run("log", "copy", "embedded", server.dsn)
        folder.variables["MESHLINE_LOG"] = server.dsn
        with folder.dev("orders.py", "--home", "copy"):
            assert publish(folder, (1, 5))[0]["status"] == "repeated"
            reaches(folder, run_id, "succeeded")


def test_the_demo_ends_well_and_says_what_came_of_it(folder: Folder) -> None:
    shutil.copytree(REPOSITORY / "examples", folder.path / "examples")

    text = folder.run("demo").stdout
    again = folder.run("demo", "--count", "60").stdout

    for part in ("469 accepted, 15 repeated, 16 rejected", "Runs by state", "queue:revops-triage",
                 "CompanyUnknown", "The story of one run", "What to type next"):  # fmt: skip
        assert part in text
    assert "60 submissions" in again
    # What it says to type next works: the folder of the demo is found.
    assert len(folder.data("run", "list", "--state", "held")) == 2
    assert "role:sales-lead" in folder.run("approval", "list").stdout


@pytest.mark.kafka
def test_the_same_commands_on_kafka_and_moving_there_with_all_history(
    folder: Folder, kafka_address: str
) -> None:
    with folder.dev("orders.py") as dev:
        before = publish(folder, (1, 5), (2, 5_000))
        reaches(folder, before[1]["run_id"], "waiting")
        dev.end()
    folder.run("log", "copy", "embedded", kafka_address)

    with folder.dev("orders.py", "--log", kafka_address, "--home", "moved"):
        folder.variables["MESHLINE_HOME"] = "moved"
        reaches(folder, before[0]["run_id"], "succeeded")
        folder.run("approval", "approve", before[1]["run_id"], "--form", '{"discount": 1}')
        reaches(folder, before[1]["run_id"], "succeeded")
        assert publish(folder, (1, 5))[0]["status"] == "repeated"

        assert folder.data("log", "info")["address"] == kafka_address
        doctor = {finding["about"]: finding for finding in folder.data("doctor")}
        assert doctor["kafka retention.ms"]["status"] == "ok"
        assert doctor["kafka replicas"]["status"] == "warning"
        assert "3 replicas" in doctor["kafka replicas"]["do"]
        tail = folder.run("log", "tail", "--run", before[1]["run_id"]).stdout
        assert "big was approved" in tail
