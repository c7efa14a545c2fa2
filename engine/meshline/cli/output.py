"""Where a command's results go: data on stdout in the form that was asked for, words on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, TextIO

from meshline.cli.tables import Column, harmless, is_rich, write_table

__all__ = ["Form", "Output"]


class Form(StrEnum):
    """How data is written: for people, as one JSON value, or as one JSON value a line."""

    text = "text"
    json = "json"
    jsonl = "jsonl"


class Output:
    """The two streams of a command.

    Args:
        form: of the data. In ``json`` a list is one array and one thing one object.
    """

    def __init__(
        self, form: Form = Form.text, stdout: TextIO | None = None, stderr: TextIO | None = None
    ) -> None:
        self.form = form
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr

    @property
    def is_text(self) -> bool:
        return self.form is Form.text

    @property
    def is_interactive(self) -> bool:
        """Whether a person watches the words, so that something may move there."""
        return is_rich(self.stderr)

    def say(self, *lines: str) -> None:
        """Words for people; never data."""
        for line in lines:
            print(harmless(line), file=self.stderr, flush=True)

    def rows(
        self, rows: Sequence[Any], columns: Sequence[Column], *, empty: str = "Nothing."
    ) -> None:
        """Write a list: a table of these columns, or all fields of each row.

        Args:
            rows: NamedTuples, models, dataclasses or dicts.
            empty: said to people when there is none.
        """
        if not self.is_text:
            with self.stream() as emit:
                for row in rows:
                    emit(row)
        elif rows:
            write_table(self.stdout, columns, rows)
        else:
            self.say(empty)

    def thing(self, thing: Any, text: Callable[[], str]) -> None:
        """Write one thing: the text for people, or all its fields."""
        if self.is_text:
            self.stdout.write(harmless(text().rstrip("\n")) + "\n")
        else:
            self.stdout.write(_json(thing, indent=self.form is Form.json) + "\n")

    @contextmanager
    def stream(self, *, live: bool = False) -> Generator[Callable[..., None]]:
        """Give a function that writes one item of a list whose end is not known yet.

        In text it takes a second argument: the item's line for people.

        Args:
            live: items come now and then: each is to be seen at once, in a pipe too.
        """
        count = 0

        def emit(item: Any, text: str = "") -> None:
            nonlocal count
            if self.is_text:
                self.stdout.write(f"{harmless(text)}\n")
            elif self.form is Form.jsonl:
                self.stdout.write(_json(item) + "\n")
            else:
                self.stdout.write(("[\n " if count == 0 else ",\n ") + _json(item))
            count += 1
            if live:
                self.stdout.flush()

        try:
            yield emit
        finally:
            if self.form is Form.json:
                self.stdout.write("\n]\n" if count else "[]\n")


def _json(value: Any, *, indent: bool = False) -> str:
    import orjson

    options = orjson.OPT_UTC_Z | (orjson.OPT_INDENT_2 if indent else 0)
    return orjson.dumps(_fields(value), default=_fields, option=options).decode()


def _fields(value: Any) -> Any:
    """What a value consists of: orjson would write a NamedTuple as a list without names."""
    if isinstance(value, tuple):
        names = getattr(value, "_asdict", None)
        return {k: _fields(v) for k, v in names().items()} if names else [_fields(v) for v in value]
    if isinstance(value, dict):
        return {str(key): _fields(item) for key, item in value.items()}
    if isinstance(value, list | set | frozenset):
        return [_fields(item) for item in value]
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    if hasattr(value, "__dataclass_fields__"):
        return {name: _fields(getattr(value, name)) for name in value.__dataclass_fields__}
    if value is None or isinstance(value, str | int | float) or hasattr(value, "isoformat"):
        return value
    return str(value)
