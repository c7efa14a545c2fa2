"""Writing a proposal: decisions become numbered, encoded facts, applied to copies of the runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from meshline.engine.core.decider import (
    close_gaps,
    decide_outcome,
    decide_request,
    open_undecidable,
    refuse_undecidable,
)
from meshline.engine.core.decision import Decision, Decisions, Moment
from meshline.engine.core.people import PEOPLE_FACTS, people_after
from meshline.engine.core.reducer import ended_of, evolve, is_kept
from meshline.engine.core.rules import words_of
from meshline.engine.core.state import EndedRun, PartitionState, RunState
from meshline.events.codec import encode
from meshline.events.envelope import Event
from meshline.events.facts import WorkflowRegistered
from meshline.events.requests import StepError
from meshline.workflow.registry import Registry
from meshline.workflow.spec import WorkflowSpec

__all__ = ["Draft", "Outcome", "Proposal"]


class Outcome(NamedTuple):
    """What a try gave."""

    run_id: str
    step: str
    attempt: int
    result: Any
    error: StepError | None


@dataclass(slots=True)
class Proposal:
    """Facts that were sent to the log and not read back yet, and the runs as they make them.

    Args:
        outcomes: that the facts say, so that they can be said again if these facts come to nothing.
    """

    events: list[Event[Any]] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    runs: dict[str, RunState] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    confirmed: int = 0


class Draft:
    """A proposal while it is written: facts are numbered, applied to copies of runs, encoded.

    Deciding calls rules of authors and writes values of anybody. If that raises where nobody
    expected it, what was said so far about the one thing at hand is taken back, and that it could
    not be decided is said instead: one run must never stop its partition.
    """

    def __init__(
        self, state: PartitionState, registry: Registry, source: str, moment: Moment
    ) -> None:
        self.proposal = Proposal()
        self.size_bytes = 0
        self._state = state
        self._registry = registry
        self._source = source
        self._moment = moment
        self._first_sequence = state.fence.sequence + 1

    def register(self, spec: WorkflowSpec) -> None:
        fact = WorkflowRegistered(
            workflow=spec.name,
            version=spec.version,
            spec_hash=spec.spec_hash,
            spec=dict(spec.data),
        )
        self._say(Decision(fact), f"workflow:{spec.name}", None)

    def outcome(self, outcome: Outcome, *, goes_on: bool = True) -> None:
        """Say what a try gave and, if ``goes_on``, what follows from it."""
        self.proposal.outcomes.append(outcome)
        try:
            with self._taken_back_if_it_raises(outcome.run_id):
                self._outcome(outcome)
        except Exception as error:
            refused = StepError(type="ResultRefused", message=words_of(error), retryable=False)
            self._outcome(outcome._replace(result=None, error=refused))
        if goes_on:
            self.gaps(outcome.run_id)

    def _outcome(self, outcome: Outcome) -> None:
        run = self._run(outcome.run_id)
        if run is not None:
            decisions = decide_outcome(
                run, outcome.step, outcome.attempt, outcome.result, outcome.error
            )
            self._drive(run, run.run_id, decisions)

    def request(self, cause: str) -> None:
        request = self._state.pending.get(cause)
        if request is None:
            return
        run_id = request.subject
        try:
            with self._taken_back_if_it_raises(run_id):
                self._request(request, cause)
        except Exception as error:
            self._drive(self._run(run_id), run_id, refuse_undecidable(request, cause, error))
        self.gaps(run_id)

    def _request(self, request: Event[Any], cause: str) -> None:
        run = self._run(request.subject)
        decisions = decide_request(
            self._registry.spec,
            self._registry.for_trigger,
            run,
            self._ended(request.subject) if run is None else None,
            request,
            cause,
            self._moment,
        )
        self._drive(run, request.subject, decisions, request)

    def gaps(self, run_id: str) -> None:
        try:
            with self._taken_back_if_it_raises(run_id):
                run = self._run(run_id)
                if run is not None:
                    spec = self._registry.spec(run.workflow, run.version)
                    self._drive(run, run_id, close_gaps(spec, run, self._moment))
        except Exception as error:
            run = self._run(run_id)
            assert run is not None
            self._drive(run, run_id, open_undecidable(run, error))

    def _run(self, run_id: str) -> RunState | None:
        """Return a copy of the run as this draft makes it, so that the state stays what is so."""
        run = self.proposal.runs.get(run_id) or self._state.runs.get(run_id)
        return None if run is None or not is_kept(run) else run.copy()

    def _ended(self, run_id: str) -> EndedRun | None:
        run = self.proposal.runs.get(run_id)
        return self._state.ended.get(run_id) if run is None else ended_of(run)

    def _drive(
        self,
        run: RunState | None,
        run_id: str,
        decisions: Decisions,
        request: Event[Any] | None = None,
    ) -> None:
        said = False
        ended = self._ended(run_id)
        for decision in decisions:
            event = self._say(decision, run_id, run)
            answers = request if decision.causation_id is not None else None
            run = evolve(run, event, answers, ended)
            said = True
        if said and run is not None:
            self.proposal.runs[run_id] = run

    @contextmanager
    def _taken_back_if_it_raises(self, run_id: str) -> Iterator[None]:
        count, size_bytes, moment = len(self.proposal.events), self.size_bytes, self._moment
        run = self.proposal.runs.get(run_id)
        try:
            yield
        except Exception:
            del self.proposal.events[count:], self.proposal.values[count:]
            self.size_bytes, self._moment = size_bytes, moment
            self.proposal.runs.pop(run_id, None)
            if run is not None:
                self.proposal.runs[run_id] = run
            raise

    def _say(self, decision: Decision, subject: str, run: RunState | None) -> Event[Any]:
        epoch = self._moment.epoch
        sequence = self._first_sequence + len(self.proposal.events)
        event = Event(
            id=f"{epoch}-{sequence}",
            source=self._source,
            subject=subject,
            time=decision.time or self._moment.now,
            data=decision.data,
            recorded_at=self._moment.now,
            epoch=epoch,
            sequence=sequence,
            causation_id=decision.causation_id,
            actor=decision.actor,
        )
        value = encode(event)
        if type(decision.data) in PEOPLE_FACTS:
            # What is decided next in this proposal is decided by it already.
            people = people_after(self._moment.people, event)
            self._moment = replace(self._moment, people=people)
        self.size_bytes += len(value)
        self.proposal.events.append(event)
        self.proposal.values.append(value)
        return event
