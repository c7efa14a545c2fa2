"""What is secret of payloads, as the definitions in the log say, and rows without it.

Which definition a row is of stands in the history: the run's own version counts, and with it every
later one, so that a mark that is made today covers the runs of yesterday. Where no definition is
registered nobody knows what is secret, and so all of a payload is taken to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from meshline.events import facts, people_requests, requests
from meshline.events.catalogue import type_name
from meshline.events.corrections import Corrected
from meshline.events.secrets import (
    MASK,
    NOTHING,
    WHOLE,
    Places,
    at,
    below,
    masked,
    masked_change,
    places_of,
    within,
)
from meshline.projections.bulk_list import BulkItem, BulkList
from meshline.projections.exchanges import Exchange
from meshline.projections.history_view import HistoryRow
from meshline.projections.reasons import Reason
from meshline.projections.run_values import TRIGGER
from meshline.projections.runs_view import RunRow
from meshline.projections.tasks_view import TaskRow
from meshline.projections.triggers_view import TriggerRow
from meshline.projections.workflows_view import WorkflowRow

__all__ = [
    "UNKNOWN",
    "Definitions",
    "Secrets",
    "masked_corrections",
    "masked_event",
    "masked_more",
    "masked_row",
    "masked_rows",
    "secrets_of_runs",
    "secrets_of_specs",
]

R = TypeVar("R")


class Secrets(NamedTuple):
    """Where the secrets are in the values of a run, by the name of each.

    Args:
        names: all that have a value.
        outcomes: the steps whose value is the outcome.
        lists: by step that is done for each item, the list that they are of.
        is_known: False: there is no definition, and all is secret.
    """

    by_name: Mapping[str, Places]
    names: frozenset[str] = frozenset()
    outcomes: frozenset[str] = frozenset()
    lists: Mapping[str, str] = {}
    is_known: bool = True

    def of(self, name: str) -> Places:
        """Return where they are in the value of this name; ``price[0]`` is one item of a list."""
        whole, bracket, index = name.partition("[")
        if whole not in self.names:
            # A name that was mistyped may well have come with a secret.
            return self.of_any()
        places = self.by_name.get(whole, NOTHING)
        return below(places, index[:-1]) if bracket else places

    def of_outcome(self) -> Places:
        if not self.is_known:
            return WHOLE
        return NOTHING.union(*(self.of(name) for name in self.outcomes))

    def of_any(self) -> Places:
        """Return where they are in a value of which nobody says whose it is."""
        return NOTHING.union(*self.by_name.values()) if self.is_known else WHOLE

    def of_item(self, step: str) -> Places:
        """Return where they are in what the step takes as its item."""
        whole, _, index = step.partition("[")
        name, *fields = self.lists.get(whole, "").split(".")
        return at(self.of(name), "".join(f"/{each}" for each in (*fields, index[:-1])))


UNKNOWN = Secrets({}, is_known=False)


class Definitions:
    """What all registered definitions say."""

    def __init__(self, rows: Iterable[WorkflowRow]) -> None:
        self._rows = [*rows]

    @property
    def specs(self) -> list[Mapping[str, Any]]:
        return [row.spec for row in self._rows]

    def of_run(self, workflow: str, version: int) -> Secrets:
        rows = [each for each in self._rows if each.workflow == workflow]
        if all(each.version != version for each in rows):
            return UNKNOWN
        return _together(each for each in rows if each.version >= version)

    def of_workflow(self, workflow: str) -> Secrets:
        """Return what any version of it says."""
        return _together(each for each in self._rows if each.workflow == workflow)

    def of_trigger(self, source: str, trigger_type: str) -> Secrets:
        """Return what is said of triggers that started nothing."""
        return _together(
            each
            for each in self._rows
            if each.source == source and trigger_type in ("", each.trigger_type)
        )

    def of_trigger_row(self, row: TriggerRow) -> Secrets:
        if row.workflow is not None:
            return self.of_workflow(row.workflow)
        return self.of_trigger(row.source, row.trigger_type)

    def of_all(self) -> Secrets:
        return _together(self._rows)

    @property
    def have_secrets(self) -> bool:
        """Whether any of them has some; taken to be so where there are none."""
        return bool(self.of_all().of_any())


def _together(rows: Iterable[WorkflowRow]) -> Secrets:
    return secrets_of_specs(row.spec for row in rows)


def secrets_of_specs(specs: Iterable[Mapping[str, Any]]) -> Secrets:
    """Return what any of these definitions says; nothing is known where there are none."""
    by_name: dict[str, Places] = {}
    names, outcomes, lists, is_known = {TRIGGER}, set[str](), dict[str, str](), False
    for spec in specs:
        is_known = True
        for name, pointers in spec.get("secrets", {}).items():
            by_name[name] = by_name.get(name, NOTHING) | places_of(pointers)
        if spec.get("outcome_node") is not None:
            outcomes.add(spec["outcome_node"])
        for node in spec.get("nodes", ()):
            names.add(node["name"])
            if "each" in node:
                lists.setdefault(node["name"], node["each"]["of"])
    if not is_known:
        return UNKNOWN
    return Secrets(by_name, frozenset(names), frozenset(outcomes), lists)


# -- events ------------------------------------------------------------------------------------

Change = Callable[[Mapping[str, Any], Secrets], dict[str, Any]]


def masked_event(event_type: str, data: Any, secrets: Secrets) -> Any:
    """Return what an event says without what is secret of it."""
    change = _SAID.get(event_type)
    return data if change is None or not isinstance(data, dict) else data | change(data, secrets)


def _value(field: str, named: str, part: str | None = None) -> Change:
    """Return how the value in a field is masked.

    Args:
        named: the field that says whose value it is.
        part: of that value it is this.
    """

    def change(data: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
        places = secrets.of(data[named])
        return _of(data, field, places if part is None else below(places, part))

    return change


def _of(data: Mapping[str, Any], field: str, places: Places) -> dict[str, Any]:
    return {} if data.get(field) is None else {field: masked(data[field], places)}


def _received(data: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    places = secrets.of(TRIGGER)
    shown = _of(data, "payload", places)
    if data.get("unreadable") is not None:
        shown["unreadable"] = _unreadable(data["unreadable"], places)
    return shown


def _unreadable(kept: Mapping[str, Any], places: Places) -> dict[str, Any]:
    # Bytes that nobody could read have no places; and a hash is found out by trying.
    return {**kept, "raw_base64": MASK, "sha256": MASK} if places else {**kept}


def _accepted(data: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    return {"payload_hash": MASK} if secrets.of(TRIGGER) else {}


def _saw(data: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    values = data.get("values")
    return {} if not values else {"values": _by_name(values, secrets)}


def _by_name(values: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    return {name: masked(value, secrets.of(name)) for name, value in values.items()}


def _skipped(data: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    return _of(data, "value", secrets.of(data["step"])) | _saw(data, secrets)


def _action(data: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    shown = _of(data, "value", secrets.of_any())
    if "corrections" in data:
        shown["corrections"] = [
            {**each, "value": masked(each["value"], at(secrets.of(each["of"]), each["path"]))}
            for each in data["corrections"]
        ]
    return shown


def _resolved(data: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    return {"corrected": _corrected(data.get("corrected", ()), secrets)}


def _corrected(corrected: Iterable[Mapping[str, Any]], secrets: Secrets) -> list[dict[str, Any]]:
    return [
        {**each, "changes": _changes(each["changes"], secrets.of(each["of"]))} for each in corrected
    ]


def masked_corrections(corrected: Iterable[Corrected], secrets: Secrets) -> list[Corrected]:
    """Return what was corrected, of secrets only that they are."""
    said = _corrected([each.model_dump() for each in corrected], secrets)
    return [*map(Corrected.model_validate, said)]


def _changes(
    changes: Iterable[Mapping[str, Any]], before: Places, after: Places | None = None
) -> list[dict[str, Any]]:
    return [masked_change(each, before, before if after is None else after) for each in changes]


def _activity(data: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    # What outside systems report has no type, and so no marks.
    places = NOTHING if secrets.is_known else WHOLE
    return _of(data, "payload", places) | _of(data, "memo", places)


_FORM: dict[type[facts.Fact] | type[requests.Request], str] = {
    requests.ApprovalSubmitted: "approval",
    facts.ApprovalApproved: "approval",
    facts.ApprovalVoted: "approval",
}
_CHANGES: dict[type[facts.Fact] | type[requests.Request], Change] = {
    requests.TriggerReceived: _received,
    facts.TriggerAccepted: _accepted,
    requests.MessageReceived: _value("payload", "name"),
    facts.MessageMatched: _value("payload", "message"),
    requests.StepReported: _value("result", "step"),
    facts.StepSucceeded: _value("result", "step"),
    facts.StepSkipped: _skipped,
    facts.OwnerAssigned: _saw,
    facts.RunSucceeded: lambda data, secrets: _of(data, "outcome", secrets.of_outcome()),
    people_requests.TaskCompletionRequested: _value("form", "task"),
    facts.TaskCompleted: _value("form", "task"),
    **{kind: _value("form", named, "form") for kind, named in _FORM.items()},
    requests.ExceptionActionRequested: _action,
    facts.ExceptionResolved: _resolved,
    requests.ActivityReported: _activity,
    facts.ActivityRecorded: _activity,
}
_SAID = {type_name(kind): change for kind, change in _CHANGES.items()}


# -- rows --------------------------------------------------------------------------------------


def masked_row(row: R, secrets: Secrets) -> R:
    """Return a row of a view as somebody sees it who may read payloads, and no secrets."""
    change = _ROWS.get(type(row))
    changed = {} if change is None else change(row, secrets)
    return row._replace(**changed) if changed else row  # type: ignore[attr-defined]


def _trigger_row(row: TriggerRow, secrets: Secrets) -> dict[str, Any]:
    return _received({"payload": row.payload, "unreadable": row.unreadable}, secrets)


def _task_row(row: TaskRow, secrets: Secrets) -> dict[str, Any]:
    places = secrets.of(row.task)
    return _of({"form": row.form}, "form", below(places, "form") if row.kind == "approval" else
               places)  # fmt: skip


def _reason(row: Reason, secrets: Secrets) -> dict[str, Any]:
    # What is wrong with a trigger's payload is said without the payload.
    return {"saw": _by_name(row.saw, secrets)} if row.saw and row.question != "refused" else {}


def _exchange(row: Exchange, secrets: Secrets) -> dict[str, Any]:
    gave = secrets.of_outcome() if row.step is None else secrets.of(row.step)
    taken = row.taken if isinstance(row.taken, dict) else {}
    places = {name: secrets.of(name) for name in taken}
    if row.step is not None and row.step.endswith("]"):
        own = {"item": secrets.of_item(row.step), "index": NOTHING}
        places |= {name: each for name, each in own.items() if name in places}
    changed: dict[str, Any] = {}
    if row.taken is not None:
        changed["taken"] = {name: masked(value, places[name]) for name, value in taken.items()}
    if row.gave is not None and row.state != "failed":
        changed["gave"] = masked(row.gave, gave)
    if row.changes is not None:
        changed["changes"] = _changes(row.changes, NOTHING.union(*places.values()), gave)
    if row.corrected is not None:
        inside = NOTHING.union(*(within(name, each) for name, each in places.items()))
        changed["corrected"] = _changes(row.corrected, inside)
    return changed


_ROWS: dict[type[Any], Callable[[Any, Secrets], dict[str, Any]]] = {
    RunRow: lambda row, secrets: _of({"outcome": row.outcome}, "outcome", secrets.of_outcome()),
    HistoryRow: lambda row, secrets: {"data": masked_event(row.type, row.data, secrets)},
    TriggerRow: _trigger_row,
    TaskRow: _task_row,
    Reason: _reason,
    Exchange: _exchange,
    BulkItem: lambda row, secrets: (
        {"corrected": _corrected(row.corrected, secrets)} if row.corrected else {}
    ),
}


def masked_more(made: BulkList, definitions: Definitions) -> dict[str, Any]:
    """Return the list's own words; its value and corrections are of any run that was chosen."""
    workflow = made.chosen.get("workflow")
    secrets = definitions.of_all() if workflow is None else definitions.of_workflow(workflow)
    shown: dict[str, Any] = {
        name: made.more[name] for name in ("value", "corrections") if name in made.more
    }
    return {**made.more, **_action(shown, secrets)} if shown else made.more


class _Views(Protocol):
    async def workflows(self) -> list[WorkflowRow]: ...

    async def said(
        self, run_ids: Sequence[str], types: Sequence[str]
    ) -> dict[str, list[HistoryRow]]: ...


async def masked_rows(views: _Views, rows: Sequence[R], run_id: str | None = None) -> list[R]:
    """Return the rows as somebody sees them who may read payloads, and no secrets.

    Args:
        views: of all teams, as they are now: what a row says may be of a past moment.
        run_id: whose rows they are, where they don't say so themselves.
    """
    if not any(type(row) in _ROWS for row in rows):
        return [*rows]
    definitions = Definitions(await views.workflows())
    runs = {id_of for row in rows if (id_of := _run_of(row, run_id)) is not None}
    by_run = await secrets_of_runs(views, definitions, runs)
    return [masked_row(row, _secrets(row, definitions, by_run, run_id)) for row in rows]


def _run_of(row: Any, run_id: str | None) -> str | None:
    """Return the run in whose history it stands which definition the row is of."""
    if isinstance(row, RunRow | TriggerRow) or type(row) not in _ROWS:
        return None
    return getattr(row, "run_id", run_id)


def _secrets(
    row: Any, definitions: Definitions, by_run: Mapping[str, Secrets], run_id: str | None
) -> Secrets:
    if isinstance(row, RunRow):
        return definitions.of_run(row.workflow, row.version)
    if isinstance(row, TriggerRow):
        return definitions.of_trigger_row(row)
    return by_run.get(_run_of(row, run_id) or "", UNKNOWN)


async def secrets_of_runs(
    views: _Views, definitions: Definitions, run_ids: Iterable[str]
) -> dict[str, Secrets]:
    """Return what is secret in each run; a trigger that started none has an id of one too."""
    asked = [*run_ids]
    said = await views.said(asked, _BEGINNINGS) if asked else {}
    return {run_id: _of_history(said.get(run_id, []), definitions) for run_id in asked}


_ACCEPTED = type_name(facts.TriggerAccepted)
_BEGINNINGS = [_ACCEPTED, type_name(requests.TriggerReceived)]


def _of_history(said: Iterable[HistoryRow], definitions: Definitions) -> Secrets:
    found = UNKNOWN
    for row in said:
        if row.type == _ACCEPTED:
            return definitions.of_run(row.data["workflow"], row.data["version"])
        found = definitions.of_trigger(row.data["source"], row.data["trigger_type"])
    return found
