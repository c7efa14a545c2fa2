"""Hostile steps in a worker's own process: each harms its run, and neither worker nor others."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from meshline.events import Publisher
from meshline.events.ids import run_id_of
from meshline.projections import exception_view, runs_view
from meshline.workflow.registry import Registry
from tests.acceptance.support.audit import audit
from tests.acceptance.support.fleet import Fleet
from tests.acceptance.support.places import Place, until
from tests.faults.support.hostile_app import ENDS, HARMS, SOURCE, hostile

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]

APP = "tests/faults/support/hostile_app.py"
STEPS = ("on_the_loop", "deaf", "in_a_thread")
SLOW = ("loops", "blocks", "vast", "hangs", "deaf")
COUNT = 4 * len(HARMS)
PATIENCE_S = 180.0


async def test_hostile_steps_harm_their_runs_only_and_the_worker_ends_in_order(
    place: Place, tmp_path: Path
) -> None:
    harms = {str(number): HARMS[number % len(HARMS)] for number in range(COUNT)}
    # Each of the slow ones once: the loop stands still for seconds for each that keeps it.
    harms |= {n: "none" for n, harm in harms.items() if int(n) >= len(HARMS) and harm in SLOW}
    where = ("--log", place.log, "--views", place.views)
    async with place.opened_log(2) as log, place.opened_views() as views:
        with Fleet(tmp_path) as fleet:
            worker = fleet.command("worker", "worker", APP, "--name", "the-only", *where)
            projector = fleet.command("projector", "projector", *where)
            worker.start()
            projector.start()
            await until("the views", PATIENCE_S, views.are_there)
            async with Publisher(log) as publisher:
                for number, harm in harms.items():
                    await publisher.publish(
                        SOURCE, {"number": int(number), "harm": harm}, trigger_id=number
                    )

            async def all_at_rest() -> bool:
                states: dict[str, int] = dict(
                    await views.query("select state, count(*) from {ns}.runs group by state")
                )
                return states.keys() <= {"held", "succeeded"} and sum(states.values()) == COUNT

            await until("all at rest", PATIENCE_S, all_at_rest, alive=[worker, projector])

            async def all_are_named() -> bool:
                said = worker.said()
                return all(f"Step {step!r} of run" in said for step in STEPS)

            await until("all steps named", PATIENCE_S, all_are_named)
            runs = {row.run_id: row for row in await views.rows(runs_view.runs)}
            exceptions = {row.run_id: row for row in await views.rows(exception_view.exceptions)}
            started = time.monotonic()
            assert worker.end() == 0, worker.said()[-3000:]
            took_s = time.monotonic() - started
            assert projector.end() == 0

        await audit(log, Registry(hostile))

    for number, harm in harms.items():
        run_id = run_id_of(SOURCE, number)
        assert runs[run_id].state == ("held" if ENDS[harm] else "succeeded"), harm
        if ENDS[harm]:
            assert exceptions[run_id].error["type"] == ENDS[harm], exceptions[run_id]
    # A thread that hangs and a task that does not listen are left behind, not waited for.
    assert took_s < 45
    said = worker.said()
    assert "Step 'on_the_loop' of run" in said
    assert said.count("goes on after its time-out") == 2
    assert "A step goes on although it was cancelled" in said
