"""The keeper protocol holds on random schedules, and the model finds each mistake in it."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest

from meshline.events.envelope import Event
from meshline.events.facts import Fact, PartitionClaimed, RunStarted, StepStarted
from meshline.events.fence import Fence
from meshline.events.requests import CancelRequested, Request
from tests.models.keeper_protocol import ProtocolBroken, Record, Rules, State
from tests.models.keeper_schedules import simulate

SEEDS = 1_500
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_protocol_holds_on_many_schedules() -> None:
    outcomes = [simulate(seed) for seed in range(SEEDS)]

    # The world was hard enough to say something.
    assert sum(outcome.void for outcome in outcomes) > SEEDS
    assert sum(outcome.claims for outcome in outcomes) > SEEDS
    assert sum(outcome.repeated_executions for outcome in outcomes) > SEEDS / 50


@pytest.mark.slow
def test_the_protocol_holds_on_very_many_schedules() -> None:
    for seed in range(SEEDS, 20_000):
        simulate(seed)


@pytest.mark.parametrize("rule", [field.name for field in fields(Rules)])
def test_without_one_of_its_rules_the_protocol_is_found_broken(rule: str) -> None:
    without = replace(Rules(), **{rule: False})

    with pytest.raises(ProtocolBroken):
        for seed in range(SEEDS):
            simulate(seed, without)


def test_a_schedule_is_its_seed() -> None:
    assert simulate(7).log == simulate(7).log


def event_of(record: Record) -> Event[Fact | Request]:
    data: Fact | Request = CancelRequested()
    if record.kind == "claim":
        data = PartitionClaimed(keeper=record.claim[0], reducer_version=1)
    elif not record.is_request:
        data = StepStarted(step="a", attempt=1)
    event: Event[Fact | Request] = Event("id", "source", "run", NOW, data, NOW)
    if isinstance(data, StepStarted | RunStarted):
        event = event._replace(epoch=record.epoch, sequence=record.sequence)
    return event


def test_the_models_rule_is_the_fence() -> None:
    for seed in range(100):
        model, fence = State(Rules()), Fence()

        for offset, record in enumerate(simulate(seed).log):
            assert fence.admits(event_of(record), offset) == model.admits(offset, record)
