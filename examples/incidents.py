"""An IT department's incidents, observed: who has each of them, and which go wrong.

Nothing here is carried out by Meshline. The ticket system tells what happened to an incident, and
`observe` reads it. `convert` makes triggers and activities from the public history of Volvo IT
Belgium (BPI Challenge 2013, doi 10.4121/uuid:500573e6-accc-4b0c-9576-aa5468b10cee).

How its 7,554 incidents with 65,533 activities are read, and why:

- `group` holds the incident after the activity: it is the owner, from the first activity on.
- A status `Completed` (Resolved, Closed, In Call) ends it. Resolved too: of 6,115 only 309 were
  taken up again at once and 5 came back unmatched; the others were closed, nearly all by the
  system itself after a week of silence. That closing is a formality, and not a week of work.
- Any other activity after the end opens it again (514 incidents): exception `reopened`.
- A group that gets back what it had before: a handback. The third one opens `ping_pong` (411
  incidents, about 1 in 18; the second would be 1 in 11, too many to look at).
- 30 days are the due time: 1 in 20 needed longer. Those that never end are overdue in the end.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from meshline.workflow import Activity, Observation, ObservedWorkflow, Raised

HANDBACKS_MAX = 2
"""More than this is no longer a clarification; see above."""

SYSTEM = "Siebel"
"""The ticket system's own account: it acts, and is never the person who works on it."""

WAITS = {
    "Wait": "somebody",  # the status does not say for whom
    "Wait - User": "user",
    "Wait - Customer": "customer",
    "Wait - Vendor": "vendor",
    "Wait - Implementation": "implementation",
    "Awaiting Assignment": "assignment",
}


class Incident(BaseModel):
    case: str
    impact: str
    product: str
    country: str


incidents = ObservedWorkflow(
    "incident",
    version=1,
    trigger=Incident,
    source="itsm.incidents",
    owner="team:service-desk",
    exceptions="queue:incident-managers",
    outcome="the service works again, and the user knows it",
    due="30d",
    description="An incident, from the first call until it is resolved.",
)


@incidents.observe
def observe(activity: Activity, memo: Any) -> Observation:
    """Read one activity. The memo holds the groups that had it, and whether it had ended."""
    status, _, substatus = activity.name.partition("/")
    payload = activity.payload or {}
    before = memo or {"groups": [], "group": None, "handbacks": 0, "ended": False}
    group, person = payload.get("group"), payload.get("resource")
    completed = status == "Completed"

    is_handback = group is not None and group != before["group"] and group in before["groups"]
    handbacks = before["handbacks"] + is_handback
    raised = []
    if is_handback and handbacks > HANDBACKS_MAX:
        raised.append(Raised("ping_pong", f"handed back {handbacks} times, now to {group}"))
    if before["ended"] and not completed:
        raised.append(Raised("reopened", f"{substatus or status} after it had ended"))
    works_on_it = status == "Accepted" and person != SYSTEM
    return Observation(
        owner=group and principal("team", group),
        assignee=principal("user", person) if person and works_on_it else None,
        actor=person and principal("system" if person == SYSTEM else "user", person),
        waiting_on=WAITS.get(substatus),
        ended=ending(substatus) if completed else None,
        raised=tuple(raised),
        settled=("ping_pong", "reopened") if completed else (),
        memo={
            "groups": sorted({*before["groups"], *([group] if group else [])}),
            "group": group or before["group"],
            "handbacks": handbacks,
            "ended": completed,
        },
    )


def ending(substatus: str) -> Any:
    return "cancelled" if substatus == "Cancelled" else "succeeded"


def principal(kind: str, name: str) -> str:
    """Names of principals have no spaces: `G230 2nd` is `team:G230_2nd`."""
    return f"{kind}:{name.strip().replace(' ', '_')}"


def convert(line: dict[str, Any]) -> tuple[dict[str, Any], list[Activity]]:
    """Return the trigger's payload and the activities of one case of the history.

    The trigger's id is the payload's `case`, its time that of the first activity.
    """
    trigger = {name: value for name, value in line.items() if name != "events"}
    return trigger, [_activity(event) for event in line["events"]]


def _activity(event: dict[str, Any]) -> Activity:
    payload = {
        name: value for name, value in event.items()
        if name in ("resource", "group", "role", "organization") and value != "-"
    }  # fmt: skip
    name = "/".join(event[part] for part in ("activity", "transition") if part in event)
    return Activity(
        name, datetime.fromisoformat(event["time"]).astimezone(UTC).isoformat(), payload
    )
