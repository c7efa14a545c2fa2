"""All readers of one log believe the same, however they read it; logs come out of simulations."""

from __future__ import annotations

from functools import cache
from random import Random

import pytest

from meshline.engine.core.keeper import Keeper
from meshline.engine.core.reducer import fold
from meshline.engine.core.state import PartitionState
from meshline.engine.snapshots import dump_state, load_state
from meshline.events.codec import decode, encode
from meshline.events.facts import PartitionClaimed
from meshline.events.fence import Fence
from meshline.events.log.protocol import LogRecord
from meshline.testing.keeper_simulation import KeeperSimulation
from meshline.workflow import Registry

SEEDS = range(1000, 1015)


@cache
def records_of(seed: int) -> list[LogRecord]:
    """Return a log with two keepers' quarrels in it; the same for the same seed."""
    simulation = KeeperSimulation(Random(seed), steps=300)
    simulation.run()
    return simulation.log.records


def folded(records: list[LogRecord], state: PartitionState | None = None) -> PartitionState:
    state = state or PartitionState(0)
    for record in records:
        fold(state, decode(record.value), record.offset)
    return state


def renumbered(records: list[LogRecord]) -> list[LogRecord]:
    return [record._replace(offset=offset) for offset, record in enumerate(records)]


def beliefs(state: PartitionState) -> object:
    """Return all that does not depend on where records stand."""
    return state.runs, state.ended, list(state.pending.values()), state.registered


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_a_standby_keeper_believes_what_the_log_says_in_any_batch_size(
    seed: int, batch: int
) -> None:
    records = records_of(seed)
    keeper = Keeper(PartitionState(0), Registry(), name="standby", source="test")

    for first in range(0, len(records), batch):
        keeper.read(records[first : first + batch])

    assert keeper.state == folded(records)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reader_that_restarts_at_every_record_believes_the_same(seed: int) -> None:
    records = records_of(seed)
    state = PartitionState(0)

    for record in records:
        state = load_state(dump_state(state))
        fold(state, decode(record.value), record.offset)

    assert state == folded(records)
    for run_id, run in folded(records).runs.items():
        assert list(state.runs[run_id].nodes) == list(run.nodes), "the order of nodes is kept"


def test_a_snapshot_with_a_part_missing_is_not_taken_for_whole() -> None:
    cut = 0
    for seed in SEEDS:
        chunks = list(dump_state(folded(records_of(seed))))
        for count in range(1, len(chunks)):
            cut += 1
            with pytest.raises(ValueError, match="Part of it is missing"):
                load_state(iter(chunks[:count]))

    assert cut > 5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reader_that_reads_again_from_anywhere_changes_nothing(seed: int) -> None:
    records = records_of(seed)
    keeper = Keeper(folded(records), Registry(), name="standby", source="test")

    keeper.read(records[Random(seed).randrange(len(records)) :])

    assert keeper.state == folded(records)


def with_fence(records: list[LogRecord]) -> list[tuple[LogRecord, bool]]:
    """Return each record and whether it is a fact that does not count."""
    fence = Fence()
    return [(r, not fence.admits(decode(r.value), r.offset)) for r in records]


@pytest.mark.parametrize("seed", SEEDS)
def test_facts_that_come_once_more_change_nothing(seed: int) -> None:
    records = records_of(seed)
    random = Random(seed)
    state = PartitionState(0)
    offset = 0

    # Epochs are offsets: facts are written again with the epoch that their claim now has.
    epochs: dict[int, int] = {}
    repeated = 0
    for record in records:
        event = decode(record.value)
        if isinstance(event.data, PartitionClaimed):
            epochs[record.offset] = offset
        if event.epoch in epochs:
            assert event.epoch is not None
            assert event.sequence is not None
            event = event.numbered(epochs[event.epoch], event.sequence, event.source)
        fold(state, event, offset)
        offset += 1
        if event.is_fact and random.random() < 0.3:
            fold(state, decode(encode(event)), offset)
            offset += 1
            repeated += 1

    assert repeated > 0
    plain = folded(records)
    assert {r.run_id: r.status for r in state.runs.values()} == {
        r.run_id: r.status for r in plain.runs.values()
    }
    assert state.ended == plain.ended
    assert state.void_facts >= plain.void_facts + repeated


@pytest.mark.parametrize("seed", SEEDS)
def test_void_facts_change_nothing(seed: int) -> None:
    state = PartitionState(0)
    void = 0

    for record, is_void in with_fence(records_of(seed)):
        before = load_state(dump_state(state)) if is_void else None
        fold(state, decode(record.value), record.offset)
        if before is not None:
            void += 1
            assert beliefs(state) == beliefs(before)

    assert state.void_facts == void


def test_the_logs_have_void_facts_in_them() -> None:
    assert sum(folded(records_of(seed)).void_facts for seed in SEEDS) > 20
