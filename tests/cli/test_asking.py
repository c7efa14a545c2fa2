"""Requests from the command line: accepted, refused, or without an answer."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from meshline.cli.asking import Asked, ask, json_value
from meshline.cli.exits import Exit
from meshline.cli.output import Form
from meshline.events.ids import run_id_of
from meshline.events.requests import CancelRequested
from tests.cli.doubles import TestedCall, memory_log
from tests.cli.test_publish import ending
from tests.events.publish.doubles import Keeper

RUN = run_id_of("web", "1")


def cancel(reason: str = "") -> Asked:
    return Asked(RUN, CancelRequested(reason=reason), f"run {RUN[:8]}")


async def asked(*requests: Asked, form: Form = Form.jsonl) -> tuple[Exit, TestedCall]:
    log = await memory_log()
    call = TestedCall(form, log=log)
    async with Keeper(log):
        return await ending(ask(call, requests)), call


async def test_an_accepted_request_ends_well() -> None:
    code, call = await asked(cancel("enough"))

    assert code is Exit.OK
    assert call.values[0]["status"] == "accepted"


async def test_a_refused_request_is_told_with_its_reason() -> None:
    code, call = await asked(cancel(), form=Form.text)

    assert code is Exit.REFUSED
    assert call.data == f"rejected  run {RUN[:8]}  no_reason: Say why.\n"


async def test_the_worst_of_several_decides_how_it_ends() -> None:
    code, call = await asked(cancel("enough"), cancel(), cancel("enough"))

    assert code is Exit.REFUSED
    assert [v["status"] for v in call.values] == ["accepted", "rejected", "accepted"]


async def test_without_a_worker_it_says_that_the_request_is_kept() -> None:
    call = TestedCall(Form.jsonl, log=await memory_log(), wait_s=0.1)

    code = await ending(ask(call, [cancel("enough")]))

    assert code is Exit.UNANSWERED
    assert "No worker has decided within 0.1 s" in call.words


async def test_who_asks_stands_in_the_log() -> None:
    from meshline.events.codec import decode
    from tests.events.publish.doubles import everything

    log = await memory_log()
    await ending(ask(TestedCall(log=log, wait_s=None), [cancel("enough")]))

    event = decode((await everything(log))[0].value)
    assert event.actor == ("user", "user:ada")


@pytest.mark.parametrize(("text", "value"), [(None, None), ("7", 7), ('{"a": []}', {"a": []})])
def test_json_is_read(text: str | None, value: Any) -> None:
    assert json_value(text, "--form") == value


def test_what_is_no_json_is_a_mistake_of_usage() -> None:
    with pytest.raises(typer.BadParameter, match="no JSON"):
        json_value("{a}", "--form")
