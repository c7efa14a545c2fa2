"""What an author says about work for people: who may do it, by when, and what if nobody does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from meshline.workflow.drafts import check_principal
from meshline.workflow.durations import Duration, seconds_of
from meshline.workflow.errors import refuse

__all__ = [
    "TASK_ON_EXPIRY",
    "Escalate",
    "OnExpiry",
    "Priority",
    "approval_options",
    "check_form",
    "task_options",
]

Escalate = str | Sequence[str | tuple[str, Duration]]
"""Whom it goes to when the due time has passed, in turn, each with a time of its own if need be."""

OnExpiry = Literal["exception", "deny", "go on", "escalate"]
ON_EXPIRY = ("exception", "deny", "go on", "escalate")
TASK_ON_EXPIRY = ("exception", "go on", "escalate")
"""A task has no outcome that could be taken for granted."""

Priority = Literal["low", "normal", "high", "urgent"]

PRIORITIES = ("low", "normal", "high", "urgent")

PEOPLE_MAX = 20
"""Distinct people that one decision may need."""

REMINDERS_MAX = 5


def task_options(
    label: str,
    *,
    by: str,
    due: Duration | None,
    escalate: Escalate,
    remind: Duration | Sequence[Duration],
    on_expiry: str,
    known: Sequence[str],
    priority: str,
    follow_up: Duration | None,
) -> dict[str, Any]:
    """Return the fields of the node in ``spec.py`` that all work for people has, checked.

    Args:
        known: what may follow on expiry.
    """
    verb = "decides" if label.startswith("approval") else "does"
    check_principal(by, f"person who {verb} {label} (by=)")
    if priority not in PRIORITIES:
        raise refuse(
            "approval",
            f"The {label} has priority={priority!r}",
            expected=f"one of {', '.join(map(repr, PRIORITIES))}",
            do='Write for example priority="high".',
        )
    due_s = None if due is None else seconds_of(due, f"due time of {label}")
    follow_up_s = None if follow_up is None else seconds_of(follow_up, f"follow-up of {label}")
    names, times = _escalations(label, escalate, due_s)
    _check_expiry(label, on_expiry, known, due_s, names)
    return {
        "by": by,
        "due_s": due_s,
        "escalate": names,
        "escalate_s": times,
        "remind_s": _reminders(label, remind, due_s),
        "on_expiry": "exception" if on_expiry == "escalate" else on_expiry,
        "priority": priority,
        "follow_up_s": follow_up_s,
    }


def approval_options(
    label: str, *, of: Any, denied: str, four_eyes: bool, **options: Any
) -> dict[str, Any]:
    """Return the fields of an approval's node in ``spec.py``, checked.

    Args:
        options: as of ``task_options``.
    """
    found = task_options(label, known=ON_EXPIRY, **options)
    if denied not in ("end", "continue"):
        raise refuse(
            "approval",
            f"The {label} has denied={denied!r}",
            expected='"end" (the run ends) or "continue" (steps read Approval.approved)',
            do='Write denied="end" or denied="continue".',
        )
    if not isinstance(of, int) or isinstance(of, bool) or not 1 <= of <= PEOPLE_MAX:
        raise refuse(
            "approval",
            f"The {label} has of={of!r}",
            expected=f"how many people must approve, from 1 to {PEOPLE_MAX}",
            do="Write for example of=2.",
        )
    by = found["by"]
    if of > 1 and by.startswith("user:"):
        raise refuse(
            "approval",
            f"The {label} needs {of} people, and only {by} may decide",
            expected="a team, role or queue with as many people",
            do='Write for example by="role:sales-lead".',
        )
    return {**found, "of": of, "denied": denied, "four_eyes": four_eyes}


def _escalations(
    label: str, escalate: Escalate, due_s: float | None
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    steps = (escalate,) if isinstance(escalate, str) else tuple(escalate)
    names: list[str] = []
    times: list[float] = []
    for step in steps:
        name, time = (step, None) if isinstance(step, str) else step
        names.append(check_principal(name, f"escalation of {label}"))
        seconds = due_s if time is None else seconds_of(time, f"due time of {name!r} in {label}")
        times.append(seconds or 0.0)
    if names and due_s is None:
        raise refuse(
            "approval",
            f"The {label} is escalated to {names[0]!r}, and has no due time after which",
            expected="due= together with escalate=",
            do='Add for example due="4h".',
        )
    return tuple(names), tuple(times)


def _reminders(
    label: str, remind: Duration | Sequence[Duration], due_s: float | None
) -> tuple[float, ...]:
    """Return how long before the due time people are reminded, the earliest first."""
    given = tuple(remind) if isinstance(remind, list | tuple) else (remind,)
    before = sorted({seconds_of(each, f"reminder of {label}") for each in given}, reverse=True)
    if before and (due_s is None or before[0] >= due_s or len(before) > REMINDERS_MAX):
        raise refuse(
            "approval",
            f"The {label} reminds people {', '.join(map(str, given))} before a due time of "
            f"{'none' if due_s is None else f'{due_s:g} s'}",
            expected=f"at most {REMINDERS_MAX} times that are shorter than due=",
            do='Write for example due="1d", remind="2h".',
        )
    return tuple(before)


def _check_expiry(
    label: str,
    on_expiry: str,
    known: Sequence[str],
    due_s: float | None,
    escalate: tuple[str, ...],
) -> None:
    if on_expiry not in known:
        raise refuse(
            "approval",
            f"The {label} has on_expiry={on_expiry!r}",
            expected=f"one of {', '.join(map(repr, known))}",
            do='Write for example on_expiry="go on".',
        )
    if (on_expiry == "escalate" and not escalate) or (on_expiry != "exception" and due_s is None):
        raise refuse(
            "approval",
            f"The {label} has on_expiry={on_expiry!r}, and "
            + ("nobody to escalate to" if due_s is not None else "no due time after which"),
            expected="escalate= together with it" if due_s is not None else "due= with it",
            do='Write for example due="4h", escalate="team:directors".',
        )


def check_form(kind: str, form: object, name: str | None) -> None:
    if not (isinstance(form, type) and issubclass(form, BaseModel)):
        raise refuse(
            "approval",
            f"The form of {kind} {name or getattr(form, '__name__', form)!r} is {form!r}",
            expected="a pydantic model, or nothing",
            do=f'Derive the class from BaseModel, or write wf.{kind}("name", by=…) for one '
            "without a form.",
        )
