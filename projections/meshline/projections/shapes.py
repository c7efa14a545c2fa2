"""The registered types of values: what a JSON schema finds wrong with one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Shape"]

_SEVERAL = frozenset({"anyOf", "oneOf"})


class Shape:
    """A type as it was registered; one whose schema can't be used finds fault with nothing."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        # Imported where it is needed: a fifth of a second, which most commands never need.
        import jsonschema_rs

        self._validator: jsonschema_rs.Draft202012Validator | None
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                dict(schema),
                # Who reads the words may not be one who reads payloads.
                mask="it",
                retriever=_nothing_from_outside,
                # In linear time, whatever the pattern is.
                pattern_options=jsonschema_rs.RegexOptions(),
            )
        except ValueError:
            self._validator = None

    def fault(self, value: Any) -> str | None:
        """Return the first thing that is wrong with the value, and where; None: nothing."""
        if self._validator is None:
            return None
        error = next(iter(self._validator.iter_errors(value)), None)
        if error is None:
            return None
        place = ".".join(map(str, error.instance_path)) or "value"
        if error.kind.name in _SEVERAL:
            return f"{place}: it is none of the kinds that it may be"
        return f"{place}: {error.message}"


def _nothing_from_outside(address: str) -> Any:
    raise ValueError(f"{address} is not looked up: expected a schema that is whole by itself")
