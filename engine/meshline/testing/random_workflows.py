"""Workflows out of a random generator: small graphs with everything that a definition can say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter

from meshline.workflow.spec import (
    TRIGGER,
    Activity,
    ApprovalNode,
    AssignNode,
    Compensation,
    Each,
    MessageNode,
    Node,
    Observation,
    Parameter,
    Raised,
    RetryPolicy,
    Rule,
    SleepNode,
    StepNode,
    TaskNode,
    WorkflowSpec,
)

__all__ = ["EPOCH", "Form", "Payload", "random_observed", "random_workflow", "result_of"]

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When simulations begin."""


class Payload(BaseModel):
    """What triggers and messages carry: a number on which all rules depend."""

    n: int


class Form(BaseModel):
    """What people fill in."""

    discount: int


_PAYLOAD: TypeAdapter[Any] = TypeAdapter(Payload)
_ANY: TypeAdapter[Any] = TypeAdapter(Any)
_NUMBER: TypeAdapter[Any] = TypeAdapter(int)
_NUMBERS: TypeAdapter[Any] = TypeAdapter(list[int])
_ASKED = ("role:lead", "team:red", "team:directors", "queue:triage")
_OWNERS = ("team:red", "team:blue", "user:ada", "queue:night")
_ASSIGNEES = ("user:ada", "user:bob", None)


class Authoring:
    """Writes one definition; every choice comes from ``random``.

    Args:
        fan_outs: some steps give lists, and others are done for each of their items.
        people: many approvals and tasks, with all that can be said of them.
    """

    def __init__(self, random: Random, fan_outs: bool = False, people: bool = False) -> None:
        self._random = random
        self._fan_outs = fan_outs
        self._people = people
        self._nodes: dict[str, Node] = {}

    def nodes(self) -> dict[str, Node]:
        """Return one to six nodes; the first is a step."""
        kinds: tuple[str, ...] = (
            "step",
            "step",
            "step",
            "assign",
            "approval",
            "task",
            "sleep",
            "message",
        )
        first = "step"
        if self._fan_outs:
            kinds, first = (*kinds, "list", "fan", "fan", "fan"), "list"
        if self._people:
            kinds = (*kinds, "approval", "approval", "approval", "approval", "task")
        count = self._random.randint(0, 5)
        for number, kind in enumerate([first, *self._random.choices(kinds, k=count)]):
            name = f"{kind}{number}"
            self._nodes[name] = getattr(self, f"_{kind}")(name, self._common(number))
        return self._nodes

    def _common(self, number: int) -> dict[str, Any]:
        before = list(self._nodes)
        chosen = self._random.sample(before, self._random.randint(0, min(2, len(before))))
        wants = [name for name in chosen if self._random.random() < 0.4]
        needs = [name for name in chosen if name not in wants]
        common: dict[str, Any] = {"needs": tuple(needs), "wants": tuple(wants)}
        if self._random.random() < 0.25:
            common["condition"] = self._rule(f"condition{number}", needs, wants, _is_likely)
        return common

    def _rule(self, name: str, needs: Any, wants: Any, answer: Callable[[int], Any]) -> Rule:
        """Return a rule that looks at all it may, and answers by a number made of it."""
        salt = self._random.randint(0, 1_000_000)
        parameters = [Parameter(TRIGGER, _PAYLOAD)]
        parameters += [Parameter(each, _ANY) for each in needs]
        parameters += [Parameter(each, _ANY, optional=True) for each in wants]

        def call(**values: Any) -> Any:
            return answer(_number_of(values, salt))

        return Rule(name, tuple(parameters), call)

    def _step(self, name: str, common: dict[str, Any]) -> StepNode:
        undo = Compensation(f"undo_{name}", (), _nothing, True)
        return StepNode(
            name=name,
            result=_NUMBER,
            call=_nothing,
            retry=RetryPolicy(
                maximum_attempts=self._random.randint(1, 4), non_retryable=("Hopeless",)
            ),
            schedule_to_close_s=self._random.choice([None, None, 3.0]),
            outside=self._random.random() < 0.2,
            compensation=undo if self._random.random() < 0.5 else None,
            **common,
        )

    def _list(self, name: str, common: dict[str, Any]) -> Node:
        return replace(self._step(name, common), result=_NUMBERS)

    def _fan(self, name: str, common: dict[str, Any]) -> Node:
        lists = [node for node in self._nodes.values() if node.result is _NUMBERS]
        of = self._random.choice(lists).name
        common["needs"] = tuple(dict.fromkeys((of, *common["needs"])))
        common["wants"] = tuple(each for each in common["wants"] if each != of)
        each = Each(of, (), _ANY, _NUMBERS, _NUMBER, items_max=3)
        return replace(self._step(name, common), each=each, result=_NUMBERS)

    def _assign(self, name: str, common: dict[str, Any]) -> Node:
        rule = self._rule(name, common["needs"], common["wants"], _owner_of)
        return AssignNode(name=name, rule=rule, result=TypeAdapter(str), **common)

    def _approval(self, name: str, common: dict[str, Any]) -> Node:
        if self._people:
            return self._of_many(name, common)
        due_s = self._random.choice([None, 4 * 3600.0])
        return ApprovalNode(
            name=name,
            by=self._random.choice(["user:ada", "role:lead"]),
            form=self._random.choice([None, Form]),
            due_s=due_s,
            escalate=() if due_s is None else self._random.choice([(), ("team:directors",)]),
            denied=self._random.choice(["end", "continue"]),
            result=_ANY,
            **common,
        )

    def _task(self, name: str, common: dict[str, Any]) -> Node:
        form = self._random.choice([None, Form])
        asked = self._asked(["exception", "go on"])
        return TaskNode(
            name=name,
            form=form,
            result=None if form is None else TypeAdapter(form),
            **(asked if self._people else {"by": asked["by"], "due_s": asked["due_s"]}),
            **common,
        )

    def _of_many(self, name: str, common: dict[str, Any]) -> Node:
        draw = self._random
        asks = draw.random() < 0.3
        return ApprovalNode(
            name=name,
            of=draw.choice([1, 1, 1, 2]),
            form=draw.choice([None, Form]),
            requester=self._rule(f"asks{name}", (), (), _requester_of) if asks else None,
            four_eyes=draw.random() < 0.8,
            denied=draw.choice(["end", "continue"]),
            result=_ANY,
            **self._asked(["exception", "deny", "go on"]),
            **common,
        )

    def _asked(self, on_expiry: list[str]) -> dict[str, Any]:
        """Return who is asked, until when, and what happens then."""
        draw = self._random
        due_s = draw.choice([None, 4 * 3600.0])
        chain = () if due_s is None else tuple(draw.choices(_ASKED, k=draw.randint(0, 2)))
        reminders = draw.choice([(), (14_399.0,), (14_399.0, 14_350.0, 7200.0)])
        return {
            "by": draw.choice(["user:ada", *_ASKED]),
            "due_s": due_s,
            "escalate": chain,
            "escalate_s": tuple(draw.choice([3600.0, 9 * 3600.0]) for _ in chain),
            "remind_s": () if due_s is None else reminders,
            "on_expiry": "exception" if due_s is None else draw.choice(on_expiry),
        }

    def _sleep(self, name: str, common: dict[str, Any]) -> Node:
        if self._random.random() < 0.5:
            return SleepNode(
                name=name, duration_s=self._random.choice([1.0, 3600.0, 86400.0]), **common
            )
        until = self._rule(name, common["needs"], common["wants"], _moment_of)
        return SleepNode(name=name, until=until, **common)

    def _message(self, name: str, common: dict[str, Any]) -> Node:
        due_s = self._random.choice([None, 7200.0])
        return MessageNode(name=name, payload=Payload, result=_PAYLOAD, due_s=due_s, **common)


def random_workflow(
    random: Random, name: str, version: int, *, fan_outs: bool = False, people: bool = False
) -> WorkflowSpec:
    """Return a workflow that triggers of source ``name`` start."""
    nodes = Authoring(random, fan_outs, people).nodes()
    return WorkflowSpec(
        **_answers(name, version),
        outcome_node=random.choice([n for n, node in nodes.items() if isinstance(node, StepNode)]),
        due_s=random.choice([None, 600.0, 86400.0]),
        nodes=nodes,
    )


def result_of(step: str, number: int) -> Any:
    """Return what a step of such a workflow may give: the number, or as many as it takes."""
    gives_list = step.startswith(("list", "fan")) and not step.endswith("]")
    # One more at most than a step is done for.
    return list(range(number % 5)) if gives_list else number


def random_observed(name: str) -> WorkflowSpec:
    """Return an observed workflow; what its activities are called says what they mean."""
    return WorkflowSpec(**_answers(name, 1), due_s=86400.0, observe=_observe)


def _answers(name: str, version: int) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "trigger_type": "Payload",
        "trigger": _PAYLOAD,
        "source": name,
        "owner": "team:first",
        "exception_route": "queue:triage",
        "expected_outcome": "a number",
        "spec_hash": f"{name}/{version}",
    }


def _observe(activity: Activity, memo: Any) -> Observation:
    count = (memo or 0) + 1
    match activity.name:
        case "work":
            return Observation(
                owner=_OWNERS[count % 4], assignee=_ASSIGNEES[count % 3], waiting_on="vendor",
                memo=count,
            )  # fmt: skip
        case "raise":
            return Observation(raised=(Raised("quarrel", f"number {count}"),), memo=count)
        case "settle":
            return Observation(settled=("quarrel",), memo=count)
        case "end":
            return Observation(ended="succeeded", memo=count)
        case _:
            raise RuntimeError(f"cannot read {activity.name}")


def _number_of(values: dict[str, Any], salt: int) -> int:
    plain = {k: v.model_dump() if isinstance(v, BaseModel) else v for k, v in values.items()}
    text = orjson.dumps([plain, salt], option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")


def _is_likely(number: int) -> bool:
    if number % 32 == 0:
        raise RuntimeError("the rule does not know")
    return number % 3 > 0


def _owner_of(number: int) -> Any:
    if number % 8 == 0:
        return "nobody"
    if number % 8 == 1:
        raise LookupError("no such region")
    return _OWNERS[number % 4]


def _requester_of(number: int) -> Any:
    if number % 8 == 0:
        return "somebody else:"
    return ("ada", "user:bob", "user:cid", None)[number % 4]


def _moment_of(number: int) -> Any:
    if number % 8 == 0:
        return datetime(2026, 1, 1)  # noqa: DTZ001  # what an author may get wrong
    return EPOCH + timedelta(seconds=number % 200_000)


def _nothing() -> None:
    """Steps are not called: the simulation says what they gave."""
