"""What every fact is, and the values that several facts hold."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

__all__ = [
    "Fact",
    "FieldProblem",
    "Part",
    "Wait",
]


class Fact(BaseModel):
    """Base of all facts. ``TYPE`` and ``VERSION`` name it in the log."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    TYPE: ClassVar[str]
    VERSION: ClassVar[int] = 1


class Part(BaseModel):
    """Base of the values inside facts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FieldProblem(Part):
    """What is wrong with one field of a payload; ``pointer`` is a JSON pointer (RFC 6901)."""

    pointer: str
    message: str


class Wait(Part):
    """One thing that a run waits for: on what, since when, until when, and whose it is.

    ``about`` names the step, approval, message or exception; ``until`` is None where nothing but
    the awaited thing itself ends the wait.
    """

    kind: Literal[
        "timer",
        "message",
        "task",
        "approval",
        "child",
        "retry",
        "slot",
        "worker",
        "exception",
        "outside",
    ]
    about: str
    since: AwareDatetime
    until: AwareDatetime | None = None
    owner: str
