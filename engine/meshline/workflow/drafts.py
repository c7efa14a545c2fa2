"""A workflow while it is being written: what ``define.py`` collects and ``freeze.py`` checks."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from meshline.events.principals import KINDS, is_principal
from meshline.workflow.durations import Duration, seconds_of
from meshline.workflow.errors import refuse
from meshline.workflow.signatures import Signature, read_signature
from meshline.workflow.spec import TRIGGER

__all__ = [
    "After",
    "Answers",
    "Condition",
    "Draft",
    "after_items",
    "check_node_name",
    "check_principal",
    "check_version",
    "condition_of",
]

Condition = Callable[..., bool] | None
After = str | Callable[..., Any] | type[BaseModel] | Sequence[Any]

RESERVED = {
    TRIGGER: "the trigger's payload",
    "idempotency_key": "the step's idempotency key",
    "ctx": "the step's context",
    "result": "a compensated step's result",
    "item": "the item that a step with each= is done for",
    "index": "the number of that item, from 0",
}

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-._][a-z0-9]+)*")
_SOURCE = re.compile(r"[^\s]{1,200}")
_NAME_CHARACTERS_MAX = 100

_ANSWERS = {
    "trigger": "trigger=FormSubmitted,                # what starts it",
    "source": 'source="web.forms",                   # where it comes from',
    "owner": 'owner="team:revops",                  # who answers for it',
    "exceptions": 'exceptions="queue:revops-triage",     # who sees what goes wrong',
    "outcome": "outcome=LeadCreated,                  # what should come out",
}


@dataclass(slots=True)
class Draft:
    """A node as it was written; ``options`` are fields of its class in ``spec.py``.

    Args:
        handle: what ``after=`` may name it by besides its name: the function, or the form.
        each: of a step that is done for each item: the list, by a path or by a function.
    """

    kind: Literal["step", "assign", "approval", "task", "sleep", "message"]
    name: str
    label: str
    handle: object = None
    signature: Signature | None = None
    condition: Signature | None = None
    compensation: Signature | None = None
    after: tuple[object, ...] = ()
    model: type[BaseModel] | None = None
    each: object = None
    items_max: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """The head of a definition: its name and the five answers, checked."""

    name: str
    version: int
    trigger: Any
    source: str
    owner: str
    exceptions: str
    outcome: Any
    trigger_type: str
    due_s: float | None
    silent_after_s: float | None
    description: str

    @classmethod
    def checked(
        cls,
        name: str,
        *,
        version: int,
        answers: Mapping[str, Any],
        trigger_type: str | None,
        due: Duration | None,
        silent_after: Duration | None,
        description: str,
    ) -> Answers:
        """Make it, or refuse what is missing or wrong."""
        _check_workflow_name(name)
        check_version(name, version)
        missing = [answer for answer in _ANSWERS if answers[answer] in (None, "")]
        if missing:
            raise refuse(
                "answer",
                f"Workflow {name!r} does not say its {_listed(missing)}",
                expected="all five answers: trigger, source, owner, exceptions and outcome",
                do="Add:",
                show="\n".join(f"    {_ANSWERS[answer]}" for answer in missing),
            )
        check_principal(answers["owner"], f"owner of workflow {name!r}")
        check_principal(answers["exceptions"], f"exception route of workflow {name!r}")
        if not isinstance(answers["source"], str) or not _SOURCE.fullmatch(answers["source"]):
            raise refuse(
                "name",
                f"The source of workflow {name!r} is {answers['source']!r}",
                expected="the name of the system that sends the trigger, without spaces",
                do='Write for example source="web.forms".',
            )
        if trigger_type is None:
            trigger_type = _type_name(answers["trigger"], name)
        return cls(
            name, version, trigger_type=trigger_type,
            due_s=_seconds(due, f"due time of workflow {name!r}"),
            silent_after_s=_seconds(silent_after, f"silent_after of workflow {name!r}"),
            description=description, **answers,
        )  # fmt: skip


def _seconds(given: Duration | None, what: str) -> float | None:
    return None if given is None else seconds_of(given, what)


def check_principal(value: object, what: str) -> str:
    """Return the principal, or refuse what is none."""
    if not is_principal(value):
        raise refuse(
            "principal",
            f"The {what} is {value!r}",
            expected=f"a kind ({', '.join(KINDS)}) and a name without spaces",
            do='Write for example "team:revops", "user:ada", "role:sales-lead" or "queue:triage".',
        )
    return value


def check_version(name: str, version: object) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise refuse(
            "version",
            f"Workflow {name!r} has version {version!r}",
            expected="a whole number from 1",
            do="Write version=1, and count up with each change that is released.",
        )


def check_node_name(name: object, kind: str) -> str:
    """Return the name, or refuse one that no parameter can have."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise refuse(
            "name",
            f"The {kind} is called {name!r}",
            expected="a name that a parameter can have, since parameters ask for nodes by name",
            do='Write it with letters, digits and underscores, such as "cool_off".',
        )
    if name in RESERVED:
        raise refuse(
            "reserved",
            f"The {kind} is called {name!r}",
            expected=f"another name: {name!r} stands for {RESERVED[name]}",
            do="Rename it.",
        )
    return name


def _check_workflow_name(name: object) -> None:
    valid = isinstance(name, str) and _NAME.fullmatch(name) and len(name) <= _NAME_CHARACTERS_MAX
    if not valid:
        raise refuse(
            "name",
            f"The workflow is called {name!r}",
            expected="small letters and digits, words joined by '-', '.' or '_', "
            f"at most {_NAME_CHARACTERS_MAX} characters",
            do='Write for example Workflow("lead-intake", …).',
        )


def _type_name(trigger: object, workflow: str) -> str:
    if isinstance(trigger, type):
        return trigger.__name__
    raise refuse(
        "type",
        f"The trigger of workflow {workflow!r} is {trigger!r}, which has no name of its own",
        expected="a class, or a trigger_type",
        do='Add trigger_type="…", the name by which sources call it.',
    )


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def condition_of(when: Condition, label: str, scope: Any) -> Signature | None:
    """Return the condition of a node, read."""
    if when is None:
        return None
    return read_signature(when, f"condition of {label.partition(' (')[0]}", None, scope)


def after_items(after: After) -> tuple[object, ...]:
    """Return what a node comes after, one by one."""
    return tuple(after) if isinstance(after, list | tuple) else (after,)
