"""Why: the reasons that stand in a run's history, as data and in words.

Pure: the same rows give the same reasons, whoever asks. What a definition would have to say (which
steps there are, what they need) is taken from the definition as it was registered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from meshline.events import facts
from meshline.events.requests import Request
from meshline.projections.explain_steps import again, not_begun, skipped
from meshline.projections.explain_waits import waits
from meshline.projections.history_view import HistoryRow
from meshline.projections.reasons import QUESTIONS, Reason, Said, Told, clock
from meshline.projections.run_values import whole_history
from meshline.projections.runs_view import RunRow
from meshline.projections.workflows_view import WorkflowRow

__all__ = ["explain", "reasons_of"]


class _Views(Protocol):
    async def history(
        self, run_id: str, *, limit: int = ..., after_offset: int = ...
    ) -> list[HistoryRow]: ...

    async def workflows(self) -> list[WorkflowRow]: ...


async def reasons_of(views: _Views, run_id: str, run: RunRow | None) -> list[Reason]:
    """Return the reasons of a run, or of a trigger that would have been this run."""
    rows = await whole_history(views, run_id)
    return explain(run, rows, await views.workflows())


def explain(
    run: RunRow | None, history: Iterable[HistoryRow] | Told, workflows: Sequence[WorkflowRow]
) -> list[Reason]:
    """Return why all is as it is, question by question, each in the order of the log.

    Args:
        run: None where none was begun.
        workflows: the definitions that are known; others than the run's do no harm.
    """
    told = Told.of(history)
    spec = _spec_of(run, workflows)
    reasons = [
        *_started(told, workflows),
        *_refused(told),
        *_repeated(told),
        *_owner(told),
        *skipped(told),
        *again(told),
        *_exceptions(told),
        *waits(told, run, spec),
        *not_begun(told, run, spec),
        *_ended(told, spec),
    ]
    order = list(QUESTIONS)
    return sorted(reasons, key=lambda reason: order.index(reason.question))


def _spec_of(run: RunRow | None, workflows: Sequence[WorkflowRow]) -> dict[str, Any]:
    found = [
        row
        for row in workflows
        if run is not None and (row.workflow, row.version) == (run.workflow, run.version)
    ]
    return dict(min(found, key=lambda row: row.registered_at).spec) if found else {}


# -- how it began ------------------------------------------------------------------------------


def _started(told: Told, workflows: Sequence[WorkflowRow]) -> Iterator[Reason]:
    accepted = next(told.all(facts.TriggerAccepted), None)
    if accepted is None:
        return
    data, request = accepted.data, told.asked(accepted)
    came = ""
    if request is not None:
        by = f" (sent by {request.row.actor})" if request.row.actor else ""
        came = f", at {clock(request.row.recorded_at)}{by}"
    yield accepted.because(
        "started",
        "trigger",
        f"{data.source} sent the trigger {data.trigger_id}{came}; {data.workflow} starts from what "
        f"has the type {data.trigger_type} and comes from there",
        source=data.source,
        trigger_id=data.trigger_id,
        trigger_type=data.trigger_type,
        sent_by=request.row.actor if request else None,
        request=request.position if request else None,
    )
    until = accepted.row.recorded_at
    known = sorted(
        {row.version for row in workflows
         if row.workflow == data.workflow and row.registered_at <= until}
    )  # fmt: skip
    newer = [version for version in known if version > data.version]
    words = f"version {data.version} was the newest that the worker had"
    if newer:
        words += f"; version {newer[-1]} was known to the log by then, but not to that worker"
    yield accepted.because(
        "started", "version", words, workflow=data.workflow, version=data.version, known=known
    )


def _refused(told: Told) -> Iterator[Reason]:
    for said in told:
        data = said.data
        if isinstance(data, facts.TriggerRejected):
            # What a payload lacks may quote it: so it is shown where payloads are.
            problems = [problem.model_dump() for problem in data.problems]
            yield said.because(
                "refused", "trigger", f"{data.code}: {data.reason}",
                saw={"problems": problems} if problems else None, code=data.code,
            )  # fmt: skip
        elif isinstance(data, facts.RequestRejected):
            asked = told.asked(said)
            by = (asked or said).row.actor
            yield said.because(
                "refused", data.request,
                f"{by or 'somebody'} asked ({data.request}), and was refused: {data.code}: "
                f"{data.reason}",
                code=data.code, reason=data.reason,
                request=asked.position if asked else None, asked_by=by,
            )  # fmt: skip


def _repeated(told: Told) -> Iterator[Reason]:
    first = next(told.all(facts.TriggerAccepted), None)
    for said in told.all(facts.TriggerDeduplicated):
        since = f", accepted at {first.position}" if first else ""
        yield said.because(
            "repeated",
            "trigger",
            f"{said.data.source} sent the trigger {said.data.trigger_id} again with the same "
            f"payload: it is this run already{since}",
            request=said.row.causation_id,
            accepted=first.position if first else None,
        )


# -- people ------------------------------------------------------------------------------------


def _owner(told: Told) -> Iterator[Reason]:
    for said in told:
        data = said.data
        if isinstance(data, facts.RunStarted):
            yield said.because(
                "owner", data.owner,
                f"{data.owner}, because {data.workflow} version {data.version} names it",
                owner=data.owner, workflow=data.workflow, version=data.version,
            )  # fmt: skip
        elif isinstance(data, facts.OwnerAssigned):
            yield _assigned(said)


def _assigned(said: Said[facts.OwnerAssigned]) -> Reason:
    data = said.data
    hands = f", in the hands of {data.assignee}" if data.assignee else ""
    if data.rule:
        how = f"because the rule {data.rule} says so"
        how += "" if data.values is not None else "; what it saw was too large to be kept"
    elif said.row.actor and said.row.actor_kind != "rule":
        how = f"because {said.row.actor} decided so"
    else:
        how = "because what was reported says so"
    return said.because(
        "owner", data.owner, f"{data.owner}{hands}, {how}{_colon(data.reason)}", saw=data.values,
        owner=data.owner, assignee=data.assignee, previous=data.previous, rule=data.rule,
        reason=data.reason or None,
    )  # fmt: skip


def _exceptions(told: Told) -> Iterator[Reason]:
    routes = {said.data.exception_route for said in told.all(facts.TriggerAccepted)}
    routes |= {said.data.exception_route for said in told.all(facts.RunStarted)}
    for said in told:
        data = said.data
        if isinstance(data, facts.ExceptionOpened):
            is_told = data.error is not None and data.error.business is not None
            whose = " that the step names" if is_told else ""
            whose = " of the workflow" if data.route in routes else whose
            about = f" about {data.about}" if data.about else ""
            holds = "it holds that up" if data.blocking else "it holds nothing up"
            yield said.because(
                "exception", data.exception_id,
                f"{data.kind}{about}: {data.message.rstrip('. ')}. It went to {data.owner} by the "
                f"exception route{whose}; {holds}",
                kind=data.kind, concerns=data.about or None, cause=data.cause, route=data.route,
                owner=data.owner, severity=data.severity, blocking=data.blocking,
            )  # fmt: skip
        elif isinstance(data, facts.ExceptionAssigned):
            yield said.because(
                "exception", data.exception_id,
                f"it went from {data.previous} to {data.owner}, because "
                f"{said.row.actor or 'somebody'} decided so{_colon(data.reason)}",
                owner=data.owner, previous=data.previous, reason=data.reason or None,
            )  # fmt: skip
        elif isinstance(data, facts.ExceptionDismissed):
            yield said.because(
                "exception", data.exception_id,
                f"it is dismissed, because {said.row.actor or 'somebody'} decided so"
                f"{_colon(data.reason)}",
                reason=data.reason,
            )  # fmt: skip
        elif isinstance(data, facts.ExceptionReopened):
            yield said.because(
                "exception", data.exception_id,
                f"it is open again, because {said.row.actor or 'somebody'} decided so"
                f"{_colon(data.reason)}",
                owner=data.owner, reason=data.reason or None,
            )  # fmt: skip
        elif isinstance(data, facts.ExceptionResolved):
            yield said.because(
                "exception", data.exception_id,
                f"it is closed, because {_HOW[data.how]}{_colon(data.reason)}",
                how=data.how, reason=data.reason or None,
            )  # fmt: skip


_HOW = {
    "retried": "what it is about is tried again",
    "skipped": "what it is about was skipped",
    "resolved": "there is nothing left to do about it",
    "outcome": "what it is about has come to its end",
    "run_ended": "the run has ended",
}


# -- the end -----------------------------------------------------------------------------------


def _ended(told: Told, spec: dict[str, Any]) -> Iterator[Reason]:
    said = told.last(facts.RunSucceeded, facts.RunFailed, facts.RunCancelled, facts.RunReopened)
    if said is None or isinstance(said.data, facts.RunReopened):
        return
    undone = told.last(facts.CompensationStarted)
    began = said if undone is None else undone
    data: dict[str, Any] = {"asked_by": None, "reason": None}
    if isinstance(said.data, facts.RunSucceeded):
        node = spec.get("outcome_node")
        words = f"succeeded, because {node} gave the outcome" if node else "succeeded"
        data["outcome_node"] = node
        if node is None and (activity := told.last(facts.ActivityRecorded)):
            words += f", because {activity.data.activity} was reported"
    else:
        state = "failed" if isinstance(said.data, facts.RunFailed) else "cancelled"
        asked = told.asked(began)
        by = asked.row.actor if asked and isinstance(asked.data, Request) else None
        words = f"{state}, because {f'{by} asked for it' if by else said.data.reason}"
        words += _colon(said.data.reason) if by else ""
        data |= {"asked_by": by, "reason": said.data.reason}
        if undone is not None:
            words += f"; before that, it was undone: {', '.join(undone.data.steps)}"
            data["undone"] = list(undone.data.steps)
    yield said.because("ended", "run", words, **data)


def _colon(reason: str) -> str:
    return f": {reason}" if reason else ""
