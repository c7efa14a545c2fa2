"""The receipt of building-permit applications in a town, observed: who has each, which go wrong.

Nothing here is carried out by Meshline. The town's system tells which work was completed, and
`observe` reads it. `convert` makes triggers and activities from the public history of the CoSeLoG
project (WABO receipt phase, doi 10.4121/uuid:a07386a5-7be3-4367-9535-70bc9e77dbe6).

How its 1,434 applications with 8,577 activities are read, and why:

- `group` completed the work and holds the application until others complete theirs. Of all
  activities 23 % have the group `EMPTY`, which is none: then the owner stays as it was.
- Two things make a receipt complete: the confirmation is sent (T05), and it is decided whether
  there is something to stop for (T10). They come in either order. Where the decision calls for a
  document X (T11 to T15) or a report Y (T16 to T20), that has to be printed too.
- What calls for a document or report is not told with T10, so a receipt that looks complete may go
  on: it is opened again, which is no exception.
- Work that was checked and has to be adjusted (T03, T13, T18) opens `rework` until it is determined
  (T04, T14, T19). Work after the application's own deadline opens `past_deadline`.
- Eight weeks are the due time: the legal term of the regular procedure. 161 applications never
  become complete; they are overdue in the end.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from meshline.workflow import Activity, Observation, ObservedWorkflow, Raised

NO_GROUP = "EMPTY"
ADJUSTED = {"T03", "T13", "T18"}
DETERMINED = {"T04", "T14", "T19"}
BRANCHES = {"T11": "T15", "T16": "T20"}
"""What begins a document or report, and what ends it."""


class Application(BaseModel):
    case: str
    channel: str
    department: str
    responsible: str
    deadline: datetime


permits = ObservedWorkflow(
    "permit-receipt",
    version=1,
    trigger=Application,
    source="town.permits",
    owner="team:permits",
    exceptions="queue:permit-coordinators",
    outcome="the receipt is confirmed, and it is decided whether there is something to stop for",
    due="8w",
    description="An application for a building permit, from its receipt until it is taken on.",
)


@permits.observe
def observe(activity: Activity, memo: Any) -> Observation:
    """Read one activity. The memo holds what is still to be done, and the deadline."""
    payload = activity.payload or {}
    before = memo or {"to_do": ["T05", "T10"], "deadline": payload.get("deadline"), "late": False}
    code = activity.name.partition(" ")[0]
    group, person = payload.get("group"), payload.get("resource")

    to_do = [each for each in before["to_do"] if each != code]
    if code in BRANCHES and BRANCHES[code] not in to_do:
        to_do.append(BRANCHES[code])
    late = before["deadline"] is not None and activity.time > before["deadline"]
    raised = []
    if code in ADJUSTED:
        raised.append(Raised("rework", f"{activity.name}: it did not pass its check", "low"))
    if late and not before["late"]:
        raised.append(Raised("past_deadline", f"not complete on {before['deadline'][:10]}", "high"))
    return Observation(
        owner=None if group in (None, NO_GROUP) else principal("team", group),
        assignee=person and principal("user", person),
        actor=person and principal("user", person),
        ended=None if to_do else "succeeded",
        raised=tuple(raised),
        settled=("rework",) if code in DETERMINED else (),
        memo={"to_do": to_do, "deadline": before["deadline"], "late": late},
    )


def principal(kind: str, name: str) -> str:
    """Names of principals have no spaces: `Group 1` is `team:Group_1`."""
    return f"{kind}:{name.strip().replace(' ', '_')}"


def convert(line: dict[str, Any]) -> tuple[dict[str, Any], list[Activity]]:
    """Return the trigger's payload and the activities of one case of the history.

    The trigger's id is the payload's `case`, its time that of the first activity, which also tells
    the deadline to the rule.
    """
    trigger = {name: value for name, value in line.items() if name != "events"}
    trigger["deadline"] = _utc(line["deadline"])
    activities = [_activity(event) for event in line["events"]]
    activities[0].payload["deadline"] = trigger["deadline"]
    return trigger, activities


def _activity(event: dict[str, Any]) -> Activity:
    payload = {name: event[name] for name in ("resource", "group") if name in event}
    return Activity(event["activity"], _utc(event["time"]), payload)


def _utc(time: str) -> str:
    """One way of writing, so that texts compare as the times do."""
    return datetime.fromisoformat(time).astimezone(UTC).isoformat(timespec="milliseconds")
