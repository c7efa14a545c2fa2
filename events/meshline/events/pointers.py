"""JSON pointers (RFC 6901): ``/company``, ``/lines/0/amount``; "" is all of a value."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["pointer_to", "steps_of"]


def pointer_to(steps: Iterable[int | str]) -> str:
    """Return the pointer to what these names and indexes lead to."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)


def steps_of(pointer: str) -> list[str]:
    """Return the names and indexes that a pointer leads by.

    Raises:
        ValueError: it is none.
    """
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is no JSON pointer: expected a path such as '/company'")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
