"""What the real histories say, computed from the files alone: plain Python, no Meshline code.

The rules are those that `examples/incidents.py` and `examples/permits.py` tell in words:

- A case begins in the hands of its workflow's owner, at the time of its first activity.
- `group` has it after each activity; a group that is none (`EMPTY`) leaves it where it was.
- What ends a case ends the period of whoever has it. What comes after the end opens it again, in
  the hands that it was in; an activity that only says once more that it has ended changes nothing.
- An exception is opened once while one of its kind is open.
"""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

__all__ = [
    "Case",
    "Line",
    "Raised",
    "Stretch",
    "incident",
    "permit",
    "real_cases",
    "time_and_name",
]

REPOSITORY = Path(__file__).resolve().parents[3]
HANDBACKS_MAX = 2

Line = dict[str, Any]


class Stretch(NamedTuple):
    """Who had the case, and who worked on it, from when until when; None: has it still."""

    owner: str
    assignee: str | None
    since: datetime
    until: datetime | None


class Raised(NamedTuple):
    kind: str
    at: datetime
    settled_at: datetime | None


@dataclass
class Case:
    """A case as it stands after its last activity."""

    case_id: str
    stretches: list[Stretch] = field(default_factory=list)
    ended: str | None = None
    waits_for: str | None = None
    raised: list[Raised] = field(default_factory=list)
    reopened: int = 0

    @property
    def owner(self) -> str:
        return self.stretches[-1].owner

    @property
    def assignee(self) -> str | None:
        return self.stretches[-1].assignee

    def begin(self, owner: str, at: datetime) -> None:
        self.stretches.append(Stretch(owner, None, at, None))

    def hand_over(self, owner: str, assignee: str | None, at: datetime) -> None:
        if (owner, assignee) != (self.owner, self.assignee):
            self._close(at)
            self.stretches.append(Stretch(owner, assignee, at, None))

    def end(self, how: str, at: datetime) -> None:
        self._close(at)
        self.ended, self.waits_for = how, None

    def reopen(self, at: datetime) -> None:
        self.stretches.append(Stretch(self.owner, self.assignee, at, None))
        self.ended = None
        self.reopened += 1

    def _close(self, at: datetime) -> None:
        self.stretches[-1] = self.stretches[-1]._replace(until=at)

    def open(self, kind: str, at: datetime) -> None:
        if all(each.kind != kind or each.settled_at for each in self.raised):
            self.raised.append(Raised(kind, at, None))

    def settle(self, kinds: tuple[str, ...], at: datetime) -> None:
        self.raised = [
            each._replace(settled_at=at) if each.kind in kinds and not each.settled_at else each
            for each in self.raised
        ]


def real_cases(name: str) -> list[Line]:
    """The cases of one file. Without the file the test is skipped, which CI takes as a failure."""
    folder = Path(os.environ.get("MESHLINE_REAL_DATA") or REPOSITORY.parent / "shared" / "data")
    file = folder / f"{name}.jsonl.gz"
    if not file.exists():
        pytest.skip(f"no {file.name}: set MESHLINE_REAL_DATA to the folder that holds it")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def named(kind: str, name: str) -> str:
    return f"{kind}:{'_'.join(name.strip().split(' '))}"


# -- incidents -------------------------------------------------------------------------------------


def incident(line: Line, *, person_owns: bool = False) -> Case:
    """Read one incident: who had it, what it waits for, what went wrong.

    Args:
        person_owns: by the other rule: not the group has it, but who works on it.
    """
    events = line["events"]
    case = Case(line["case"])
    case.begin("team:service-desk", _time(events[0]))
    groups: list[str] = []
    handbacks = 0
    for event in events:
        at, group = _time(event), event["group"]
        is_end = event["activity"] == "Completed"
        how = "cancelled" if event["transition"] == "Cancelled" else "succeeded"
        is_handback = group in groups and group != groups[-1]
        if case.ended == how and is_end and group == groups[-1]:
            continue
        was_ended = case.ended is not None
        if was_ended:
            case.reopen(at)
        works = event["activity"] == "Accepted" and event["resource"] not in ("Siebel", "-")
        case.waits_for = _incident_waits_for(event["transition"])
        team, person = named("team", group), named("user", event["resource"]) if works else None
        case.hand_over(*((person or team, None) if person_owns else (team, person)), at)
        if is_end:
            case.settle(("ping_pong", "reopened"), at)
        handbacks += is_handback
        if is_handback and handbacks > HANDBACKS_MAX:
            case.open("ping_pong", at)
        if was_ended and not is_end:
            case.open("reopened", at)
        if is_end:
            case.end(how, at)
        groups.append(group)
    return case


def _incident_waits_for(status: str) -> str | None:
    if status == "Wait":
        return "somebody"
    if status == "Awaiting Assignment":
        return "assignment"
    return status.removeprefix("Wait - ").lower() if status.startswith("Wait - ") else None


def _time(event: Line) -> datetime:
    return datetime.fromisoformat(event["time"])


# -- permits ---------------------------------------------------------------------------------------


def permit(line: Line) -> Case:
    """Read one application: who had it, what went wrong, and whether its receipt is complete."""
    events = line["events"]
    deadline = _milliseconds(line["deadline"])
    case = Case(line["case"])
    case.begin("team:permits", _milliseconds(events[0]["time"]))
    done: list[str] = []
    was_late = False
    for event in events:
        at, code = _milliseconds(event["time"]), event["activity"].split(" ")[0]
        group = case.owner if event["group"] == "EMPTY" else named("team", event["group"])
        person = named("user", event["resource"])
        was_complete = _is_complete(done)
        done.append(code)
        is_complete = _is_complete(done)
        is_late = at > deadline
        fails = code in ("T03", "T13", "T18")
        same_people = (group, person) == (case.owner, case.assignee)
        if was_complete and is_complete and same_people and not fails and is_late == was_late:
            continue
        if was_complete:
            case.reopen(at)
        case.hand_over(group, person, at)
        if code in ("T04", "T14", "T19"):
            case.settle(("rework",), at)
        if fails:
            case.open("rework", at)
        if is_late and not was_late:
            case.open("past_deadline", at)
        was_late = is_late
        if is_complete:
            case.end("succeeded", at)
    return case


def _is_complete(codes: list[str]) -> bool:
    """Confirmed and decided, and each document or report that was called for is printed."""
    last = {code: number for number, code in enumerate(codes)}
    printed = all(
        last.get(end, -1) > last[begin]
        for begin, end in (("T11", "T15"), ("T16", "T20"))
        if begin in last
    )
    return {"T05", "T10"} <= last.keys() and printed


def _milliseconds(time: str) -> datetime:
    exact = datetime.fromisoformat(time)
    return exact.replace(microsecond=exact.microsecond // 1000 * 1000)


# -- both ------------------------------------------------------------------------------------------


def time_and_name(event: Line, workflow: str) -> tuple[datetime, str]:
    """When which activity happened, as far as it is kept: times of permits to the millisecond."""
    if workflow == "incident":
        return _time(event), f"{event['activity']}/{event['transition']}"
    return _milliseconds(event["time"]), event["activity"]
