"""What a bulk list is made of: all that fits what was chosen and can be acted on so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshline.events.principals import is_principal
from meshline.projections.bulk_corrections import AT_ONCE, Trial, Trials
from meshline.projections.bulk_list import BulkAction, BulkItem, Chosen, acts_on_runs, left_out
from meshline.projections.errors import NotFound, NotReady
from meshline.projections.exception_view import OPEN_EXCEPTIONS, ExceptionRow
from meshline.projections.pages import Page
from meshline.projections.queries import Views
from meshline.projections.runs_view import RunRow
from meshline.projections.summaries import OPEN_RUNS

__all__ = ["Found", "check", "found_by"]

ITEMS_MAX = 100_000

CORRECTED_MAX = 10_000
"""Items of a list with corrections: the values of every run are read before."""

LEFT_OUT_MAX = 1_000
"""What is left out is kept item by item up to here, and counted behind that."""

WHYS_MAX = 20
"""Reasons for which something is left out that are told apart."""

PAGE = 1_000

_OTHERS = "other reasons"


@dataclass
class Found:
    """What the list holds, and what fits and is left out of it; ``counts``: how much, by why."""

    items: list[BulkItem] = field(default_factory=list)
    left_out: list[BulkItem] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def leave_out(self, item: BulkItem, why: str) -> None:
        if why not in self.counts and len(self.counts) >= WHYS_MAX:
            why = _OTHERS
        self.counts[why] = self.counts.get(why, 0) + 1
        if len(self.left_out) < LEFT_OUT_MAX:
            self.left_out.append(item._replace(result="left_out", detail=why))


async def found_by(
    views: Views, name: str, action: BulkAction, chosen: Chosen, more: Mapping[str, Any]
) -> Found:
    """Return the items of the list with this name, numbered; those left out come behind.

    Raises:
        NotFound: nothing fits that can be acted on so.
        NotReady: there is more than one list may hold.
    """
    found = Found()
    corrections = more.get("corrections")
    trials = Trials(views, corrections) if corrections else None
    items_max = ITEMS_MAX if trials is None else CORRECTED_MAX
    async for rows in _fitting(views, action, chosen):
        tried = {} if trials is None else await trials.of([row.run_id for row in rows])
        for row in rows:
            item, trial = BulkItem.of(name, 0, row), tried.get(row.run_id, Trial(None))
            why = left_out(action, more, row) or trial.why
            if why is None:
                found.items.append(item._replace(corrected=trial.corrected))
            else:
                found.leave_out(item, why)
        if len(found.items) > items_max:
            raise NotReady(
                f"More than {items_max:,} fit: expected at most so many. Choose fewer: by "
                "workflow, step or cause."
            )
    if not found.items:
        raise NotFound(_nothing("run" if acts_on_runs(action) else "exception", found.counts))
    found.items = _numbered(found.items, 1)
    found.left_out = _numbered(found.left_out, len(found.items) + 1)
    return found


def _numbered(items: list[BulkItem], first: int) -> list[BulkItem]:
    return [item._replace(number=number) for number, item in enumerate(items, first)]


def check(action: BulkAction, chosen: Chosen, more: Mapping[str, Any], reason: str) -> None:
    """Raise ``NotReady`` where it can't be done so, whatever fits."""
    chosen.check_fits(action)
    if chosen.is_everything:
        raise NotReady(
            "Nothing says which are meant: expected a cause, a workflow, a step, an owner or the "
            "like. Nobody acts on all there is by mistake."
        )
    wants_owner = action in ("assign", "hand_over")
    if wants_owner != ("owner" in more) or (wants_owner and not is_principal(more["owner"])):
        raise NotReady(
            f"The new owner is {more.get('owner')!r}: expected one, such as team:emea or user:ada, "
            "with assign and hand_over, and with nothing else."
        )
    if action == "dismiss" and not reason.strip():
        raise NotReady("There is no reason: expected why these were no problem.")
    if "value" in more and action != "skip":
        raise NotReady("There is a value to go on with: expected it with skip only.")
    if "corrections" in more and action != "retry":
        raise NotReady("There are corrections to make: expected them with retry only.")


def _nothing(noun: str, out: Mapping[str, int]) -> str:
    if not out:
        return f"No open {noun} fits: expected some. See `meshline bulk preview`."
    whys = "; ".join(f"{count:,}: {why}" for why, count in out.items())
    return (
        f"Nothing that fits can be acted on so ({whys}): expected some. Choose another action, or "
        "other corrections."
    )


async def _fitting(
    views: Views, action: BulkAction, chosen: Chosen
) -> AsyncIterator[list[ExceptionRow | RunRow]]:
    after: str | None = None
    while True:
        page: Page[Any]
        if acts_on_runs(action):
            page = await views.runs(
                states=[chosen.state] if chosen.state else OPEN_RUNS,
                workflow=chosen.workflow, owner=chosen.owner, source=chosen.source,
                wait_kind=chosen.waiting_on, limit=PAGE, after=after,
            )  # fmt: skip
        else:
            page = await views.exceptions(
                states=[chosen.state] if chosen.state else OPEN_EXCEPTIONS,
                cause=chosen.cause, workflow=chosen.workflow, kind=chosen.kind,
                owner=chosen.owner, route=chosen.route, severity=chosen.severity,
                limit=PAGE, after=after,
            )  # fmt: skip
        rows = [row for row in page.rows if chosen.has(row)]
        for first in range(0, len(rows), AT_ONCE):
            yield rows[first : first + AT_ONCE]
        if page.next is None:
            return
        after = page.next
