"""Pages of lists: the rows of one, and the word that asks for the one that follows."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar, get_type_hints

import orjson

from meshline.projections.errors import NotFound

__all__ = ["LIMIT_MAX", "Page", "next_after", "page_of_all", "row_after", "values_after"]

R = TypeVar("R", bound=tuple[Any, ...])
LIMIT_MAX = 1_000


class Page(NamedTuple, Generic[R]):
    """Some rows of a list; ``next`` is None at its end."""

    rows: list[R]
    next: str | None


def next_after(values: Iterable[Any]) -> str:
    """Return what asks for the page behind the row that has these values in its order."""
    return base64.urlsafe_b64encode(orjson.dumps([*values])).decode().rstrip("=")


def row_after(after: str, row: type[Any], order: Sequence[str]) -> list[Any]:
    """Return the values that ``next_after`` was given, of these fields of such rows.

    Raises:
        NotFound: it is nothing that a page of this list said.
    """
    hints = get_type_hints(row)
    return values_after(after, [hints[name] for name in order])


def values_after(after: str, kinds: Sequence[Any]) -> list[Any]:
    """Return the values that ``next_after`` was given, each of its kind.

    Raises:
        NotFound: it is nothing that a page of this list said.
    """
    try:
        said = orjson.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        if isinstance(said, list) and len(said) == len(kinds):
            return [_read(value, kind) for value, kind in zip(said, kinds, strict=True)]
    except ValueError:
        pass
    raise NotFound(
        f"There is no page after {after[:60]!r}: expected what `next` said of the page before. "
        "Begin again without it."
    )


def _read(value: Any, kind: Any) -> Any:
    if kind is datetime and isinstance(value, str):
        time = datetime.fromisoformat(value)
        if time.tzinfo is not None:
            return time
    elif type(value) is kind and not (kind is int and abs(value) >= 2**63):
        return value
    raise ValueError("a page said another kind of value")


def page_of_all(
    rows: Iterable[R],
    key: Callable[[R], Sequence[str | int]],
    *,
    limit: int,
    after: str | None,
    kinds: Sequence[type],
) -> Page[R]:
    """Return one page of a list that is read whole, in the order of its keys.

    Args:
        key: different for each row; its values are of these ``kinds``.
    """
    found = sorted(((tuple(key(row)), row) for row in rows), key=itemgetter(0))
    if after is not None:
        last = tuple(values_after(after, kinds))
        found = [(at, row) for at, row in found if at > last]
    page = [row for _, row in found[:limit]]
    return Page(page, next_after(found[limit - 1][0]) if len(found) > limit else None)
