"""A run as a test sees it: what is asked of it, and what is so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from meshline.engine.core.invariants import problems_of
from meshline.engine.core.state import OpenException, RunState, WaitTuple
from meshline.events import facts, requests
from meshline.events.corrections import Correction
from meshline.events.facts import Fact
from meshline.events.people_requests import TaskActionRequested, TaskCompletionRequested
from meshline.events.requests import Request, StepError
from meshline.events.story import story
from meshline.workflow.durations import Duration, seconds_of
from meshline.workflow.spec import WorkflowSpec

if TYPE_CHECKING:
    from meshline.testing.workflow_test import WorkflowTest

__all__ = ["ExceptionUnderTest", "RequestRefused", "RunUnderTest"]

PERSON = "user:tester"
"""Who asks, unless the test says otherwise."""


class RequestRefused(Exception):
    """The engine refused what the test asked for.

    ``code`` is stable, such as ``not_allowed``; ``reason`` is for people.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class RunUnderTest:
    """One run. Whatever is asked of it is done when the call returns, or raises."""

    def __init__(self, test: WorkflowTest, run_id: str) -> None:
        self.id = run_id
        self._test = test

    def __repr__(self) -> str:
        return f"<RunUnderTest {self.id} {self.state}>"

    # -- what is so ----------------------------------------------------------------------------

    @property
    def _run(self) -> RunState | None:
        return self._test.state.runs.get(self.id)

    @property
    def spec(self) -> WorkflowSpec:
        (started,) = self._all(facts.TriggerAccepted)
        spec = self._test.registry.spec(started.workflow, started.version)
        assert spec is not None, "the test's registry no longer has the run's definition"
        return spec

    @property
    def state(self) -> str:
        """The run's status, such as ``waiting`` or ``succeeded``."""
        run = self._run
        return self._test.state.ended[self.id].status if run is None else run.status

    @property
    def has_ended(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")

    @property
    def owner(self) -> str:
        """Who answers for the run; the last one, if it has ended."""
        owners = [
            fact.owner
            for fact in self.history
            if isinstance(fact, facts.RunStarted | facts.OwnerAssigned)
        ]
        return owners[-1]

    @property
    def waits(self) -> tuple[WaitTuple, ...]:
        """What it waits for; empty unless it is waiting, held or paused."""
        run = self._run
        waiting = run is not None and run.status in ("waiting", "held", "paused")
        return run.waits if run is not None and waiting else ()

    @property
    def exceptions(self) -> list[ExceptionUnderTest]:
        """Those that are open, in the order in which they were opened."""
        run = self._run
        opened = {} if run is None else run.exceptions or {}
        said = {fact.exception_id: fact for fact in self._all(facts.ExceptionOpened)}
        return [ExceptionUnderTest(self, said[key], now) for key, now in opened.items()]

    @property
    def exception(self) -> ExceptionUnderTest:
        """The only open exception."""
        found = self.exceptions
        assert len(found) == 1, f"expected one open exception, found {found}"
        return found[0]

    @property
    def outcome(self) -> Any:
        """What came out, of the type that the workflow says; None unless it succeeded."""
        ends = self._all(facts.RunSucceeded)
        if not ends or self.state != "succeeded":
            return None
        node = self.spec.outcome_node
        adapter = None if node is None else self.spec.nodes[node].result
        return ends[-1].outcome if adapter is None else adapter.validate_python(ends[-1].outcome)

    @property
    def reason(self) -> str:
        """Why it failed or was cancelled; empty otherwise."""
        ends = [f for f in self.history if isinstance(f, facts.RunFailed | facts.RunCancelled)]
        return ends[-1].reason if ends and self.has_ended else ""

    @property
    def history(self) -> list[Fact]:
        """The facts about the run, in order."""
        return [event.data for event in self._test.facts(self.id)]

    @property
    def steps(self) -> list[str]:
        """The names of the steps that began, in order, once for each try."""
        return [fact.step for fact in self._all(facts.StepStarted)]

    def _all(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.history if isinstance(fact, kind)]

    def story(self) -> str:
        """Return what happened, one line for each fact."""
        return "\n".join(str(line) for line in story(self._test.facts(self.id)))

    @property
    def problems(self) -> list[str]:
        """What breaks the engine's invariants; always empty, or the engine has a bug."""
        return problems_of(self._test.state, self._test.registry, self._test.now)

    # -- what is asked -------------------------------------------------------------------------

    def ask(
        self,
        request: Request,
        *,
        by: str | None = PERSON,
        time: datetime | None = None,
        event_id: str | None = None,
    ) -> RunUnderTest:
        """Ask for anything.

        Raises:
            RequestRefused: with the engine's code and reason, as for all that follows here.
        """  # fmt: skip
        self._test.ask(self.id, request, by=by, time=time, event_id=event_id)
        return self

    def approve(
        self, approval: str, form: Any = None, *, by: str = PERSON, reason: str = ""
    ) -> RunUnderTest:
        return self._submit(approval, "approved", form, by, reason)

    def deny(self, approval: str, reason: str, *, by: str = PERSON) -> RunUnderTest:
        return self._submit(approval, "denied", None, by, reason)

    def complete(
        self, task: str, form: Any = None, *, by: str = PERSON, reason: str = ""
    ) -> RunUnderTest:
        data = TaskCompletionRequested(task=task, form=self._test.plain(form), reason=reason)
        return self.ask(data, by=by)

    def _submit(
        self,
        approval: str,
        decision: Literal["approved", "denied"],
        form: Any,
        by: str,
        reason: str,
    ) -> RunUnderTest:
        return self.ask(
            requests.ApprovalSubmitted(
                approval=approval, decision=decision, form=self._test.plain(form), reason=reason
            ),
            by=by,
        )

    def act(
        self,
        task: str,
        action: Literal["claim", "release", "assign", "delegate", "comment"],
        *,
        by: str = PERSON,
        to: str | None = None,
        reason: str = "",
    ) -> RunUnderTest:
        """Do something about a task or an approval short of ending it."""
        data = TaskActionRequested(task=task, action=action, to=to, reason=reason)
        return self.ask(data, by=by)

    def send(self, message: str, payload: Any = None) -> RunUnderTest:
        """Send the run a message."""
        data = requests.MessageReceived(name=message, payload=self._test.plain(payload))
        return self.ask(data, by=None)

    def report(
        self,
        step: str | Callable[..., Any],
        result: Any = None,
        *,
        error: Any = None,
        attempt: int | None = None,
    ) -> RunUnderTest:
        """Report what an outside worker did.

        Args:
            error: why it failed: a ``StepError``, or the name of an error.
            attempt: by default the one that is under way.
        """  # fmt: skip
        name = step if isinstance(step, str) else step.__name__
        if isinstance(error, str):
            error = StepError(type=error, message="")
        node = None if self._run is None else self._run.nodes.get(name)
        under_way = 0 if node is None else node.attempt
        return self.ask(
            requests.StepReported(
                step=name,
                attempt=under_way if attempt is None else attempt,
                outcome="succeeded" if error is None else "failed",
                result=self._test.plain(result),
                error=error,
            ),
            by=None,
        )

    def observe(
        self,
        activity: str,
        payload: Any = None,
        *,
        time: datetime | None = None,
        event_id: str | None = None,
    ) -> RunUnderTest:
        """Report what happened in an observed run.

        Args:
            time: when; by default now.
            event_id: of the report, to send one twice.
        """  # fmt: skip
        data = requests.ActivityReported(activity=activity, payload=self._test.plain(payload))
        return self.ask(data, by=None, time=time, event_id=event_id)

    def cancel(self, reason: str = "", *, by: str = PERSON) -> RunUnderTest:
        return self.ask(requests.CancelRequested(reason=reason), by=by)

    def pause(
        self, reason: str = "", *, for_: Duration | None = None, by: str = PERSON
    ) -> RunUnderTest:
        until = None
        if for_ is not None:
            until = self._test.now + timedelta(seconds=seconds_of(for_, "length of the pause"))
        return self.ask(requests.PauseRequested(reason=reason, until=until), by=by)

    def resume(self, *, by: str = PERSON) -> RunUnderTest:
        return self.ask(requests.ResumeRequested(), by=by)

    def note(self, text: str, *, by: str = PERSON) -> RunUnderTest:
        """Say something about the run, open or ended."""
        return self.ask(requests.NoteRequested(text=text), by=by)

    def retry(self, *, by: str = PERSON) -> RunUnderTest:
        """Try again all that is held by an exception or waits for a retry."""
        return self.ask(requests.RetryRequested(), by=by)

    def hand_to(self, owner: str, reason: str = "", *, by: str = PERSON) -> RunUnderTest:
        return self.ask(requests.OwnerChangeRequested(owner=owner, reason=reason), by=by)


@dataclass(frozen=True)
class ExceptionUnderTest:
    """An open exception. ``said`` is the fact that opened it, ``now`` how it stands."""

    run: RunUnderTest
    said: facts.ExceptionOpened
    now: OpenException

    def __repr__(self) -> str:
        return f"<{self.kind} about {self.about!r}: {self.message}>"

    @property
    def id(self) -> str:
        return self.said.exception_id

    @property
    def kind(self) -> str:
        return self.said.kind

    @property
    def about(self) -> str:
        return self.said.about

    @property
    def route(self) -> str:
        return self.said.route

    @property
    def message(self) -> str:
        return self.said.message

    @property
    def owner(self) -> str:
        return self.now.owner

    @property
    def blocking(self) -> bool:
        return self.now.blocking

    @property
    def acknowledged(self) -> bool:
        return self.now.acknowledged

    def retry(self, reason: str = "", corrections: Sequence[Correction] = ()) -> None:
        """Try the step again, with what the run knows set right first."""
        self._act("retry", reason, corrections=tuple(corrections))

    def skip(self, value: Any = None, reason: str = "") -> None:
        """Go on without the step; ``value`` stands in for its result."""
        self._act("skip", reason, value=self.run._test.plain(value))

    def resolve(self, reason: str = "") -> None:
        self._act("resolve", reason)

    def dismiss(self, reason: str) -> None:
        self._act("dismiss", reason)

    def reopen(self, reason: str = "") -> None:
        """Open it again, though it is no longer among the open ones."""
        self._act("reopen", reason)

    def acknowledge(self, reason: str = "") -> None:
        self._act("acknowledge", reason)

    def start(self, reason: str = "") -> None:
        self._act("start", reason)

    def assign(self, owner: str, reason: str = "") -> None:
        self._act("assign", reason, owner=owner)

    def _act(self, action: Any, reason: str, **more: Any) -> None:
        self.run.ask(
            requests.ExceptionActionRequested(
                exception_id=self.id, action=action, reason=reason, **more
            )
        )
