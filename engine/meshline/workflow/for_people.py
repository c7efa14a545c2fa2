"""What is said of work for people: the part of ``Workflow`` with approvals and tasks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from meshline.workflow.drafts import (
    After,
    Condition,
    Draft,
    after_items,
    check_node_name,
    condition_of,
)
from meshline.workflow.durations import Duration
from meshline.workflow.people import (
    TASK_ON_EXPIRY,
    Escalate,
    OnExpiry,
    Priority,
    approval_options,
    check_form,
    task_options,
)
from meshline.workflow.signatures import locals_of_caller, read_signature

__all__ = ["ForPeople"]

M = TypeVar("M", bound=type[BaseModel])


class ForPeople:
    """A definition that people are asked in; it keeps what is added with ``_add``."""

    _drafts: dict[str, Draft]

    def _open(self) -> None:
        raise NotImplementedError

    def _add(self, draft: Draft) -> None:
        raise NotImplementedError

    def approval(
        self,
        name: str | None = None,
        /,
        *,
        by: str,
        of: int = 1,
        when: Condition = None,
        due: Duration | None = None,
        escalate: Escalate = (),
        remind: Duration | Sequence[Duration] = (),
        on_expiry: OnExpiry = "exception",
        denied: Literal["end", "continue"] = "end",
        requester: Callable[..., str | None] | None = None,
        four_eyes: bool = True,
        priority: Priority = "normal",
        follow_up: Duration | None = None,
        after: After = (),
    ) -> Callable[[M], M]:
        """Add an approval: a person says yes or no. Its value is an ``Approval``.

        With a name it stands as it is. On a class, that class is the form which the approver fills
        in, and the name, if none is given, is the class's::

            wf.approval("legal", by="team:legal", due="2d")


            @wf.approval("big_deal", by="role:sales-lead")
            class BigDeal(BaseModel):
                discount: int

        Args:
            by: who may decide; where there is a directory, nobody else.
            of: how many different people must approve; one denial denies.
            due: how long they have; then it goes to the next of ``escalate``, with as long again
                or, as in ``("team:directors", "2h")``, with a time of its own.
            remind: how long before the due time they are reminded.
            on_expiry: what follows when the last time has passed: an ``exception`` is opened, and
                the answer may still come; it is denied (``deny``); or the run goes on as if it had
                not been asked (``go on``).
            denied: ``end`` ends the run; ``continue`` goes on, and steps read ``.approved``.
            requester: a rule that returns who asks for it, such as ``user:ada``, and so may not
                decide; else it is who sent the trigger, where there is a directory.
            four_eyes: False: who asks may decide, too.
            priority: low, normal, high or urgent, for those who have many.
            follow_up: when it is time to look after it, from when it is asked.
        """
        scope = locals_of_caller(1)

        def draft(name: str, form: M | None) -> Draft:
            label = f"approval {check_node_name(name, 'approval')!r}"
            options = approval_options(
                label, by=by, of=of, due=due, escalate=escalate, remind=remind,
                on_expiry=on_expiry, denied=denied, four_eyes=four_eyes, priority=priority,
                follow_up=follow_up,
            )  # fmt: skip
            rule = requester and read_signature(requester, f"requester of {label}", None, scope)
            return Draft(
                "approval", name, label, handle=form, model=form, after=after_items(after),
                condition=condition_of(when, label, scope), signature=rule, options=options,
                description=(form and inspect.cleandoc(form.__doc__ or "")) or "",
            )  # fmt: skip

        return self._for_people("approval", name, draft)

    def task(
        self,
        name: str | None = None,
        /,
        *,
        by: str,
        when: Condition = None,
        due: Duration | None = None,
        escalate: Escalate = (),
        remind: Duration | Sequence[Duration] = (),
        on_expiry: Literal["exception", "go on", "escalate"] = "exception",
        priority: Priority = "normal",
        follow_up: Duration | None = None,
        after: After = (),
    ) -> Callable[[M], M]:
        """Add work for a person, which ends when they have filled in the form; that is its value.

        On a class, that class is the form, and the name, if none is given, is the class's. With a
        name alone it has no form, and no value::

            @wf.task("measure", by="team:site", due="2d")
            class Measured(BaseModel):
                square_metres: int


            wf.task("hand_over_keys", by="team:site", after="measure")

        Args:
            by, due, escalate, remind, priority, follow_up: as of an approval.
            on_expiry: what follows when the last time has passed: an ``exception`` is opened, and
                it may still be done; or the run goes on as if it had not been asked (``go on``).
        """
        scope = locals_of_caller(1)

        def draft(name: str, form: M | None) -> Draft:
            label = f"task {check_node_name(name, 'task')!r}"
            options = task_options(
                label, by=by, due=due, escalate=escalate, remind=remind, on_expiry=on_expiry,
                known=TASK_ON_EXPIRY, priority=priority, follow_up=follow_up,
            )  # fmt: skip
            return Draft(
                "task", name, label, handle=form, model=form, after=after_items(after),
                condition=condition_of(when, label, scope), options=options,
                description=(form and inspect.cleandoc(form.__doc__ or "")) or "",
            )  # fmt: skip

        return self._for_people("task", name, draft)

    def _for_people(
        self, kind: str, name: str | None, draft: Callable[[str, Any], Draft]
    ) -> Callable[[M], M]:
        """Add work for people, with the form of the class that follows, if one does."""
        if name is not None:
            self._add(draft(name, None))

        def add(form: M) -> M:
            check_form(kind, form, name)
            if name is not None:
                self._open()
                self._drafts[name] = draft(name, form)
            else:
                self._add(draft(form.__name__, form))
            return form

        return add
