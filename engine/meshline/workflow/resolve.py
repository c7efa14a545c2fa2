"""From names to nodes: what each parameter takes, and what each node therefore waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from pydantic import TypeAdapter, create_model

from meshline.workflow.accepts import MISSING, accepts, arms, type_text
from meshline.workflow.context import StepContext
from meshline.workflow.drafts import Answers, Draft
from meshline.workflow.errors import closest, refuse
from meshline.workflow.secret import secrets_in
from meshline.workflow.signatures import Asked, Signature, adapter_of
from meshline.workflow.source_text import source_of
from meshline.workflow.spec import TRIGGER, Approval, Parameter, Rule

__all__ = [
    "SPECIAL",
    "Inputs",
    "Value",
    "after_of",
    "inputs_of",
    "merged",
    "name_of",
    "rule_of",
    "unknown",
    "values_of",
]

_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
SPECIAL: dict[str, Any] = {"idempotency_key": str, "ctx": StepContext}
OF_ITEMS = frozenset({"item", "index"})


@dataclass(frozen=True, slots=True)
class Value:
    """What stands under a name: the type that is returned, and its reader; None: no value."""

    label: str
    annotation: Any
    adapter: TypeAdapter[Any] | None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a function takes, and which nodes it therefore needs or wants."""

    parameters: tuple[Parameter, ...] = ()
    needs: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()


def values_of(answers: Answers, drafts: Iterable[Draft]) -> dict[str, Value]:
    """Return what each name of the workflow gives, with the reader of each type made once."""
    label = f"trigger of workflow {answers.name!r}"
    trigger = Value(label, answers.trigger, adapter_of(answers.trigger, label))
    return {TRIGGER: trigger} | {draft.name: _value_of(draft) for draft in drafts}


def _value_of(draft: Draft) -> Value:
    if draft.kind == "sleep" or (draft.kind == "task" and draft.model is None):
        return Value(draft.label, None, None)
    if draft.kind == "approval":
        annotation: Any = _typed_approval(draft) if draft.model else Approval
    elif draft.kind == "task":
        annotation = draft.model
    elif draft.kind == "message":
        annotation = draft.model or Any
    elif draft.kind == "assign":
        annotation = str
    else:
        assert draft.signature is not None
        annotation = draft.signature.returns
        if draft.each is not None:
            annotation = list[Any if annotation is MISSING else annotation]  # type: ignore[misc]
    return Value(draft.label, annotation, adapter_of(annotation, f"value of {draft.label}"))


def _typed_approval(draft: Draft) -> Any:
    """An Approval whose form is read into its model, so that nodes behind it need not do that."""
    form: Any = (Optional[draft.model], None)  # noqa: UP045 - made at run time
    return create_model(Approval.__name__, __base__=Approval, form=form)


def inputs_of(
    signature: Signature, values: Mapping[str, Value], special: Mapping[str, Any]
) -> Inputs:
    """Find the node behind each parameter, and refuse what fits none.

    Args:
        special: names with a meaning of their own here, and their types.
    """
    parameters: list[Parameter] = []
    needs: list[str] = []
    wants: list[str] = []
    for asked in signature.parameters:
        parameter = _parameter(asked, signature, values, special)
        parameters.append(parameter)
        if not parameter.special and parameter.name != TRIGGER:
            (wants if parameter.optional else needs).append(parameter.name)
    return Inputs(tuple(parameters), tuple(needs), tuple(wants))


def _parameter(
    asked: Asked, signature: Signature, values: Mapping[str, Value], special: Mapping[str, Any]
) -> Parameter:
    what = f"parameter {asked.name!r} of {signature.label}"
    if asked.name in special:
        expected = special[asked.name]
        _check_type(asked, what, expected, f"{asked.name!r}")
        given = Value(f"{asked.name!r}", expected, None)
        adapter = _ANYTHING if expected is StepContext else _adapter(asked, what, given)
        return Parameter(asked.name, adapter, special=True, secrets=secrets_in(adapter))
    if asked.name in OF_ITEMS:
        raise refuse(
            "each",
            f"The {signature.label} takes {asked.name!r}",
            expected="it in a step with each= alone: conditions, compensations and other functions "
            "are called once for all items",
            do='Name the list, as in @wf.step(each="lines"), or take the list itself.',
        )
    if asked.name in SPECIAL:
        raise refuse(
            "rule",
            f"The {signature.label} takes {asked.name!r}",
            expected="values of nodes and the trigger only, because rules are pure",
            do="Move what needs it into a step.",
        )
    value = values.get(asked.name)
    if value is None:
        raise unknown(asked.name, f"The {signature.label} takes", (*values, *special))
    if value.adapter is None:
        raise refuse(
            "mismatch",
            f"The {signature.label} takes {asked.name!r}, and {value.label} has no value",
            expected="a node with a value",
            do=f"Remove the parameter, and write after={asked.name!r} to wait for it.",
        )
    _check_type(asked, what, value.annotation, value.label)
    return Parameter(
        asked.name, _adapter(asked, what, value), optional=asked.optional,
        secrets=secrets_in(value.adapter),
    )  # fmt: skip


def _adapter(asked: Asked, what: str, value: Value) -> TypeAdapter[Any]:
    is_typed_approval = asked.annotation is Approval
    annotation = asked.annotation
    if annotation is MISSING or is_typed_approval:
        annotation = value.annotation
    if asked.optional:
        annotation = Any if annotation is MISSING else annotation
        return adapter_of(Optional[annotation], what)  # noqa: UP045 - made at run time
    if annotation == value.annotation and value.adapter is not None:
        return value.adapter
    return adapter_of(annotation, what)


def _check_type(asked: Asked, what: str, returned: Any, giver: str) -> None:
    taken = Optional[asked.annotation] if asked.optional else asked.annotation  # noqa: UP045
    if accepts(taken, returned):
        return
    wanted = type_text(asked.annotation)
    given = type_text(returned)
    do = f"Annotate the parameter with {given}, or change what is returned."
    if isinstance(returned, type) and issubclass(returned, Approval):
        do = (
            f"Write `{asked.name}: Approval`: it says `approved`, `by` and `reason`, and holds "
            "the form as `.form`."
        )
    elif type(None) in arms(returned) and accepts(Optional[asked.annotation], returned):  # noqa: UP045
        do = f"Write `{asked.name}: {wanted} | None`, or return a {wanted} in every case."
    raise refuse(
        "mismatch",
        f"The {what} is of type {wanted}, but {giver} gives {given}",
        expected="a type that takes it",
        do=do,
    )


def unknown(name: str, who: str, known: Iterable[str]) -> Exception:
    known = sorted(known)
    guess = closest(name, known)
    return refuse(
        "unknown",
        f"{who} {name!r}, and nothing in the workflow is called so",
        expected=f"one of {', '.join(known)}",
        do=f"Did you mean {guess!r}? Rename it." if guess else "Name the node whose value it is.",
    )


def rule_of(signature: Signature, values: Mapping[str, Value], returns: Any) -> tuple[Rule, Inputs]:
    """Return a rule: a plain function of values, which gives what ``returns`` says."""
    if signature.is_async:
        raise refuse(
            "rule",
            f"The {signature.label} is async",
            expected="a plain function that only computes: the engine may call it again",
            do="Write `def`, and move what has to be awaited into a step.",
        )
    if not accepts(returns, signature.returns):
        raise refuse(
            "rule",
            f"The {signature.label} returns {type_text(signature.returns)}",
            expected=type_text(returns),
            do=f"Return {type_text(returns)}, in every case.",
        )
    inputs = inputs_of(signature, values, {})
    if not inputs.parameters:
        raise refuse(
            "rule",
            f"The {signature.label} takes no parameter, so it always says the same",
            expected="a rule about the trigger or a node's value",
            do="Name what it decides by, as in `lambda trigger: trigger.employees > 500`.",
        )
    name = source_of(signature.function)
    return Rule(name, inputs.parameters, signature.function), inputs


def after_of(draft: Draft, drafts: Mapping[str, Draft]) -> tuple[str, ...]:
    """Return the names of the nodes that ``after=`` gives by name, by function or by form."""
    names = []
    for item in draft.after:
        name = item if isinstance(item, str) else name_of(item, drafts.values())
        if name not in drafts:
            raise unknown(name, f"The {draft.label} comes after", drafts)
        names.append(name)
    return tuple(names)


def name_of(handle: object, drafts: Iterable[Draft]) -> str:
    found = (draft.name for draft in drafts if draft.handle is handle)
    return next(found, getattr(handle, "__name__", repr(handle)))


def merged(*inputs: Inputs, after: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return needs and wants of a node; what one function needs, the node needs."""
    needs = dict.fromkeys(name for each in inputs for name in each.needs)
    wants = dict.fromkeys([*(name for each in inputs for name in each.wants), *after])
    return tuple(needs), tuple(name for name in wants if name not in needs)
