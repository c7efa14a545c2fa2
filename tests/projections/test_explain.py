"""Why: what the engine did is asked of the history that it left."""

from __future__ import annotations

from typing import Any

import pytest

from meshline.events.codec import decode
from meshline.events.envelope import Position, Recorded
from meshline.events.ids import run_id_of
from meshline.projections.explain import explain
from meshline.projections.history_view import history
from meshline.projections.reasons import QUESTIONS, Reason
from meshline.projections.runs_view import runs
from meshline.projections.workflows_view import workflows
from meshline.testing import RequestRefused, WorkflowTest, crash
from meshline.workflow import Activity, Approval, Observation, ObservedWorkflow, Retry, Workflow
from tests.engine.core.workflows import Done, Order, new_workflow
from tests.projections.given import rows_after


async def reasons(test: WorkflowTest, run_id: str) -> list[Reason]:
    """Fold what the test's keeper wrote into the views, and explain the run."""
    events = [Recorded(decode(r.value), Position(0, r.offset)) for r in test.records]
    rows = [row for row in await rows_after(runs, *events) if row.run_id == run_id]
    said = [row for row in await rows_after(history, *events) if row.run_id == run_id]
    return explain(
        rows[0] if rows else None,
        sorted(said, key=lambda row: row.log_offset),
        await rows_after(workflows, *events),
    )


def told(found: list[Reason], question: str) -> list[tuple[str, str]]:
    return [(reason.about, reason.words) for reason in found if reason.question == question]


def one(found: list[Reason], question: str, about: str) -> Reason:
    (reason,) = [r for r in found if (r.question, r.about) == (question, about)]
    return reason


def leads(**changed: Any) -> Workflow:
    """Small orders need no approval; a rule finds the owner."""
    wf = new_workflow(**changed)

    @wf.assign
    def route(trigger: Order) -> str:
        return "team:large" if trigger.number > 10 else "team:small"

    wf.approval("deal", when=lambda trigger: trigger.number > 10, by="role:lead", due="4h",
                escalate="team:directors")  # fmt: skip

    @wf.step
    def contract(deal: Approval) -> int:
        return 1

    @wf.step
    def archive(contract: int) -> int:
        return contract

    @wf.step(retry=Retry(attempts=2))
    def book(trigger: Order, deal: Approval | None) -> Done:
        return Done(number=trigger.number)

    return wf


# -- how it began ------------------------------------------------------------------------------


async def test_a_run_started_because_of_a_trigger_and_the_newest_version_took_it() -> None:
    test = WorkflowTest(leads(), leads(version=3))
    run = test.start(Order(number=3), id="7", by="user:ada")
    found = await reasons(test, run.id)

    trigger, version = one(found, "started", "trigger"), one(found, "started", "version")
    assert trigger.words == (
        "shop.orders sent the trigger 7, at 2026-01-05 09:00:00 UTC (sent by "
        "user:ada); orders starts from what has the type Order and comes from there"
    )
    assert trigger.data["sent_by"] == "user:ada"
    assert version.words == "version 3 was the newest that the worker had"
    assert version.data == {"workflow": "orders", "version": 3, "known": [1, 3]}


async def test_a_version_that_the_worker_did_not_have_is_named() -> None:
    test = WorkflowTest(leads(version=1), leads(version=2))
    test.replace(leads(version=1))
    run = test.start(Order(number=3))

    version = one(await reasons(test, run.id), "started", "version")

    assert "version 2 was known to the log by then, but not to that worker" in version.words
    assert version.data["version"] == 1


async def test_the_same_trigger_again_is_a_repeat_and_another_payload_a_refusal() -> None:
    test = WorkflowTest(leads())
    run = test.start(Order(number=3), id="7")
    test.start(Order(number=3), id="7")
    with pytest.raises(RequestRefused, match="conflict"):
        test.start(Order(number=4), id="7")
    found = await reasons(test, run.id)

    assert "again with the same payload: it is this run already" in told(found, "repeated")[0][1]
    assert one(found, "refused", "trigger").data["code"] == "conflict"


async def test_a_trigger_that_started_nothing_says_why_and_its_values_stand_apart() -> None:
    test = WorkflowTest(leads())
    with pytest.raises(RequestRefused, match="invalid"):
        test.start({"number": "many"}, id="7")

    (reason,) = await reasons(test, run_id_of("shop.orders", "7"))

    assert (reason.question, reason.data["code"]) == ("refused", "invalid")
    assert reason.saw is not None
    assert reason.saw["problems"][0]["pointer"] == "/number"


async def test_a_request_that_was_refused_names_who_asked() -> None:
    test = WorkflowTest(leads())
    run = test.start(Order(number=3))
    with pytest.raises(RequestRefused):
        run.cancel(by="user:grace")

    refused = one(await reasons(test, run.id), "refused", "meshline.cancel.requested")

    assert refused.words.startswith(
        "user:grace asked (meshline.cancel.requested), and was refused: "
    )
    assert refused.data["asked_by"] == "user:grace"


# -- owners, skips -----------------------------------------------------------------------------


async def test_each_owner_has_a_definition_a_rule_with_its_values_or_a_person() -> None:
    test = WorkflowTest(leads())
    run = test.start(Order(number=30))
    run.hand_to("user:bob", "he knows them", by="user:ada")

    found = [r for r in await reasons(test, run.id) if r.question == "owner"]

    assert [(r.data["owner"], r.words) for r in found] == [
        ("team:orders", "team:orders, because orders version 1 names it"),
        ("team:large", "team:large, because the rule route says so"),
        ("user:bob", "user:bob, because user:ada decided so: he knows them"),
    ]
    assert [r.saw for r in found] == [None, {"trigger": {"number": 30}}, None]


async def test_a_skipped_step_names_its_condition_or_the_first_that_was_skipped() -> None:
    test = WorkflowTest(leads())
    run = test.start(Order(number=3))
    found = await reasons(test, run.id)

    assert told(found, "skipped") == [
        ("deal", "its condition does not hold: trigger.number > 10"),
        ("contract", "it needs deal, which was skipped"),
        ("archive", "it needs contract, which was skipped; deal was the first of them"),
    ]
    assert one(found, "skipped", "deal").saw == {"trigger": {"number": 3}}
    assert one(found, "skipped", "archive").data["first_skipped"] == "deal"


async def test_what_a_condition_saw_stands_nowhere_else() -> None:
    test = WorkflowTest(leads())
    run = test.start(Order(number=31_337), by="user:ada")
    run.approve("deal", by="user:bob")
    found = await reasons(test, run.id)

    assert not any("31337" in f"{r._replace(saw=None)}" for r in found)
    assert any("31337" in f"{r.saw}" for r in found)


# -- waits, what has not begun -----------------------------------------------------------------


async def test_a_wait_says_whose_it_is_and_what_has_not_begun_says_what_it_needs() -> None:
    test = WorkflowTest(leads())
    run = test.start(Order(number=30))
    found = await reasons(test, run.id)

    assert told(found, "waits") == [
        (
            "deal",
            "deal was asked of role:lead, and nobody has decided; then it goes to team:directors; "
            "since 2026-01-05 09:00:00 UTC, until 2026-01-05 13:00:00 UTC; whose: role:lead",
        )
    ]
    assert told(found, "not_begun") == [
        ("contract", "it needs deal, which is not decided"),
        ("archive", "it needs contract, which has not begun"),
        ("book", "it needs deal, which is not decided"),
    ]


async def test_an_escalated_approval_says_why_it_went_on() -> None:
    test = WorkflowTest(leads())
    run = test.start(Order(number=30))
    test.advance("5h")

    waits = one(await reasons(test, run.id), "waits", "deal")

    assert "it went on to team:directors, because the time was over" in waits.words
    assert waits.data["owner"] == "team:directors"


async def test_a_retry_says_what_failed_and_which_try_comes() -> None:
    test = WorkflowTest(leads())
    test.given("book", ConnectionError("no ledger"), Done(number=1))
    run = test.start(Order(number=3))
    waiting = await reasons(test, run.id)
    test.advance("1h")
    over = await reasons(test, run.id)

    assert "book failed with ConnectionError: no ledger; try 2 of 2 comes" in (
        one(waiting, "waits", "book").words
    )
    assert one(over, "again", "book").words == (
        "try 2: its retry policy says so; the last try failed: ConnectionError: no ledger"
    )
    assert told(over, "waits") == []


async def test_a_try_after_a_lost_worker_says_so() -> None:
    test = WorkflowTest(leads())
    test.given("book", crash, Done(number=1))
    run = test.start(Order(number=3))

    reason = one(await reasons(test, run.id), "again", "book")

    assert "the worker that was at it is gone" in reason.words


async def test_a_paused_run_says_who_paused_it_and_why() -> None:
    test = WorkflowTest(leads())
    run = test.start(Order(number=30))
    run.pause("the CRM is moved", by="user:ada")

    assert told(await reasons(test, run.id), "waits") == [
        ("run", "user:ada paused the run until it is resumed: the CRM is moved")
    ]


async def test_a_trigger_that_no_worker_has_answered_waits_for_one() -> None:
    test = WorkflowTest(leads())
    test.start(Order(number=3), id="7")
    answered = [r for r in test.records if decode(r.value).is_fact]
    del test.records[min(answered[-1].offset, len(test.records)) :]
    while decode(test.records[-1].value).is_fact:
        del test.records[-1]

    (reason,) = await reasons(test, run_id_of("shop.orders", "7"))

    assert reason.question == "waits"
    assert "no worker has answered yet" in reason.words


async def test_messages_timers_outside_workers_and_outside_people_are_waited_for_in_words() -> None:
    wf = new_workflow()
    wf.sleep("nap", "1d")
    wf.message("receipt")
    wf.step(outside=True, timeout="2d")(_weigh)

    @wf.step(after=["nap", "receipt", "weigh"])
    def finish(trigger: Order) -> Done:
        return Done(number=1)

    test = WorkflowTest(wf)
    run = test.start(Order())
    waits = dict(told(await reasons(test, run.id), "waits"))

    assert waits["nap"].startswith("nap sleeps, as its workflow says; since ")
    assert waits["receipt"].startswith("the message receipt has not come; ")
    assert "without an end of its own" in waits["receipt"]
    assert waits["weigh"].startswith("an outside worker is to do weigh, try 1, and has not")


def _weigh(trigger: Order) -> int:
    raise AssertionError


_weigh.__name__ = "weigh"


# -- exceptions, and the end -------------------------------------------------------------------


async def test_an_exception_says_what_it_is_about_where_it_went_and_how_it_was_closed() -> None:
    test = WorkflowTest(leads())
    test.given("book", ConnectionError("no ledger"))
    run = test.start(Order(number=3))
    test.advance("1h")
    held = await reasons(test, run.id)
    run.exception.assign("user:ada", "she knows the ledger")
    run.exception.skip({"number": 1}, "booked by hand")
    over = await reasons(test, run.id)

    opened = next(r for r in held if r.question == "exception")
    assert "It went to queue:triage by the exception route of the workflow" in opened.words
    assert (opened.data["kind"], opened.data["concerns"]) == ("step_failed", "book")
    assert "the exception step_failed about book is open" in told(held, "waits")[0][1]
    assert [words for _, words in told(over, "exception")][1:] == [
        "it went from queue:triage to user:ada, because user:tester decided so: she knows the "
        "ledger",
        "it is closed, because what it is about was skipped: booked by hand",
    ]
    assert one(over, "skipped", "book").words == (
        "user:tester decided so, with a value in its place: booked by hand"
    )


async def test_a_run_succeeded_because_of_the_step_that_gives_the_outcome() -> None:
    test = WorkflowTest(leads())
    run = test.start(Order(number=3))

    ended = one(await reasons(test, run.id), "ended", "run")

    assert ended.words == "succeeded, because book gave the outcome"


async def test_a_run_was_cancelled_because_somebody_asked_and_what_was_undone() -> None:
    wf = new_workflow()

    def unreserve(reserve: int) -> None:
        pass

    @wf.step(compensate=unreserve)
    def reserve(trigger: Order) -> int:
        return 1

    wf.sleep("nap", "1d", after="reserve")

    @wf.step(after="nap")
    def finish(reserve: int) -> Done:
        return Done(number=1)

    test = WorkflowTest(wf)
    run = test.start(Order())
    run.cancel("they withdrew", by="user:ada")
    found = await reasons(test, run.id)

    assert one(found, "ended", "run").words == (
        "cancelled, because user:ada asked for it: they withdrew; before that, it was undone: "
        "reserve"
    )
    assert told(found, "not_begun") == [("finish", "the run had ended before: it is cancelled")]


async def test_a_denied_approval_ends_a_run_and_is_its_reason() -> None:
    test = WorkflowTest(leads())
    run = test.start(Order(number=30))
    run.deny("deal", "too risky", by="user:bob")

    ended = one(await reasons(test, run.id), "ended", "run")

    assert ended.words == "cancelled, because deal was denied"
    assert "asked_by" not in ended.data


async def test_an_observed_run_is_explained_by_what_was_reported() -> None:
    wf = ObservedWorkflow(
        "permits", version=1, trigger=Order, source="city", owner="team:permits",
        exceptions="queue:permits", outcome="a permit",
    )  # fmt: skip

    @wf.observe
    def observe(activity: Activity, memo: Any) -> Observation:
        if activity.name == "closed":
            return Observation(ended="succeeded")
        return Observation(owner="team:review", waiting_on="applicant")

    test = WorkflowTest(wf)
    run = test.start(Order())
    run.observe("asked")
    waiting = await reasons(test, run.id)
    run.observe("closed")
    over = await reasons(test, run.id)

    assert "team:review, because" in told(waiting, "owner")[-1][1]
    assert "applicant must act, outside" in told(waiting, "waits")[0][1]
    assert one(over, "ended", "run").words == "succeeded, because closed was reported"


async def test_answers_stand_in_the_order_of_the_questions() -> None:
    test = WorkflowTest(leads())
    run = test.start(Order(number=30))

    asked = [reason.question for reason in await reasons(test, run.id)]

    assert asked == sorted(asked, key=list(QUESTIONS).index)
