"""What is asked about an event that a view has parked is answered, and changes no run."""

from __future__ import annotations

from typing import Any

import pytest

from meshline.engine.core.keeper import Keeper
from meshline.events import facts
from meshline.events.codec import decode, encode
from meshline.events.envelope import Actor, Event
from meshline.events.facts import ParkedEventRetried, ParkedEventSkipped, RequestRejected
from meshline.events.log.protocol import Entry
from meshline.events.requests import ParkedActionRequested
from meshline.testing import RequestRefused, RunUnderTest, WorkflowTest
from tests.engine.core.test_answers import held, orders
from tests.engine.core.test_keeper import NOW, Partition
from tests.engine.core.workflows import Order

ADA = Actor("user", "user:ada")


def wish(**changed: Any) -> ParkedActionRequested:
    values: dict[str, Any] = {
        "view": "runs", "partition": 0, "offset": 1, "action": "retry", "reason": "mended",
    }  # fmt: skip
    return ParkedActionRequested(**values | changed)


def running() -> RunUnderTest:
    return WorkflowTest(orders()).start(Order())


def paused() -> RunUnderTest:
    return running().pause()


def ended() -> RunUnderTest:
    return running().cancel("enough")


def ended_with_an_open_exception() -> RunUnderTest:
    return held()[1].cancel("enough")


@pytest.mark.parametrize(
    "begin", [running, paused, lambda: held()[1], ended, ended_with_an_open_exception]
)
@pytest.mark.parametrize("action", ["retry", "skip"])
def test_the_run_stays_as_it_is_and_its_history_tells(begin: Any, action: str) -> None:
    run: RunUnderTest = begin()
    test, run_id = run._test, run.id
    kept = test.state.runs.get(run_id)
    before, ended_before = kept and kept.copy(), test.state.ended.get(run_id)
    count = len(run.history)

    run.ask(wish(action=action), by=ADA.id)

    kind = ParkedEventRetried if action == "retry" else ParkedEventSkipped
    assert run.history[count:] == [kind(view="runs", partition=0, offset=1, reason="mended")]
    assert test.facts(run_id)[-1].actor == ADA
    assert (test.state.runs.get(run_id), test.state.ended.get(run_id)) == (before, ended_before)
    assert run.problems == []
    test.restart()
    assert test.state.runs.get(run_id) == before


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"partition": 1}, "other_partition"),
        ({"offset": 10**6}, "unknown_position"),
        ({"offset": -1}, "unknown_position"),
        ({"view": ""}, "unknown_view"),
        ({"action": "skip", "reason": " "}, "reason_missing"),
    ],
)
def test_what_no_view_could_act_on_is_refused(wrong: dict[str, Any], code: str) -> None:
    run = running()

    with pytest.raises(RequestRefused) as refused:
        run.ask(wish(**wrong))

    assert refused.value.code == code
    assert isinstance(run.history[-1], RequestRejected)


@pytest.fixture
def partition() -> Partition:
    return Partition()


def asked(partition: Partition, keeper: Keeper, subject: str, **changed: Any) -> Event[Any]:
    """Append the wish about what stands at the subject's place, and return the answer."""
    event = Event("wish", "test", subject, NOW, wish(**changed), NOW, actor=ADA)
    partition.put(Entry(subject, encode(event)))
    partition.read(keeper)
    entries = keeper.propose(NOW)
    keeper.appended(partition.put(*entries))
    (answer,) = (decode(entry.value) for entry in entries)
    return answer


@pytest.mark.parametrize("subject", ["", "workflow:orders", "somebody else's bytes"])
def test_the_event_may_be_of_no_run(partition: Partition, subject: str) -> None:
    keeper = partition.acting()
    partition.say(keeper)

    answer = asked(partition, keeper, subject, action="skip", reason="no event of ours")

    assert answer.subject == subject
    assert isinstance(answer.data, facts.ParkedEventSkipped)
    assert partition.folded().pending == {}
    assert partition.folded().runs == partition.folded().ended == {}


def test_a_wish_about_itself_is_refused(partition: Partition) -> None:
    keeper = partition.acting()
    partition.say(keeper)

    answer = asked(partition, keeper, "", offset=len(partition.records))

    assert isinstance(answer.data, RequestRejected) and answer.data.code == "unknown_position"


def test_a_run_of_a_workflow_that_no_worker_has_is_answered_too(partition: Partition) -> None:
    keeper = partition.acting()
    run_id = partition.trigger()
    partition.read(keeper)
    while partition.say(keeper):
        partition.read(keeper)
    keeper.replace_registry(type(partition.registry)())
    while partition.say(keeper):
        pass

    answer = asked(partition, keeper, run_id)

    assert isinstance(answer.data, ParkedEventRetried)
