"""The protocol of the keeper: claim, propose, read back, act; and what to do when that fails."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from typing import Any

import pytest

from meshline.engine.core.draft import Outcome
from meshline.engine.core.effects import Effect, PerformStep
from meshline.engine.core.keeper import Keeper, KeeperLimits, UnderWay
from meshline.engine.core.reducer import fold
from meshline.engine.core.state import PartitionState
from meshline.engine.snapshots import dump_state, load_state
from meshline.events import facts
from meshline.events.codec import decode, encode
from meshline.events.envelope import Event
from meshline.events.errors import EventVersionUnknown
from meshline.events.ids import run_id_of
from meshline.events.log.protocol import Accepted, Entry, LogRecord, Refused, Unknown
from meshline.events.requests import TriggerReceived
from meshline.projections.intake import Intake
from meshline.projections.store import Checkpoint
from meshline.workflow import Registry
from tests.engine.core.workflows import Done, Order, new_workflow

NOW = datetime(2026, 3, 1, tzinfo=UTC)
UNKNOWN = Unknown("no answer")


def registry() -> Registry:
    wf = new_workflow()

    @wf.step
    def first(trigger: Order) -> int:
        return 1

    @wf.step
    def second(first: int) -> Done:
        return Done(number=first)

    return Registry(wf)


class Partition:
    """A log of one partition, and keepers on it."""

    def __init__(self) -> None:
        self.records: list[LogRecord] = []
        self.registry = registry()
        self.under_way = UnderWay()
        self._nonces = 0

    def put(self, *entries: Entry) -> Accepted:
        first = len(self.records)
        for entry in entries:
            self.records.append(LogRecord(0, len(self.records), entry.key, entry.value, 0))
        return Accepted(first, len(self.records) - 1, contiguous=True)

    def trigger(self, trigger_id: str = "t") -> str:
        run_id = run_id_of("shop.orders", trigger_id)
        data = TriggerReceived(source="shop.orders", trigger_id=trigger_id, payload={})
        self.put(Entry(run_id, encode(Event(trigger_id, "shop", run_id, NOW, data, NOW))))
        return run_id

    def keeper(self, name: str = "ann", **limits: int) -> Keeper:
        return Keeper(
            PartitionState(0), self.registry, name=name, source=name, under_way=self.under_way,
            limits=KeeperLimits(**limits),
        )  # fmt: skip

    def acting(self, name: str = "ann", **limits: int) -> Keeper:
        keeper = self.keeper(name, **limits)
        self.claim(keeper)
        self.read(keeper)
        return keeper

    def claim(self, keeper: Keeper) -> Entry:
        self._nonces += 1
        entry = keeper.claim(f"nonce-{self._nonces}", NOW)
        self.put(entry)
        return entry

    def read(self, keeper: Keeper) -> None:
        keeper.read(self.records[keeper.state.next_offset :])

    def say(self, keeper: Keeper) -> list[Any]:
        """Let the keeper propose and have it accepted; return the facts."""
        entries = keeper.propose(NOW)
        keeper.appended(self.put(*entries))
        return [decode(entry.value).data for entry in entries]

    def folded(self) -> PartitionState:
        state = PartitionState(0)
        for record in self.records:
            fold(state, decode(record.value), record.offset)
        return state


def names(found: list[Any]) -> list[str]:
    return [type(fact).__name__ for fact in found]


@pytest.fixture
def partition() -> Partition:
    return Partition()


# -- claiming ----------------------------------------------------------------------------------


def test_a_keeper_acts_only_after_it_has_read_its_own_claim(partition: Partition) -> None:
    partition.trigger()
    keeper = partition.keeper()
    assert (keeper.is_active, keeper.propose(NOW)) == (False, [])

    partition.claim(keeper)
    assert (keeper.is_claiming, keeper.propose(NOW)) == (True, [])
    partition.read(keeper)

    assert keeper.epoch == 1
    assert "TriggerAccepted" in names(partition.say(keeper))


def test_another_claim_makes_a_keeper_stand_down(partition: Partition) -> None:
    ann = partition.acting("ann")
    partition.acting("bea")
    partition.trigger()

    partition.read(ann)

    assert (ann.is_active, ann.propose(NOW), ann.next_wakeup()) == (False, [], None)


def test_a_claim_that_comes_twice_begins_a_new_epoch(partition: Partition) -> None:
    keeper = partition.keeper()
    entry = partition.claim(keeper)
    partition.read(keeper)
    partition.trigger()
    partition.read(keeper)
    proposed = keeper.propose(NOW)

    partition.put(entry)
    keeper.appended(partition.put(*proposed))
    partition.read(keeper)

    assert keeper.epoch == 2
    assert keeper.state.void_facts == len(proposed)
    assert names(partition.say(keeper))[-1] == "StepStarted"
    assert keeper.state == partition.folded()


def test_a_claim_that_was_forgotten_and_comes_late_does_not_count_as_its_own(
    partition: Partition,
) -> None:
    keeper = partition.keeper()
    late = keeper.claim("late", NOW)
    keeper.forget_claim()
    partition.claim(keeper)
    partition.read(keeper)

    partition.put(late)
    partition.read(keeper)

    assert not keeper.is_active
    assert not keeper.is_claiming


def test_a_keeper_reads_on_to_its_claim_however_much_is_asked_before(partition: Partition) -> None:
    for number in range(10):
        partition.trigger(f"t{number}")
    keeper = partition.keeper(requests_waiting_max=3)
    partition.claim(keeper)

    while keeper.wants_records and keeper.state.next_offset < len(partition.records):
        keeper.read(partition.records[keeper.state.next_offset :][:1])

    assert keeper.is_active
    assert not keeper.wants_records


def test_a_keeper_that_stood_down_reads_on_whatever_it_had_not_looked_at(
    partition: Partition,
) -> None:
    keeper = partition.acting(requests_waiting_max=3)
    for number in range(10):
        partition.trigger(f"t{number}")
    partition.read(keeper)
    assert not keeper.wants_records

    keeper.give_way()

    assert keeper.wants_records


# -- proposing and reading back ----------------------------------------------------------------


def test_nothing_is_done_before_it_is_read_back(partition: Partition) -> None:
    keeper = partition.acting()
    partition.trigger()
    partition.read(keeper)

    entries = keeper.propose(NOW)
    assert (keeper.is_proposing, keeper.take_effects(), keeper.state.runs) == (True, [], {})
    answer = partition.put(*entries)
    keeper.read(partition.records[keeper.state.next_offset : -1])
    assert keeper.take_effects() == []
    partition.read(keeper)

    assert [type(effect) for effect in keeper.take_effects()] == [PerformStep]
    keeper.appended(answer)
    assert not keeper.is_proposing
    assert keeper.state == partition.folded()


def test_an_answer_that_follows_the_last_record_read_is_as_good_as_reading_back(
    partition: Partition,
) -> None:
    keeper = partition.acting()
    partition.trigger()
    partition.read(keeper)

    partition.say(keeper)

    assert [type(effect) for effect in keeper.take_effects()] == [PerformStep]
    assert keeper.state == partition.folded()


@pytest.mark.parametrize("contiguous", [True, False])
def test_an_answer_behind_other_records_is_waited_for(
    partition: Partition, contiguous: bool
) -> None:
    keeper = partition.acting()
    partition.trigger()
    partition.read(keeper)
    entries = keeper.propose(NOW)
    if contiguous:
        partition.trigger("between")

    answer = partition.put(*entries)
    keeper.appended(Accepted(answer.first, answer.last, contiguous))

    assert keeper.take_effects() == []
    partition.read(keeper)
    assert len(keeper.take_effects()) == 1


def test_the_answer_to_an_old_append_is_not_taken_for_the_newers(partition: Partition) -> None:
    keeper = partition.acting()
    partition.trigger()
    partition.read(keeper)
    old = keeper.propose(NOW)

    partition.claim(keeper)
    partition.read(keeper)
    assert keeper.is_active
    assert keeper.propose(NOW) == []
    keeper.appended(partition.put(*old))
    partition.read(keeper)
    new = keeper.propose(NOW)
    keeper.appended(partition.put(*new))

    assert len(new) == len(old)
    assert keeper.state == partition.folded()


def test_an_answer_that_comes_after_reading_back_says_nothing_new(partition: Partition) -> None:
    keeper = partition.acting()
    partition.trigger()
    partition.read(keeper)
    partition.put(*keeper.propose(NOW))
    partition.read(keeper)

    keeper.appended(UNKNOWN)

    assert keeper.is_active
    assert len(keeper.take_effects()) == 1


@pytest.mark.parametrize("answer", [UNKNOWN, Refused("no")])
def test_without_an_acceptance_a_keeper_stands_down_and_claims_again(
    partition: Partition, answer: Any
) -> None:
    keeper = partition.acting()
    partition.trigger()
    partition.read(keeper)
    entries = keeper.propose(NOW)

    keeper.appended(answer)
    assert not keeper.is_active
    partition.claim(keeper)
    partition.put(*entries)  # too late: void
    partition.read(keeper)
    again = partition.say(keeper)

    assert names(again)[-1] == "StepStarted"
    assert keeper.state == partition.folded()


def test_what_came_through_without_an_answer_counts_once(partition: Partition) -> None:
    keeper = partition.acting()
    partition.trigger()
    partition.read(keeper)
    entries = keeper.propose(NOW)
    partition.put(*entries)

    keeper.appended(UNKNOWN)
    partition.claim(keeper)
    partition.read(keeper)

    assert keeper.state.void_facts == 0
    assert names(partition.say(keeper)) == ["StepStarted"]  # taken over
    assert len(keeper.state.runs) == 1


def test_a_lost_fact_makes_those_behind_it_void_and_the_keeper_stand_down(
    partition: Partition,
) -> None:
    keeper = partition.acting()
    partition.trigger()
    partition.read(keeper)
    entries = keeper.propose(NOW)

    partition.put(*entries[1:])
    partition.read(keeper)

    assert not keeper.is_active
    assert keeper.state.void_facts == len(entries) - 1


def test_facts_that_come_twice_change_nothing(partition: Partition) -> None:
    keeper = partition.acting()
    partition.trigger()
    partition.read(keeper)
    entries = keeper.propose(NOW)
    keeper.appended(partition.put(*entries))
    before = len(keeper.take_effects())

    partition.put(*entries)
    partition.read(keeper)

    assert keeper.is_active
    assert (before, keeper.take_effects()) == (1, [])
    assert keeper.state == partition.folded()


# -- outcomes ----------------------------------------------------------------------------------


def started(partition: Partition) -> tuple[Keeper, PerformStep]:
    keeper = partition.acting()
    partition.trigger()
    partition.read(keeper)
    partition.say(keeper)
    (effect,) = keeper.take_effects()
    assert isinstance(effect, PerformStep)
    return keeper, effect


def test_an_outcome_leads_to_what_is_next(partition: Partition) -> None:
    keeper, first = started(partition)

    keeper.outcome(Outcome(*first, 5, None))

    assert names(partition.say(keeper)) == ["StepSucceeded", "StepStarted"]
    assert keeper.take_effects() == [PerformStep(first.run_id, "second", 1)]


def test_the_first_outcome_of_a_try_counts(partition: Partition) -> None:
    keeper, first = started(partition)

    keeper.outcome(Outcome(*first, 5, None))
    keeper.outcome(Outcome(*first, 6, None))
    said = partition.say(keeper)

    assert names(said) == ["StepSucceeded", "StepStarted"]
    assert said[0].result == 5


def test_an_outcome_whose_append_had_no_answer_is_said_again_and_not_done_again(
    partition: Partition,
) -> None:
    keeper, first = started(partition)
    keeper.outcome(Outcome(*first, 5, None))
    keeper.propose(NOW)

    keeper.appended(UNKNOWN)
    partition.claim(keeper)
    partition.read(keeper)

    assert names(partition.say(keeper)) == ["StepSucceeded", "StepStarted"]


def test_an_outcome_that_came_through_without_an_answer_is_not_said_again(
    partition: Partition,
) -> None:
    keeper, first = started(partition)
    keeper.outcome(Outcome(*first, 5, None))
    partition.put(*keeper.propose(NOW))

    keeper.appended(UNKNOWN)
    partition.claim(keeper)
    partition.read(keeper)

    (again,) = partition.say(keeper)
    assert (again.step, again.attempt, again.why) == ("second", 2, "taken_over")


def test_a_keeper_that_gives_way_and_comes_back_says_what_it_had_proposed(
    partition: Partition,
) -> None:
    keeper, first = started(partition)
    keeper.outcome(Outcome(*first, 5, None))
    keeper.propose(NOW)

    keeper.give_way()
    keeper.appended(UNKNOWN)
    partition.claim(keeper)
    partition.read(keeper)

    assert names(partition.say(keeper)) == ["StepSucceeded", "StepStarted"]


def test_tries_of_which_the_outcomes_are_known_are_not_begun_again(partition: Partition) -> None:
    wf = new_workflow()

    @wf.step
    def left(trigger: Order) -> int:
        return 1

    @wf.step
    def right(trigger: Order) -> Done:
        return Done(number=1)

    partition.registry = Registry(wf)
    keeper = partition.acting()
    partition.trigger()
    partition.read(keeper)
    partition.say(keeper)
    tries = [effect for effect in keeper.take_effects() if isinstance(effect, PerformStep)]
    assert [effect.step for effect in tries] == ["left", "right"]

    keeper.give_way()
    for effect in tries:
        keeper.outcome(Outcome(*effect, {"number": 1}, None))
    partition.claim(keeper)
    partition.read(keeper)

    # The outcome of one step must not begin the other again, whose outcome is behind it.
    assert names(partition.say(keeper)) == ["StepSucceeded", "StepSucceeded", "RunSucceeded"]


def test_a_new_epoch_begins_again_what_an_older_one_began(partition: Partition) -> None:
    _, first = started(partition)

    bea = partition.acting("bea")
    (again,) = partition.say(bea)

    assert (again.why, again.attempt) == ("taken_over", 2)
    assert bea.take_effects() == [first._replace(attempt=2)]


def test_a_try_that_goes_on_in_the_same_process_is_left_alone(partition: Partition) -> None:
    keeper, first = started(partition)
    partition.under_way.tries.add((first.run_id, first.step, first.attempt))

    partition.claim(keeper)
    partition.read(keeper)

    assert partition.say(keeper) == []
    keeper.outcome(Outcome(*first, 5, None))
    assert names(partition.say(keeper)) == ["StepSucceeded", "StepStarted"]


def test_an_outcome_that_the_log_cannot_hold_is_a_failure(partition: Partition) -> None:
    keeper, first = started(partition)

    keeper.outcome(Outcome(*first, {"text": "\x00"}, None))
    said = partition.say(keeper)

    assert names(said)[0] == "StepFailed"
    assert (said[0].error.type, said[0].error.retryable) == ("ResultRefused", False)


def test_a_draining_keeper_says_what_came_out_and_begins_nothing(partition: Partition) -> None:
    keeper, first = started(partition)
    keeper.drain()
    partition.trigger("late")
    partition.read(keeper)

    keeper.outcome(Outcome(*first, 5, None))

    assert names(partition.say(keeper)) == ["StepSucceeded"]
    assert (keeper.has_work, keeper.propose(NOW)) == (False, [])


# -- snapshots ---------------------------------------------------------------------------------


def test_a_snapshot_in_the_making_is_not_changed_by_what_is_read_meanwhile(
    partition: Partition,
) -> None:
    keeper, first = started(partition)
    keeper.outcome(Outcome(*first, 5, None))
    partition.put(*keeper.propose(NOW))
    keeper.appended(UNKNOWN)
    before = load_state(dump_state(keeper.state))

    chunks = dump_state(keeper.state)
    head = next(chunks)
    partition.read(keeper)

    assert keeper.state.runs[first.run_id].nodes["first"].status == "succeeded"
    assert load_state(chain([head], chunks)) == before


# -- limits ------------------------------------------------------------------------------------


def test_a_proposal_stops_growing_at_its_limit_and_the_rest_follows(partition: Partition) -> None:
    for number in range(20):
        partition.trigger(f"t{number}")
    keeper = partition.acting(proposal_bytes_max=4_000)

    sizes = []
    while keeper.has_work:
        entries = keeper.propose(NOW)
        keeper.appended(partition.put(*entries))
        sizes.append(sum(len(entry.value) for entry in entries))

    assert len(sizes) > 3
    assert max(sizes) < 4_000 + 2_500
    assert len(keeper.state.runs) == 20


def test_a_proposal_looks_at_so_many_things(partition: Partition) -> None:
    for number in range(5):
        partition.trigger(f"t{number}")
    keeper = partition.acting(looked_at_max=2)

    assert names(partition.say(keeper)).count("TriggerAccepted") == 1  # and one registration
    assert names(partition.say(keeper)).count("TriggerAccepted") == 2
    assert keeper.has_work


# -- what does not belong there ----------------------------------------------------------------


def test_bytes_of_somebody_else_are_counted_and_passed_by(partition: Partition) -> None:
    keeper = partition.acting()
    partition.put(Entry("", b"hello"), Entry("", b'{"type":"x","data":{}}' * 0 + b"{}"))
    partition.trigger()

    partition.read(keeper)
    partition.say(keeper)

    assert keeper.unreadable_records == 2
    assert len(keeper.state.runs) == 1


def test_a_fact_that_cannot_be_read_takes_its_number_for_every_reader(
    partition: Partition,
) -> None:
    keeper = partition.acting()
    run_id = partition.trigger()
    partition.read(keeper)
    partition.say(keeper)
    assert keeper.epoch is not None
    number = keeper.state.fence.sequence + 1
    broken = Event("x", "ann", run_id, NOW, facts.RunPaused(reason="x"), NOW).numbered(
        keeper.epoch, number, "ann"
    )
    partition.put(Entry(run_id, encode(broken).replace(b'"reason":"x"', b'"reason":7')))
    partition.read(keeper)

    assert not keeper.is_active, "what it would say next would be void"
    partition.claim(keeper)
    partition.read(keeper)
    partition.trigger("another")
    partition.read(keeper)
    partition.say(keeper)

    start = {0: Checkpoint()}
    intake = Intake(start, {facts.RunStarted})
    intake.take(partition.records)
    read_by_views = intake.checkpoint(partition.records[-1])
    fence = keeper.state.fence
    assert (read_by_views.epoch, read_by_views.sequence) == (fence.epoch, fence.sequence)
    assert len(keeper.state.runs) == 2


def test_facts_of_a_newer_version_are_not_passed_by(partition: Partition) -> None:
    keeper = partition.acting()
    partition.trigger()
    value = partition.records[-1].value.replace(b"received.v1", b"received.v9")
    partition.put(Entry("", value))

    with pytest.raises(EventVersionUnknown):
        partition.read(keeper)
    assert keeper.state.next_offset == len(partition.records) - 1


def test_a_fact_without_an_epoch_never_counts(partition: Partition) -> None:
    keeper = partition.acting()
    run_id = partition.trigger()
    partition.read(keeper)
    partition.say(keeper)

    data = facts.RunCancelled(reason="by a stranger")
    partition.put(Entry(run_id, encode(Event("x", "stranger", run_id, NOW, data, NOW))))
    partition.read(keeper)

    assert keeper.state.runs[run_id].status == "running"
    assert keeper.state.void_facts == 1


def test_effects_are_given_once(partition: Partition) -> None:
    keeper, _ = started(partition)
    nothing: list[Effect] = []

    assert keeper.take_effects() == nothing
