"""What goes wrong with definitions: refused ones, and apps that cannot be loaded."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from meshline.events.errors import MeshlineError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CODES",
    "AppNotLoaded",
    "DefinitionRefused",
    "RaisedWrongly",
    "RegistryConflict",
    "refuse",
]

CODES = {
    "answer": "ML4001",
    "name": "ML4002",
    "principal": "ML4003",
    "version": "ML4004",
    "duration": "ML4005",
    "duplicate": "ML4006",
    "reserved": "ML4007",
    "unknown": "ML4008",
    "cycle": "ML4009",
    "mismatch": "ML4010",
    "outcome": "ML4011",
    "type": "ML4012",
    "function": "ML4013",
    "rule": "ML4014",
    "approval": "ML4015",
    "compensation": "ML4016",
    "limit": "ML4017",
    "frozen": "ML4018",
    "observe": "ML4019",
    "each": "ML4020",
    "secret": "ML4021",
}
"""What is wrong with a definition, and the code that stands for it in messages and docs."""


class DefinitionRefused(MeshlineError):
    """A workflow is defined wrongly; ``about`` is a key of ``CODES``."""

    def __init__(self, about: str, message: str) -> None:
        super().__init__(message)
        self.about = about
        self.code = CODES[about]


class AppNotLoaded(MeshlineError):
    """The module that should hold workflows cannot be found or imported, or holds none."""

    code = "ML4101"


class RegistryConflict(MeshlineError):
    """Two definitions claim the same name and version, or the same trigger."""

    code = "ML4102"


class RaisedWrongly(MeshlineError):
    """A step raises what Meshline knows with a part that it can't take."""

    code = "ML4301"


def refuse(
    about: str, what: str, *, expected: str, do: str, show: str | None = None
) -> DefinitionRefused:
    """Return the error in the house form.

    Args:
        what: what is wrong, with the value; no full stop.
        expected: completes "expected …"; no full stop.
        do: an order, with its full stop.
        show: code as it should be, on lines of its own.
    """
    message = f"{what}: expected {expected}. {do}"
    return DefinitionRefused(about, f"{message}\n\n{show}\n" if show else message)


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, whatever its case and underscores."""
    plain = {word.replace("_", "").lower(): word for word in known}
    found = get_close_matches(name.replace("_", "").lower(), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None
