"""What must hold of a log and its views when all is done, whatever happened on the way."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from meshline.cli.verify import checkpoint_probes
from meshline.engine.postgres_snapshots import PostgresSnapshots
from meshline.engine.verify import LogCheck
from meshline.events.log import EventLog
from meshline.projections.from_scratch import compare_views, fold_views
from meshline.projections.verify import check_books
from meshline.workflow.registry import Registry
from tests.acceptance.support.audit import Audit, Execution, states_in_batches
from tests.acceptance.support.driven import driven
from tests.acceptance.support.driving import Orders
from tests.acceptance.support.places import Place, Views

__all__ = [
    "REGISTRY",
    "check_ends",
    "check_outcomes",
    "check_readers",
    "check_views",
]

REGISTRY = Registry(driven)


def check_ends(found: Audit, orders: Orders) -> None:
    """Every run stands as its definition says, and nothing breaks an invariant."""
    assert found.violations == []
    assert found.statuses == orders.expected
    assert orders.statuses == {"appended": orders.count + len(range(0, orders.count, 20))}


def check_outcomes(found: Audit, begun: Counter[Execution], ended: Counter[Execution]) -> None:
    """Nothing ran that the log does not say, and what it says ended did end."""
    assert found.violations == []
    assert [each for each, count in begun.items() if count > 1] == []
    assert begun.keys() - found.started.keys() == set()
    succeeded = {e for e in found.outcomes if found.succeeded[e.run_id, e.step]}
    assert {(e.run_id, e.step) for e in succeeded} <= {(e.run_id, e.step) for e in ended}


async def check_readers(found: Audit, place: Place, log: EventLog, seed: int) -> None:
    """Whoever reads the log comes to the same state: in batches, or from a snapshot on."""
    for state in states_in_batches(found, REGISTRY, seed):
        assert state == found.states[state.partition]
    snapshots = PostgresSnapshots(place.snapshots, log.identity.log_id)
    await snapshots.open()
    try:
        check = LogCheck(log, REGISTRY, datetime.now(UTC), snapshots=snapshots)
        assert [each async for each in check.run() if each.severity == "error"] == []
    finally:
        await snapshots.aclose()


async def check_views(log: EventLog, views: Views) -> None:
    """The views' places in the log are what projectors write, and their rows what it makes."""
    statuses = await views.store.status()
    assert [*check_books(statuses, log.identity.log_id)] == []
    check = LogCheck(log, None, datetime.now(UTC), probes=checkpoint_probes(statuses))
    assert [each async for each in check.run() if each.severity == "error"] == []
    assert await compare_views(views.store, await fold_views(log)) == []
