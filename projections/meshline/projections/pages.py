"""Pages of lists: the rows of one, and the word that asks for the one that follows."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, TypeVar

import orjson

from meshline.projections.errors import NotFound

__all__ = ["LIMIT_MAX", "Page", "next_after", "position_after"]

R = TypeVar("R", bound=tuple[Any, ...])
LIMIT_MAX = 1_000


class Page(NamedTuple, Generic[R]):
    """Some rows of a list; ``next`` is None at its end."""

    rows: list[R]
    next: str | None


def next_after(values: Iterable[Any]) -> str:
    """Return what asks for the page behind the row that has these values in its order."""
    return base64.urlsafe_b64encode(orjson.dumps([*values])).decode().rstrip("=")


def position_after(after: str, length: int) -> list[Any]:
    """Return the values that ``next_after`` was given; times are text in them.

    Raises:
        NotFound: it is nothing that a page said.
    """
    try:
        position = orjson.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        if isinstance(position, list) and len(position) == length:
            return position
    except ValueError:
        pass
    raise NotFound(
        f"There is no page after {after[:60]!r}: expected what `next` said of the page before. "
        "Begin again without it."
    )
