"""What is around the core, broken once: the simulation of the whole system finds all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meshline.engine import snapshots
from meshline.engine.claims import Claims
from meshline.engine.clock_watch import ClockWatch
from meshline.engine.perform import Performer
from meshline.engine.worker import Worker
from meshline.events.publish.outbox import Outbox
from meshline.projections.intake import Intake
from meshline.projections.lane import Lane
from meshline.projections.projector import Projector
from meshline.projections.rows import Rows
from meshline.projections.view import View
from meshline.testing import Simulation
from tests.simulation.breaking import assert_found, break_code

pytestmark = pytest.mark.slow

SEEDS_MAX = 1_000

# What is broken: the function, a piece of it, what stands there instead, and the seed that found
# it last: it is tried first.
MUTANTS: dict[str, tuple[Callable[..., Any], str, str, int]] = {
    "a worker skips what others appended in between": (
        Worker._append, "advance(partition, keeper.state.next_offset)",
        "advance(partition, result.last + 1)", 3,
    ),
    "a worker keeps the partitions that it should give up": (
        Worker._follow_membership, "in set(self._held) - known:", "in ():", 170,
    ),
    "a worker reads a partition from its end on": (
        Worker._take, "self._reader.add(partition, keeper.state.next_offset)",
        "self._reader.add(partition, end)", 0,
    ),
    "a claim without an answer is waited for": (
        Claims._claim, "held.keeper.forget_claim()", "pass", 26,
    ),
    "a worker ends when the log does not answer": (
        Worker._end_of, "except LogUnavailable as error:", "except KeyError as error:", 15,
    ),
    "nobody looks whether the clock has jumped": (
        Worker._sweep, "self._mark(partition)\n        for", "pass\n        for", 19,
    ),
    "a claim says nothing of the clock": (
        ClockWatch.compare, "if self._off_max and", "if False and", 17,
    ),
    "a clock that jumps is not noticed": (
        ClockWatch.has_jumped, "self.jumps += not is_first", "pass", 17,
    ),
    "tries that gave an outcome are taken for under way": (
        Performer._forget, "self._under_way.tries.discard(trial.key)", "pass", 400,
    ),
    "a try makes no room for the next": (
        Performer._ended, "self._running -= 1", "pass", 0,
    ),
    "a refusal after a try without an answer is believed": (
        Outbox._append, "isinstance(result, Refused) and not in_doubt",
        "isinstance(result, Refused)", 46,
    ),
    "no answer is taken for a refusal": (
        Outbox._append, "_unknown(result.reason))\n            return\n        await",
        "AppendRefused(result.reason))\n            return\n        await", 3,
    ),
    "a batch is believed to stand together": (
        Outbox._appended, "if result.last - result.first + 1 == len(batch):",
        "if result := result.__class__(result.first, result.first + len(batch) - 1, True):", 224,
    ),
    "a snapshot with a part missing is used": (
        snapshots.load_state,
        "if (len(state.runs), len(state.ended)) !=", "if False and () !=", 171,
    ),
    "a snapshot forgets the number of the last fact": (
        snapshots.load_state, 'Fence(head["epoch"], head["sequence"])', 'Fence(head["epoch"])', 0,
    ),
    "known rows are not what was written": (
        Rows.written, "known.pop(key, None)\n            known[key] = row", "pass", 0,
    ),
    "what an event did before it lacked a row stands": (
        Rows.take_back, "place.pop()", "pass", 0,
    ),
    "a view takes in again what it has": (
        View._new_items, "if own > start:", "if False:", 42,
    ),
    "a view does not know how far it is": (
        View.committed, "self.checkpoints.update(change.after)", "pass", 0,
    ),
    "parked keys are forgotten at a restart": (
        View.__init__, "Parking(projection, store, installed.stopped)",
        "Parking(projection, store, ())", 0,
    ),
    "a checkpoint forgets its epoch": (
        Intake.checkpoint, "epoch=fence.epoch", "epoch=-1", 0,
    ),
    "the last record is taken in twice on resuming": (
        Lane._read, "records = records[1:]", "pass", 0,
    ),
    "a view in other hands is not asked for again": (
        Projector._acquire, "charge.try_at = now + self._settings.standby_poll_s",
        "charge.try_at = float('inf')", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_broken_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, old, new, found_by = MUTANTS[name]
    break_code(monkeypatch, function, old, new)

    assert_found(name, range(SEEDS_MAX), lambda seed: Simulation(seed=seed).run(), found_by)
