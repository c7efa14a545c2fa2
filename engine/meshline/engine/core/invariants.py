"""What must hold for every run at rest: it has ended, or somebody or something will move it.

No run waits for nothing, and nothing waits for nobody. ``problems_of`` looks for runs that break
this, in a state that nothing is on its way to; the sweeper, ``meshline verify`` and the tests ask
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from meshline.engine.core.decision import Moment
from meshline.engine.core.gaps import close_gaps
from meshline.engine.core.items import step_of
from meshline.engine.core.owners import OWNER_GONE, gone_owners
from meshline.engine.core.plan import ItemStep, plan_of
from meshline.engine.core.state import PartitionState, RunState, WaitTuple
from meshline.engine.core.waits import current_waits, is_active, next_wakeup
from meshline.events.principals import is_principal
from meshline.workflow.registry import Registry
from meshline.workflow.spec import StepNode, WorkflowSpec

__all__ = ["Problem", "find_problems", "problems_of"]

_NAMED_WAKEUP = frozenset({"timer", "retry"})


def _perhaps(run_id: str, step: str, attempt: int) -> bool:
    return True


class Problem(NamedTuple):
    """What breaks the invariants, and whose it is; ``cause`` where it is an unanswered request."""

    run_id: str
    cause: str | None
    text: str


def problems_of(
    state: PartitionState,
    registry: Registry,
    now: datetime,
    *,
    patience_s: float = 0.0,
    under_way: Callable[[str, str, int], bool] = _perhaps,
) -> list[str]:
    """Return what breaks the invariants, one sentence each, with the run that it is about.

    See ``find_problems``.
    """
    found = find_problems(state, registry, now, patience_s=patience_s, under_way=under_way)
    return [problem.text for problem in found]


def find_problems(
    state: PartitionState,
    registry: Registry | None,
    now: datetime,
    *,
    patience_s: float = 0.0,
    under_way: Callable[[str, str, int], bool] = _perhaps,
) -> Iterator[Problem]:
    """Yield what breaks the invariants.

    Args:
        registry: all definitions that the workers of this log have; None: nobody knows, and only
            what can be said without them is.
        patience_s: what came or was due within this time may still be on its way.
        under_way: whether some worker is at this try; who can't know believes what is said.
    """
    then = now - timedelta(seconds=patience_s)
    for cause, request in state.pending.items():
        if request.recorded_at <= then:
            yield Problem(
                request.subject,
                cause,
                f"request {cause} ({type(request.data).__name__}) of run {request.subject!r} has "
                f"had no answer since {request.recorded_at}",
            )
    moment = Moment(then, state.fence.epoch, under_way, state.people)
    for run in state.runs.values():
        if registry is None:
            found = _of_undefined(run, moment)
        else:
            found = _of_run(registry.spec(run.workflow, run.version), run, moment)
        for what in found:
            text = f"run {run.run_id} ({run.workflow}, {run.status}) {what}"
            yield Problem(run.run_id, None, text)


def _of_undefined(run: RunState, moment: Moment) -> Iterator[str]:
    """What can be said of a run whose definition is not at hand."""
    yield from _of_exceptions(run, moment)
    if run.has_ended:
        yield from _of_ended(run)
        return
    if run.status != "accepted":
        yield from _of_owners(run)
    if run.seen is None and run.status in ("waiting", "held", "paused") and not run.waits:
        yield "waits for nothing"
    for wait in run.waits:
        yield from _of_wait(wait)
    at = next_wakeup(None, run)
    if at is not None and at < moment.now and run.seen is None:
        yield f"should have been looked at by {at}"


def _of_ended(run: RunState) -> Iterator[str]:
    if run.nodes or run.waits or run.undo or run.closed:
        yield "has ended, but something in it has not"


def _of_run(spec: WorkflowSpec | None, run: RunState, moment: Moment) -> Iterator[str]:
    yield from _of_exceptions(run, moment)
    if run.has_ended:
        yield from _of_ended(run)
        yield from _of_demands(spec, run, moment)
        return
    if spec is not None or run.status != "accepted":
        yield from _of_owners(run)
    yield from _of_demands(spec, run, moment)
    if spec is None:
        if all(opened.kind != "no_worker" for opened in (run.exceptions or {}).values()):
            yield "has no worker, and no exception says so"
    elif run.status == "paused":
        if not run.waits:
            yield "is paused, and nothing says for what"
    elif not spec.observed:
        yield from _of_waits(spec, run)
        yield from _of_policy(spec, run)


def _of_owners(run: RunState) -> Iterator[str]:
    if not is_principal(run.owner):
        yield f"has the owner {run.owner!r}"
    if not is_principal(run.route):
        yield f"has the exception route {run.route!r}"


def _of_exceptions(run: RunState, moment: Moment) -> Iterator[str]:
    both = {*(run.exceptions or {})} & {*(run.closed or {})}
    if both:
        yield f"has exceptions {sorted(both)} that are open and closed"
    gone = gone_owners(run, moment.people)
    said = [e.about for e in (run.exceptions or {}).values() if e.kind == OWNER_GONE]
    if sorted(gone) != sorted(said):
        yield f"has something of {gone}, who are gone, and exceptions that say so of {said}"
    for exception_id, opened in (run.exceptions or {}).items():
        if not is_principal(opened.owner):
            yield f"has exception {exception_id} with the owner {opened.owner!r}"
        if run.has_ended and opened.blocking:
            yield f"has ended, but exception {exception_id} still holds {opened.about!r}"


def _of_demands(spec: WorkflowSpec | None, run: RunState, moment: Moment) -> Iterator[str]:
    """What the definition demands, or a time that has come, and nobody has said."""
    missing = next(close_gaps(spec, run.copy(), moment), None)
    if missing is not None:
        yield f"should have had {missing.data!r}"
    at = None if spec is None else next_wakeup(spec, run)
    if at is not None and at < moment.now:
        yield f"should have been looked at by {at}"


def _of_waits(spec: WorkflowSpec, run: RunState) -> Iterator[str]:
    if run.status == "running":
        if not is_active(spec, run):
            yield "is said to be running, but nothing is being done for it"
        return
    if is_active(spec, run):
        yield "is being worked on, and does not say so"
    if run.waits != current_waits(spec, run):
        yield f"says that it waits for {run.waits}, and waits for {current_waits(spec, run)}"
    if not run.waits:
        yield "waits for nothing"
    for wait in run.waits:
        yield from _of_wait(wait)
    on_exceptions_only = all(wait.kind == "exception" for wait in run.waits)
    if (run.status == "held") != on_exceptions_only:
        yield f"waits for {[wait.kind for wait in run.waits]}"
    for name, node in run.nodes.items():
        holding = [e for e in (run.exceptions or {}).values() if e.blocking and e.about == name]
        if (node.status == "held") != bool(holding):
            yield f"has {name!r} {node.status} with {len(holding)} exceptions that hold it"


def _of_wait(wait: WaitTuple) -> Iterator[str]:
    if not is_principal(wait.owner):
        yield f"waits for {wait.kind} {wait.about!r} with the owner {wait.owner!r}"
    if wait.kind in _NAMED_WAKEUP and wait.until is None:
        yield f"waits for {wait.kind} {wait.about!r} without an end"


def _of_policy(spec: WorkflowSpec, run: RunState) -> Iterator[str]:
    plan = plan_of(spec)
    for name, state in run.nodes.items():
        node = plan.step(name, spec) or spec.nodes.get(name)
        if node is None:
            yield f"has {name!r}, which its definition does not know"
        elif isinstance(node, ItemStep) and not _is_fanned_out(run, name):
            yield f"has {name!r} still, and {step_of(name)!r} has ended"
        elif isinstance(node, StepNode) and state.failures > node.retry.maximum_attempts:
            yield f"has tried {name!r} {state.failures} times"


def _is_fanned_out(run: RunState, name: str) -> bool:
    whole = run.nodes.get(step_of(name))
    return whole is not None and not whole.has_ended
