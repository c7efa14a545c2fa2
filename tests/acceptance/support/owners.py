"""Who owned what, by two rules, from the records of a log alone: plain Python, no Meshline code.

The first rule: the group owns a run. The second: the person who works on it does, and the group
while nobody works on it. A period ends when the owner or the assignee is another, or the run ends.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

__all__ = ["Row", "counting", "current", "difference", "period_rows", "periods"]

Row = dict[str, Any]
ENDS = ("meshline.run.succeeded.v1", "meshline.run.failed.v1", "meshline.run.cancelled.v1")


def counting(values: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, Row]]:
    """Read one partition; leave out facts that are not the latest claim's next."""
    epoch, sequence = -1, 0
    for offset, value in values:
        event = json.loads(value)
        if event["type"] == "meshline.partition.claimed.v1":
            epoch, sequence = offset, 0
        elif "epoch" in event:
            if (int(event["epoch"]), int(event["sequence"])) != (epoch, sequence + 1):
                continue
            sequence += 1
        yield offset, event


def periods(events: Iterable[Row], *, person_owns: bool) -> dict[str, list[Row]]:
    """The periods of each run, in their order."""
    found: dict[str, list[Row]] = {}
    for event in events:
        run_id, kind, data = event.get("subject", ""), event["type"], event["data"]
        by = {"since": event["time"], "until": None, "actor": event.get("authid")}
        mine = (
            found.setdefault(run_id, [])
            if kind == "meshline.run.started.v1"
            else found.get(run_id, [])
        )
        if kind == "meshline.run.started.v1":
            first = {"run_id": run_id, "workflow": data["workflow"], "owner": data["owner"]}
            mine.append({**first, "assignee": None, "rule": None, "reason": "", **by})
        elif not mine:
            continue
        elif kind == "meshline.owner.assigned.v1" and mine[-1]["until"] is None:
            owner, assignee = data["owner"], data.get("assignee")
            if person_owns:
                owner, assignee = assignee or owner, None
            if (owner, assignee) != (mine[-1]["owner"], mine[-1]["assignee"]):
                mine[-1]["until"] = event["time"]
                why = {"rule": data.get("rule"), "reason": data.get("reason", "")}
                mine.append({**mine[-1], "owner": owner, "assignee": assignee, **why, **by})
        elif kind in ENDS and mine[-1]["until"] is None:
            mine[-1]["until"] = event["time"]
        elif kind == "meshline.run.reopened.v1" and mine[-1]["until"] is not None:
            why = {"rule": None, "reason": data["reason"]}
            mine.append({**mine[-1], **why, **by})
    return found


def current(found: Mapping[str, list[Row]]) -> dict[Any, Row]:
    """The rows of the table ``ownership``, by key."""
    return {(run_id,): _row(mine[-1], len(mine)) for run_id, mine in found.items()}


def period_rows(found: Mapping[str, list[Row]]) -> dict[Any, Row]:
    """The rows of the table ``ownership_periods``, by key."""
    return {
        (run_id, number): _row(row, number)
        for run_id, mine in found.items()
        for number, row in enumerate(mine, 1)
    }


def _row(period: Row, number: int) -> Row:
    times = {name: period[name] and datetime.fromisoformat(period[name]) for name in TIMES}
    return {**period, "number": number, **times}


TIMES = ("since", "until")


def difference(old: Mapping[Any, Row], new: Mapping[Any, Row]) -> Row:
    """Compare two tables, column by column."""
    changed = {key: old[key] for key in old.keys() & new.keys() if old[key] != new[key]}
    columns = Counter(
        name for key, row in changed.items() for name in row if row[name] != new[key][name]
    )
    return {
        "rows_old": len(old),
        "rows_new": len(new),
        "added": len(new.keys() - old.keys()),
        "removed": len(old.keys() - new.keys()),
        "changed": len(changed),
        "columns": dict(columns),
    }
