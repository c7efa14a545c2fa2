"""Columns from annotations: what a row model's field is in SQL, and which values it can hold."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel

from meshline.events.codec import plain
from meshline.projections.errors import ProjectionInvalid

__all__ = ["INDEXED_BYTES_MAX", "Column", "Json", "JsonText", "columns_of", "json_text", "to_json"]

Json = Annotated[Any, "jsonb"]
"""Marks a field that holds plain JSON values; see ``to_json``."""

INDEXED_BYTES_MAX = 2_000
"""PostgreSQL refuses index entries above a third of a page; keys stay well below."""

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


class JsonText(bytes):
    """A JSON value as its text, for columns that are written and never read back by handlers.

    A store gives it back as the value.
    """


def json_text(model: BaseModel) -> JsonText:
    """Return a model's fields as JSON text, as they are in the log."""
    return JsonText(orjson.dumps(plain(model), default=_plain, option=orjson.OPT_UTC_Z))


def to_json(value: Any) -> Any:
    """Return the value as plain JSON types; models and times become what they are in the log."""
    if value is None or isinstance(value, str | int | float):
        return value
    return orjson.loads(orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return plain(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _text_problem(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"is {type(value).__name__}, not text"
    if "\x00" in value:
        return "holds the character U+0000, which PostgreSQL can't store"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "holds half of a UTF-16 pair, which is no character"
    return None


def _int_problem(value: Any) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"is {type(value).__name__}, not a whole number"
    return None if _INT_MIN <= value <= _INT_MAX else "does not fit 64 bits"


def _float_problem(value: Any) -> str | None:
    return None if isinstance(value, float | int) else f"is {type(value).__name__}, not a number"


def _bool_problem(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"is {type(value).__name__}, not a truth value"


def _time_problem(value: Any) -> str | None:
    if not isinstance(value, datetime):
        return f"is {type(value).__name__}, not a time"
    return None if value.tzinfo is not None else "is a time without a zone"


def _json_problem(value: Any) -> str | None:
    try:
        raw = value if isinstance(value, JsonText) else orjson.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        return f"has no form in JSON: {error}"
    # A backslash of the text itself is written as two: without the pairs, only escapes are left.
    escaped_nul = b"\\u0000" in raw and b"\\u0000" in raw.replace(b"\\\\", b"")
    return "holds the character U+0000, which PostgreSQL can't store" if escaped_nul else None


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its SQL type, and what is wrong with a value (None where nothing is)."""

    name: str
    sql_type: str
    nullable: bool
    check: Callable[[Any], str | None]

    def problem(self, value: Any, *, indexed: bool) -> str | None:
        if value is None:
            return None if self.nullable else "is missing"
        found = self.check(value)
        if found is None and indexed and isinstance(value, str):
            size = len(value.encode())
            if size > INDEXED_BYTES_MAX:
                return f"has {size} bytes, but stands in an index: at most {INDEXED_BYTES_MAX}"
        return found


_SQL: dict[Any, tuple[str, Callable[[Any], str | None]]] = {
    str: ("text", _text_problem),
    int: ("bigint", _int_problem),
    float: ("double precision", _float_problem),
    bool: ("boolean", _bool_problem),
    datetime: ("timestamptz", _time_problem),
    Json: ("jsonb", _json_problem),
}


def columns_of(row: type[tuple[Any, ...]]) -> tuple[Column, ...]:
    """Return the columns of a row model, in the order of its fields.

    Raises:
        ProjectionInvalid: a field's type has no column.
    """
    hints = typing.get_type_hints(row, include_extras=True)
    fields: tuple[str, ...] = getattr(row, "_fields", ())
    if not fields:
        raise ProjectionInvalid(
            f"{row.__name__} has no fields: expected a typing.NamedTuple with one field for each "
            "column. Declare it so."
        )
    return tuple(_column(row, name, hints[name]) for name in fields)


def _column(row: type[tuple[Any, ...]], name: str, hint: Any) -> Column:
    nullable = False
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        nullable = len(kinds) < len(typing.get_args(hint))
        hint = kinds[0] if len(kinds) == 1 else hint
    if typing.get_origin(hint) is Literal:
        hint = type(typing.get_args(hint)[0])
    if hint not in _SQL:
        raise ProjectionInvalid(
            f"{row.__name__}.{name} is {hint!r}: expected str, int, float, bool, datetime, Json or "
            "one of these with `| None`. Choose one; nested values go into a Json column."
        )
    sql_type, check = _SQL[hint]
    return Column(name, sql_type, nullable, check)
