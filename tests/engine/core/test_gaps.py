"""What the definition demands is said; by the next keeper, if the one before did not come to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from meshline.engine.core import nodes
from meshline.engine.core.keeper import Keeper, KeeperLimits
from meshline.engine.core.state import PartitionState
from meshline.events import facts
from meshline.events.codec import decode
from meshline.events.log.protocol import Accepted, LogRecord
from meshline.testing import RequestRefused, WorkflowTest
from meshline.workflow import Registry, Workflow
from tests.engine.core.workflows import Done, Order, new_workflow


def napping(**changed: Any) -> Workflow:
    wf = new_workflow(**changed)
    wf.sleep("nap", "2d")

    @wf.step(after="nap")
    def work(trigger: Order) -> Done:
        return Done(number=trigger.number)

    return wf


# -- no worker ---------------------------------------------------------------------------------


def test_a_run_that_no_worker_knows_is_held_by_an_exception_until_one_comes() -> None:
    wf = napping()
    test = WorkflowTest(wf)
    run = test.start(Order())

    test.replace()
    assert (run.state, run.exception.kind, run.exception.owner) == (
        "held", "no_worker", "queue:triage",
    )  # fmt: skip
    test.advance("3d")
    assert len(run.exceptions) == 1
    assert run.problems == []
    test.replace(wf)

    assert (run.state, run.exceptions) == ("succeeded", [])


def test_a_run_that_no_worker_knows_can_only_be_given_up() -> None:
    test = WorkflowTest(napping())
    run = test.start(Order())
    test.replace()

    with pytest.raises(RequestRefused, match="no_worker"):
        run.pause()
    run.exception.assign("user:ada")
    assert [(w.kind, w.owner) for w in run.waits] == [
        ("timer", "team:orders"), ("exception", "user:ada"),
    ]  # fmt: skip
    run.cancel("nobody will come")

    assert (run.state, run.exceptions) == ("cancelled", [])


def test_what_no_worker_can_undo_is_not_given_up() -> None:
    wf = new_workflow()

    def release(result: int) -> None: ...

    @wf.step(compensate=release)
    def reserve(trigger: Order) -> int:
        return trigger.number

    wf.sleep("nap", "2d", after="reserve")

    @wf.step(after="nap")
    def work(reserve: int) -> Done:
        return Done(number=reserve)

    test = WorkflowTest(wf)
    run = test.start(Order())
    test.replace()

    with pytest.raises(RequestRefused, match=r"no_worker.*undo what is done"):
        run.cancel()
    test.replace(wf)
    run.cancel()

    assert (run.state, run.steps) == ("cancelled", ["reserve", "undo:reserve"])


# -- being late --------------------------------------------------------------------------------


def test_a_run_that_is_late_is_seen_once_and_goes_on() -> None:
    test = WorkflowTest(napping(due="1d"))
    run = test.start(Order())

    test.advance("30h")
    assert (run.exception.kind, run.exception.blocking, run.state) == ("overdue", False, "waiting")
    assert "Expected Done by 2026-01-06 09:00 UTC" in run.exception.message
    test.advance("1d")

    assert (run.state, run.exceptions) == ("succeeded", [])
    assert sum(isinstance(fact, facts.ExceptionOpened) for fact in run.history) == 1


def test_a_run_that_ends_in_time_is_never_late() -> None:
    test = WorkflowTest(napping(due="3d"))
    run = test.start(Order())

    test.advance("30d")

    assert not any(isinstance(fact, facts.ExceptionOpened) for fact in run.history)


# -- half done ---------------------------------------------------------------------------------


def cut_off(test: WorkflowTest, after: type[Any]) -> list[LogRecord]:
    """Return the log up to the first fact of this kind, as if no more had come through."""
    for record in test.records:
        if isinstance(decode(record.value).data, after):
            return test.records[: record.offset + 1]
    raise AssertionError(f"no {after.__name__}")


def continued(records: list[LogRecord], registry: Registry, test: WorkflowTest) -> Keeper:
    """Return another keeper that took over, and said all that it had to say."""
    keeper = Keeper(PartitionState(0), registry, name="next", source="next")
    records = list(records)

    def append(value: bytes) -> None:
        records.append(LogRecord(0, len(records), "", value, 0))

    append(keeper.claim("nonce", test.now).value)
    keeper.read(records)
    while entries := keeper.propose(test.now):
        for entry in entries:
            append(entry.value)
        keeper.read(records[keeper.state.next_offset :])
        keeper.appended(Accepted(0, 0, contiguous=False))
    return keeper


def test_an_accepted_trigger_is_started_by_the_next_keeper() -> None:
    test = WorkflowTest(napping())
    run = test.start(Order())
    records = cut_off(test, facts.TriggerAccepted)

    keeper = continued(records, test.registry, test)

    assert keeper.state.runs[run.id].status == "waiting"


def test_an_accepted_trigger_that_the_next_keeper_cannot_start_is_seen_and_can_be_given_up() -> (
    None
):
    test = WorkflowTest(napping())
    run = test.start(Order())
    records = cut_off(test, facts.TriggerAccepted)

    state = continued(records, Registry(), test).state.runs[run.id]

    assert state.status == "accepted"
    (opened,) = (state.exceptions or {}).values()
    assert (opened.kind, opened.owner) == ("no_worker", "queue:triage")


def test_what_was_asked_of_a_run_that_is_half_begun_is_not_lost() -> None:
    wf = new_workflow()
    wf.message("paid")

    @wf.step(after="paid")
    def work(trigger: Order) -> Done:
        return Done(number=1)

    test = WorkflowTest(wf)
    run = test.start(Order())
    records = cut_off(test, facts.TriggerAccepted)
    run.send("paid")
    (asked,) = [r for r in test.records if b"message.received" in r.value]
    records.append(asked._replace(offset=len(records)))

    keeper = continued(records, test.registry, test)

    assert keeper.state.runs[run.id].nodes["paid"].status == "succeeded"


def test_an_approval_that_expired_half_way_still_opens_its_exception_once() -> None:
    wf = new_workflow()
    wf.approval("deal", by="role:lead", due="1h")

    @wf.step(after="deal")
    def work(trigger: Order) -> Done:
        return Done(number=1)

    test = WorkflowTest(wf)
    run = test.start(Order())
    test.advance("2h")

    for kind in (facts.ExceptionOpened, facts.ApprovalExpired):
        keeper = continued(cut_off(test, kind), test.registry, test)
        state = keeper.state.runs[run.id]
        assert [e.kind for e in (state.exceptions or {}).values()] == ["approval_expired"]
        assert state.nodes["deal"].at is None


@pytest.mark.parametrize("cut", range(1, 20))
def test_wherever_a_keeper_stops_the_next_one_finishes(cut: int) -> None:
    wf = napping()
    test = WorkflowTest(wf)
    run = test.start(Order())
    test.advance("3d")
    whole = test.records
    assert len(whole) >= 10

    keeper = continued(whole[: min(cut, len(whole))], test.registry, test)

    # Up to the step, which nobody performs here.
    state = keeper.state.runs.get(run.id)
    if cut >= 5 and state is not None:
        assert state.nodes.keys() == {"nap", "work"} or state.nodes.keys() == {"nap"}
    assert keeper.state.pending == {}


# -- poison ------------------------------------------------------------------------------------


def test_a_run_that_cannot_be_decided_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    wf = napping()
    test = WorkflowTest(wf)
    bad, good = test.start(Order(number=13)), test.start(Order(number=1))

    def fragile(spec: Any, run: Any, node: Any, moment: Any) -> Any:
        if run.run_id == bad.id and node.name == "work":
            raise RuntimeError("a mistake in the engine")
        return nodes.begin(spec, run, node, moment)

    monkeypatch.setattr("meshline.engine.core.gaps.begin", fragile)
    test.advance("3d")

    assert good.state == "succeeded"
    assert (bad.exception.kind, bad.exception.said.severity) == ("undecidable", "critical")
    assert "a mistake in the engine" in bad.exception.message
    monkeypatch.undo()
    test.restart()
    assert bad.state == "succeeded"


def test_many_runs_that_are_due_at_once_are_all_looked_at() -> None:
    test = WorkflowTest(napping())
    runs = [test.start(Order()) for _ in range(30)]
    test._keeper._limits = KeeperLimits(looked_at_max=7, proposal_bytes_max=2_000)

    test.advance(timedelta(days=2))

    assert {run.state for run in runs} == {"succeeded"}
