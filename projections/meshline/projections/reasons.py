"""A reason, and the history that reasons are read from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from pydantic import BaseModel

from meshline.events.catalogue import CATALOGUE
from meshline.projections.history_view import HistoryRow

__all__ = ["QUESTIONS", "Question", "Reason", "Said", "Told", "clock"]

D_co = TypeVar("D_co", bound=BaseModel, covariant=True)
D = TypeVar("D", bound=BaseModel)

Question = Literal[
    "started",
    "refused",
    "repeated",
    "owner",
    "skipped",
    "again",
    "exception",
    "waits",
    "not_begun",
    "ended",
]

QUESTIONS: dict[Question, str] = {
    "started": "Why it started",
    "refused": "Why it was refused",
    "repeated": "Why it was taken for a repeat",
    "owner": "Why this owner",
    "skipped": "Why skipped",
    "again": "Why tried again",
    "exception": "Why these exceptions, and why they went there",
    "waits": "Why it waits",
    "not_begun": "Why not begun",
    "ended": "Why it ended so",
}
"""What can be asked, in the order in which it is answered."""


class Reason(NamedTuple):
    """One answer to one question, about the run or a part of it.

    ``at``, ``by`` and ``position`` are of the event that says so: when, who, and where it stands in
    the log. ``data`` is the answer in parts, by names that stay; ``saw`` are the values that a rule
    decided by, and is the only place where values of payloads stand.
    """

    question: Question
    about: str
    words: str
    at: datetime
    by: str | None
    position: str
    data: dict[str, Any]
    saw: dict[str, Any] | None = None


class Said(NamedTuple, Generic[D_co]):
    """One event of a history, read into its class."""

    row: HistoryRow
    data: D_co

    @property
    def position(self) -> str:
        return f"{self.row.partition}:{self.row.log_offset}"

    @property
    def time(self) -> datetime:
        return self.row.time

    def because(
        self,
        question: Question,
        about: str,
        words: str,
        *,
        saw: dict[str, Any] | None = None,
        **data: Any,
    ) -> Reason:
        """Return the reason that this event gives; what is None says nothing and is left out."""
        row = self.row
        kept = {name: value for name, value in data.items() if value is not None}
        return Reason(question, about, words, row.time, row.actor, self.position, kept, saw)


class Told:
    """A history in the order of the log; what a newer program wrote is left out."""

    def __init__(self, rows: Iterable[HistoryRow]) -> None:
        self._all: list[Said[Any]] = []
        self._at: dict[str, Said[Any]] = {}
        for row in rows:
            data_type = CATALOGUE.get(row.type)
            if data_type is not None:
                said: Said[Any] = Said(row, data_type.model_validate(row.data))
                self._all.append(said)
                self._at[said.position] = said

    @staticmethod
    def of(history: Iterable[HistoryRow] | Told) -> Told:
        """Return it as it is, or read: who needs it twice reads it once."""
        return history if isinstance(history, Told) else Told(history)

    def __iter__(self) -> Iterator[Said[Any]]:
        return iter(self._all)

    def all(self, kind: type[D]) -> Iterator[Said[D]]:
        return (said for said in self._all if said.data.__class__ is kind)

    def last(self, *kinds: type[BaseModel]) -> Said[Any] | None:
        """Return the last event of these kinds."""
        return next((said for said in reversed(self._all) if said.data.__class__ in kinds), None)

    def asked(self, said: Said[Any]) -> Said[Any] | None:
        """Return the request that the fact answers."""
        return self._at.get(said.row.causation_id or "")


def clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
