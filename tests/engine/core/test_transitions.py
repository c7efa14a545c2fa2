"""Every pair of a status and a fact, with data that fits and with junk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshline.engine.core.people import PEOPLE_FACTS
from meshline.engine.core.reducer import evolve
from meshline.engine.core.state import (
    ENDED,
    OPEN,
    NodeState,
    NodeStatus,
    OpenException,
    RunState,
    RunStatus,
    Undo,
    WaitTuple,
)
from meshline.engine.core.transitions import SAME, STATUSES, TRANSITIONS, never
from meshline.events import facts, requests
from meshline.events.catalogue import CATALOGUE
from meshline.events.envelope import Event
from meshline.events.facts import Fact
from meshline.events.requests import StepError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WAIT = facts.Wait(kind="timer", about="n", since=NOW, until=NOW, owner="team:a")
ERROR = StepError(type="Boom", message="it broke")

# Facts about the partition and not about a run; and the one that makes a run.
NOT_ABOUT_A_RUN = {
    facts.LogCreated,
    facts.PartitionClaimed,
    facts.WorkflowRegistered,
    facts.TriggerAccepted,
    *PEOPLE_FACTS,
}
ALL_FACTS = sorted((c for c in CATALOGUE.values() if issubclass(c, Fact)), key=lambda c: c.__name__)
PAIRS = list(product(STATUSES, ALL_FACTS))

# A value for each name that a fact has a field of.
VALUES: dict[str, Any] = {
    "log_id": "l", "partition": 0, "partitions": 1, "keeper": "k", "reducer_version": 1,
    "workflow": "w", "version": 1, "spec_hash": "h", "spec": {}, "request": "r", "code": "invalid",
    "reason": "why", "source": "s", "trigger_id": "t", "trigger_type": "T", "payload_hash": "p",
    "owner": "team:b", "exception_route": "queue:q", "expected_outcome": "o", "waits": (WAIT,),
    "then": "failed", "steps": ("n",), "step": "n", "attempt": 1, "error": ERROR, "at": NOW,
    "delay_s": 1.0, "why": "ready", "timer": "n", "message": "n", "activity": "a", "approval": "n",
    "by": "user:ada", "previous": "team:a", "exception_id": "e", "kind": "step_failed",
    "about": "n", "action": "a", "route": "queue:q", "severity": "high", "cause": "c",
    "blocking": True,
    "how": "retried", "count": 2, "view": "runs", "offset": 1, "number": 1, "directory_hash": "h",
    "in_version": 2, "directory": {}, "votes": 1, "of": 2, "task": "n", "due_at": NOW,
    "assignee": "user:ada", "delegate": "user:bob", "text": "well",
    "user": "user:ada", "since": NOW, "until": NOW, "requested_at": NOW,
}  # fmt: skip


def fact(kind: type[Fact], /, **changed: Any) -> Fact:
    values = {
        name: VALUES[name] for name, field in kind.model_fields.items() if field.is_required()
    }
    if "why" in values and kind is facts.StepSkipped:
        values["why"] = "operator"
    return kind.model_validate(values | changed)


def event(data: Fact) -> Event[Any]:
    return Event("1-1", "test", "run", NOW, data, NOW, epoch=1, sequence=1)


def run_in(status: RunStatus, node: NodeStatus | None = "started", *, about: str = "n") -> RunState:
    """Return a run that has something of everything."""
    run = RunState("run")
    run.workflow, run.version, run.owner, run.route = "w", 1, "team:a", "queue:q"
    run.status = status
    if node is not None:
        run.nodes[about] = NodeState(node, NOW - timedelta(hours=1), attempt=1, at=NOW)
        run.nodes["undo:n"] = NodeState("started", NOW, attempt=1)
        run.exceptions = {"e": OpenException("step_failed", about, "team:a", True, NOW)}
        run.waits = (WaitTuple("timer", about, NOW, NOW, "team:a"),)
        run.undo = Undo("failed", "why", ("n",))
    return run


def test_the_table_speaks_of_known_statuses_and_facts_only() -> None:
    assert set(STATUSES) == OPEN | ENDED == set(get_args(RunStatus))
    assert set(TRANSITIONS) <= set(PAIRS)
    assert set(TRANSITIONS.values()) <= {*STATUSES, SAME}


def test_every_fact_about_a_run_has_a_place_in_the_table() -> None:
    placed = {kind for _, kind in TRANSITIONS}

    assert set(ALL_FACTS) - placed == NOT_ABOUT_A_RUN


@pytest.mark.parametrize(("status", "kind"), PAIRS, ids=lambda v: getattr(v, "__name__", v))
def test_each_pair_is_a_transition_or_changes_nothing(status: RunStatus, kind: type[Fact]) -> None:
    run = run_in(status)
    before = run.copy()

    after = evolve(run, event(fact(kind)))

    assert after is run
    if never(status, kind):
        assert run == before
    else:
        then = TRANSITIONS[status, kind]
        assert run.status == (status if then == SAME else then)


@pytest.mark.parametrize("status", sorted(ENDED))
def test_after_the_end_only_reopening_changes_the_status(status: RunStatus) -> None:
    leaving = {kind for (s, kind), then in TRANSITIONS.items() if s == status and then != SAME}

    assert leaving == {facts.RunReopened}


def junk_of(kind: type[Fact]) -> st.SearchStrategy[Fact]:
    """Facts of this class that are valid as data and mean nothing for the run."""
    names = st.sampled_from(["n", "undo:n", "unknown", "", "undo:"])
    choices: dict[str, st.SearchStrategy[Any]] = {
        "step": names, "timer": names, "approval": names, "task": names, "about": names,
        "exception_id": st.sampled_from(["e", "unknown", ""]),
        "attempt": st.integers(-1, 3), "blocking": st.booleans(),
        "waits": st.sampled_from([(), (WAIT,)]),
        "steps": st.sampled_from([(), ("n",), ("unknown",)]),
        "rule": st.sampled_from([None, "n", "unknown"]),
        "result": st.sampled_from([None, 1, {"a": [1]}]),
        "payload": st.sampled_from([None, "x"]), "memo": st.sampled_from([None, {"m": 1}]),
        "kind": st.sampled_from(["step_failed", "overdue", "no_worker"]),
        "due_at": st.sampled_from([None, NOW]), "until": st.sampled_from([None, NOW]),
        "observed": st.booleans(),
    }  # fmt: skip
    if kind is facts.MessageAwaited or kind is facts.MessageMatched:
        choices["message"] = names
    if kind is facts.ExceptionOpened or kind is facts.StepFailed:
        choices["error"] = st.just(ERROR)
    if kind is facts.TaskReminded:
        del choices["due_at"]
    if kind is facts.AbsenceChanged:
        del choices["until"]
    if "kind" in kind.model_fields and kind is not facts.ExceptionOpened:
        del choices["kind"]
    fields = {name: choice for name, choice in choices.items() if name in kind.model_fields}
    return st.fixed_dictionaries(fields).map(lambda changed: fact(kind, **changed))


ANY_FACT = st.sampled_from(ALL_FACTS).flatmap(junk_of)
ANY_RUN = st.builds(
    run_in,
    st.sampled_from(STATUSES),
    st.none() | st.sampled_from(get_args(NodeStatus)),
    about=st.sampled_from(["n", "other"]),
)
REPORT = Event("report", "outside", "run", NOW, requests.ActivityReported(activity="a"), NOW)


@given(run=ANY_RUN, data=ANY_FACT, observed=st.booleans())
def test_applying_never_refuses(run: RunState, data: Fact, observed: bool) -> None:
    run.seen = frozenset({1}) if observed else None
    before = run.copy()

    after = evolve(run, event(data), REPORT if observed else None)

    assert after is run
    if never(before.status, type(data)):
        assert run == before


@given(data=ANY_FACT)
def test_without_a_run_only_an_accepted_trigger_makes_one(data: Fact) -> None:
    run = evolve(None, event(data))

    assert (run is not None) == isinstance(data, facts.TriggerAccepted)
