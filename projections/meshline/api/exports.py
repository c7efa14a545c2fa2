"""Rows as files: CSV that no spreadsheet takes for formulas, and a JSON value on each line."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

__all__ = ["MEDIA_TYPES", "as_csv", "as_jsonl", "neutral"]

MEDIA_TYPES = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Rows = AsyncIterable[Sequence[Mapping[str, Any]]]


def neutral(text: str) -> str:
    """Return the text so that a spreadsheet shows it: one that begins like a formula is quoted.

    Source: OWASP, CSV injection.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


async def as_csv(columns: Sequence[str], rows: Rows) -> AsyncIterator[bytes]:
    """Give the file in pieces, a line with the columns' names first."""
    yield _lines([columns])
    async for some in rows:
        yield _lines([[_cell(row[name]) for name in columns] for row in some])


async def as_jsonl(rows: Rows) -> AsyncIterator[bytes]:
    """Give the file in pieces."""
    async for some in rows:
        yield b"".join(orjson.dumps(row, option=_LINE) for row in some)


def _lines(cells: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(cells)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return neutral(str(value))
