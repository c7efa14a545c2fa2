"""Generated events: any class of the catalogue with any data that its fields take."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel

from meshline.events.catalogue import CATALOGUE
from meshline.events.envelope import Actor, Event
from meshline.events.facts import Fact, LogCreated, PartitionClaimed

__all__ = ["data_of", "events", "json_values", "texts"]

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
names = texts.filter(bool)
moments = st.datetimes(
    datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
numbers = st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


PLAIN: dict[tuple[str | None, str | None], st.SearchStrategy[Any]] = {
    ("string", "date-time"): moments,
    ("string", None): texts,
    ("integer", None): numbers,
    ("number", None): st.floats(allow_nan=False, allow_infinity=False),
    ("boolean", None): st.booleans(),
    ("null", None): st.none(),
    ("object", None): st.dictionaries(texts, json_values, max_size=3),
    (None, None): json_values,
}


principals = st.none() | st.sampled_from(["user:ada", "team:emea", "queue:triage"])
CHECKED: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "BusinessCase": {"route": principals, "owner": principals},
}
"""Fields that are checked further than their JSON schema says, by the title of their object."""


def data_of(schema: dict[str, Any], defs: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for what a field takes, out of its JSON schema."""
    if "$ref" in schema:
        return object_of(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in schema:
        return st.one_of([data_of(one, defs) for one in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    if "properties" in schema:
        return object_of(schema, defs)
    if isinstance(schema.get("additionalProperties"), dict):
        values = data_of(schema["additionalProperties"], defs)
        return st.dictionaries(texts, values, max_size=3)
    if schema.get("type") == "array":
        return st.lists(data_of(schema["items"], defs), max_size=3)
    if "pattern" in schema:
        return st.from_regex(schema["pattern"].strip("^$"), fullmatch=True)
    # Another type of field needs a strategy of its own: a KeyError says so.
    return PLAIN[schema.get("type"), schema.get("format")]


def object_of(schema: dict[str, Any], defs: dict[str, Any]) -> st.SearchStrategy[Any]:
    fields = {name: data_of(field, defs) for name, field in schema["properties"].items()}
    fields |= CHECKED.get(schema.get("title", ""), {})
    required = {name: fields.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=fields)


@cache
def models(data_type: type[BaseModel]) -> st.SearchStrategy[Any]:
    schema = data_type.model_json_schema()
    return object_of(schema, schema.get("$defs", {})).map(data_type.model_validate)


@st.composite
def events(draw: st.DrawFn, data_type: type[BaseModel] | None = None) -> Event[Any]:
    """Return a strategy for whole events, of one class or of any."""
    chosen = data_type or draw(st.sampled_from(list(CATALOGUE.values())))
    time = draw(moments)
    has_epoch = issubclass(chosen, Fact) and chosen not in (LogCreated, PartitionClaimed)
    return Event(
        id=draw(names),
        source=draw(names),
        subject=draw(texts),
        time=time,
        data=draw(models(chosen)),
        recorded_at=draw(st.just(time) | moments),
        epoch=draw(st.integers(0, 2**63)) if has_epoch else None,
        sequence=draw(st.integers(1, 2**63)) if has_epoch else None,
        causation_id=draw(st.none() | names),
        correlation_id=draw(st.none() | names),
        actor=draw(st.none() | st.builds(Actor, names, names)),
        traceparent=draw(st.none() | names),
    )
