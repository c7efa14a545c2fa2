"""Errors of the projections room: what happened, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Mapping

from meshline.events.errors import MeshlineError

__all__ = [
    "CheckpointMoved",
    "CodeChanged",
    "HeldBack",
    "NotSwappable",
    "NotFound",
    "NotReached",
    "NotReady",
    "ProjectionInvalid",
    "RowRefused",
    "StoreUnavailable",
    "ViewLayoutChanged",
]


class ProjectionInvalid(MeshlineError):
    """A projection is declared in a way that can't work."""

    code = "ML5001"


class ViewLayoutChanged(MeshlineError):
    """A projection's tables differ from those that its version was built with."""

    code = "ML5002"


class CheckpointMoved(MeshlineError):
    """Somebody else moved the view's checkpoint: what was to be written is stale."""

    code = "ML5003"

    def __init__(self, view: str, message: str) -> None:
        super().__init__(message)
        self.view = view


class HeldBack(MeshlineError):
    """The view's writer is to stand still at a position for a moment, while it is compared."""

    code = "ML5010"

    def __init__(self, view: str, at: Mapping[int, int]) -> None:
        super().__init__(
            f"The writer of {view} is held back at {dict(at)}, because the view is being compared: "
            "it goes on by itself within seconds."
        )
        self.at = at


class RowRefused(MeshlineError):
    """The store can't keep a value that a projection computed."""

    code = "ML5004"


class StoreUnavailable(MeshlineError):
    """The store did not answer; nothing of the attempt is kept, or all of it."""

    code = "ML5005"


class NotReached(MeshlineError):
    """The views did not reach a position in time."""

    code = "ML5006"


class NotFound(MeshlineError):
    """Nothing, or more than one thing, goes by the id."""

    code = "ML5007"


class NotReady(MeshlineError):
    """A bulk operation can't be done, as things are."""

    code = "ML5011"


class CodeChanged(MeshlineError):
    """A projection's code differs from that which its version was built with."""

    code = "ML5008"


class NotSwappable(MeshlineError):
    """A build can't take the place of another, as things are."""

    code = "ML5009"
