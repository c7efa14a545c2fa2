"""What went into a run, or a try of one of its steps, what came out, and what is different.

Read from the history: the values that a step takes stand there where they came from, and with
what persons corrected. Pure: the same rows give the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from meshline.events import facts
from meshline.events.corrections import differences
from meshline.projections.columns import Json
from meshline.projections.errors import NotFound
from meshline.projections.history_view import HistoryRow
from meshline.projections.reasons import Said, Told
from meshline.projections.run_values import TRIGGER, Values, whole_history
from meshline.projections.runs_view import RunRow
from meshline.projections.workflows_view import WorkflowRow

__all__ = ["Exchange", "exchanges_of", "read_exchanges"]


class Exchange(NamedTuple):
    """One try of a step, or (``step`` is None) the whole run.

    ``taken`` are the values that went in by name, ``gave`` what came out: a result, a value in
    place of it, or an error. ``changes`` lead from the one value that went in to what came out,
    where both are objects or lists; ``corrected`` from what the try before took to what this one
    did, which is what somebody corrected between them. A try is lost that another worker took over.
    ``position`` and ``ended_position`` are the events that say so.
    """

    run_id: str
    step: str | None
    attempt: int
    state: Literal["running", "succeeded", "failed", "skipped", "cancelled", "lost"]
    began_at: datetime
    position: str
    ended_at: datetime | None = None
    ended_position: str | None = None
    taken: Json | None = None
    gave: Json | None = None
    changes: Json | None = None
    corrected: Json | None = None


class _Views(Protocol):
    async def history(
        self, run_id: str, *, limit: int = ..., after_offset: int = ...
    ) -> list[HistoryRow]: ...


async def read_exchanges(
    views: _Views,
    run: RunRow,
    step: str | None,
    workflows: Iterable[WorkflowRow],
    told: Told | None = None,
) -> list[Exchange]:
    """Return the tries of a step of the run, or the run as one exchange.

    Args:
        told: the whole history, if it was read already.
    Raises:
        NotFound: the run has not begun such a step.
    """
    spec = next(
        (
            each.spec
            for each in workflows
            if (each.workflow, each.version) == (run.workflow, run.version)
        ),
        None,
    )
    history = await whole_history(views, run.run_id) if told is None else told
    found = exchanges_of(history, step, spec)
    if not found:
        raise NotFound(
            f"The run {run.run_id[:8]} has begun no step {(step or '')[:60]!r}: expected one that "
            "its history tells of."
        )
    return found


def exchanges_of(
    history: Iterable[HistoryRow] | Told, step: str | None, spec: Mapping[str, Any] | None
) -> list[Exchange]:
    """Return the tries of a step, the first first; or of the whole run, which is one.

    Args:
        step: None: the run. One that is done for each item has its index in the name.
        spec: the definition that the run has, which says what the step takes; None: nobody knows.
    """
    told = Told.of(history)
    values, answers = Values(told), dict[str, Any]()
    found: list[Exchange] = []
    for said in told:
        values.take(said)
        answers |= _answer(said)
        if step is None:
            _of_run(found, said, values)
        elif getattr(said.data, "step", None) == step:
            _of_step(found, said, values.by_name | answers, spec)
    return [_compared(each, found[n - 1] if n else None) for n, each in enumerate(found)]


def _answer(said: Said[Any]) -> dict[str, Any]:
    """Return the value of what a person has just answered, as steps take it."""
    match said.data:
        case facts.ApprovalApproved(approval=name, by=by, reason=reason, form=form, voters=of):
            value = {"approved": True, "by": by, "reason": reason, "form": form}
            return {name: value | ({"voters": [*of]} if of else {})}
        case facts.ApprovalDenied(approval=name, by=by, reason=reason):
            return {name: {"approved": False, "by": by, "reason": reason}}
        case facts.TaskCompleted(task=name, form=form):
            return {name: form}
        case _:
            return {}


def _of_run(found: list[Exchange], said: Said[Any], values: Values) -> None:
    row = said.row
    match said.data:
        case facts.RunStarted():
            taken = {TRIGGER: values.by_name.get(TRIGGER)}
            found[:] = [
                Exchange(row.run_id, None, 1, "running", row.time, said.position, taken=taken)
            ]
        case facts.RunSucceeded(outcome=outcome):
            _end(found, said, "succeeded", outcome)
        case facts.RunFailed(error=error):
            _end(found, said, "failed", error and error.model_dump(mode="json", exclude_none=True))
        case facts.RunCancelled():
            _end(found, said, "cancelled", None)
        case facts.RunReopened() if found:
            found[-1] = found[-1]._replace(state="running", ended_at=None, ended_position=None)


def _of_step(
    found: list[Exchange],
    said: Said[Any],
    values: Mapping[str, Any],
    spec: Mapping[str, Any] | None,
) -> None:
    row = said.row
    match said.data:
        case facts.StepStarted(step=step, attempt=attempt):
            if found and found[-1].state == "running":
                found[-1] = found[-1]._replace(state="lost", ended_at=row.time)
            taken = _taken(step, values, spec)
            found.append(
                Exchange(row.run_id, step, attempt, "running", row.time, said.position, taken=taken)
            )
        case facts.StepSucceeded(result=result):
            _end(found, said, "succeeded", result)
        case facts.StepFailed(error=error):
            _end(found, said, "failed", error.model_dump(mode="json", exclude_none=True))
        case facts.StepFannedOut(step=step):
            taken = _taken(step, values, spec)
            found.append(
                Exchange(row.run_id, step, 1, "running", row.time, said.position, taken=taken)
            )
        case facts.StepJoined(step=step):
            _end(found, said, "succeeded", values.get(step))
        case facts.StepSkipped(step=step, value=value):
            attempt = found[-1].attempt if found else 0
            skipped = Exchange(row.run_id, step, attempt, "skipped", row.time, said.position)
            found.append(skipped)
            _end(found, said, "skipped", value)


def _end(
    found: list[Exchange],
    said: Said[Any],
    state: Literal["succeeded", "failed", "cancelled", "skipped"],
    gave: Any,
) -> None:
    if found:
        found[-1] = found[-1]._replace(
            state=state, ended_at=said.row.time, ended_position=said.position, gave=gave
        )


def _taken(
    step: str, values: Mapping[str, Any], spec: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return the values that the step takes now; None where the definition does not say."""
    name, _, index = step.partition("[")
    node = next((each for each in (spec or {}).get("nodes", ()) if each["name"] == name), None)
    if node is None or "parameters" not in node:
        return None
    number = int(index[:-1]) if index[:-1].isdecimal() else None
    taken = {}
    for parameter in node["parameters"]:
        asked = parameter["name"]
        if asked in values:
            taken[asked] = values[asked]
        elif asked == "item" and number is not None:
            taken[asked] = _item(node.get("each", {}).get("of", ""), number, values)
    return taken


def _item(path: str, index: int, values: Mapping[str, Any]) -> Any:
    name, *fields = path.split(".")
    value = values.get(name)
    for field in fields:
        value = value.get(field) if isinstance(value, dict) else None
    return value[index] if isinstance(value, list) and index < len(value) else None


def _compared(each: Exchange, before: Exchange | None) -> Exchange:
    taken, gave = each.taken, each.gave
    # Of several values that went in, nobody knows which became what came out.
    only = next(iter(taken.values())) if isinstance(taken, dict) and len(taken) == 1 else None
    changes = corrected = None
    if each.state != "failed" and type(only) is type(gave) and isinstance(gave, dict | list):
        changes = [change.model_dump() for change in differences(only, gave)]
    if before is not None and None not in (taken, before.taken):
        corrected = [change.model_dump() for change in differences(before.taken, taken)]
    return each._replace(changes=changes, corrected=corrected or None)
