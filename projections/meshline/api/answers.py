"""What the API answers: the rows of the views as models, pages of them, and masked payloads."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, create_model

from meshline.projections.admitted import Key, Session, User
from meshline.projections.asked_rebuilds import AskedRebuild
from meshline.projections.audit_view import AuditRow
from meshline.projections.bulk_list import BulkItem
from meshline.projections.cause_queries import CauseHit, ExceptionGroup, Opened
from meshline.projections.directory_view import AbsenceRow
from meshline.projections.exception_view import ExceptionRow
from meshline.projections.exchanges import Exchange
from meshline.projections.handovers_view import HandoverRow
from meshline.projections.history_view import HistoryRow
from meshline.projections.lag import ViewLag
from meshline.projections.owner_queries import Possession
from meshline.projections.ownership_view import PeriodRow
from meshline.projections.readings import ReadingRow
from meshline.projections.reasons import Reason
from meshline.projections.runs_view import RunRow
from meshline.projections.summaries import OwnerLoad
from meshline.projections.tasks_view import TaskRow
from meshline.projections.triggers_view import TriggerRow
from meshline.projections.work import WorkRow
from meshline.projections.work_queries import PersonLoad, QueueLoad
from meshline.projections.workflows_view import WorkflowRow

__all__ = ["PAYLOAD_FIELDS", "ListOf", "item_of", "list_of", "payloads_in"]

PAYLOAD_FIELDS: dict[type[Any], tuple[str, ...]] = {
    RunRow: ("outcome",),
    HistoryRow: ("data",),
    TriggerRow: ("payload", "unreadable", "problems"),
    ExceptionRow: ("error",),
    Reason: ("saw",),
    TaskRow: ("form",),
    BulkItem: ("corrected",),
    Exchange: ("taken", "gave", "changes", "corrected"),
}
"""What of a row comes from the outside, or goes there."""


_NAMES: dict[type[Any], str] = {
    RunRow: "Run",
    HistoryRow: "HistoryItem",
    Exchange: "Exchange",
    PeriodRow: "OwnerPeriod",
    OwnerLoad: "Owner",
    ExceptionRow: "Exception",
    ExceptionGroup: "ExceptionGroup",
    CauseHit: "CauseHit",
    Opened: "Opened",
    TaskRow: "Task",
    WorkRow: "Work",
    Possession: "Possession",
    HandoverRow: "Handover",
    PersonLoad: "PersonLoad",
    QueueLoad: "QueueLoad",
    AbsenceRow: "Absence",
    TriggerRow: "Trigger",
    WorkflowRow: "Workflow",
    AuditRow: "Asked",
    ReadingRow: "PayloadReading",
    ViewLag: "View",
    BulkItem: "BulkItem",
    AskedRebuild: "Rebuild",
    Reason: "Reason",
    Key: "Key",
    User: "User",
    Session: "Session",
}


def _model(row: type[Any]) -> type[BaseModel]:
    hidden = PAYLOAD_FIELDS.get(row, ())
    fields: dict[str, Any] = {
        field: (hint | None if field in hidden else hint, ...)
        for field, hint in get_type_hints(row).items()
    }
    return create_model(_NAMES[row], __doc__=row.__doc__, **fields)


_MODELS = {row: _model(row) for row in _NAMES}


def item_of(row: type[Any]) -> Any:
    """Return the model for a row of a view, for the document and the answers."""
    return _MODELS[row]


M = TypeVar("M")


class ListOf(BaseModel, Generic[M]):
    """A page of a list; ``next`` is what to send as ``after`` to get the one that follows."""

    items: list[M]
    next: str | None = None


def list_of(row: type[Any]) -> Any:
    """Return the model for a page of such rows."""
    return ListOf.__class_getitem__(item_of(row))


def payloads_in(row: Any) -> list[str]:
    """Return the fields of the row in which there is a payload."""
    return [name for name in PAYLOAD_FIELDS.get(type(row), ()) if getattr(row, name) is not None]
