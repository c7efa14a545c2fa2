"""Each rule of the core, broken once: the simulation finds all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meshline.engine import snapshots
from meshline.engine.core import (
    answers,
    appliers,
    business,
    cause_actions,
    decider,
    endings,
    exception_actions,
    gaps,
    nodes,
    observing,
    reducer,
    retry,
    tasks,
    triggers,
    waits,
)
from meshline.engine.core.draft import Draft
from meshline.engine.core.keeper import Keeper
from meshline.events.fence import Fence
from meshline.events.people import People
from meshline.testing.keeper_simulation import simulate_keeper
from tests.simulation.breaking import assert_found, break_code

pytestmark = pytest.mark.slow

SEEDS_MAX = 1_000

# What is broken: the function, a piece of it, and what stands there instead.
MUTANTS: dict[str, tuple[Callable[..., Any] | property, str, str]] = {
    "facts of an old epoch count": (
        Fence.admits_numbers, "epoch != self.epoch or ", "",
    ),
    "facts behind a lost one count": (
        Fence.admits_numbers, " or sequence != self.sequence + 1", "",
    ),
    "a keeper acts on when another has claimed": (
        Keeper._read_claim, "elif not mine and self.epoch is not None:", "elif False:",
    ),
    "a keeper goes on without an answer": (
        Keeper.appended, "if not isinstance(result, Accepted):\n        self._stand_down()\n",
        "if not isinstance(result, Accepted):\n",
    ),
    "an answer is believed though records lie between": (
        Keeper.appended, "and result.first == self.state.next_offset", "",
    ),
    "what is pending is not looked at by the next keeper": (
        Keeper._take_over, "deque(self.state.pending)", "deque()",
    ),
    "open runs are not looked at by the next keeper": (
        Keeper.registry_changed, "self._looked_at |= dict.fromkeys(self.state.runs)", "pass",
    ),
    "a keeper stops reading before its own claim": (
        Keeper.wants_records, "not self.is_active\n", "False\n",
    ),
    "outcomes are taken into the state before they are said": (
        Draft._run, "run.copy()", "run",
    ),
    "a started step is never taken over": (
        nodes._started, "elif state.epoch != moment.epoch", "elif False",
    ),
    "a step is taken over again and again": (
        nodes._started, "state.epoch != moment.epoch and", "",
    ),
    "any outcome counts": (
        decider.decide_outcome, " or node.attempt != attempt", "",
    ),
    "a second outcome counts": (
        decider.decide_outcome, ' or node.status != "started"', "",
    ),
    "retries have no end": (
        retry.may_retry, "failures < policy.maximum_attempts", "True",
    ),
    "what a step says on purpose is tried again": (
        nodes._failed, "if error.business is not None:",
        "if error.business is not None and state.failures > 1:",
    ),
    "what a step says on purpose goes where all goes": (
        business.open_business, "route=case.route, owner=case.owner,", "",
    ),
    "what holds a step is dismissed": (
        exception_actions._dismiss, "_not_to_be_closed(opened, request, cause) or", "",
    ),
    "a cause is mended without a word": (
        cause_actions.answer_cause, "if not data.reason.strip():", "if False:",
    ),
    "what is retried can be opened again": (
        appliers._exception_resolved, "if not found.blocking:", "if True:",
    ),
    "what is opened again stays closed as well": (
        appliers._exception_reopened, "if name != data.exception_id", "",
    ),
    "retries come early": (
        nodes.close_node, 'case "retrying" if due and', 'case "retrying" if',
    ),
    "sleeps end early": (
        nodes.close_node, 'case "sleeping" if due', 'case "sleeping"',
    ),
    "approvals are handed on early": (
        tasks.close_task,
        "state.at > moment.now:\n            return\n        elif task.due_at is not None and "
        "moment.now < task.due_at:\n"
        "            yield _reminded(run, node, state, task.due_at, moment)",
        "False:\n            return",
    ),
    "nobody wakes up": (
        waits.next_wakeup, "return min(moments, default=None)", "return None",
    ),
    "waits are not said": (
        gaps._come_to_rest, "yield Decision(facts.RunWaiting(waits=as_waits(waits)))", "pass",
    ),
    "an owner who changes is not said to wait": (
        gaps._come_to_rest, "and waits == run.waits", "",
    ),
    "exceptions are not closed": (
        gaps._settle_exceptions, "if how is not None:", "if False:",
    ),
    "a failed step is nobody's": (
        nodes._failed, "yield open_exception(\n", "return\n    yield open_exception(\n",
    ),
    "undoing goes forward": (
        endings.end_run, "tuple(reversed(done))", "tuple(done)",
    ),
    "a run that is to be undone goes on": (
        gaps._go_back, "while run.undo is not None and run.undo.steps:", "while False:",
    ),
    "a paused run goes on": (
        gaps._move_on, 'if run.status == "paused":', "if False:",
    ),
    "anybody may decide": (
        People.through, "or each == user", "or True",
    ),
    "a person's retry ignores the pause": (
        answers._retry, 'if run.status == "paused":', "if False:",
    ),
    "ended runs are forgotten": (
        reducer.keep, "state.ended[run.run_id] = ended_of(run)", "pass",
    ),
    "a repeated trigger starts again": (
        triggers.answer_trigger, "known = run.payload_hash if run is not None else", "known =",
    ),
    "answered requests stay": (
        Keeper._complete, "state.pending.pop(event.causation_id, None)", "pass",
    ),
    "a report is known before it came": (
        observing.observe, "report_key(request.id) in run.seen", "run.seen",
    ),
    "snapshots forget exceptions": (
        snapshots._load_run, 'for name in ("exceptions", "closed"):', "for name in ():",
    ),
}  # fmt: skip

# What few seeds find, and the seed that found it last.
FOUND_BY = {
    "what holds a step is dismissed": 498,
    "open runs are not looked at by the next keeper": 100,
    "a keeper goes on without an answer": 85,
    "any outcome counts": 63,
    "undoing goes forward": 54,
    "an owner who changes is not said to wait": 40,
}


@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_broken_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, old, new = MUTANTS[name]
    break_code(monkeypatch, function, old, new)

    assert_found(name, range(SEEDS_MAX), simulate_keeper, FOUND_BY.get(name, 0))
