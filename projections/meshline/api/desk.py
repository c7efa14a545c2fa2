"""Where one principal stands: what of the installation is open to them, and how they ask.

Routes and pages are written over a desk. It reads within the principal's scope, and what it appends
has the principal's name, whatever the client says.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel

from meshline.api.answers import payloads_in
from meshline.api.principals import Permission, Principal
from meshline.api.problems import Conflict, Denied
from meshline.api.refusals import Attempt
from meshline.api.repeats import id_of_repeat
from meshline.api.services import Services
from meshline.api.tags import check_tag
from meshline.events.corrections import Correction, part_at
from meshline.events.errors import MeshlineError
from meshline.events.people_requests import TaskActionRequested, TaskCompletionRequested
from meshline.events.publish import RequestAnswer
from meshline.events.requests import ApprovalSubmitted, ExceptionActionRequested
from meshline.events.requests import Request as AskedRequest
from meshline.events.secrets import MASK, at, holds_mask, kept, masked
from meshline.projections.as_of_queries import views_at
from meshline.projections.errors import NotFound, NotReady
from meshline.projections.exception_view import ExceptionRow
from meshline.projections.exchanges import Exchange, read_exchanges
from meshline.projections.explain import reasons_of
from meshline.projections.history_view import HistoryRow
from meshline.projections.masking import Definitions, Secrets, masked_rows, secrets_of_runs
from meshline.projections.moment import Moment
from meshline.projections.pages import LIMIT_MAX, Page
from meshline.projections.queries import Views
from meshline.projections.reasons import Reason
from meshline.projections.run_values import values_in, whole_history
from meshline.projections.runs_view import RunRow
from meshline.projections.tasks_view import TaskRow
from meshline.projections.triggers_view import TriggerRow

__all__ = ["Answered", "Asking", "Desk", "Services"]

T = TypeVar("T")
_audit = logging.getLogger("meshline.audit")


class OutOfScope(MeshlineError):
    """Somebody asked about what another team has. Told to the history; answered as not found."""

    code = "ML6005"


class Answered(BaseModel):
    """What became of a request. ``appended``: it is in the log, and nobody has decided yet.

    ``position`` is where the decision stands (else the request): sent as ``min_position``, it
    lets a list show what this led to.
    """

    status: Literal["appended", "accepted"]
    run_id: str
    position: str


class Asking(NamedTuple):
    """How one asks.

    Args:
        wait_s: for the decision; 0: not at all.
        if_match: the tag of what the asker saw; None: whatever it is now.
        idempotency_key: asking again with the same one asks for nothing new.
    """

    wait_s: float = 10.0
    if_match: str | None = None
    idempotency_key: str | None = None


WITH_SECRETS = " with secrets"
"""Behind what was read, where it was fields that are secret, in clear."""

_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Desk:
    """Args:
    attempt: what the call would append; None where it only reads.
    refreshes: a page that looks again by itself: what it showed just now is not noted again.
    """

    def __init__(
        self,
        services: Services,
        principal: Principal,
        attempt: Attempt | None = None,
        *,
        refreshes: bool = False,
    ) -> None:
        self.services = services
        self.principal = principal
        self.views = services.views.within(principal.scope)
        self._attempt = attempt
        self._refreshes = refreshes

    # -- reading -------------------------------------------------------------------------------

    async def shown(self, row: Any, about: str) -> dict[str, Any]:
        """Return a row as the principal may see it; who reads payloads is kept."""
        answer = await self.page([row], about)
        found: dict[str, Any] = answer["items"][0]
        return found

    async def page(
        self, page: Page[Any] | Iterable[Any], about: str, *, run_id: str | None = None
    ) -> dict[str, Any]:
        """Return a page of rows as the principal may see them; who reads payloads is kept, once.

        Args:
            run_id: whose rows they are, where they don't say so themselves.
        """
        rows = [*(page.rows if isinstance(page, Page) else page)]
        following = page.next if isinstance(page, Page) else None
        hidden = [payloads_in(row) for row in rows]
        read = [row for row, names in zip(rows, hidden, strict=True) if names]
        if read and self.principal.may(Permission.READ_PAYLOADS):
            shown = await masked_rows(self.services.views, rows, run_id)
            fields = ", ".join(dict.fromkeys(name for names in hidden for name in names))
            if not await self.reads(fields, about, read, run_id, secrets=shown != rows):
                rows = shown
            hidden = []
        items = [row._asdict() for row in rows]
        for item, names in zip(items, hidden, strict=False):
            item |= dict.fromkeys(names)
        return {"items": items, "next": following}

    async def values(
        self,
        values: Mapping[str, Any],
        what: str,
        about: str,
        run_id: str,
        rows: Sequence[HistoryRow] = (),
    ) -> dict[str, Any] | None:
        """Return what a run knows as the principal may see it; None: not at all. It is kept.

        Args:
            rows: the events that said it.
        """
        if not self.principal.may(Permission.READ_PAYLOADS):
            return None
        secrets = await self.secrets(run_id)
        shown = {name: masked(value, secrets.of(name)) for name, value in values.items()}
        is_clear = await self.reads(what, about, rows, run_id, secrets=shown != values)
        return {**values} if is_clear else shown

    async def secrets(self, run_id: str) -> Secrets:
        """Return what is secret in the run."""
        definitions = Definitions(await self.services.views.workflows())
        return (await secrets_of_runs(self.services.views, definitions, [run_id]))[run_id]

    async def reads(
        self,
        what: str,
        about: str,
        rows: Sequence[Any] = (),
        run_id: str | None = None,
        *,
        secrets: bool,
    ) -> bool:
        """Keep that the principal reads payloads, and return whether in clear.

        Args:
            rows: those with payloads, if it is not just one value.
            run_id: as of ``page``.
            secrets: there are some in it; who may not read these is to be shown the mask.
        Raises:
            StoreUnavailable: it can't be kept, and nothing may be shown.
        """
        who = self.principal
        who.check(Permission.READ_PAYLOADS)
        in_clear = who.may(Permission.READ_SECRETS)
        if secrets and in_clear:
            what = f"{what}{WITH_SECRETS}"
        _audit.info("%s read %s of %s", who.actor.id, what, about)
        if self.services.readings is not None:
            runs = {getattr(row, "run_id", None) for row in rows} | {run_id}
            await self.services.readings.note(
                who.actor.id,
                who.credential,
                what,
                about,
                items=max(1, len(rows)),
                run_ids=sorted(run for run in runs if run),
                positions=[*filter(None, map(_position_of, rows))],
                refreshes=self._refreshes,
            )
        return in_clear

    async def run(self, begins: str) -> RunRow:
        """Return the run that is meant.

        Raises:
            NotFound: there is none that the principal may see, or more than one.
        """
        return await self._found(self.views.run(begins))

    async def at(self, moment: Moment | None) -> Views:
        """Return the views for lists, as they are or as they were."""
        return await views_at(self.views, moment, self.services.log, self.services.kept)

    async def reasons(self, begins: str) -> tuple[str, list[Reason]]:
        """Return the id of the run that is meant, and why it is as it is.

        A trigger that started nothing is named by the whole id of the run that it would be.

        Raises:
            NotFound: nobody has heard of it, or more than one is meant.
        """
        try:
            row: RunRow | None = await self.views.run(begins)
            run_id = row.run_id if row is not None else begins
        except NotFound:
            # What else has a history is no run: who was let in is for auditors.
            is_id = _RUN_ID.fullmatch(begins) is not None
            if not is_id or not await self.views.history(begins, limit=1):
                await self.run(begins)
            row, run_id = None, begins
        return run_id, await reasons_of(self.views, run_id, row)

    async def exchanges(self, begins: str, step: str | None = None) -> list[Exchange]:
        """Return what went into the run or each try of its step, and came out; see ``run``."""
        row = await self.run(begins)
        return await read_exchanges(self.views, row, step, await self.views.workflows())

    async def exception(self, begins: str) -> ExceptionRow:
        """Return the exception that is meant; see ``run``."""
        return await self._found(self.views.exception(begins))

    async def approval(self, run: str, approval: str) -> TaskRow:
        """Return what the run asks to have approved under this name; see ``run``."""
        return await self.task(run, approval, kind="approval")

    async def task(self, run: str, task: str, kind: str | None = None) -> TaskRow:
        """Return what the run asks people for under this name; see ``run``.

        Args:
            kind: ``task`` or ``approval``; None: either.
        """
        row = await self.run(run)
        page = await self.views.tasks(states=None, kind=kind, run_id=row.run_id, limit=LIMIT_MAX)
        for found in page.rows:
            if found.task == task:
                return found
        raise NotFound(
            f"The run {row.run_id[:8]} has asked for no {kind or 'task'} {task[:60]!r}: expected "
            f"one of {', '.join(r.task for r in page.rows) or 'none yet'}."
        )

    async def _found(self, reading: Awaitable[T]) -> T:
        try:
            return await reading
        except NotFound:
            if self.principal.scope is not None:
                self.refused(
                    OutOfScope(f"{self.principal.actor.id} asked, whose key is for another team.")
                )
            raise

    # -- asking --------------------------------------------------------------------------------

    def refused(self, error: MeshlineError) -> None:
        """Let it be kept that the principal was refused what the call is about."""
        if self._attempt is not None:
            self.services.refusals.note(self._attempt, self.principal.actor, error)

    def check_source(self, source: str) -> None:
        """Raise ``Denied`` unless the principal may publish for the source; that is kept."""
        try:
            self.principal.check_source(source)
        except Denied as error:
            self.refused(error)
            raise

    async def ask_run(
        self, begins: str, asked: AskedRequest, asking: Asking, *, time: datetime | None = None
    ) -> Answered:
        """Ask something of a run; see ``ask``.

        Args:
            time: when it happened, if that was not now.
        Raises:
            NotFound: there is no such run that the principal may see.
            Stale: it is no longer what the asker saw.
        """
        row = await self.run(begins)
        check_tag(row, asking.if_match)
        return await self.ask(row.run_id, asked, asking, time)

    async def act_on(
        self, begins: str, action: Callable[[str], ExceptionActionRequested], asking: Asking
    ) -> Answered:
        """Do something about an exception, whose id ``action`` is handed; as ``ask_run``."""
        row = await self.exception(begins)
        check_tag(row, asking.if_match)
        return await self.ask(row.run_id, action(row.exception_id), asking)

    async def _with_secrets_kept(
        self, run_id: str, asked: ExceptionActionRequested
    ) -> ExceptionActionRequested:
        """Return it with the old secrets where a correction left the mask as it was shown."""
        if not any(holds_mask(each.value) for each in asked.corrections):
            return asked
        known = values_in(await whole_history(self.views, run_id))
        edited = await self.kept(run_id, known, asked.corrections)
        return asked.model_copy(update={"corrections": edited})

    async def kept(
        self, run_id: str, known: Mapping[str, Any], corrections: Iterable[Correction]
    ) -> tuple[Correction, ...]:
        """Return the corrections with the secrets that the run knows where they left the mask.

        Raises:
            NotReady: nothing can be kept there.
        """
        secrets, found = await self.secrets(run_id), list[Correction]()
        for each in corrections:
            before = part_at(known.get(each.of), each.path)
            try:
                value = kept(each.value, before, at(secrets.of(each.of), each.path))
            except ValueError as error:
                raise NotReady(f"{each.of}: {error}. Nothing was asked.") from None
            found.append(each.model_copy(update={"value": value}))
        return tuple(found)

    async def decide(self, run: str, submitted: ApprovalSubmitted, asking: Asking) -> Answered:
        """Answer an approval; as ``ask_run``."""
        if asking.if_match is None:
            run_id = (await self.run(run)).run_id
        else:
            row = await self.approval(run, submitted.approval)
            check_tag(row, asking.if_match)
            run_id = row.run_id
        return await self.ask(run_id, submitted, asking)

    async def complete(
        self, run: str, submitted: TaskCompletionRequested, asking: Asking
    ) -> Answered:
        """Complete a task; as ``ask_run``."""
        row = await self.task(run, submitted.task)
        check_tag(row, asking.if_match)
        return await self.ask(row.run_id, submitted, asking)

    async def act_on_task(self, run: str, action: TaskActionRequested, asking: Asking) -> Answered:
        """Do something about work for people short of ending it; as ``ask_run``."""
        row = await self.task(run, action.task)
        check_tag(row, asking.if_match)
        return await self.ask(row.run_id, action, asking)

    async def ask_everywhere(
        self, subject: str, asked: AskedRequest, wait_s: float
    ) -> list[RequestAnswer]:
        """Append it to every partition in the principal's name, and return what each one said.

        Raises:
            Denied: it is about all, and the principal has a part.
            Conflict: all of them refused it.
        """
        if self.principal.scope is not None:
            raise Denied(
                f"{self.principal.actor.id} asks with the key of a team, and this is about all "
                "teams: expected a key without workflows and queues. Ask for one."
            )
        answers = await self.services.publisher.request_everywhere(
            subject, asked, actor=self.principal.actor, wait_s=wait_s or None
        )
        if all(answer.status == "rejected" for answer in answers):
            first = answers[0]
            raise Conflict(
                first.reason or "Refused.",
                reason=first.code or "refused",
                run_id=None,
                position=str(first.decided_at or first.position),
            )
        return answers

    async def ask(
        self, run_id: str, asked: AskedRequest, asking: Asking, time: datetime | None = None
    ) -> Answered:
        """Append the request in the principal's name, and return what became of it.

        Raises:
            Conflict: it was refused; the refusal is in the run's history.
            NotReady: it would write the mask in place of a secret.
        """
        if isinstance(asked, ExceptionActionRequested):
            asked = await self._with_secrets_kept(run_id, asked)
        if holds_mask(asked.model_dump(mode="json")):
            raise NotReady(
                f"A value in it is {MASK}, which stands for a secret that was not shown: expected "
                "the value itself. Write it, or leave the field out. Nothing was asked."
            )
        repeats, actor = self.services.repeats, self.principal.actor
        if asking.idempotency_key is None:
            answer = await self._asked(run_id, asked, asking, None, time)
        else:
            event_id = id_of_repeat(actor, asking.idempotency_key)
            async with repeats.one_at_a_time(event_id):
                known = await repeats.answer(run_id, event_id, asked)
                answer = known or await self._asked(run_id, asked, asking, event_id, time)
        at = answer.decided_at or answer.position
        if answer.status == "rejected":
            raise Conflict(
                answer.reason or "Refused.",
                reason=answer.code or "refused",
                run_id=answer.run_id,
                position=str(at),
            )
        return Answered(status=answer.status, run_id=answer.run_id, position=str(at))

    async def _asked(
        self,
        run_id: str,
        asked: AskedRequest,
        asking: Asking,
        event_id: str | None,
        time: datetime | None,
    ) -> RequestAnswer:
        return await self.services.publisher.request(
            run_id,
            asked,
            actor=self.principal.actor,
            event_id=event_id,
            time=time,
            wait_s=asking.wait_s or None,
        )


def _position_of(row: Any) -> str | None:
    """Return where the event stands whose payload is in the row."""
    if isinstance(row, HistoryRow | TriggerRow):
        return f"{row.partition}:{row.log_offset}"
    return row.position if isinstance(row, Reason | Exchange) else None
