"""The conditions of a query, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Conditions"]


class Conditions:
    """Collects the conditions of a query and their arguments."""

    def __init__(self) -> None:
        self.arguments: list[Any] = []
        self._texts: list[str] = []

    def add(self, text: str, *values: Any) -> None:
        """Add a condition; each ``?`` stands for one of the values."""
        for value in values:
            self.arguments.append(value)
            text = text.replace("?", f"${len(self.arguments)}", 1)
        self._texts.append(text)

    def also(self, text: str, *values: Any) -> Conditions:
        """Return these and one more; they stay as they are."""
        more = Conditions()
        more.arguments, more._texts = [*self.arguments], [*self._texts]
        more.add(text, *values)
        return more

    def equal(self, **fields: Any) -> None:
        for name, value in fields.items():
            if value is not None:
                self.add(f"{name} = ?", value)

    def within(self, name: str, since: Any, until: Any = None) -> None:
        """``until`` is the first that is not meant."""
        if since is not None:
            self.add(f"{name} >= ?", since)
        if until is not None:
            self.add(f"{name} < ?", until)

    def one_of(self, name: str, values: Sequence[str] | None) -> None:
        if values:
            self.add(f"{name} = any(?::text[])", list(values))

    def begins(self, name: str, prefix: str | None) -> None:
        if prefix:
            # The columns are in the order of code points: a range, so that an index serves it.
            self.add(f"({name} >= ? and {name} < ?)", prefix, prefix + "\U0010ffff")

    def __str__(self) -> str:
        return f"where {' and '.join(self._texts)}" if self._texts else ""
