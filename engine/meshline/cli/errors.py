"""Errors of the command line: what happened, what was expected, what to do."""

from __future__ import annotations

from meshline.events.errors import MeshlineError

__all__ = ["AddressInUse", "CommandRefused", "CopyRefused", "HomeInUse", "NoLogHere"]


class NoLogHere(MeshlineError):
    """Nobody says where the log is or where the views are."""

    code = "ML3003"


class CommandRefused(MeshlineError):
    """What was given to a command does not go together."""

    code = "ML3004"


class HomeInUse(MeshlineError):
    """Another process of Meshline works in the folder."""

    code = "ML3005"


class CopyRefused(MeshlineError):
    """A log can't be copied to where it should be."""

    code = "ML3006"


class AddressInUse(MeshlineError):
    """A server can't listen where it was told to."""

    code = "ML3007"
