"""An approval's form: fields for a browser out of a JSON schema, and values out of what came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from meshline.console.visit import FormRefused

__all__ = ["Field", "fields_of", "value_of"]

Kind = Literal["text", "secret", "integer", "number", "boolean", "choice"]
_KINDS: dict[str, Kind] = {
    "string": "text", "integer": "integer", "number": "number", "boolean": "boolean",
}  # fmt: skip


class Field(NamedTuple):
    """One field of a form; ``least`` and ``most`` bound a number, or a text's length."""

    name: str
    kind: Kind
    label: str
    about: str
    required: bool
    least: float | None
    most: float | None
    options: list[str]
    default: Any


def fields_of(schema: Mapping[str, Any] | None) -> list[Field] | None:
    """Return the fields; None where the schema has more than a flat form can show."""
    if not schema:
        return []
    if schema.get("type") != "object":
        return None
    fields = []
    for name, shape in schema.get("properties", {}).items():
        field = _field(name, shape, name in schema.get("required", ()))
        if field is None:
            return None
        fields.append(field)
    return fields


def _field(name: str, shape: Mapping[str, Any], required: bool) -> Field | None:
    options = [*shape.get("enum", ())]
    kind = _KINDS.get(str(shape.get("type")))
    if kind is None or (options and kind != "text"):
        return None
    is_text = kind == "text"
    if is_text and not options and shape.get("writeOnly"):
        kind = "secret"
    return Field(
        name=name,
        kind="choice" if options else kind,
        label=str(shape.get("title") or name).replace("_", " "),
        about=str(shape.get("description", "")),
        required=required,
        least=shape.get("minLength" if is_text else "minimum"),
        most=shape.get("maxLength" if is_text else "maximum"),
        options=options,
        default=shape.get("default"),
    )


def value_of(fields: list[Field], form: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the values that were filled in; None where there is nothing to fill in.

    Raises:
        FormRefused: a number is none.
    """
    if not fields:
        return None
    values: dict[str, Any] = {}
    for field in fields:
        text = form.get(f"form.{field.name}", "")
        if field.kind == "boolean":
            values[field.name] = text == "on"
        elif text != "" or (field.required and field.kind in ("text", "secret", "choice")):
            values[field.name] = _typed(field, text)
    return values


def _typed(field: Field, text: str) -> Any:
    if field.kind not in ("integer", "number"):
        return text
    try:
        return int(text) if field.kind == "integer" else float(text)
    except ValueError:
        raise FormRefused(
            f"{field.label} is {text[:60]!r}: expected a number. Go back and correct it; nothing "
            "was done."
        ) from None
