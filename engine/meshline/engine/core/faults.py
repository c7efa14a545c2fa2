"""What a type finds wrong with a value, in words that quote nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from meshline.engine.core.rules import words_of
from meshline.events.secrets import EVERY, Places
from meshline.workflow.secret import secrets_in

__all__ = ["Fault", "faults_in", "faults_of"]

Fault = tuple[tuple[int | str, ...], str]
"""Where it is, and what is wrong."""

UNSAID = "it is not as expected; the type has secret fields, so no more is said"
_SAYS_NOTHING = frozenset({"missing", "extra_forbidden"})
_AUTHORS_WORDS = frozenset({"value_error", "assertion_error"})


def faults_in(adapter: TypeAdapter[Any], value: Any) -> list[Fault]:
    """Return what the type finds wrong with the value; of secrets, only where they are."""
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        return [*faults_of(error, secrets_in(adapter))]
    except Exception as error:  # a validator of the user's may raise anything
        is_secret = bool(secrets_in(adapter))
        return [((), f"{type(error).__name__}: {UNSAID}" if is_secret else words_of(error))]
    return []


def faults_of(error: ValidationError, secrets: Places) -> Iterator[Fault]:
    """Yield what is wrong, without the values."""
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        is_unsaid = secrets and _may_quote(found["loc"], found["type"], secrets)
        yield found["loc"], UNSAID if is_unsaid else found["msg"]


def _may_quote(location: tuple[int | str, ...], kind: str, secrets: Places) -> bool:
    if kind in _SAYS_NOTHING:
        return False
    # What an author's own validator says may be of any field.
    return kind in _AUTHORS_WORDS or any(_is_in(location, place) for place in secrets)


def _is_in(location: tuple[int | str, ...], place: tuple[str, ...]) -> bool:
    """Whether the steps of the place come in this order; pydantic puts names of types between."""
    left = iter(map(str, location))
    return all(any(step in (EVERY, name) for name in left) for step in place)
