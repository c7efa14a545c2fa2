"""Marking fields as secret, and finding where the marks are in what a type reads and writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaWarningKind
from pydantic_core import CoreSchema, core_schema

from meshline.events.pointers import pointer_to
from meshline.events.secrets import EVERY, NOTHING, Places
from meshline.workflow.errors import refuse

__all__ = ["Secret", "check_secrets", "pointers_of", "secrets_in"]

WORD = "writeOnly"
"""What marks a secret in a JSON schema: may be sent, and is not shown to who reads."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Marks a field whose value nobody is shown without a permission of its own.

    ``account: Annotated[str, Secret()]``, of any type. Steps are handed the true value. With
    pydantic's own, as ``Annotated[SecretStr, Secret()]``, it does not show in what a step prints
    either; alone these write stars instead of their value, and are refused.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        schema = handler(source)
        parts = [*_parts(schema)]
        # A model within writes itself, and marks its own fields.
        if any(map(_writes_stars, parts)) and not any(
            each.get("type") in _MODELS for each in parts
        ):
            written = core_schema.plain_serializer_function_ser_schema(
                _revealed, when_used="json-unless-none"
            )
            return {**schema, "serialization": written}
        return schema

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), WORD: True}


_MODELS = frozenset({"model", "dataclass", "typed-dict", "definition-ref"})


def _revealed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _revealed(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_revealed(each) for each in value]
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def check_secrets(adapter: TypeAdapter[Any], what: str) -> None:
    """Refuse a type whose secrets would be lost, or could come under a name that is not known.

    Args:
        what: as the refusal calls it: ``trigger of workflow 'lead-intake'``.
    """
    parts = [*_parts(adapter.core_schema)]
    if any(map(_writes_stars, parts)):
        raise refuse(
            "secret",
            f"The {what} has a field of pydantic's SecretStr, SecretBytes or Secret, which is "
            "written as stars: its value would be lost",
            expected="a field that is marked as secret and keeps its value",
            do="Import Secret from meshline.workflow and write `Annotated[str, Secret()]`, or "
            "`Annotated[SecretStr, Secret()]`.",
        )
    if not secrets_in(adapter):
        return
    for part in parts:
        alias = part.get("validation_alias")
        if alias is not None and not isinstance(alias, str):
            raise refuse(
                "secret",
                f"The {what} has secret fields, and one field with several names: {alias!r}",
                expected="one name for each field, so that every secret is known where it stands",
                do="Give the field one alias, or none.",
            )


_MODES: tuple[JsonSchemaMode, ...] = ("validation", "serialization")


@lru_cache(maxsize=4096)
def secrets_in(adapter: TypeAdapter[Any]) -> Places:
    """Return where the secrets are in what the type reads and writes as JSON."""
    found = _places_in(adapter, by_alias=True)
    return found | _places_in(adapter, by_alias=False) if found else NOTHING


def _places_in(adapter: TypeAdapter[Any], *, by_alias: bool) -> Places:
    found: Places = NOTHING
    for mode in _MODES:
        schema = adapter.json_schema(mode=mode, by_alias=by_alias, schema_generator=_AnyType)
        found |= frozenset(_marked(schema, schema.get("$defs", {}), ()))
    return found


def pointers_of(places: Places) -> list[str]:
    """Return the places as they are written in a definition."""
    return sorted(map(pointer_to, places))


class _AnyType(GenerateJsonSchema):
    """Takes a type that has no JSON schema for any, so that those beside it keep theirs."""

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> dict[str, Any]:
        return {}

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        pass


_ALTERNATIVES = ("anyOf", "oneOf", "allOf")
_INSIDE = ("then", "else")
_OF_EACH = (
    *("items", "contains", "additionalProperties", "unevaluatedItems", "unevaluatedProperties"),
)


def _marked(
    schema: Any, defs: Mapping[str, Any], inside: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    """Yield the places that are marked; what may be one of several is marked if one of them is.

    Args:
        inside: the definitions that are being looked into.
    """
    if not isinstance(schema, Mapping):
        return
    if schema.get(WORD) is True or any(_marked(schema.get("contentSchema"), defs, inside)):
        yield ()
        return
    reference = str(schema.get("$ref", "")).rpartition("/")[2]
    if reference in inside:
        # It holds itself, to any depth: if there are secrets in it, the inner one is one.
        if _has_mark(defs.get(reference), defs):
            yield ()
    elif reference:
        yield from _marked(defs.get(reference), defs, (*inside, reference))
    for word in _ALTERNATIVES:
        for each in schema.get(word, ()):
            yield from _marked(each, defs, inside)
    for word in _INSIDE:
        yield from _marked(schema.get(word), defs, inside)
    for name, each in schema.get("properties", {}).items():
        for place in _marked(each, defs, inside):
            yield (name, *place)
    parts = [*schema.get("prefixItems", ()), *schema.get("patternProperties", {}).values()]
    for each in [*parts, *(schema.get(word) for word in _OF_EACH)]:
        for place in _marked(each, defs, inside):
            yield (EVERY, *place)


def _has_mark(schema: Any, defs: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    if isinstance(schema, list):
        return any(_has_mark(each, defs, seen) for each in schema)
    if not isinstance(schema, Mapping):
        return False
    if schema.get(WORD) is True:
        return True
    reference = str(schema.get("$ref", "")).rpartition("/")[2]
    if reference and reference not in seen:
        seen |= {reference}
        if _has_mark(defs.get(reference), defs, seen):
            return True
    return any(_has_mark(each, defs, seen) for each in schema.values())


def _parts(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a core schema and all in it, but for what writes itself in another way."""
    left: list[Any] = [schema]
    while left:
        part = left.pop()
        if isinstance(part, list | tuple):
            left.extend(part)
        elif isinstance(part, Mapping):
            written = part.get("serialization")
            if isinstance(written, Mapping) and written.get("function") is _revealed:
                continue
            yield part
            left.extend(each for name, each in part.items() if name != "metadata")


def _writes_stars(part: Mapping[str, Any]) -> bool:
    function = part.get("function") if part.get("type") == "function-plain" else None
    name = getattr(function, "__qualname__", "").lower()
    return getattr(function, "__module__", "") == "pydantic.types" and "secret" in name
