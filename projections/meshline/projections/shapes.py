"""The registered types of values: what a JSON schema finds wrong with one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Shape"]

_SEVERAL = frozenset({"anyOf", "oneOf"})


class Shape:
    """A type as it was registered; one whose schema can't be used finds fault with nothing.

    A field that it does not name is a fault: most types pass over it, so who adds one has mistyped
    its name, and nothing would come of it.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        # Imported where it is needed: a fifth of a second, which most commands never need.
        import jsonschema_rs

        self._validator: jsonschema_rs.Draft202012Validator | None
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                _closed(schema),
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
        import jsonschema_rs

        error = next(iter(self._validator.iter_errors(value)), None)
        if error is None:
            return None
        place = ".".join(map(str, error.instance_path)) or "value"
        if error.kind.name in _SEVERAL:
            return f"{place}: it is none of the kinds that it may be"
        if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
            return f"{place}: it has no field {', '.join(error.kind.unexpected)}"
        return f"{place}: {error.message}"


def _closed(schema: Any) -> Any:
    """Return the schema with every object closed of which it does not say that it is open."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    closed = {name: _closed(each) for name, each in schema.items()}
    if isinstance(schema.get("properties"), Mapping) and "type" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


def _nothing_from_outside(address: str) -> Any:
    raise ValueError(f"{address} is not looked up: expected a schema that is whole by itself")
