"""Publishing from the command line: what each answer looks like, and how the command ends."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from meshline.cli.exits import Exit
from meshline.cli.output import Form
from meshline.cli.publish import exit_of_answers, publish
from tests.cli.doubles import TestedCall, memory_log
from tests.events.publish.doubles import Keeper


async def published(
    *lines: str, form: Form = Form.jsonl, **options: Any
) -> tuple[Exit, TestedCall]:
    """Publish lines from a file beside a keeper; return how it ended."""
    log = await memory_log()
    call = TestedCall(form, log=log)
    async with Keeper(log):
        return await ending(publish(call, "web", **options)), call


async def ending(work: Any) -> Exit:
    try:
        await work
    except typer.Exit as end:
        return Exit(end.exit_code)
    return Exit.OK


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str) -> Path:
        path = tmp_path / "lines.jsonl"
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    return write


async def test_one_payload_is_accepted() -> None:
    code, call = await published(payload='{"a": 1}', trigger_id="7")

    assert code is Exit.OK
    assert [(v["status"], v["trigger_id"]) for v in call.values] == [("accepted", "7")]
    assert call.words == "1 accepted.\n"


async def test_lines_of_a_file_are_answered_in_their_order(file: Callable[..., Path]) -> None:
    path = file('{"id": 1}', "", '{"id": 2}', '{"id": 1}')

    code, call = await published(file=path)

    assert code is Exit.OK
    assert [(v["trigger_id"], v["status"]) for v in call.values] == [
        ("1", "accepted"), ("2", "accepted"), ("1", "repeated"),
    ]  # fmt: skip
    assert call.words == "2 accepted, 1 repeated.\n"


async def test_a_rejected_one_does_not_stop_the_others(file: Callable[..., Path]) -> None:
    path = file('{"id": 1, "invalid": 1}', '{"id": 2}')

    code, call = await published(file=path)

    assert code is Exit.REFUSED
    assert [v["status"] for v in call.values] == ["rejected", "accepted"]
    assert call.values[0]["code"] == "invalid"


async def test_what_is_no_json_is_kept_and_rejected(file: Callable[..., Path]) -> None:
    path = file('{"id": 1', '{"id": 2}')

    code, call = await published(file=path)

    assert code is Exit.REFUSED
    assert [v["status"] for v in call.values] == ["rejected", "accepted"]
    assert call.values[0]["code"] == "unreadable"
    assert call.values[0]["trigger_id"].startswith("unreadable-")


async def test_an_id_may_stand_in_another_field(file: Callable[..., Path]) -> None:
    _, call = await published(file=file('{"form": "F-1"}'), id_field="form")

    assert call.values[0]["trigger_id"] == "F-1"


async def test_a_payload_without_an_id_is_told_after_the_answers_before_it(
    file: Callable[..., Path],
) -> None:
    log = await memory_log()
    call = TestedCall(Form.jsonl, log=log)

    async with Keeper(log):
        with pytest.raises(typer.BadParameter, match="payload 2 has no id"):
            await publish(call, "web", file=file('{"id": 1}', '{"a": 1}'))

    assert [v["status"] for v in call.values] == ["accepted"]


async def test_a_pipe_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"id": 1}\n')))

    code, call = await published()

    assert code is Exit.OK
    assert len(call.values) == 1


async def test_without_a_worker_the_answer_says_so_and_only_the_first_is_waited_for(
    file: Callable[..., Path],
) -> None:
    call = TestedCall(Form.jsonl, log=await memory_log(), wait_s=0.2)
    path = file(*(f'{{"id": {n}}}' for n in range(3000)))

    async with asyncio.timeout(90):
        code = await ending(publish(call, "web", file=path))

    assert code is Exit.UNANSWERED
    assert len(call.values) == 3000
    assert "decided when a worker runs" in call.words


async def test_not_waiting_is_no_failure() -> None:
    call = TestedCall(Form.text, log=await memory_log())

    code = await ending(publish(call, "web", payload="{}", trigger_id="1", no_wait=True))

    assert code is Exit.OK
    assert call.data.startswith("appended  ")


async def test_people_read_why_it_was_rejected() -> None:
    code, call = await published(payload='{"invalid": 1}', trigger_id="7", form=Form.text)

    assert code is Exit.REFUSED
    assert call.data.endswith("  web 7  invalid: No.\n")


@pytest.mark.parametrize(
    ("statuses", "waited", "code"),
    [
        ({"accepted", "repeated"}, True, Exit.OK),
        ({"accepted", "rejected", "appended"}, True, Exit.REFUSED),
        ({"accepted", "appended"}, True, Exit.UNANSWERED),
        ({"appended"}, False, Exit.OK),
    ],
)
def test_the_exit_code_is_that_of_the_worst_answer(
    statuses: set[str], waited: bool, code: Exit
) -> None:
    assert exit_of_answers(statuses, waited=waited) is code


@pytest.mark.parametrize(
    "options",
    [
        {"payload": "{}", "file": Path("x")},
        {"file": Path("x"), "trigger_id": "1"},
        {"file": Path("not-there.jsonl")},
    ],
)
async def test_what_does_not_go_together_is_a_mistake_of_usage(options: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter):
        await published(**options)
