"""Triggers: what became of them, and sending one again after a fix."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from meshline.cli.errors import CommandRefused
from meshline.cli.exits import Exit
from meshline.cli.output import Form
from meshline.cli.trigger import list_triggers, resubmit, show
from meshline.events.log.memory import MemoryLog
from meshline.projections.errors import NotFound
from tests.cli import rows
from tests.cli.doubles import FakeViews, TestedCall, memory_log
from tests.cli.test_publish import ending
from tests.events.publish.doubles import Keeper

UNREADABLE = {
    "reason": "not_json",
    "detail": "…",
    "size_bytes": 3,
    "sha256": "ab",
    "raw_base64": "eyJh",
}


async def sent_again(row: Any, **options: Any) -> tuple[Exit, TestedCall, MemoryLog]:
    log = await memory_log()
    call = TestedCall(Form.jsonl, log=log, views=FakeViews({"triggers": [row]}))
    async with Keeper(log):
        return await ending(resubmit(call, "7", **options)), call, log


async def test_a_list_says_why_one_was_rejected() -> None:
    call = TestedCall(views=FakeViews({"triggers": [rows.trigger()]}))

    await list_triggers(call)

    line = call.data.splitlines()[1]
    assert line.startswith("0:1 ")
    assert line.endswith("invalid: /amount: must be positive")


async def test_it_is_sent_again_as_it_came_under_its_own_id() -> None:
    code, call, _ = await sent_again(rows.trigger())

    assert code is Exit.OK
    assert (call.values[0]["trigger_id"], call.values[0]["status"]) == ("7", "accepted")


async def test_a_field_is_changed_and_the_others_stay() -> None:
    from meshline.events.codec import decode
    from meshline.events.requests import TriggerReceived
    from tests.events.publish.doubles import everything

    _, _, log = await sent_again(rows.trigger(), changes=["amount=5"])

    events = [decode(record.value).data for record in await everything(log)]
    payloads = [data.payload for data in events if isinstance(data, TriggerReceived)]
    assert payloads == [{"number": 7, "amount": 5}]


async def test_one_that_is_still_wrong_is_rejected_again() -> None:
    code, _, _ = await sent_again(rows.trigger(), payload='{"invalid": 1}')

    assert code is Exit.REFUSED


async def test_one_that_is_a_run_is_not_sent_again() -> None:
    with pytest.raises(CommandRefused, match="it is run 1f0c2a9b"):
        await sent_again(rows.trigger(status="accepted"))


async def test_one_that_could_not_be_read_needs_a_payload() -> None:
    row = rows.trigger(payload=None, unreadable=UNREADABLE, code="unreadable", problems=[])

    with pytest.raises(CommandRefused, match="add --payload"):
        await sent_again(row)
    code, _, _ = await sent_again(row, payload='{"amount": 1}')
    assert code is Exit.OK


async def test_a_change_of_what_is_no_object_is_a_mistake() -> None:
    with pytest.raises(typer.BadParameter, match="FIELD=JSON"):
        await sent_again(rows.trigger(payload=7), changes=["amount=5"])


async def test_an_id_of_two_sources_needs_the_source() -> None:
    views = FakeViews({"triggers": [rows.trigger(), rows.trigger(source="web")]})

    with pytest.raises(NotFound, match="came from shop, web"):
        await show(TestedCall(views=views), "7")


async def test_one_that_is_not_there_is_told() -> None:
    with pytest.raises(NotFound, match="There is no trigger '7'"):
        await show(TestedCall(views=FakeViews()), "7")
    with pytest.raises(NotFound, match="There is no trigger '0:99'"):
        await show(TestedCall(views=FakeViews(), log=await memory_log()), "0:99")


async def test_what_could_not_be_read_is_shown_as_it_came() -> None:
    row = rows.trigger(payload=None, unreadable=UNREADABLE, problems=[])
    call = TestedCall(views=FakeViews({"triggers": [row]}))

    await show(call, "7")

    assert "kept       b'{\"a'" in call.data
    assert "trigger resubmit 0:1" in call.data
