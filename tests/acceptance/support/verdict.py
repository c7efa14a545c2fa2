"""What must hold of a log and its views when all is done, whatever happened on the way."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from meshline.engine.core.invariants import problems_of
from meshline.engine.postgres_snapshots import PostgresSnapshots
from meshline.events.log import EventLog
from meshline.projections.from_scratch import compare_views, fold_views
from meshline.workflow.registry import Registry
from tests.acceptance.support.audit import Audit, Execution, states_of_other_readers
from tests.acceptance.support.driven import driven
from tests.acceptance.support.driving import Orders
from tests.acceptance.support.places import Place, Views

__all__ = [
    "REGISTRY",
    "check_ends",
    "check_outcomes",
    "check_readers",
    "check_rest",
    "check_tries",
    "check_views",
]

REGISTRY = Registry(driven)


def check_ends(found: Audit, orders: Orders) -> None:
    """Every run stands as its definition says, and what is open has a wake-up or an exception."""
    assert found.statuses == orders.expected
    assert orders.statuses == {"appended": orders.count + len(range(0, orders.count, 20))}
    check_rest(found)


def check_rest(found: Audit) -> None:
    """Whatever is open has a wake-up or an exception; all workers have ended."""
    now = datetime.now(UTC)
    nothing = lambda run_id, step, attempt: False  # noqa: E731 - all workers have ended
    problems = [
        problem
        for state in found.states.values()
        for problem in problems_of(state, REGISTRY, now, under_way=nothing)
    ]
    assert problems == []


def check_outcomes(found: Audit, begun: Counter[Execution], ended: Counter[Execution]) -> None:
    """One outcome counts for each try and each step; nothing ran that the log does not say."""
    assert [each for each, count in found.outcomes.items() if count > 1] == []
    assert [each for each, count in found.started.items() if count > 1] == []
    assert [each for each, count in found.succeeded.items() if count > 1] == []
    assert [each for each, count in begun.items() if count > 1] == []
    assert begun.keys() - found.started.keys() == set()
    succeeded = {e for e in found.outcomes if found.succeeded[e.run_id, e.step]}
    assert {(e.run_id, e.step) for e in succeeded} <= {(e.run_id, e.step) for e in ended}


def check_tries(found: Audit) -> None:
    """No step failed more often than its policy allows; what is beyond was taken over."""
    tries = Counter((each.run_id, each.step) for each in found.started)
    for (run_id, step), count in tries.items():
        name = step.removeprefix("undo:")
        policy = driven.spec.nodes[name].retry  # type: ignore[attr-defined]
        failures, takeovers = found.failed[run_id, step], found.takeovers[run_id, step]
        assert failures <= policy.maximum_attempts
        assert count <= failures + takeovers + 1
        assert takeovers < max(found.claims.values())


async def check_readers(found: Audit, place: Place, log: EventLog, seed: int) -> None:
    """Whoever reads the log comes to the same state: in batches, or from a snapshot on."""
    snapshots = PostgresSnapshots(place.snapshots, log.identity.log_id)
    await snapshots.open()
    try:
        others = await states_of_other_readers(found, REGISTRY, snapshots, seed)
    finally:
        await snapshots.aclose()
    for name, state in others:
        assert state == found.states[state.partition], name


async def check_views(log: EventLog, views: Views) -> None:
    assert await views.parked() == []
    assert await compare_views(views.store, await fold_views(log)) == []
