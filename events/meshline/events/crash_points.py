"""Named places in the real code at which a process can be made to end as by ``kill -9``.

With ``MESHLINE_CRASH_AT=append.sent:3`` in its environment a process ends when it comes to that
place for the third time: no handler runs, nothing is flushed, no connection is closed in order. So
a fault test meets each place between two steps for sure, and not now and then. Without the variable
a passing costs a call and a comparison.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from meshline.events.errors import SettingsInvalid

__all__ = ["EXIT_CODE", "POINTS", "VARIABLE", "armed_by", "crash_point"]

VARIABLE = "MESHLINE_CRASH_AT"
EXIT_CODE = 137
"""As a shell says of a process that was killed."""

POINTS = {
    "append.before": "records are about to be sent to the log",
    "append.sent": "the log has them, and nobody here has heard of it",
    "append.answered": "the keeper knows it, and has not acted on it",
    "claim.before": "a worker is about to claim a partition",
    "claim.after": "the claim is in the log, and not read back",
    "commit.before": "a batch of views is about to be written",
    "commit.inside": "its rows and checkpoints are written, and not committed",
    "commit.after": "it is committed, and the projector has not heard of it",
    "snapshot.before": "a snapshot is about to be saved",
    "snapshot.half": "the old snapshot is deleted, the new one not written, nothing committed",
    "snapshot.after": "a snapshot was saved",
    "finish.before": "a rebuild has loaded its last event",
    "finish.inside": "its indexes are made, and not committed",
    "finish.after": "the build is warm, and the rebuild has not heard of it",
    "swap.before": "the stable names are about to show another build",
    "swap.inside": "they show it, and it is not committed",
    "swap.after": "they show it, and nobody was told",
}


@dataclass
class _Armed:
    name: str
    left: int


def armed_by(text: str) -> _Armed | None:
    """Return what the variable's value asks for; None where it is empty.

    Raises:
        SettingsInvalid: there is no such point, or it does not say how often it is passed.
    """
    if not text:
        return None
    name, _, count = text.partition(":")
    if name not in POINTS or not (count or "1").isdecimal() or count == "0":
        raise SettingsInvalid(
            f"{VARIABLE} is {text!r}: expected a point and at which passing, such as "
            f"append.sent:3. The points are {', '.join(POINTS)}. Correct it, or take it away."
        )
    return _Armed(name, int(count or "1"))


_armed = armed_by(os.environ.get(VARIABLE, ""))


def crash_point(name: str) -> None:
    """End the process here and now, if this is the passing that was asked for."""
    if _armed is None or _armed.name != name:
        return
    _armed.left -= 1
    if _armed.left <= 0:
        os._exit(EXIT_CODE)
