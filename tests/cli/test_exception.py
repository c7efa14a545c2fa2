"""Exceptions: listed, grouped, shown, and acted on one by one or by cause."""

from __future__ import annotations

from datetime import timedelta

import pytest
import typer

from meshline.cli import exception_group
from meshline.cli.errors import CommandRefused
from meshline.cli.exception import assign, groups, list_exceptions, retry, show, skip
from meshline.cli.exception_text import show_text
from meshline.cli.exits import Exit
from meshline.cli.output import Form
from meshline.events.codec import decode
from meshline.events.corrections import Correction
from meshline.events.facts import TriggerAccepted
from meshline.events.requests import CauseActionRequested, ExceptionActionRequested, TriggerReceived
from meshline.projections.cause_queries import CauseHit, CauseSeen, ExceptionGroup, Opened
from meshline.projections.errors import NotFound
from tests.cli import rows
from tests.cli.doubles import NOW, FakeViews, TestedCall, memory_log
from tests.cli.test_publish import ending
from tests.cli.test_storytelling import row
from tests.events.publish.doubles import everything

OTHER = {"exception_id": "ex-2", "kind": "overdue", "blocking": False, "owner": "user:ada"}
HISTORY = [
    row(1, TriggerReceived(source="s", trigger_id="1", payload={"company": "Acmee"})),
    row(
        2,
        TriggerAccepted(
            source="s", trigger_id="1", trigger_type="T", payload_hash="h", workflow="w", version=1
        ),
        "0:1",
    ),
]
TWO = [rows.exception(), rows.exception(**OTHER)]


async def test_a_list_says_whose_it_is_and_where_it_went() -> None:
    call = TestedCall(views=FakeViews({"exceptions": TWO}))

    await list_exceptions(call)

    titles, first, second = call.data.splitlines()
    assert titles.split()[:4] == ["exception", "kind", "about", "state"]
    assert "queue:sales" in first and "ship failed 3 times" in first
    assert second.startswith("ex-2 ")
    assert "user:ada (queue:sales)" in second


async def test_a_list_asks_for_what_was_chosen() -> None:
    views = FakeViews()

    await list_exceptions(TestedCall(views=views), state=["resolved"], severity="high")

    options = views.asked[0][1]
    assert (options["states"], options["severity"]) == (["resolved"], "high")


async def test_a_page_that_is_not_the_last_says_how_to_go_on() -> None:
    call = TestedCall(views=FakeViews({"exceptions": TWO}, next_page="abc"))

    await list_exceptions(call)

    assert call.words == "More: --after abc\n"


async def test_a_group_that_came_again_says_when_in_which_version_and_who_took_it_as_mended() -> (
    None
):
    mended = ExceptionGroup(
        "c1", "step_failed", 7, 5, 6, NOW, NOW, "no ledger", ["invoice"], ["queue:a"],
        state="reopened", in_version=4, resolved_at=NOW, resolved_by="user:ada",
        resolution="asks twice", reopened_at=NOW + timedelta(hours=1), reopened_version=5,
    )  # fmt: skip
    call = TestedCall(views=FakeViews({"exception_groups": [mended]}))

    await groups(call)

    assert "reopened in v5" in call.data and "resolved in v4 by user:ada" in call.data


async def test_a_cause_is_said_to_be_mended_in_every_partition() -> None:
    log, views = await memory_log(), FakeViews({"exceptions": TWO})
    call = TestedCall(Form.jsonl, log=log, views=views, wait_s=None)

    await exception_group.resolve(call, "3fa94c01b2d7", in_version=4, reason="asks twice")

    said = [(r.partition, decode(r.value).data) for r in await everything(log)]
    asked = CauseActionRequested(
        cause="3fa94c01b2d7", action="resolve", in_version=4, reason="asks twice"
    )
    assert said == [(0, asked), (1, asked)]


async def test_a_cause_of_which_there_is_no_exception_was_mistyped() -> None:
    with pytest.raises(NotFound, match="No exception has the cause"):
        await exception_group.reopen(TestedCall(views=FakeViews()), "3fa9", reason="it is not")


async def test_a_group_says_what_it_strikes_and_whether_it_goes_on() -> None:
    group = ExceptionGroup(
        "c1", "step_failed", 9, 5, 6, NOW, NOW, "no ledger", ["invoice"], ["queue:a"],
        state="resolved", in_version=4, resolved_at=NOW, resolved_by="user:ada",
        resolution="asks twice",
    )  # fmt: skip
    hits = [CauseHit("invoice", "mail", 9, 5, NOW)]
    opened = [Opened(NOW, 0), Opened(NOW, 1), Opened(NOW, 8)]
    call = TestedCall(views=FakeViews({"cause": CauseSeen(group, hits, "day", opened)}))  # type: ignore[dict-item]

    await exception_group.show(call, "c1")

    assert "resolved in v4 by user:ada" in call.data
    assert "asks twice" in call.data
    assert "open       5 of 9, in 6 runs" in call.data
    assert "invoice from mail: 5 open of 9" in call.data
    assert "per day     ▁█  at most 8" in call.data
    assert "exception group reopen c1" in call.data
    assert "bulk preview retry --cause c1" in call.data


async def test_groups_put_together_what_has_one_cause() -> None:
    group = ExceptionGroup(
        "c1", "step_failed", 7, 5, 6, NOW, NOW, "no ledger", ["invoice"], ["queue:accounting"]
    )
    call = TestedCall(views=FakeViews({"exception_groups": [group]}))

    await groups(call)

    assert call.data.splitlines()[1].split()[:7] == [
        "c1", "step_failed", "open", "5", "7", "6", "queue:accounting",
    ]  # fmt: skip


async def test_showing_one_finds_it_by_its_beginning() -> None:
    call = TestedCall(views=FakeViews({"exceptions": TWO}))

    await show(call, "ex-1f0c")

    assert call.data.startswith("Exception ex-1f0c2a9b-0000000001\n")


def test_a_page_says_what_can_be_done() -> None:
    text = show_text(rows.exception(), NOW)

    assert "step_failed, medium, holds the run up" in text
    assert "exception retry ex-1f0c2a9b-0000000001" in text
    assert "exception resolve" not in text
    assert "exception resolve ex-2" in show_text(TWO[1], NOW)


def test_a_closed_one_says_how_and_by_whom() -> None:
    closed = rows.exception(
        state="resolved", how="skipped", resolved_by="user:ada", reason="by hand",
        resolved_at=NOW - timedelta(minutes=1), due_at=NOW,
    )  # fmt: skip

    text = show_text(closed, NOW)

    assert "closed     skipped by user:ada" in text
    assert "exception retry" not in text


def test_a_stack_is_shown_where_there_is_one() -> None:
    text = show_text(rows.exception(error={"type": "E", "stack": "line 1\nline 2"}), NOW)

    assert "    line 1\n    line 2" in text


def test_what_a_step_says_on_purpose_is_shown_with_its_code_and_data() -> None:
    case = {"code": "credit_limit", "data": {"asked": 9}}
    row = rows.exception(kind="business", code="credit_limit", error={"business": case})

    text = show_text(row, NOW)

    assert "  code       credit_limit" in text
    assert '      "asked": 9' in text


async def test_all_of_one_cause_are_retried_at_once() -> None:
    log = await memory_log()
    views = FakeViews({"exceptions": TWO})
    call = TestedCall(Form.jsonl, log=log, views=views, wait_s=None)

    assert await ending(retry(call, None, "3fa94c01b2d7", reason="the carrier is back")) is Exit.OK

    requests = [decode(record.value).data for record in await everything(log)]
    assert [(r.exception_id, r.action) for r in requests] == [
        (row.exception_id, "retry") for row in TWO
    ]
    assert views.asked[0][1]["cause"] == "3fa94c01b2d7"


async def test_a_retry_carries_what_is_set_right_and_nothing_that_is_no_place() -> None:
    log = await memory_log()
    call = TestedCall(log=log, views=FakeViews({"exceptions": TWO}), wait_s=None)

    typed = ['trigger/company="Acme"', "enrich/lines/0=null", "vat=7"]
    await retry(call, ["ex-1f0c"], corrections=typed)

    (record,) = await everything(log)
    assert decode(record.value).data.corrections == (
        Correction(of="trigger", path="/company", value="Acme"),
        Correction(of="enrich", path="/lines/0", value=None),
        Correction(of="vat", value=7),
    )
    for wrong in ("trigger", "=1", "/company=1", "trigger/company=Acme"):
        with pytest.raises(typer.BadParameter):
            await retry(call, ["ex-1f0c"], corrections=[wrong])


async def test_what_would_be_changed_is_shown_and_not_asked_for() -> None:
    log = await memory_log()
    views = FakeViews({"exceptions": TWO, "history": HISTORY})
    call = TestedCall(Form.jsonl, log=log, views=views)

    await retry(call, ["ex-1f0c"], corrections=['trigger/company="Acme"'], dry_run=True)

    (change,) = call.values
    assert (change["place"], change["before"], change["after"]) == (
        "trigger/company",
        "Acmee",
        "Acme",
    )
    assert await everything(log) == []
    with pytest.raises(CommandRefused, match="expected one of trigger"):
        await retry(call, ["ex-1f0c"], corrections=["none=1"], dry_run=True)
    views.lists["history"] = [row._replace(data=None) for row in HISTORY]
    with pytest.raises(CommandRefused, match="key that may read payloads"):
        await retry(call, ["ex-1f0c"], corrections=["trigger=1"], dry_run=True)
    with pytest.raises(typer.BadParameter, match="what --set would change"):
        await retry(call, ["ex-1f0c"], dry_run=True)


async def test_a_skip_carries_the_value_and_an_assignment_the_owner() -> None:
    log = await memory_log()
    call = TestedCall(log=log, views=FakeViews({"exceptions": TWO}), wait_s=None)

    await skip(call, ["ex-1f0c"], value='{"parcel": "1"}', reason="by hand")
    await assign(call, "user:ada", ["ex-2"])

    found = [decode(record.value).data for record in await everything(log)]
    assert found[0] == ExceptionActionRequested(
        exception_id=TWO[0].exception_id, action="skip", value={"parcel": "1"}, reason="by hand"
    )
    assert found[1].owner == "user:ada"


async def test_ids_and_a_cause_do_not_go_together() -> None:
    with pytest.raises(typer.BadParameter):
        await retry(TestedCall(), ["ex-1"], "3fa94c01b2d7")
    with pytest.raises(typer.BadParameter):
        await retry(TestedCall(), None, None)


async def test_a_cause_without_open_ones_is_told() -> None:
    call = TestedCall(log=await memory_log(), views=FakeViews())

    assert await ending(retry(call, None, "c9")) is Exit.OK
    assert "No exception of cause c9 is open." in call.words
