"""What deciding is handed and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from meshline.events.envelope import Actor
from meshline.events.facts import Fact
from meshline.events.people import NOBODY, People

__all__ = ["Decision", "Decisions", "Moment"]


class Decision(NamedTuple):
    """A fact that is to be said.

    Args:
        time: when it happened, if that is not the moment of the decision.
        causation_id: of the request that it answers, or the event that led to it.
        actor: who is behind it, if not the engine itself.
    """

    data: Fact
    causation_id: str | None = None
    actor: Actor | None = None
    time: datetime | None = None


Decisions = Iterator[Decision]
"""Deciding yields facts one by one; each is applied to the run before the next is asked for."""


def _nothing_under_way(run_id: str, step: str, attempt: int) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Moment:
    """All that deciding may know besides the state and the definition.

    Args:
        now: the time.
        epoch: of the keeper; a step started in an older one is started again,
        under_way: unless this says that the same process is still at it.
        people: who there is, and who is in what.
    """

    now: datetime
    epoch: int
    under_way: Callable[[str, str, int], bool] = _nothing_under_way
    people: People = NOBODY
