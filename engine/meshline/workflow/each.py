"""Steps that are done for each item of a list: which list that is, and what an item is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter

from meshline.workflow.accepts import MISSING, arms, type_text
from meshline.workflow.drafts import Draft
from meshline.workflow.errors import DefinitionRefused, refuse
from meshline.workflow.resolve import Value, name_of, unknown
from meshline.workflow.signatures import adapter_of
from meshline.workflow.spec import TRIGGER, Each

__all__ = ["ITEMS_LIMIT", "ITEMS_MAX", "check_each", "each_of"]

ITEMS_MAX = 1_000
"""Items of one list, unless the step says otherwise."""

ITEMS_LIMIT = 5_000
"""What a step can say at most."""

_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def check_each(each: object, items_max: object, label: str) -> None:
    """Refuse what names no list, or a limit that is none."""
    if each is not None and not callable(each) and not (isinstance(each, str) and each):
        raise refuse(
            "each",
            f"The {label} has each={each!r}",
            expected="the name of a step that returns a list, or a path to a field",
            do='Write for example each="lines", or each="trigger.items".',
        )
    whole = isinstance(items_max, int) and not isinstance(items_max, bool)
    if not whole or not 1 <= items_max <= ITEMS_LIMIT:  # type: ignore[operator]
        raise refuse(
            "limit",
            f"The {label} has each_max={items_max!r}",
            expected=f"a whole number from 1 to {ITEMS_LIMIT}",
            do="Split longer lists, one run for each part.",
        )
    if each is None and items_max != ITEMS_MAX:
        raise refuse(
            "each",
            f"The {label} has each_max={items_max!r} and no each=",
            expected="the list whose items are counted",
            do='Add for example each="lines", or remove each_max.',
        )


def each_of(
    draft: Draft, values: Mapping[str, Value], drafts: Mapping[str, Draft]
) -> tuple[Each | None, dict[str, Any]]:
    """Return what the step is done for each of, and the types of what it may ask for besides."""
    if draft.each is None:
        return None, {}
    assert draft.signature is not None
    text = draft.each if isinstance(draft.each, str) else name_of(draft.each, drafts.values())
    name, *path = text.split(".")
    source = values.get(name)
    if source is None:
        raise unknown(name, f"The {draft.label} is done for each of", values)
    if name != TRIGGER and drafts[name].kind == "approval":
        raise refuse(
            "each",
            f"The {draft.label} is done for each of {text!r}, and {source.label} is one decision",
            expected="a list",
            do="Name the step whose list is decided about, and take the approval as a parameter.",
        )
    annotation = source.annotation if source.adapter is not None else None
    for field in path:
        annotation = _field(annotation, field, draft, text)
    item = _item(annotation, draft, text, source)
    result = draft.signature.returns
    each = Each(
        node=name,
        path=tuple(path),
        value=source.adapter or _ANYTHING,
        items=adapter_of(annotation, f"list {text!r}"),
        result=adapter_of(result, f"value of {draft.label}"),
        items_max=draft.items_max,
    )
    return each, {"item": item, "index": int}


def _field(annotation: Any, field: str, draft: Draft, text: str) -> Any:
    alternatives = arms(annotation)
    model = alternatives[0]
    if len(alternatives) > 1 or not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise refuse(
            "each",
            f"The {draft.label} is done for each of {text!r}, and {type_text(annotation)} has no "
            f"field {field!r}",
            expected="fields of pydantic models, which are always there",
            do="Write a step that returns the list, and name that.",
        )
    if field not in model.model_fields:
        raise unknown(
            field,
            f"The {draft.label} is done for each of {text!r}, and {model.__name__} is asked for",
            model.model_fields,
        )
    return model.model_fields[field].annotation


def _item(annotation: Any, draft: Draft, text: str, source: Value) -> Any:
    if annotation in (Any, MISSING):
        return Any
    alternatives = arms(annotation)
    found = get_origin(alternatives[0]) or alternatives[0]
    arguments = get_args(alternatives[0])
    if len(alternatives) == 1:
        if found in (list, Sequence):
            return arguments[0] if arguments else Any
        if found is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
            return arguments[0]
    raise _no_list(annotation, draft, text, source)


def _no_list(annotation: Any, draft: Draft, text: str, source: Value) -> DefinitionRefused:
    if source.adapter is None:
        what = f"{source.label} has no value"
    elif "." in text:
        what = f"it is {type_text(annotation)}"
    else:
        what = f"{source.label} gives {type_text(annotation)}"
    fields = _lists_in(annotation)
    return refuse(
        "each",
        f"The {draft.label} is done for each of {text!r}, and {what}",
        expected="a list in every case, such as list[Line]",
        do=f"Did you mean each={f'{text}.{fields[0]}'!r}?"
        if fields
        else "Name a step that returns a list.",
    )


def _lists_in(annotation: Any) -> list[str]:
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return []
    return [
        name
        for name, field in annotation.model_fields.items()
        if (get_origin(field.annotation) or field.annotation) in (list, Sequence)
    ]
